"""A training system for latent normalizing flows."""
