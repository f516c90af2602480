"""How a round's uploads become one: ``aggregator.py`` is the contract; each rule has a file."""
