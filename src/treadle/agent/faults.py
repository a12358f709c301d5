"""What can be wrong with the data of a job; each text is for the user."""

from __future__ import annotations

__all__ = ["CancelledStagingError", "DataError"]


class DataError(Exception):
    """The data cannot be brought; the text comes after `ClientError: Data download failed:`."""


class CancelledStagingError(Exception):
    """Somebody asked to stop."""
