"""Proof from a run's ledger that every key was trained on once per epoch."""
