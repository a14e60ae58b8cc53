"""The sections of a recipe, one file for each room that reads them."""
