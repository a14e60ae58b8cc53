"""Sweeps over jobs: what to try, when, on what budget; decided from a ledger, done by Ray."""
