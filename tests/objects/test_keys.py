"""How keys are spelled as paths."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treadle.objects.keys import segment_of, spell_key, spell_segment

TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="/"), max_size=400)


@pytest.mark.parametrize(
    ("key", "want"),
    [
        ("digits/train/part-1.csv", "digits/train/part-1.csv"),
        ("é 1/ü.csv", "é 1/ü.csv"),
        ("a//b", "a/%-/b"),
        ("a/", "a/%-"),
        ("/", "%-/%-"),
        ("../.", "%2E%2E/%2E"),
        ("...", "..."),
        ("100%", "100%25"),
        ("a\x00\n\x7f\x85", "a%00%0A%7F%C2%85"),
        ("x" * 254, "x" * 254),
        ("x" * 255, "x" * 200 + "%+/" + "x" * 55),
    ],
)
def test_spelling(key: str, want: str) -> None:
    """Ordinary keys are their own paths; what no file system takes is spelled with `%`."""
    assert b"/".join(spell_key(key.encode())).decode() == want


@given(TEXT)
def test_every_segment_is_spelled_reversibly(segment: str) -> None:
    """Each name is one that file systems take, one byte is left for the mark, and the names give the segment back."""
    names = spell_segment(segment.encode())
    assert segment_of(names) == segment.encode()
    for name in names:
        assert 0 < len(name) <= 254
        assert not {0, ord("/")} & set(name)
        assert name not in {b".", b".."}


@given(
    st.lists(
        st.binary(min_size=1, max_size=8) | st.sampled_from([b"%2E", b"%-", b"%+", b"%41", b"a%"]),
        min_size=1,
        max_size=2,
    )
)
def test_a_name_of_another_spelling_stands_for_nothing(names: list[bytes]) -> None:
    """Whatever is read back is spelled exactly so: no object has two names."""
    segment = segment_of(tuple(names))
    assert segment is None or spell_segment(segment) == tuple(names)
