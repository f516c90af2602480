"""What may be done as the rounds go by."""
