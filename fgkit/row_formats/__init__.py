"""Rows in every format that people have, read line by line."""
