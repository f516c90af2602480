"""What happens while a run goes on, for those who want to know: the protocol, and one file for each callback."""
