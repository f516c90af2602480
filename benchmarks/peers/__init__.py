"""The contenders of ``benchmarks/peers.py``, each a module that runs in its own environment, and what they share."""
