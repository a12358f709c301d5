"""A list of actions has no duplicates; an action is its name (§1.4, §1.5).

The name matters: an action of a step replaces the one of its workflow that has the same name.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from treadle.arazzo.effective import reusable
from treadle.arazzo.model import Parameter, ReusableObject
from treadle.arazzo.rules.context import Checked
from treadle.errors import Diagnostic, Severity

RULE: Final = "duplicate-action"
SEVERITY: Final[Severity] = "error"
CLAUSE: Final = "Step Object: onSuccess, onFailure"


def check(checked: Checked) -> Iterator[Diagnostic]:
    """Report actions that stand twice in one list, references expanded."""
    for _, listed in checked.action_lists():
        seen: set[str] = set()
        for item in listed:
            action = (
                reusable(item.reference, checked.description.components) if isinstance(item, ReusableObject) else item
            )
            if action is None or isinstance(action, Parameter):
                continue
            if action.name in seen:
                message = f"the action `{action.name}` stands twice in this list"
                yield checked.finding(RULE, message, item.pointer, hint="give each action a name of its own")
            elif action.name:
                seen.add(action.name)
