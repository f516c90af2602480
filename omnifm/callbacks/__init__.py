"""The events of a run: the protocol of callbacks, and one file for each callback."""
