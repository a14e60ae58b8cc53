"""The endless stream of batches: order, reading, decoding processes, the account."""
