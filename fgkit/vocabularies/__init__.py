"""A vocabulary cut to what an app needs, before training."""
