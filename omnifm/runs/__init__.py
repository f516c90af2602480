"""A run: its arms, its folder, from start to report."""
