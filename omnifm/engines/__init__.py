"""Who runs the clients: ``in_process.py`` on one machine."""
