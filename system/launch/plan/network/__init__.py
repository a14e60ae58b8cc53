"""What an update sends over the network, how long that takes, and what is left of the GPUs."""
