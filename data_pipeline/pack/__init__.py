"""Images of any source into shards, the same bytes every time."""
