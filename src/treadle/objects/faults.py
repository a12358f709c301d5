"""Errors of the operating system, as those of objects."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from treadle.errors import NoRoom, ObjectError, ObjectNotFound

__all__ = ["no_object", "object_error", "translated", "writing"]

_FULL: Final = {errno.ENOSPC, errno.EDQUOT}


@contextlib.contextmanager
def translated(bucket: str = "", key: str = "") -> Iterator[None]:
    """Raise `ObjectNotFound`, `NoRoom` or `ObjectError` for what the system says about an object or a bucket."""
    try:
        yield
    except FileNotFoundError as error:
        if not key:
            raise object_error(error, bucket) from error
        raise no_object(bucket, key) from error
    except OSError as error:
        raise object_error(error, bucket, key) from error


@contextlib.contextmanager
def writing(what: str, to: Path) -> Iterator[None]:
    """Raise `ObjectError` for what the system says about a file of the user's that an object is written to."""
    try:
        yield
    except OSError as error:
        raise ObjectError(f"{what} cannot be written to {to}: {error.strerror}.") from error


def no_object(bucket: str, key: str) -> ObjectNotFound:
    """Make the error that there is no such object."""
    return ObjectNotFound(f"There is no object s3://{bucket}/{key}.")


def object_error(error: OSError, bucket: str, key: str = "") -> ObjectError:
    """Make the error that says what the system said."""
    what = f"s3://{bucket}/{key}" if bucket else "The directory of the objects"
    if error.errno in _FULL:
        return NoRoom(f"There is no room left for {what}: {error.strerror}.")
    return ObjectError(f"{what} cannot be read or written: {error.strerror or error}.")
