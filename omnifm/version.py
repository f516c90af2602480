"""The version of the library that is installed."""

from importlib.metadata import version

__version__ = version("omnifm")
