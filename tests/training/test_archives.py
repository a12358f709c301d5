"""Streams that are packed: what comes out is what went in, whoever unpacks it."""

from __future__ import annotations

import gzip
import os
import threading
import zlib
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from treadle.training.archives import packed

# Somewhat compressible, and more than a few blocks.
CONTENT = bytes(each & 0x3F for each in os.urandom(3_500_000))
PACKED = b"".join(packed([CONTENT]))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, len(CONTENT)), max_size=5))
def test_the_same_however_it_comes(cuts: list[int]) -> None:
    """Pieces of any size, empty ones too, give the same stream, and it is one member."""
    places = [0, *sorted(cuts), len(CONTENT)]
    assert b"".join(packed(CONTENT[start:end] for start, end in pairwise(places))) == PACKED


@pytest.mark.parametrize("content", [b"", b"x", CONTENT[: 1 << 20], CONTENT], ids=len)
def test_everybody_can_unpack_it(content: bytes) -> None:
    """It is one member of gzip, with its checksum and size."""
    stream = b"".join(packed([content]))
    assert gzip.decompress(stream) == content
    unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
    assert unpacker.decompress(stream) == content
    assert (unpacker.eof, unpacker.unused_data) == (True, b"")


def test_it_is_packed_well() -> None:
    """Blocks cost next to nothing."""
    whole = zlib.compressobj(1)
    assert len(PACKED) < 1.001 * len(whole.compress(CONTENT) + whole.flush())


def test_a_source_that_breaks() -> None:
    """Its fault is that of the stream, and no thread is left behind."""

    def breaking() -> Iterator[bytes]:
        yield CONTENT
        raise OSError("gone")

    before = threading.active_count()
    with pytest.raises(OSError, match="gone"):
        list(packed(breaking()))
    stream = packed([CONTENT] * 3)
    next(stream)
    next(stream)
    stream.close()  # type: ignore[attr-defined]  # it is a generator
    assert threading.active_count() == before
