"""Models taken out of a run."""
