"""Feature sets: what frozen networks make of each image, stored beside the shards of images."""
