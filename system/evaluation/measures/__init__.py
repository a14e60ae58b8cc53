"""What is measured of a checkpoint: drawn images, reconstructions, densities."""
