"""Beside the conversion: the ways to store weights, the first token compared, the budget of the KV cache."""
