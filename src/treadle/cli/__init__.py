"""Parse arguments, choose implementations, call, print."""

from treadle.cli.app import main

__all__ = ["main"]
