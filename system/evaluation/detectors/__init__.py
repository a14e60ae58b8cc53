"""Frozen networks that look at images for a metric, and how images are made ready for them."""
