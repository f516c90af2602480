"""Runs: an experiment's arms put together and run into a folder, which holds all that is needed to resume them."""
