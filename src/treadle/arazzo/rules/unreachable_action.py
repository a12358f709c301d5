"""Of a list of actions the first whose criteria hold is taken (§1.5), so nothing after one without criteria ever is.

A retry without criteria is taken until its limit is reached; what follows it comes then.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from treadle.arazzo.effective import reusable
from treadle.arazzo.model import ReusableObject
from treadle.arazzo.rules.context import Checked
from treadle.errors import Diagnostic, Severity

RULE: Final = "unreachable-action"
SEVERITY: Final[Severity] = "warning"
CLAUSE: Final = "Step Object: onSuccess, onFailure"


def check(checked: Checked) -> Iterator[Diagnostic]:
    """Report the first action that is never taken, of every list."""
    components = checked.description.components
    for _, listed in checked.action_lists():
        taken = ""
        for item in listed:
            action = reusable(item.reference, components) if isinstance(item, ReusableObject) else item
            if taken:
                name = getattr(action, "name", "")
                message = f"the action `{name}` is never taken: `{taken}` before it has no criteria"
                hint = f"give `{taken}` criteria, or put it last"
                yield checked.finding(RULE, message, item.pointer, severity=SEVERITY, hint=hint)
                break
            if action is not None and not getattr(action, "criteria", ()) and getattr(action, "type", "") != "retry":
                taken = action.name
