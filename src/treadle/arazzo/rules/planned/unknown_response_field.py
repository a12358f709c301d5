"""What outputs and criteria read from an answer is something that the answer can have (§1.13 `$response.body#/…`).

Descriptions are often behind their servers, so this is certain only where the schema forbids other names, or the value
has no members at all; else it is said as a note, and as a warning where a described name is close to the one that is
read. Answers whose schema is not described say nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from treadle.arazzo.expressions import Expression
from treadle.arazzo.expressions.pointer import tokens_of
from treadle.arazzo.expressions.selectors import Selector
from treadle.arazzo.jsonpath import keys_of
from treadle.arazzo.location import find, join
from treadle.arazzo.rules.context import few
from treadle.arazzo.rules.planned.claims import body_path, is_body, variables
from treadle.arazzo.rules.planned.context import CheckedPlans, CheckedStep
from treadle.arazzo.rules.planned.shapes import ARRAY, OBJECT, Nowhere, look
from treadle.arazzo.slips import close_to
from treadle.errors import Diagnostic, Severity
from treadle.seams import MISSING, Schema

RULE: Final = "unknown-response-field"
SEVERITY: Final[Severity] = "warning"
CLAUSE: Final = "Runtime Expressions"

_IN_WORDS: Final = {ARRAY: "an array", "string": "a text", "boolean": "true or false"}


def check(checked: CheckedPlans) -> Iterator[Diagnostic]:
    """Report every place that no described answer has, once for each field that reads it."""
    for step in checked.steps:
        if not step.on_answer and not step.without_body:
            continue
        for path, pointer in dict.fromkeys((tuple(path), pointer) for path, pointer in _reads(step)):
            if step.without_body:
                message = f"`{'/'.join(map(str, path))}` reads a body, and an answer with {step.without_body} has none"
                yield step.checked.finding(RULE, message, pointer, severity=SEVERITY)
            else:
                yield from _missing(step, path, pointer)


def _reads(step: CheckedStep) -> Iterator[tuple[Sequence[object], str]]:
    """Give the paths into the body that are read when the step has succeeded, and where that is written."""
    for name, template in step.planned.outputs.items():
        if name not in step.written.outputs:
            continue  # others use it without a declaration
        pointer = join(step.written.pointer, "outputs", name)
        for expression in template.expressions:
            yield from _path(expression, pointer)
        for selector in template.selectors:
            yield from _selected(selector, f"{pointer}/selector")
    for criterion, claim in zip(step.written.success_criteria, step.success, strict=False):
        yield from ((each[1:], f"{criterion.pointer}/condition") for each in variables([claim]) if is_body(each))
    for action in step.on_success:
        for criterion, claim in zip(action.written.criteria, action.claims, strict=False):
            yield from ((each[1:], f"{criterion.pointer}/condition") for each in variables([claim]) if is_body(each))


def _path(expression: Expression, pointer: str) -> Iterator[tuple[Sequence[object], str]]:
    path = body_path(expression)
    if path:
        yield path, pointer


def _selected(selector: Selector, pointer: str) -> Iterator[tuple[Sequence[object], str]]:
    """Give the path of a Selector Object that is a plain one."""
    start = body_path(selector.context)
    keys = keys_of(selector.text) if selector.kind == "jsonpath" else None
    if selector.kind == "jsonpointer":
        keys = tokens_of(selector.text)
    if start is not None and keys:
        yield (*start, *keys), pointer


def _exemplified(schema: Schema, path: Sequence[object]) -> bool:
    """Tell whether an example has what is read: then the schema is behind its own description."""
    examples = schema.keywords.get("examples")
    pointer = join("", *(str(each) for each in path))
    return isinstance(examples, list) and any(find(each, pointer) is not MISSING for each in examples)


def _missing(step: CheckedStep, path: Sequence[object], pointer: str) -> Iterator[Diagnostic]:
    found = [None if _exemplified(schema, path) else look(schema, path) for schema in step.on_answer]
    nowhere = [each for each in found if isinstance(each, Nowhere)]
    if not nowhere or len(nowhere) < len(found):
        return
    first = nowhere[0]
    written = "/".join(str(each) for each in path)
    meant = next((name for each in nowhere if (name := close_to(each.token, each.names))), "")
    holder = next((each.holder for each in nowhere if each.holder != OBJECT), OBJECT)
    if holder == OBJECT:
        message = f"no described answer of this operation has `{first.token}`, which `{written}` reads"
    else:
        said = (
            f"{_IN_WORDS.get(holder, f'a {holder}')}, which has {'elements only' if holder == ARRAY else 'no members'}"
        )
        message = f"`{written}` reads `{first.token}` of what is described as {said}"
    names = [*dict.fromkeys(name for each in nowhere for name in each.names)]
    others = f"it has {few(names)}" if names else ""
    certain = meant or all(each.closed for each in nowhere)
    yield step.checked.finding(
        RULE,
        message,
        pointer,
        severity=SEVERITY if certain else "note",
        hint=f"did you mean `{meant}`?" if meant else others,
    )
