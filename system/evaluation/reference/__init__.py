"""What drawn images are measured against: moments of real ones, and where they are from."""
