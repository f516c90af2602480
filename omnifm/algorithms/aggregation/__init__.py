"""How a round's uploads become one: ``aggregator.py`` is the contract, one short file a rule."""
