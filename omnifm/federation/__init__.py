"""The round loop, and one client's part in it."""
