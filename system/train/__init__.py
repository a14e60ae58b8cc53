"""One update, the loop around it, and what guards it."""
