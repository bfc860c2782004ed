"""The report on training and held-out rows: its rules, its parts, the whole."""
