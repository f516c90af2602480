"""How clients learn together: one short file an algorithm. ``algorithm.py`` is the contract and FedAvg's frame."""
