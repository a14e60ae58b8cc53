"""A file, so that this is found before the `tests` that torch-fidelity installs."""
