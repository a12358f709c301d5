"""`--expect`: conditions on outputs, in words that a shell user writes."""

from __future__ import annotations

import pytest

from treadle.cli.expect import expectations
from treadle.errors import UsageError

OUTPUTS = ("status", "model-uri", "deep", "a.b", "count")
VALUES = {"status": "Completed", "model-uri": "s3://b/m", "deep": {"x": [1, 2]}, "a.b": 5, "count": 3}

HOLD = [
    'status == "Completed"',
    "status == 'Completed'",
    "$outputs.status == 'Completed'",
    "status != 'Failed' && count >= 3",
    "!(status == 'Failed')",
    "count == 3 || status == 'x'",
    "count < 1e2",
    "model-uri == 's3://b/m'",
    "a.b == 5",
    "status",
    '(status == "Completed")',
]


@pytest.mark.parametrize("text", HOLD)
def test_conditions_that_hold(text: str) -> None:
    """Bare names mean outputs; texts have either quotes."""
    (one,) = expectations([text], OUTPUTS)
    verdict = one.judge(VALUES)
    assert verdict.passed, (verdict.reasons, verdict.problem)


@pytest.mark.parametrize("text", ["status == 'Failed'", "count > 3", "status == null", "'it''s' == status"])
def test_conditions_that_do_not_hold(text: str) -> None:
    """They say which values they saw."""
    (one,) = expectations([text], OUTPUTS)
    verdict = one.judge(VALUES)
    assert not verdict.passed
    assert verdict.reasons


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("status == 'Failed'", '"Completed" == "Failed" is false'),
        ("status != 'Failed' && count > 3", "count > 3: 3 > 3 is false"),
    ],
)
def test_what_is_missed_is_told_in_the_users_own_words(text: str, why: str) -> None:
    """The names are those of the outputs, as they were written."""
    (one,) = expectations([text], OUTPUTS)
    said = one.missed(VALUES)
    assert said.startswith(f"--expect {text!r} does not hold: ")
    assert why in said
    assert "$outputs" not in said


def test_an_output_that_has_no_value_does_not_hold() -> None:
    """A workflow may end before an output has a value."""
    (one,) = expectations(["status == 'Completed'"], OUTPUTS)
    assert not one.judge({}).passed


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("statsu == 'x'", "Did you mean status?"),
        ("$outputs.zzz == 1", "Its outputs are: status"),
        ("status == Completed", "Texts stand in quotes"),
        ("$statusCode == 200", "Did you mean status?"),
        ("status ==", "Write for example"),
        ("", "Write for example"),
        ("status = 'x'", ""),
        ("(status == 'x'", ""),
    ],
)
def test_what_is_no_condition_is_refused_before_the_run(text: str, hint: str) -> None:
    """With the likely intention."""
    with pytest.raises(UsageError) as refused:
        expectations([text], OUTPUTS)
    assert text in refused.value.message
    assert hint in refused.value.hint
