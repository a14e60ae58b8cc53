"""A run as one self-contained page: curves with error bars, pictures, protocols, what happened."""
