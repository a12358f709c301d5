"""How times, values and tables look."""

from __future__ import annotations

import pytest

from treadle.reporters.ending import remarks, unhappy
from treadle.reporters.text import duration, pairs, plain, shorten, table

DURATIONS = [
    (-1, "0.00 s"),
    (0.004, "0.00 s"),
    (0.034, "0.03 s"),
    (0.0949, "0.09 s"),
    (0.0951, "0.1 s"),
    (9.94, "9.9 s"),
    (9.96, "10 s"),
    (59.4, "59 s"),
    (59.6, "1 min 00 s"),
    (185, "3 min 05 s"),
    (3599.6, "1 h 00 min"),
    (7 * 3600 + 600, "7 h 10 min"),
    (31 * 86400 + 3600, "31 d 1 h"),
]


@pytest.mark.parametrize(("seconds", "want"), DURATIONS)
def test_duration(seconds: float, want: str) -> None:
    """At most two units, never sixty of one."""
    assert duration(seconds) == want


def test_plain_text() -> None:
    """What a terminal would obey is written out; also what would turn the direction of text."""
    assert plain("a\x1b[1m\tb\nc\x9b\u202e") == "a\\x1b[1m\tb\nc\\x9b\\u202e"
    assert shorten("a  b\n" + "c" * 10, 8) == "a b ccc…"


def test_pairs_and_tables_are_aligned() -> None:
    """Names are padded; text of several lines continues below; big values are spread."""
    assert pairs([("a", "x\ny"), ("long", 1.5), ("n", None)]) == ["a:    x", "      y", "long: 1.5", "n:    null"]
    assert pairs([("a", {"k": "v" * 100})])[:2] == ["a: {", '     "k": "' + "v" * 100 + '"']
    assert table(("A", "LONG"), [("xyz", "1"), ("", "2")]) == ["A    LONG", "xyz  1", "     2"]


REMARKS = [
    ({"FailureReason": "no", "x": 1}, [("FailureReason", "no")]),
    ({"error": {"code": 4, "message": "m"}}, [("code", "4"), ("message", "m")]),
    ({"errors": [{"detail": "d"}]}, [("detail", "d")]),
    ({"error_description": "e"}, [("error_description", "e")]),
    ("<html>oops</html>", [("text", "<html>oops</html>")]),
    (None, []),
    ([1], []),
]


@pytest.mark.parametrize(("body", "want"), REMARKS)
def test_remarks(body: object, want: list[tuple[str, str]]) -> None:
    """The members in which servers say what went wrong, whatever they call them."""
    said = [(name, text) for name, text in remarks(body)]
    assert [(name, text) for name, text in said] == want


def test_unhappy() -> None:
    """A status that says that a job did not complete is found in outputs and bodies."""
    assert unhappy({"trainingJobStatus": "Failed"}) == "Failed"
    assert unhappy({"a": 1}, {"State": "STOPPED"}) == "STOPPED"
    assert unhappy({"trainingJobStatus": "Completed"}, None, {"Failed": "x"}) == ""
