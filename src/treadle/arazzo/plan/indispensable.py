"""Inputs that a request cannot do without, whatever the schema of the inputs says of them.

What is missing is left out of an object, a query and a header; in a path and inside a longer text it cannot be.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from treadle.arazzo.expressions import Context, EvaluationError, Template, nodes
from treadle.arazzo.plan.values import PlannedArgument, PlannedStep

__all__ = ["indispensable"]


def indispensable(step: PlannedStep, given: Collection[str]) -> Iterator[tuple[str, str]]:
    """Give each input without which the step's request cannot be built and that is not among those given.

    With it the JSON Pointer of the parameter that wants it, or of the step.
    """
    known: dict[str, Any] = dict.fromkeys(given, "text")
    for argument in step.arguments:
        if argument.location == "path" or _in_path_key(step, argument):
            for name in _named(argument.value):
                if name not in known:
                    known[name] = "text"
                    yield name, argument.pointer or step.pointer
    templates = [(each.value, each.pointer or step.pointer) for each in step.arguments]
    templates += [(step.payload, step.pointer)] if step.payload else []
    templates += [(each.value, step.pointer) for each in step.replacements]
    for template, pointer in templates:
        while name := _lacking(template, known):
            known[name] = "text"
            yield name, pointer


def _in_path_key(step: PlannedStep, argument: PlannedArgument) -> bool:
    """Tell whether a query parameter is spelled out in the path (dialect: a path key that has a query)."""
    placeholder = f"={{{argument.name}}}"
    return argument.location == "query" and step.operation is not None and placeholder in step.operation.path


def _named(template: Template) -> list[str]:
    return [each.name for each in template.expressions if isinstance(each, nodes.InputReference) and each.name]


def _lacking(template: Template, known: Mapping[str, Any]) -> str:
    """Give an input without which a template has no value, "" where it has one."""
    context = Context(inputs=known, steps=_Everything(_Everything("text")), workflows=_Everything(_Everything({})))
    try:
        template.evaluate(context)
    except EvaluationError as error:
        names = sorted(set(_named(template)) - known.keys())
        return next((name for name in names if f"$inputs.{name}" in error.expression), "")
    return ""


class _Everything(Mapping[str, Any]):
    """Has every name: outputs of which nothing is known but that they will be there."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __getitem__(self, name: str) -> Any:
        return self.value

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0
