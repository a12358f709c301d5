"""What can be wrong with the data and the image of a job; each text is for the user."""

from __future__ import annotations

from treadle.errors import LaunchError

__all__ = ["CancelledStagingError", "DataError", "PullError"]


class DataError(Exception):
    """The data cannot be brought; the text comes after `ClientError: Data download failed:`."""


class PullError(LaunchError):
    """The image cannot be had; the text is the whole reason."""


class CancelledStagingError(Exception):
    """Somebody asked to stop."""
