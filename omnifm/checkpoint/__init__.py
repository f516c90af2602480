"""What lies on disk between rounds: checkpoints, clients' states, weight files."""
