"""Small tools that any other room may use."""
