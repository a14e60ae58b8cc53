"""Features of many images, computed in units by one or many workers, and kept."""
