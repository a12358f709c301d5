"""Which operation a step means: `operationId` and `operationPath` against the sources of its document (§1.5)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from treadle.arazzo import model
from treadle.arazzo.plan.documents import OpenedSource, Part
from treadle.arazzo.slips import did_you_mean
from treadle.errors import DescriptionError, Diagnostic
from treadle.seams import Operation

__all__ = ["find_operation", "path_of", "path_source", "source_name"]

Found = tuple[str, OpenedSource]

_MOST_NAMED: Final = 3


def find_operation(part: Part, step: model.Step, parameters: Sequence[model.Parameter]) -> Operation | None:
    """Find the operation of a step; what stands in the way is reported."""
    found = None
    try:
        if step.operation_id is not None:
            found = _by_id(part, step, parameters)
        elif step.operation_path is not None:
            found = _by_path(part, step)
    except DescriptionError as error:  # the operation is there, and its description is broken
        for each in error.diagnostics:
            part.findings.add(each)
    for each in found.notes if found is not None else ():
        part.findings.add(each)
    return found


def _by_id(part: Part, step: model.Step, parameters: Sequence[model.Parameter]) -> Operation | None:
    """Find an operation by `operationId`: qualified, or in all sources that describe operations."""
    written = step.operation_id or ""
    pointer = f"{step.pointer}/operationId"
    name, operation_id = part.qualified(written)
    if not name and written.startswith(("$sourceDescriptions.", "{$sourceDescriptions.")):
        return None  # there is no such source: a rule says so
    described = (each.name for each in part.description.source_descriptions if each.type not in {"arazzo", "asyncapi"})
    candidates = [name] if name else list(described)
    found: list[Found] = [(each, opened) for each in candidates if (opened := part.source(each)) is not None]
    matches = [
        (each, opened, operation)
        for each, opened in found
        if opened.source is not None
        for operation in opened.source.find(operation_id)
    ]
    readable = [match for match in matches if match[1].problem is None]
    matches = readable or matches or _in_another_case(part, operation_id, found, pointer)
    if not matches:
        _unresolved(part, step, operation_id, found, pointer)
        return None
    if not readable and len({opened.base_url for _, opened, _ in matches}) == 1:
        # Nobody can tell which of the unread sources has the operation, and all are called at the same place.
        matches = matches[:1]
    if len(matches) > 1:
        places = ", ".join(f"{each}: {operation.method} {operation.path}" for each, _, operation in matches)
        hint = f"write $sourceDescriptions.<name>.{operation_id}, or mend the API description"
        message = f"the operationId {operation_id!r} is not unique: {places}"
        part.report("ambiguous-operation", message, pointer, hint=hint)
        return None
    chosen, opened, operation = matches[0]
    if opened.problem is not None:
        return _spelled_out(part, step, parameters, (chosen, opened), operation)
    taken = ""
    if not name and len(candidates) > 1:
        taken = f"there are {len(candidates)} sources; {operation_id!r} was found in {chosen!r} only"
    elif name and not written.startswith("$"):
        taken = f"{written!r} is taken as the operation {operation_id!r} of the source {name!r}"
    if taken:
        hint = f"write $sourceDescriptions.{chosen}.{operation_id}"
        part.lenient("unqualified-operation-id", taken, pointer, hint=hint)
    return operation


def _in_another_case(
    part: Part, operation_id: str, found: Sequence[Found], pointer: str
) -> list[tuple[str, OpenedSource, Operation]]:
    """Find the only operation whose id is the same but for capital letters."""
    same = [
        (name, opened, operation)
        for name, opened in found
        if opened.source is not None and opened.problem is None
        for operation in opened.source.operations()
        if operation.operation_id.casefold() == operation_id.casefold()
    ]
    if len(same) != 1:
        return []
    known = same[0][2].operation_id
    part.lenient(
        "operation-id-case", f"{operation_id!r} is taken as {known!r}; names have case", pointer, hint=f"write {known}"
    )
    return same


def _spelled_out(
    part: Part, step: model.Step, parameters: Sequence[model.Parameter], found: Found, operation: Operation
) -> Operation | None:
    """Use a source that could not be read, for a step that says everything itself."""
    name, opened = found
    problem = opened.problem
    pointer = f"{step.pointer}/operationId"
    if not any(each.in_ == "header" and each.name.lower() == "x-amz-target" for each in parameters):
        part.report(
            "source-unreadable",
            f"the source {name!r} cannot be read, and the step {step.step_id!r} does not spell its request out",
            pointer,
            hint=problem.message if problem else "",
        )
        return None
    part.lenient(
        "source-unreadable",
        f"the source {name!r} cannot be read; the step {step.step_id!r} is sent as it is spelled out, "
        f"POST {opened.base_url}",
        pointer,
        hint=problem.message if problem else "",
    )
    return operation


def _unresolved(part: Part, step: model.Step, operation_id: str, found: Sequence[Found], pointer: str) -> None:
    """Report an operation that is in no source."""
    problems: list[Diagnostic] = [each.problem for _, each in found if each.source is None and each.problem]
    if problems:
        for problem in problems:
            part.findings.add(replace(problem, severity="error"))
        return
    ids = [each.operation_id for _, opened in found if opened.source for each in opened.source.operations()]
    names = ", ".join(name for name, _ in found)
    where = f"which is not in {names}" if names else "and the document names no description of an API"
    where += _as_far_as_read(part, found)
    part.report(
        "unknown-operation",
        f"the step {step.step_id!r} needs the operation {operation_id!r}, {where}",
        pointer,
        hint=did_you_mean(operation_id, ids),
    )


def _as_far_as_read(part: Part, found: Sequence[Found]) -> str:
    """Say what could not be read of the sources, for the operation may stand there; each place is warned of, too."""
    unread = [each for _, opened in found if opened.source for each in opened.source.unread]
    for each in unread:
        part.findings.add(each)
    more = f", and {len(unread) - _MOST_NAMED} more" if len(unread) > _MOST_NAMED else ""
    return "".join(f"; {each.message}" for each in unread[:_MOST_NAMED]) + more


def _by_path(part: Part, step: model.Step) -> Operation | None:
    """Find an operation by `operationPath`: the source, then a JSON Pointer into it."""
    written = step.operation_path or ""
    pointer = f"{step.pointer}/operationPath"
    head, _, fragment = written.partition("#")
    opened = part.source(source_name(head))
    found = opened.source.at(fragment) if opened is not None and opened.source is not None else None
    if found is None:
        meant = _meant(part, written)
        if len(meant) == 1:
            message = f"{written!r} is taken as {meant[0].method} {meant[0].path}"
            part.lenient("loose-operation-path", message, pointer, hint=f"write {path_of(meant[0])}")
            return meant[0]
        one_of = f"write one of {', '.join(path_of(each) for each in meant)}" if meant else ""
        _nowhere(part, written, pointer, one_of)
        return None
    path_source(part, written, pointer, _FORM)
    return found if opened is not None and opened.problem is None else None


_FORM: Final = "'{$sourceDescriptions.<name>.url}#/paths/~1pets/get'"


def _nowhere(part: Part, written: str, pointer: str, hint: str) -> None:
    """Report an `operationPath` that leads to no operation, and why."""
    named = path_source(part, written, pointer, _FORM, hint)
    if named is None:
        return
    name, fragment = named
    opened = part.source(name)
    if opened is not None and opened.problem is not None:
        part.findings.add(replace(opened.problem, severity="error"))
    elif opened is not None and opened.source is not None:
        paths = [path_of(each).partition("#")[2] for each in opened.source.operations()]
        part.report(
            "unknown-operation",
            f"the source {name!r} has no operation at {fragment!r}" + _as_far_as_read(part, [(name, opened)]),
            pointer,
            hint=hint or did_you_mean(fragment, paths),
        )
    else:
        part.report("unknown-operation", f"the source {name!r} describes no operations over HTTP", pointer)


def path_source(part: Part, written: str, pointer: str, form: str, hint: str = "") -> tuple[str, str] | None:
    """Give the source and the fragment of an `operationPath` or `channelPath`, in any of the forms people write."""
    head, hash_sign, fragment = written.partition("#")
    name = source_name(head)
    if not hash_sign or name not in part.source_fields:
        message = f"{written!r} does not name a source and a place in it"
        part.report("operation-path", message, pointer, hint=hint or f"the form is {form}")
        return None
    if head != f"{{$sourceDescriptions.{name}.url}}":
        proper = f"{{$sourceDescriptions.{name}.url}}"
        message = f"{head!r} is taken as the source {name!r}"
        part.lenient("operation-path-unbraced", message, pointer, hint=f"write {proper}#{fragment}")
    return name, fragment


def path_of(operation: Operation) -> str:
    """Give the `operationPath` of an operation, as the specification has it."""
    path = operation.path.replace("~", "~0").replace("/", "~1")
    return f"{{$sourceDescriptions.{operation.source}.url}}#/paths/{path}/{operation.method.lower()}"


def source_name(head: str) -> str:
    """Give the name of a source from what stands before the `#` of a path: `{$sourceDescriptions.pets.url}`."""
    return head.strip("{}").removeprefix("$sourceDescriptions.").removesuffix(".url")


_LOOSE: Final = re.compile(
    r"(?:(?P<verb>[A-Za-z]+)\s+)?(?P<head>\{[^{}]*\}|\$[\w.-]+)?[.#]*(?:(?P<method>[A-Za-z]+)\s+)?(?:/paths(?=/))?(?P<path>/.*)"
)
_METHODS: Final = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace", "query"})


def _meant(part: Part, written: str) -> list[Operation]:
    """Find what `GET /pets`, `GET {pets}./pets`, `/pets` or a pointer with bare slashes can mean."""
    found = _LOOSE.fullmatch(written.strip())
    if found is None:
        return []
    path = found["path"].replace("~1", "/").replace("~0", "~").replace("//", "/")
    method = (found["verb"] or found["method"] or "").lower()
    wanted = {(path, method)}
    start, _, end = path.rpartition("/")
    if not method and end.lower() in _METHODS:
        wanted.add((start, end.lower()))
    return [
        each
        for name in ([source_name(found["head"])] if found["head"] else part.source_fields)
        if (opened := part.source(name)) is not None and opened.source is not None and opened.problem is None
        for each in opened.source.operations()
        if wanted & {(each.path, each.method.lower()), (each.path, "")}
    ]
