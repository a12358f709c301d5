"""Texts for regular expressions."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treadle.mock.patterns import compiled, matching

PATTERNS = [
    r"^arn:aws[a-z\-]*:sagemaker:[a-z0-9\-]*:[0-9]{12}:training-job/.*$",
    r"^[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}$",
    r"^(https|s3)://([^/]+)/?(.*)$",
    r"(?i).*access_token.*",
    r"^[0-9A-F]{8}-[0-9A-F]{4}-[4][0-9A-F]{3}-[89AB][0-9A-F]{3}-[0-9A-F]{12}$",
    r"^\d{4}-\d{2}-\d{2}T",
    r"^\+[1-9]\d{1,14}$",
    r"[^a-z ]+",
    r"^(?:x|y){2,}z?$",
    r"^(?P<year>\d{4})\/\w+\.json$",
    r"^[\w.+-]+@[\w-]+\.[\w.]+$",
    r"^\p{L}+$",
    r"^[[:alpha:]]+$",
    r"^\x41B\x{43}$",
    r"^[\]\-a]+$",
    r"",
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_text_is_found_for_patterns_of_real_descriptions(pattern: str) -> None:
    """RE2 itself says that the text fits."""
    text = matching(pattern)
    assert text is not None
    assert compiled(pattern).search(text.encode())


@pytest.mark.parametrize(
    ("pattern", "shortest", "longest"), [(r"^[a-z]+$", 5, 8), (r"^x{2,5}$", 3, 4), (r"^.*$", 9, 9)]
)
def test_the_text_has_the_length_that_is_wanted(pattern: str, shortest: int, longest: int) -> None:
    """`minLength` and `maxLength` stand beside many patterns."""
    text = matching(pattern, shortest=shortest, longest=longest)
    assert text is not None
    assert shortest <= len(text) <= longest


@pytest.mark.parametrize("pattern", [r"(", r"a{2000}", r"(?<=a)b", r"(a)\1", "[", "\\", "(?", r"^(a|b){900,}{900,}$"])
def test_what_nobody_can_match_gives_nothing(pattern: str) -> None:
    """A pattern that is broken, or that the engine does not know, is given up on."""
    assert matching(pattern) is None


@given(st.text(alphabet="ab1.^$*+?{}[]()|\\dw-,", max_size=30))
def test_any_text_is_read_without_harm(pattern: str) -> None:
    """Whatever a description calls a pattern: nothing, or a text that fits."""
    text = matching(pattern)
    assert text is None or compiled(pattern).search(text.encode())


ATOMS = st.sampled_from(["a", "1", r"\d", r"\w", "[a-c]", "[^a]", ".", r"\.", "(ab|c)", "(?:xy)", r"\-"])
TIMES = st.sampled_from(["", "?", "*", "+", "{2}", "{1,3}", "{2,}"])


@given(st.lists(st.tuples(ATOMS, TIMES), min_size=1, max_size=6))
def test_every_pattern_of_the_common_core_has_a_text(parts: list[tuple[str, str]]) -> None:
    """Atoms, classes, groups, alternatives and repetitions, in any order."""
    pattern = "^" + "".join(atom + times for atom, times in parts) + "$"
    text = matching(pattern)
    assert text is not None
    assert re.search(pattern, text)
