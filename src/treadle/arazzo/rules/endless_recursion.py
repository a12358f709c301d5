"""A workflow that calls itself comes to an end (§1.5 `workflowId`, §1.7 goto to a workflow).

Arazzo has no bound for nested workflows. What is found here is certain: on every way through the workflow it is begun
again before it ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from treadle.arazzo.model import FailureAction, SuccessAction, Workflow
from treadle.arazzo.rules.context import Checked
from treadle.arazzo.rules.flow import OUT, Flow, always
from treadle.errors import Diagnostic, Severity

RULE: Final = "endless-recursion"
SEVERITY: Final[Severity] = "error"
CLAUSE: Final = "Step Object: workflowId"


def check(checked: Checked) -> Iterator[Diagnostic]:
    """Report workflows that can never end, because they run themselves on every way.

    A loop inside of one workflow is another rule's: what is looked for here is a way to the end that uses each call of
    a workflow only if that workflow has such a way itself.
    """
    flows = {flow.workflow.workflow_id: flow for flow in checked.flows}
    calls = {name: {each for each in _calls(flow.workflow) if each in flows} for name, flow in flows.items()}
    circular = _circular(calls)
    never = _never_ending(flows, calls, circular) if circular else set()
    for name, flow in flows.items():
        if name in never:
            message = f"the workflow `{name}` runs itself again on every way through it, and never ends"
            hint = "let a step before that end the workflow when a criterion holds"
            pointer = f"{flow.workflow.pointer}/workflowId"
            yield checked.finding(RULE, message, pointer, hint=hint)


def _circular(calls: Mapping[str, set[str]]) -> set[str]:
    """Give what is left when those that call nothing, or that nothing calls, are taken away again and again."""
    left = set(calls)
    callers = _reversed(calls)
    for ways, others in ((calls, callers), (callers, calls)):
        count = {name: len(ways[name] & left) for name in left}
        waiting = [name for name in left if not count[name]]
        while waiting:
            gone = waiting.pop()
            left.discard(gone)
            for each in others[gone] & left:
                count[each] -= 1
                if not count[each]:
                    waiting.append(each)
    return left


def _reversed(calls: Mapping[str, set[str]]) -> dict[str, set[str]]:
    callers: dict[str, set[str]] = {name: set() for name in calls}
    for name, called in calls.items():
        for each in called:
            callers[each].add(name)
    return callers


def _never_ending(flows: Mapping[str, Flow], calls: Mapping[str, set[str]], circular: set[str]) -> set[str]:
    """Give the circular workflows that have no way to an end: the least fixed point, taken from the set."""
    never = set(circular)
    callers = _reversed(calls)
    waiting = list(circular)
    while waiting:
        name = waiting.pop()
        if name in never and _ends(flows[name], never):
            never.discard(name)
            waiting += callers[name] & never
    return never


def _ends(flow: Flow, never: set[str]) -> bool:
    """Tell whether there is a way from the first step out of the workflow that needs none of these workflows."""
    steps = {step.step_id: step for step in flow.workflow.steps}
    waiting = [step.step_id for step in flow.workflow.steps[:1]]
    seen = set(waiting)
    while waiting:
        step_id = waiting.pop()
        if steps[step_id].workflow_id in never:
            continue
        for target in _targets(flow, step_id, never):
            if target not in steps:
                return True
            if target not in seen:
                seen.add(target)
                waiting.append(target)
    return not flow.workflow.steps


def _targets(flow: Flow, step_id: str, never: set[str]) -> Iterator[str]:
    """Give where a step leads to; to another workflow is a way out only if that one ends."""
    holds = flow.holds[step_id]
    last = always(holds)
    possible = holds.on_success[: holds.on_success.index(last) + 1] if last else holds.on_success
    failing = (each for each in holds.on_failure if each.type != "retry")
    actions: list[SuccessAction | FailureAction] = [*possible, *failing]
    elsewhere = {each.workflow_id for each in actions if each.type == "goto" and each.workflow_id}
    yield from flow.leads[step_id] - {OUT}
    if OUT in flow.leads[step_id]:
        onwards = last is None and step_id == flow.workflow.steps[-1].step_id
        ends = onwards or any(each.type == "end" for each in actions)
        if ends or elsewhere - never:
            yield OUT


def _calls(workflow: Workflow) -> Iterator[str]:
    for step in workflow.steps:
        if step.workflow_id is not None:
            yield step.workflow_id
        for action in (*step.on_success, *step.on_failure):
            target = getattr(action, "workflow_id", None)
            if target is not None:
                yield target
