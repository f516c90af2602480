"""``python -m omnifm``: the command, where it is not on the path."""

from omnifm.cli import main

main()
