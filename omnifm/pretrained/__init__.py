"""Weights made before a run: where they lie, what they are for, how a run starts from them, and how they leave one."""
