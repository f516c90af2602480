"""What can be wrong with data: every problem with its place and its remedy, all at once."""
