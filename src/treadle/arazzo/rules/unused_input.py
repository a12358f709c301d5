"""An input that a workflow declares is used by it, or handed on by name (§1.4 `inputs`).

Inputs go on by their names alone in two cases: to the workflows of `dependsOn`, and to the target of a goto or retry
that leads to a workflow (1.0 has no other way to give it any).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from treadle.arazzo.effective import reusable
from treadle.arazzo.location import join
from treadle.arazzo.model import ReusableObject, Workflow
from treadle.arazzo.rules.context import Checked, texts
from treadle.errors import Diagnostic, Severity
from treadle.seams import Json

RULE: Final = "unused-input"
SEVERITY: Final[Severity] = "note"
CLAUSE: Final = "Workflow Object: inputs"

_MENTION: Final = re.compile(r"\$inputs(?:\.([A-Za-z0-9_\-.]+)|\['([^']+)'\]|(?P<whole>\b))")
_FROM_OUTSIDE: Final = re.compile(r"\$workflows\.(.+?)\.inputs\b")
_PLAIN: Final = re.compile(r"[A-Za-z0-9_\-.]+")


def check(checked: Checked) -> Iterator[Diagnostic]:
    """Report inputs that nothing in the document mentions."""
    if not any(_declared(workflow) for workflow in checked.description.workflows):
        return
    shared = _Mentions(checked.document.find("/components"))
    shown = {each[1] for _, text in texts(checked.document.value) for each in _FROM_OUTSIDE.finditer(text)}
    for workflow in checked.description.workflows:
        declared = _declared(workflow)
        if not declared or workflow.workflow_id in shown:
            continue
        own = _Mentions(checked.document.find(workflow.pointer))
        if own.whole or shared.whole:
            continue
        handed_on = _handed_on(checked, workflow)
        for name in declared:
            if name not in handed_on and not own.has(name) and not shared.has(name):
                yield checked.finding(
                    RULE,
                    f"the input `{name}` of the workflow `{workflow.workflow_id}` is never used",
                    join(workflow.pointer, "inputs", "properties", name),
                    severity=SEVERITY,
                    hint=f"write $inputs.{name} where its value is wanted, or take it out",
                    key=True,
                )


def _declared(workflow: Workflow) -> list[str]:
    """Give the inputs that the workflow declares itself: those of a `$ref` are shared, and need not all be used."""
    properties = workflow.inputs.get("properties") if isinstance(workflow.inputs, dict) else None
    return list(properties) if isinstance(properties, dict) else []


def _handed_on(checked: Checked, workflow: Workflow) -> set[str]:
    """Give the names that other workflows take over from this one."""
    targets = set(workflow.depends_on)
    lists = [workflow.success_actions, workflow.failure_actions]
    lists += [each for step in workflow.steps for each in (step.on_success, step.on_failure)]
    for action in (each for listed in lists for each in listed):
        found = (
            reusable(action.reference, checked.description.components) if isinstance(action, ReusableObject) else action
        )
        target = getattr(found, "workflow_id", None)
        if target is not None:
            targets.add(target)
    names: set[str] = set()
    for target in targets:
        other = checked.workflows.get(target)
        # Another document's workflow is not looked at here: what it takes over is not known.
        names |= set(_declared(workflow if other is None else other))
    return names


class _Mentions:
    """The inputs that the texts of a value mention; `whole` when they are mentioned as one object."""

    def __init__(self, value: Json) -> None:
        self._texts = [text for _, text in texts(value) if "$inputs" in text]
        self._names: set[str] = set()
        self.whole = False
        for text in self._texts:
            for match in _MENTION.finditer(text):
                self.whole = self.whole or match["whole"] is not None
                parts = (match[1] or "").split(".")
                self._names |= {match[2] or "", *(".".join(parts[: end + 1]) for end in range(len(parts)))}

    def has(self, name: str) -> bool:
        """Tell whether an input is mentioned. A name of odd characters is looked for as it stands."""
        return name in self._names or (
            not _PLAIN.fullmatch(name) and any(f"$inputs.{name}" in text for text in self._texts)
        )
