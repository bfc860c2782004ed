"""The shared-prefix engine: what the rows of a batch begin with is computed once, in training and in answering."""
