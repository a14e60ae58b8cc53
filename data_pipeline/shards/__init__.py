"""WebDataset tars and what is known of them: manifests, their columns, damage."""
