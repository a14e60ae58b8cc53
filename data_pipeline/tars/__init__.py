"""Tars read again: what is in them, a manifest for those without one, and what is damaged."""
