"""Treadle runs Arazzo workflows against real APIs, durably, and answers like the SageMaker training API."""

from treadle._version import __version__

__all__ = ["__version__"]
