"""Where a run's time went, in words, and where it would go on other clusters, by simulation."""
