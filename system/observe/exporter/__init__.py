"""What outlives every worker, for Prometheus: runs and campaigns as their ledgers tell of them."""
