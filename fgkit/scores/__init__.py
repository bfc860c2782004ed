"""Scores: matching calls, intervals, paired differences; tables, pictures, a card's block."""
