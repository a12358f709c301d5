"""What holds for a step in the end: its own parameters and actions, those of its workflow, references filled in.

§1.4: what stands at the workflow applies to every step and "can be overridden at the step level but cannot be removed
there". So parameters are merged by name and place, actions by name: the step's own come first in their order, then
those of the workflow that it does not override.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from treadle.arazzo.model import (
    Components,
    FailureAction,
    Parameter,
    ReusableObject,
    Step,
    SuccessAction,
    Workflow,
)
from treadle.seams import MISSING

__all__ = ["Effective", "effective", "expand_parameters", "parameter_key", "reusable", "sole_outputs"]

_T = TypeVar("_T")

_SECTIONS = {"parameters": "parameters", "successActions": "success_actions", "failureActions": "failure_actions"}


@dataclass(frozen=True, slots=True)
class Effective:
    """The parameters and actions that hold for one step. References that lead nowhere are left out: a rule reports."""

    parameters: tuple[Parameter, ...]
    on_success: tuple[SuccessAction, ...]
    on_failure: tuple[FailureAction, ...]


def effective(step: Step, workflow: Workflow, components: Components) -> Effective:
    """Merge what stands at the step with what stands at its workflow, reusable objects expanded.

    A parameter of the workflow that has no `in` can only be meant for the steps that call workflows.
    """
    calls_workflow = step.workflow_id is not None
    inherited = expand_parameters(workflow.parameters, components)
    return Effective(
        parameters=_merged(
            expand_parameters(step.parameters, components),
            (parameter for parameter in inherited if calls_workflow or parameter.in_ is not None),
            key=lambda parameter: parameter_key(parameter, for_workflow=calls_workflow),
        ),
        on_success=_merged(
            _expanded(step.on_success, SuccessAction, components),
            _expanded(workflow.success_actions, SuccessAction, components),
            key=lambda action: action.name,
        ),
        on_failure=_merged(
            _expanded(step.on_failure, FailureAction, components),
            _expanded(workflow.failure_actions, FailureAction, components),
            key=lambda action: action.name,
        ),
    )


def parameter_key(parameter: Parameter, *, for_workflow: bool = False) -> Hashable:
    """Give what makes a parameter the same as another: its name and place.

    Header names compare without case; where a workflow is called every parameter is an input, whatever its place.
    """
    if for_workflow:
        return parameter.name
    return (parameter.name.lower() if parameter.in_ == "header" else parameter.name, parameter.in_)


def expand_parameters(
    parameters: Iterable[Parameter | ReusableObject], components: Components
) -> tuple[Parameter, ...]:
    """Replace references by the components that they name; a reference's own `value` overrides.

    The pointer of an overridden parameter is the reference's, so that `pointer + "/value"` is where the value stands.
    """
    return _expanded(parameters, Parameter, components)


def sole_outputs(workflow: Workflow, called: Collection[str]) -> dict[str, str]:
    """Give the outputs that one step of a workflow alone declares, with that step; not those of `called` workflows."""
    declared = [(name, step.step_id) for step in workflow.steps for name in step.outputs]
    times = Counter(name for name, _ in declared)
    return {name: step_id for name, step_id in declared if times[name] == 1 and name not in called}


def reusable(reference: str, components: Components) -> Parameter | SuccessAction | FailureAction | None:
    """Give the component that `$components.<section>.<key>` names, or None."""
    section, _, key = reference.removeprefix("$components.").partition(".")
    if not reference.startswith("$components.") or section not in _SECTIONS:
        return None
    found: Mapping[str, Any] = getattr(components, _SECTIONS[section])
    return found.get(key)


def _expanded(items: Iterable[Any], kind: type[_T], components: Components) -> tuple[_T, ...]:
    expanded: list[_T] = []
    for item in items:
        found = reusable(item.reference, components) if isinstance(item, ReusableObject) else item
        if isinstance(item, ReusableObject) and isinstance(found, Parameter) and item.value is not MISSING:
            found = msgspec.structs.replace(found, value=item.value, pointer=item.pointer)
        if isinstance(found, kind):
            expanded.append(found)
    return tuple(expanded)


def _merged(own: Iterable[_T], inherited: Iterable[_T], *, key: Callable[[_T], Hashable]) -> tuple[_T, ...]:
    own = tuple(own)
    taken = {key(each) for each in own}
    return (*own, *(each for each in inherited if key(each) not in taken))
