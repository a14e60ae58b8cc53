"""How good a checkpoint is: protocols, detectors, statistics, scores, and the evaluator."""
