"""The experiment: its settings, how they are read and changed, and what is said where they do not fit."""
