"""A run's model, to be used elsewhere."""
