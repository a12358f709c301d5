"""What a workflow or step depends on is there, is named once, and does not depend on it in turn (§1.4, §1.5)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from treadle.arazzo.model import Step, Workflow
from treadle.arazzo.rules.context import Checked
from treadle.arazzo.slips import close_to
from treadle.errors import Diagnostic, Severity

RULE: Final = "depends-on"
SEVERITY: Final[Severity] = "error"
CLAUSE: Final = "Workflow Object: dependsOn; Step Object: dependsOn"

_LOCAL_STEP = re.compile(r"\$workflows\.(?P<workflow>[^.]+)\.steps\.(?P<step>[^.]+)")
_FOREIGN_STEP = re.compile(r"\$sourceDescriptions\.[^.]+\.[^.]+\.steps\.[^.]+")


def check(checked: Checked) -> Iterator[Diagnostic]:
    """Report duplicates, unknown steps and circles. Unknown workflows are another rule's."""
    description = checked.description
    for workflow in description.workflows:
        yield from _twice(checked, workflow.depends_on, workflow.pointer)
        for step in workflow.steps:
            yield from _twice(checked, step.depends_on, step.pointer)
            yield from _unknown(checked, workflow, step)
        needs = {step.step_id: step.depends_on for step in workflow.steps}
        yield from _circles(checked, needs, {step.step_id: step.pointer for step in workflow.steps}, "step")
    needs = {workflow.workflow_id: workflow.depends_on for workflow in description.workflows}
    pointers = {workflow.workflow_id: workflow.pointer for workflow in description.workflows}
    yield from _circles(checked, needs, pointers, "workflow")


def _twice(checked: Checked, names: Sequence[str], pointer: str) -> Iterator[Diagnostic]:
    for index, name in enumerate(names):
        if name in names[:index]:
            yield checked.finding(RULE, f"`{name}` stands twice in this list", f"{pointer}/dependsOn/{index}")


def _unknown(checked: Checked, workflow: Workflow, step: Step) -> Iterator[Diagnostic]:
    for index, name in enumerate(step.depends_on):
        here = f"{step.pointer}/dependsOn/{index}"
        inner = _LOCAL_STEP.fullmatch(name)
        if _FOREIGN_STEP.fullmatch(name):
            continue
        if name.startswith("$") and inner is None:
            bare = name.removeprefix("$steps.")
            hint = f"write `{bare}`" if workflow.step(bare) else "write $workflows.<workflowId>.steps.<stepId>"
            yield checked.finding(RULE, f"`{name}` does not name a step", here, hint=hint)
            continue
        home = checked.description.workflow(inner["workflow"]) if inner else workflow
        wanted = inner["step"] if inner else name
        if home is None or home.step(wanted) is None:
            meant = close_to(wanted, [each.step_id for each in home.steps]) if home else ""
            hint = f"did you mean `{meant}`?" if meant else ""
            yield checked.finding(RULE, f"there is no step `{name}` to depend on", here, hint=hint)


def _circles(
    checked: Checked, needs: Mapping[str, Sequence[str]], pointers: Mapping[str, str], what: str
) -> Iterator[Diagnostic]:
    """Report each circle once, at the first of its members in the document."""
    done: set[str] = set()
    for start in needs:
        circle = _circle(start, needs) if start not in done else []
        if circle:
            done |= set(circle)
            message = f"the {what} `{start}` depends on itself: {' → '.join([*circle, start])}"
            yield checked.finding(RULE, message, f"{pointers[start]}/dependsOn", key=True)


def _circle(start: str, needs: Mapping[str, Sequence[str]]) -> list[str]:
    """Give the way from a name back to itself, or nothing."""
    came_from: dict[str, str] = {}
    waiting = [start]
    while waiting:
        name = waiting.pop()
        for needed in needs.get(name, ()):
            if needed == start:
                way = [name]
                while way[-1] != start:
                    way.append(came_from[way[-1]])
                return way[::-1]
            if needed in needs and needed not in came_from:
                came_from[needed] = name
                waiting.append(needed)
    return []
