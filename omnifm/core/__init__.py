"""The records that all parts of the library pass to each other."""
