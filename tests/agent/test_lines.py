"""Bytes become lines."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treadle.agent.lines import LineSplitter


def split(pieces: list[bytes], limit: int = 8) -> list[str]:
    splitter = LineSplitter(limit)
    return [line for line, _ in [*(each for piece in pieces for each in splitter.feed(piece)), *splitter.finish()]]


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        pytest.param([b"a\nb\n"], ["a", "b"], id="two"),
        pytest.param([b"a", b"b\nc"], ["ab", "c"], id="across-reads"),
        pytest.param([b"\n\n"], ["", ""], id="empty"),
        pytest.param([b"a\r\n"], ["a"], id="carriage-return"),
        pytest.param([b"50%\r60%\r\n"], ["50%\r60%"], id="progress-bar"),
        pytest.param([b"0123456789abcdef!"], ["01234567", "89abcdef", "!"], id="long"),
        pytest.param([b"0123456\xc3\xa9z\n"], ["0123456", "éz"], id="no-character-is-cut"),
        pytest.param(
            [b"\x80" * 9 + b"\n"], ["\N{REPLACEMENT CHARACTER}" * 8, "\N{REPLACEMENT CHARACTER}"], id="no-text"
        ),
        pytest.param([b"a\0b\n"], ["a\N{REPLACEMENT CHARACTER}b"], id="nul"),
        pytest.param([b"[0]\tx\n"], ["[0]#011x"], id="tab"),
        pytest.param([], [], id="nothing"),
    ],
)
def test_lines(pieces: list[bytes], lines: list[str]) -> None:
    """Lines come out as they went in, whatever way they are read."""
    assert split(pieces) == lines


@given(st.text(st.characters(exclude_characters="\r\0\t", codec="utf-8")), st.lists(st.integers(0, 400)))
def test_any_cut_gives_the_same(text: str, cuts: list[int]) -> None:
    """Where reads begin and end makes no difference, and nothing is lost."""
    data = text.encode()
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[start:end] for start, end in itertools.pairwise(places)]
    assert split(pieces) == split([data])
    assert "".join(split(pieces)) == text.replace("\n", "")
    assert all(len(line.encode()) <= 8 for line in split(pieces))


@given(st.binary(max_size=60), st.integers(0, 60), st.data())
def test_who_goes_on_from_a_position_gives_the_rest(data: bytes, cut: int, choice: st.DataObject) -> None:
    """Each line comes with the number of the byte after it; split from there, the other lines are the same."""
    splitter = LineSplitter(8, position=100)
    whole = [*splitter.feed(data[:cut]), *splitter.feed(data[cut:]), *splitter.finish()]
    taken = choice.draw(st.integers(0, len(whole)))
    position = whole[taken - 1][1] if taken else 100
    another = LineSplitter(8, position=position)
    assert [*another.feed(data[position - 100 :]), *another.finish()] == whole[taken:]
    assert not whole or whole[-1][1] == 100 + len(data)
