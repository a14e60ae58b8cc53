"""What people look at: the curves of a run."""
