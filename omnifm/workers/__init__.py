"""Processes that work side by side on one machine, outlive any one of them, and leave nothing behind."""
