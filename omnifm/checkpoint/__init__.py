"""What outlives a process: checkpoints of a run, the states of its clients, files of weights."""
