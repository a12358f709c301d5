"""A criterion with a type has a context, which its condition is applied to (§1.9).

A simple condition names its operands itself, so there the missing context does no harm: OAI/Arazzo-Specification
discusses it, and many documents write `type: simple` for clearness. A query can only mean the answer's body: that is
the planner's finding (`implied-context`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from treadle.arazzo.model import Criterion, ReusableObject
from treadle.arazzo.rules.context import Checked
from treadle.errors import Diagnostic, Severity

RULE: Final = "criterion-context"
SEVERITY: Final[Severity] = "error"
CLAUSE: Final = "Criterion Object: context"


def check(checked: Checked) -> Iterator[Diagnostic]:
    """Report typed criteria without a context."""
    for criterion in _criteria(checked):
        if criterion.split:
            message = f"a condition is one text; context, condition and value are taken as `{criterion.condition}`"
            yield checked.lenient("split-condition", message, f"{criterion.pointer}/condition")
        elif criterion.kind == "jsonpointer":
            message = "a JSON Pointer is no condition: it finds a value and does not judge it"
            hint = "write a simple criterion, such as $response.body#/status == 'ok'"
            yield checked.finding(RULE, message, f"{criterion.pointer}/type", hint=hint)
        elif criterion.type is None or criterion.context is not None:
            continue
        elif criterion.kind == "simple":
            message = "a criterion with a type must have a context"
            yield checked.lenient("simple-without-context", message, criterion.pointer)
        elif criterion.kind == "regex":
            message = "a regex criterion needs a `context`: the value that the pattern is applied to"
            yield checked.finding(RULE, message, criterion.pointer, hint="usually `context: $response.body`")


def _criteria(checked: Checked) -> Iterator[Criterion]:
    for _, step in checked.steps():
        yield from step.success_criteria
    for _, listed in checked.action_lists():
        for action in listed:
            if not isinstance(action, ReusableObject):
                yield from action.criteria
    for action in checked.component_actions():
        yield from action.criteria
