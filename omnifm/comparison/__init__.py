"""Comparing algorithms: which arms, tuned how, played where, tested once."""
