"""What travels and what is kept: records of tensors, and their bytes."""
