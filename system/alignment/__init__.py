"""Frozen vision teachers, and how a flow's features are drawn to what they see."""
