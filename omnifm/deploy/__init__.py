"""The operator's way: what a server and its hospitals need, whether it is right, and how it goes (docs/deploy.md)."""
