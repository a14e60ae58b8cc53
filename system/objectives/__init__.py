"""The losses, and which weights each of them reaches."""
