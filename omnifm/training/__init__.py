"""Local training: the trainer and its settings."""
