"""What each command of `python -m fgkit` does."""
