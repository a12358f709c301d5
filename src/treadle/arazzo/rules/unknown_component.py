"""A Reusable Object names a component of this document, of the kind that its place wants (§1.8).

"Any … MUST be applied by using a reference to the map location in the components" of the current document.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from treadle.arazzo.effective import reusable
from treadle.arazzo.model import ReusableObject
from treadle.arazzo.rules.context import Checked, few
from treadle.arazzo.slips import close_to, component
from treadle.errors import Diagnostic, Severity
from treadle.seams import MISSING

RULE: Final = "unknown-component"
SEVERITY: Final[Severity] = "error"
CLAUSE: Final = "Reusable Object: reference"


def check(checked: Checked) -> Iterator[Diagnostic]:
    """Report references that lead to nothing, or to something of another kind."""
    for workflow in checked.description.workflows:
        yield from _wrong(checked, workflow.parameters, "parameters")
        yield from _wrong(checked, workflow.success_actions, "successActions")
        yield from _wrong(checked, workflow.failure_actions, "failureActions")
    for _, step in checked.steps():
        yield from _wrong(checked, step.parameters, "parameters")
        yield from _wrong(checked, step.on_success, "successActions")
        yield from _wrong(checked, step.on_failure, "failureActions")
    for _, action in checked.actions():
        yield from _wrong(checked, action.parameters, "parameters")
    for action in checked.component_actions():
        yield from _wrong(checked, action.parameters, "parameters")


def _wrong(checked: Checked, items: Iterable[Any], section: str) -> Iterator[Diagnostic]:
    components = checked.description.components
    known: Mapping[str, Any] = {
        "parameters": components.parameters,
        "successActions": components.success_actions,
        "failureActions": components.failure_actions,
    }[section]
    wanted = f"$components.{section}."
    for item in items:
        if not isinstance(item, ReusableObject) or not item.reference:
            continue
        here = f"{item.pointer}/reference"
        if not item.reference.startswith(wanted):
            message = f"`{item.reference}` must name one of the {section} of the components"
            meant = component(item.reference)
            proper = meant if meant.startswith(wanted) and reusable(meant, components) is not None else ""
            hint = f"did you mean {proper}?" if proper else f"its form is {wanted}<name>"
            yield checked.finding(RULE, message, here, hint=hint, instead=proper)
        elif reusable(item.reference, components) is None:
            name = item.reference.removeprefix(wanted)
            meant = close_to(name, known)
            names = few(known)
            other = f"there are {names}" if known else f"this document has no components/{section}"
            hint = f"did you mean {wanted}{meant}?" if meant else other
            yield checked.finding(RULE, f"there is no component `{item.reference}`", here, hint=hint)
        elif section != "parameters" and item.value is not MISSING:
            message = "`value` has no meaning in a reference to an action; it is ignored"
            yield checked.finding(RULE, message, f"{item.pointer}/value", severity="warning", key=True)
