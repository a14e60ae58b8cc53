"""From positions to pixels in shared memory, in processes that may die."""
