"""What a description must keep beyond its structure: one rule per file, its clause in the docstring.

Each module has `RULE`, the name that its diagnostics carry, and `check`, which yields them. What needs the described
APIs (operations, their parameters) or the meaning of expressions is the planner's.
"""

from __future__ import annotations

from types import ModuleType
from typing import Final

from treadle.arazzo.location import Document
from treadle.arazzo.model import Description
from treadle.arazzo.rules import (
    criterion_context,
    depends_on,
    duplicate_action,
    duplicate_id,
    duplicate_parameter,
    endless_loop,
    endless_recursion,
    input_schema,
    name_pattern,
    number_range,
    parameter_place,
    plain_secret,
    step_target,
    unknown_component,
    unknown_source,
    unknown_step,
    unknown_workflow,
    unreachable_action,
    unreachable_step,
    unused_input,
)
from treadle.arazzo.rules.context import Checked
from treadle.errors import Diagnostic

__all__ = ["ALL", "Checked", "check"]

ALL: Final[tuple[ModuleType, ...]] = (
    duplicate_id,
    name_pattern,
    step_target,
    unknown_source,
    unknown_workflow,
    unknown_step,
    unknown_component,
    duplicate_parameter,
    parameter_place,
    duplicate_action,
    criterion_context,
    depends_on,
    endless_loop,
    endless_recursion,
    unreachable_step,
    unreachable_action,
    number_range,
    input_schema,
    unused_input,
    plain_secret,
)


def check(
    description: Description, document: Document, *, strict: bool = False, off: frozenset[str] = frozenset()
) -> list[Diagnostic]:
    """Check every rule and give what is wrong, in the order of the document.

    `off` names dialect rules (`rules.dialect`): what they allow is an error then. `strict` switches off all of them.
    """
    checked = Checked(description, document, strict, off)
    found = [finding for rule in ALL for finding in rule.check(checked)]
    return sorted(found, key=lambda each: (each.place.line, each.place.column) if each.place else (0, 0))
