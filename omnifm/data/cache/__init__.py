"""Images that were read and prepared once, kept in the user's cache for the next time."""
