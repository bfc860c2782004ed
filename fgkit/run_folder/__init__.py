"""What a run's folder knows about itself: what is done, who writes, hashes, the summary."""
