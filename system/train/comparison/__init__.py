"""The methods of the papers at equal images and over seeds, side by side at a small scale."""
