"""An invertible map between latent tokens and Gaussian noise."""
