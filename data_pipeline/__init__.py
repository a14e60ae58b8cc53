"""From bytes in tar shards to batches: a pure function of (seed, position), for any world size."""
