"""An operation that has an operationId is named by it (§1.5: it "SHOULD be preferred" to an `operationPath`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from treadle.arazzo.rules.planned.context import CheckedPlans
from treadle.errors import Diagnostic, Severity

RULE: Final = "prefer-operation-id"
SEVERITY: Final[Severity] = "note"
CLAUSE: Final = "Step Object: operationPath"


def check(checked: CheckedPlans) -> Iterator[Diagnostic]:
    """Report paths to operations that could be named."""
    for step in checked.steps:
        operation = step.planned.operation
        if step.written.operation_path is None or operation is None or not operation.operation_id:
            continue
        message = f"this operation has an operationId, `{operation.operation_id}`, which outlives a change of its path"
        several = len(step.checked.description.source_descriptions) > 1
        name = f"$sourceDescriptions.{operation.source}.{operation.operation_id}" if several else operation.operation_id
        pointer = f"{step.written.pointer}/operationPath"
        yield step.checked.finding(RULE, message, pointer, severity=SEVERITY, hint=f"write operationId: {name}")
