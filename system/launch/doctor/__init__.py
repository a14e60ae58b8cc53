"""Whether a machine, its storage and its settings are fit for a run, and what cures what is not."""
