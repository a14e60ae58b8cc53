"""What every room stands on: recipes, errors, nouns, storage, randomness, world."""
