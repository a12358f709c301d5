"""What every process of an attempt's host carries. By itself, because who starts first can import little."""

from __future__ import annotations

__all__ = ["MARKER"]

MARKER = "TREADLE_ATTEMPT"
"""The environment variable that every process of an attempt's host carries."""
