"""What every room uses and no library has: seeds, devices, files, locks, signals, errors."""
