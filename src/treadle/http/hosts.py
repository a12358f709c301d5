"""Which hosts may be called, where a person has listed them."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

__all__ = ["allows", "host_of"]


def host_of(url: str) -> str:
    """Give the host of a URL, with its port where the URL has one."""
    return urlsplit(url).netloc.rpartition("@")[2]


def allows(patterns: Iterable[str], url: str) -> bool:
    """Tell whether a URL is on a host of the list: `host`, `host:port` or `*.example.com`.

    >>> [allows(["127.0.0.1:8080", "*.example.com"], url) for url in ("http://127.0.0.1/", "https://A.example.com/x")]
    [False, True]
    """
    names = {(urlsplit(url).hostname or "").lower(), host_of(url).lower()}
    return any(fnmatchcase(name, pattern.lower()) for name in names for pattern in patterns)
