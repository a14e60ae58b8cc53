"""Bytes out of storage: ranges, retries, hedges, a cache on the local disk, digests."""
