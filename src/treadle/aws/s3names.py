"""What may be a bucket's name, and how long a key may be (Amazon S3 User Guide, "Naming Amazon S3 objects")."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

__all__ = ["LONGEST_KEY", "bucket_problem"]

LONGEST_KEY: Final = 1024
"""Bytes of UTF-8 in a key."""

_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_ADDRESS: Final = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+", re.ASCII)


@lru_cache(maxsize=1024)
def bucket_problem(bucket: str) -> str:
    """Give "" for a name that Amazon S3 takes for a general purpose bucket, else what is wrong with it."""
    if not 3 <= len(bucket) <= 63:
        return f"it must have 3 to 63 characters, and has {len(bucket)}"
    if not _BUCKET.fullmatch(bucket):
        return "only lower-case letters, digits, dots and hyphens are allowed, with a letter or digit at both ends"
    if ".." in bucket:
        return "two dots must not stand side by side"
    if _ADDRESS.fullmatch(bucket):
        return "it looks like an IP address"
    return ""
