"""Local training of one client, the same for every task and every algorithm."""
