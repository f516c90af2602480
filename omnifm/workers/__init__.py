"""Worker processes on one machine: they are replaced when they die, and leave nothing behind."""
