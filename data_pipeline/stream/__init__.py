"""The endless stream of batches of one rank, on its device, with its account."""
