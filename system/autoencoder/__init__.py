"""Image to posterior to image."""
