"""The branches of a step foresee the values that its answer can have (§1.5 onSuccess).

Two things are found, both only where the description lists the values (`enum`). A poll that goes on for some states and
leaves on all others, among them one that by its name is passing as well: `Stopping` is no end. And actions that tell
several values apart, while another value, which none of them mentions, falls through to the next step: in a poll only
where one of the actions leads there, too, so that the two cannot be told apart afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal, TypeAlias

from treadle.arazzo.rules.planned.claims import STATUS, Claim, Variable, constants, is_body, judge, variables
from treadle.arazzo.rules.planned.context import CheckedAction, CheckedPlans, CheckedStep
from treadle.arazzo.rules.planned.shapes import Shape, look
from treadle.errors import Diagnostic, Severity

RULE: Final = "unhandled-value"
SEVERITY: Final[Severity] = "warning"
CLAUSE: Final = "Step Object: onSuccess"

_PASSING: Final = re.compile(r"(?:.*(?:ing|inprogress|queued)|inqueue|notstarted|scheduled)\Z")
# They end like a participle, and are states that stay.
_STAYING: Final = re.compile(r"(?:.*(?:missing|warning|nothing|existing|outstanding|remaining|string))\Z")


_MOST_VALUES: Final = 100


_Taken: TypeAlias = CheckedAction | Literal["next", "unknown"]
"""What a value leads to: an action, the next step, or what depends on something else as well."""


def check(checked: CheckedPlans) -> Iterator[Diagnostic]:
    """Report the values that a poll leaves on though they pass, and those that no branch mentions."""
    for step in checked.steps:
        claims = [claim for action in step.on_success for claim in action.claims]
        for variable in variables(claims):
            values = _values(step, variable) if is_body(variable) else []
            if values:
                yield from _polled(step, variable, values, claims)


def _values(step: CheckedStep, variable: Variable) -> list[str]:
    """Give the texts that the description lists for a value; none where it does not."""
    found = [look(schema, variable[1:]) for schema in step.on_answer]
    listed = [each.values for each in found if isinstance(each, Shape) and each.values is not None]
    if not listed or len(listed) < len(found):
        return []
    values = list(dict.fromkeys(value for each in listed for value in each if isinstance(value, str)))
    return values if len(values) <= _MOST_VALUES else []


def _polled(
    step: CheckedStep, variable: Variable, values: Sequence[str], claims: Sequence[Claim]
) -> Iterator[Diagnostic]:
    mentioned = {str(each).casefold() for each in constants(claims, variable)}
    taken = {value: _taken(step, variable, value) for value in values}
    if "unknown" in taken.values():
        return  # what is done depends on something else as well
    again = [
        value
        for value, action in taken.items()
        if isinstance(action, CheckedAction) and step.leads_back(action.planned)
    ]
    new = [value for value in values if value.casefold() not in mentioned]
    if again:
        passing = [value for value in new if value not in again and _passes(value)]
        fallen = [value for value in new if taken[value] == "next"]
        if passing:
            yield _early(step, variable, passing, again, taken)
        elif fallen and any(_goes_on(step, taken[value]) for value in values):
            yield _fallen(step, variable, fallen)
    elif len(values) - len(new) > 1:
        fallen = [value for value in new if taken[value] == "next"]
        if fallen:
            yield _fallen(step, variable, fallen)


def _goes_on(step: CheckedStep, taken: _Taken) -> bool:
    """Tell whether an action leads where the workflow goes on without one: then falling through looks the same."""
    if not isinstance(taken, CheckedAction):
        return False
    following = next((name for name, place in step.order.items() if place == step.position + 1), "")
    action = taken.planned
    return action.type == "end" if not following else action.type == "goto" and action.step == following


def _taken(step: CheckedStep, variable: Variable, value: str) -> _Taken:
    """Give the action that is taken for a value."""
    for action in step.on_success:
        # The step has succeeded: whatever its success criteria say about the status holds.
        verdict = judge(
            [each for each in action.claims if variables([each]) != [STATUS]], {variable: value}, exact=True
        )
        if verdict is not False:
            return action if verdict else "unknown"
    return "next"


def _passes(value: str) -> bool:
    plain = re.sub(r"[^a-z]", "", value.lower())
    return bool(_PASSING.match(plain)) and not _STAYING.match(plain)


def _early(
    step: CheckedStep,
    variable: Variable,
    passing: Sequence[str],
    again: Sequence[str],
    taken: Mapping[str, _Taken],
) -> Diagnostic:
    guard = next(action for value in again if isinstance(action := taken[value], CheckedAction))
    leaves = taken[passing[0]]
    pointer = leaves.written.pointer if isinstance(leaves, CheckedAction) else guard.written.pointer
    name = "/".join(str(each) for each in variable[1:])
    left = _listed(passing)
    message = (
        f"this poll goes on while `{name}` is {_listed(again)}, and leaves on {left} as well, "
        f"which {'looks' if len(passing) == 1 else 'look'} like a state that passes"
    )
    hint = f"let `{guard.written.name}` hold for {left}, too, or mention it where the poll ends"
    return step.checked.finding(RULE, message, pointer, severity=SEVERITY, hint=hint)


def _fallen(step: CheckedStep, variable: Variable, fallen: Sequence[str]) -> Diagnostic:
    name = "/".join(str(each) for each in variable[1:])
    message = f"`{name}` can also be {_listed(fallen)}, and no action of this step mentions that"
    hint = "the next step follows then; add an action for it, or one without criteria as the last"
    return step.checked.finding(
        RULE, message, f"{step.written.pointer}/onSuccess", severity="note", hint=hint, key=True
    )


def _listed(values: Sequence[str]) -> str:
    quoted = [f"`{value}`" for value in values[:8]]
    if len(quoted) == 1:
        return quoted[0]
    return f"{', '.join(quoted[:-1])} or {quoted[-1]}"
