"""What a run leaves behind: checkpoints, the metrics log and the report."""
