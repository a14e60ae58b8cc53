"""Weights of other code bases, in and out: exact, with nothing left out in silence."""
