"""Pieces that the autoencoder, the flow and the discriminator are made of."""
