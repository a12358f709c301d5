"""A key becomes the names of directories and a file, and back: total and reversible.

An ordinary key, `digits/train/part-1.csv`, is the path itself. A segment (what stands between slashes) that no file
system takes is spelled with `%`:

==========================================  ================================================================
segment                                     spelled
==========================================  ================================================================
holds `%` or a control character            `%25`, `%00`: each byte of it as two upper-case hex digits
`.` and `..`                                `%2E` and `%2E%2E`
empty (`a//b`, `/a`, and the end of `a/`)   `%-`
longer than 254 bytes                       directories of up to 200 bytes that end in `%+`, then the rest
==========================================  ================================================================

A file system cannot have the file `a` beside the directory `a`, S3 can have the keys `a` and `a/b`. The directory
keeps the name then, and the file is *displaced* to `a%`. (Which of the two happens depends on what else there is, so
whoever looks for a file looks at both; see `filesystem`.)

`%` is always followed by something that says what it means, so no two keys share a spelling, and a name that is not
spelled as this module would spell it stands for no key at all: such files are not objects.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

__all__ = ["DISPLACED", "MORE", "displaced", "segment_of", "spell_key", "spell_segment"]

MORE: Final = b"%+"
"""Ends the name of a directory that holds the rest of a long segment."""

DISPLACED: Final = b"%"
"""Ends the name of a file whose own name a directory has."""

_EMPTY: Final = b"%-"
_LONGEST: Final = 254  # of the 255 that file systems take, one is left for DISPLACED
_PIECE: Final = 200
_ESCAPE: Final = re.compile(rb"%([0-9A-F]{2})")


def spell_key(key: bytes) -> tuple[bytes, ...]:
    """Give the names for a key in UTF-8: those of the directories, and last that of the file.

    >>> spell_key(b"digits/train//a%b")
    (b'digits', b'train', b'%-', b'a%25b')
    """
    return tuple(name for segment in key.split(b"/") for name in spell_segment(segment))


def spell_segment(segment: bytes) -> tuple[bytes, ...]:
    """Give the names for one segment: one, or several nested ones when it is long."""
    if not segment:
        return (_EMPTY,)
    if segment in {b".", b".."}:
        return (segment.replace(b".", b"%2E"),)
    # A directory of many plain names is what listings meet: they cost nothing but this test.
    plain = segment.isascii() and b"%" not in segment and segment.decode().isprintable()
    if plain and len(segment) <= _LONGEST:
        return (segment,)
    return _cut([_spell_character(character) for character in segment.decode()])


def _spell_character(character: str) -> bytes:
    if character == "%" or unicodedata.category(character) == "Cc":
        return b"".join(b"%%%02X" % byte for byte in character.encode())
    return character.encode()


def _cut(characters: list[bytes]) -> tuple[bytes, ...]:
    names: list[bytes] = []
    start, left = 0, sum(map(len, characters))
    while left > _LONGEST:
        # Pieces are well below the limit, so what is left at the end is never `.` or `..`.
        end, length = start, 0
        while length + len(characters[end]) <= _PIECE:
            length += len(characters[end])
            end += 1
        names.append(b"".join(characters[start:end]) + MORE)
        start, left = end, left - length
    return (*names, b"".join(characters[start:]))


def displaced(name: bytes) -> bytes:
    """Give the other name of a file, for when a directory has its own."""
    return name + DISPLACED


def segment_of(names: tuple[bytes, ...]) -> bytes | None:
    """Give the segment that is spelled so (a displaced file's name without its mark), or None when none is."""
    if names == (_EMPTY,):
        return b""
    segment = b"".join(_unescape(name.removesuffix(MORE)) for name in names)
    try:
        return segment if spell_segment(segment) == names else None
    except UnicodeDecodeError:
        return None


def _unescape(name: bytes) -> bytes:
    return _ESCAPE.sub(lambda match: bytes((int(match[1], 16),)), name)
