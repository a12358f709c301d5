"""Places: JSON Pointers, and the line and column of every value and key."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import pytest

from treadle.arazzo.load import load
from treadle.arazzo.location import Document, find, join, tokens
from treadle.seams import MISSING, Json

TEXT = """\
arazzo: 1.0.1
info:
  title: A title
  nothing:
steps:
- stepId: one
  outputs: {a: "x y", 'b/c': 2}
- &two
  stepId: two
- *two
text: |
  first
  second
"""
DOCUMENT = load(TEXT.encode(), "test.yaml")


@dataclass
class Case:
    """What stands at a pointer (or its key), as the caret covers it."""

    pointer: str
    covered: str
    line: int
    key: bool = False


PLACES = [
    Case("", "arazzo", 1),
    Case("/arazzo", "1.0.1", 1),
    Case("/arazzo", "arazzo", 1, key=True),
    Case("/info", "title", 3),
    Case("/info", "info", 2, key=True),
    Case("/info/title", "A title", 3),
    Case("/info/nothing", "nothing", 4, key=True),
    Case("/steps/0", "stepId", 6),
    Case("/steps/0/stepId", "one", 6),
    Case("/steps/0/outputs", "{a: \"x y\", 'b/c': 2}", 7),
    Case("/steps/0/outputs/a", '"x y"', 7),
    Case("/steps/0/outputs/b~1c", "2", 7),
    Case("/steps/0/outputs/b~1c", "'b/c'", 7, key=True),
    Case("/steps/1/stepId", "two", 9),
    Case("/steps/2", "*two", 10),
    Case("/steps/2/stepId", "two", 9),
    Case("/text", "|", 11),
    Case("/info/nowhere/at/all", "title", 3),
    Case("/steps/7", "-", 6),
    Case("/steps/0/stepId/deeper", "one", 6),
]


@pytest.mark.parametrize("case", PLACES, ids=[f"{case.pointer}{'-key' if case.key else ''}" for case in PLACES])
def test_a_place_covers_what_stands_there(case: Case) -> None:
    """A value, a key, and where nothing stands the innermost value that does."""
    place = DOCUMENT.place(case.pointer, key=case.key)
    assert (place.document, place.pointer, place.line) == ("test.yaml", case.pointer, case.line)
    assert place.text == TEXT.splitlines()[case.line - 1]
    assert place.text[place.column - 1 :][: place.width] == case.covered


def test_json_has_places_too() -> None:
    """Escapes and all."""
    document = load(b'{"a": 1,\n  "x\\u002fy": ["\\ud83d\\ude00", {"b": null}]}', "test.json")
    place = document.place("/x~1y/1/b")
    assert (place.line, place.column, place.width) == (2, 38, 4)
    assert document.place("/x~1y", key=True).column == 3


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n", "\x85", "\u2028"])
def test_lines_end_as_yaml_says(end: str) -> None:
    """The line that is shown is the one that was counted."""
    document = load(f"a: 1{end}b: 2{end}c: 3{end}".encode(), "test.yaml")
    place = document.place("/c")
    assert (place.line, place.column, place.text) == (3, 4, "c: 3")


def test_a_document_without_a_text_knows_no_lines() -> None:
    """A value that somebody made has pointers only."""
    place = Document("memory:x", {"a": 1}, label="x").place("/a")
    assert (str(place), place.pointer, place.line) == ("x", "/a", 0)


def test_a_document_knows_its_digest_and_label() -> None:
    """The label is what messages call it."""
    document = load(b"a: 1", "file:///x.yaml", label="x.yaml")
    assert document.digest == hashlib.sha256(b"a: 1").hexdigest()
    assert document.place("/a").document == "x.yaml"
    assert "file:///x.yaml" in repr(document)


@pytest.mark.parametrize(
    ("parts", "pointer"),
    [((), ""), (("a", 0), "/a/0"), (("a/b", "~"), "/a~1b/~0"), (("",), "/"), (("~1",), "/~01")],
)
def test_pointers_are_escaped_and_split(parts: tuple[str | int, ...], pointer: str) -> None:
    """RFC 6901 §3 both ways."""
    assert join("", *parts) == pointer
    assert tokens(pointer) == [str(part) for part in parts]


@pytest.mark.parametrize(
    ("pointer", "want"),
    [
        ("", {"a": [1, {"b": 2}], "0": "zero"}),
        ("/a/1/b", 2),
        ("/a/01", MISSING),
        ("/a/-", MISSING),
        ("/a/2", MISSING),
        ("/a/99999999999999999999", MISSING),
        ("/0", "zero"),
        ("/a/1/b/c", MISSING),
    ],
)
def test_find_follows_a_pointer(pointer: str, want: Json) -> None:
    """RFC 6901 §4: an index has no leading zeros; what is not there is missing."""
    assert find({"a": [1, {"b": 2}], "0": "zero"}, pointer) == want


def test_find_refuses_what_is_no_pointer() -> None:
    """A pointer starts with a slash."""
    with pytest.raises(ValueError, match="starts with"):
        find({}, "a")
