"""How secrets are hidden: what stands in their place, which texts are long enough to be ones, how they are written."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, quote_plus

__all__ = ["MASK", "SHORTEST", "spellings"]

MASK: Final = "•••"

SHORTEST: Final = 4
"""Masking "a" would garble everything and hide nothing."""


def spellings(secret: str) -> set[str]:
    """Give the secret as it is, and percent-encoded in both ways that URLs know.

    >>> sorted(spellings("a b/c"))
    ['a b/c', 'a%20b%2Fc', 'a+b%2Fc']
    """
    return {secret, quote(secret, safe="-._~"), quote_plus(secret)}
