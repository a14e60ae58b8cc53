"""What is computed of features, logits and pixels: distances, scores, and their errors."""
