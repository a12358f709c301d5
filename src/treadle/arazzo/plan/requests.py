"""What a step gives its operation, held against what the operation's description takes (§1.6).

A request that cannot be built is an error. What a server may take all the same is a warning: descriptions are often
behind their servers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from treadle.arazzo import model
from treadle.arazzo.plan.documents import Part
from treadle.arazzo.plan.values import PlannedArgument
from treadle.arazzo.replacements import form_of
from treadle.arazzo.slips import did_you_mean
from treadle.seams import Operation, OperationParameter

__all__ = ["check_media_type", "check_parameters", "check_path", "check_payload", "mended"]

# OpenAPI, Parameter Object: header parameters of these names are ignored. The last one has one value only, which the
# source fills in.
_NOT_DECLARED: Final = frozenset({"accept", "content-type", "authorization", "x-amz-target"})


def mended(part: Part, operation: Operation, arguments: Sequence[PlannedArgument]) -> tuple[PlannedArgument, ...]:
    """Give the arguments with each path parameter that nothing fills taken from the one that was clearly meant for it.

    Without it the request cannot be built at all, so nothing that works is changed by this.
    """
    made = list(arguments)
    for declared in _of_path(operation):
        if any(_key(each.location, each.name) == _key(declared.location, declared.name) for each in made):
            continue
        place = _meant_for(declared, operation, made)
        if place is not None:
            written = made[place]
            made[place] = replace(written, name=declared.name, location=declared.location)
            part.lenient(
                "path-parameter",
                f"the {written.location} parameter {written.name!r} is taken as the "
                f"{declared.location} parameter {declared.name!r}",
                written.pointer,
                hint=f"write {{name: {declared.name}, in: {declared.location}}}",
            )
    return tuple(made)


_TEMPLATE: Final = re.compile(r"\{([^{}/?]+?)\+?\}")


def check_path(part: Part, operation: Operation) -> None:
    """Report, once for a source, what paths of OpenAPI do not have."""
    source = part.description.source(operation.source.rpartition("/")[2])
    if source is None:
        return
    if "#" in operation.path or "?" in operation.path:
        message = f"the source {source.name!r} tells operations apart by what follows # or ? in their paths"
        part.lenient("path-key-fragment", message, f"{source.pointer}/url", once=True)
    if "+}" in operation.path:
        message = f"the source {source.name!r} has path parameters with a +, whose slashes stay as they are"
        part.lenient("greedy-path-parameter", message, f"{source.pointer}/url", once=True)


def _of_path(operation: Operation) -> list[OperationParameter]:
    """Give the parameters that the path names, and its query: as they are declared, where they are."""
    declared = {_key(each.location, each.name): each for each in operation.parameters}
    path, _, query = operation.path.partition("?")
    named = [OperationParameter(name, "path", required=True) for name in _TEMPLATE.findall(path)]
    named += [OperationParameter(name, "query", required=True) for name in _TEMPLATE.findall(query)]
    by_key = {_key(each.location, each.name): each for each in named}
    return [declared.get(key, each) for key, each in by_key.items()]


def _meant_for(declared: OperationParameter, operation: Operation, made: Sequence[PlannedArgument]) -> int | None:
    """Find the only argument that no parameter is declared for and whose name is the same but for its spelling."""
    known = {_key(each.location, each.name) for each in operation.parameters}
    alike = [
        place
        for place, each in enumerate(made)
        if each.location is not None
        and _key(each.location, each.name) not in known
        and _bare(each.name) == _bare(declared.name)
    ]
    return alike[0] if len(alike) == 1 else None


def _bare(name: str) -> str:
    return re.sub(r"[-_+\s]", "", name).casefold()


def check_parameters(part: Part, step: model.Step, operation: Operation, arguments: Sequence[PlannedArgument]) -> None:
    """Report parameters that the operation needs and does not get, and those that it does not know."""
    given = {_key(each.location, each.name) for each in arguments}
    whole_query = any(each.location == "querystring" for each in arguments)
    others = [each for each in operation.parameters if each.location != "path"]
    known = {_key(each.location, each.name): each for each in (*others, *_of_path(operation))}
    for key, declared in known.items():
        if declared.required and key not in given:
            if declared.location == "header" and declared.name.lower() in _NOT_DECLARED:
                continue
            if declared.location in {"query", "querystring"} and whole_query:
                continue
            _missing(part, step, operation, declared)
    for argument in arguments:
        if argument.location == "querystring":
            continue  # it is the whole query, whatever its name
        if argument.location and argument.name and _key(argument.location, argument.name) not in known:
            _unknown(part, operation, argument)


def _key(location: str | None, name: str) -> tuple[str | None, str]:
    """Give what two parameters have in common that are the same; `{Key+}` is the parameter `Key` (dialect)."""
    if location == "path":
        return location, name.removesuffix("+")
    return location, name.lower() if location == "header" else name


def _missing(part: Part, step: model.Step, operation: Operation, declared: OperationParameter) -> None:
    part.report(
        "missing-parameter",
        f"the operation {_name(operation)!r} needs the {declared.location} parameter {declared.name!r}",
        step.pointer,
        severity="error" if declared.location == "path" else "warning",
        hint=f"add to `parameters`: {{name: {declared.name}, in: {declared.location}, value: …}}",
    )


def _unknown(part: Part, operation: Operation, argument: PlannedArgument) -> None:
    """Report a parameter that is not described. Headers are often not, so only one that looks misspelt is said."""
    here = [each.name for each in operation.parameters if each.location == argument.location]
    elsewhere = [each.location for each in operation.parameters if each.name == argument.name]
    meant = did_you_mean(argument.name, here)
    if argument.location == "header" and not meant and not elsewhere:
        return
    hint = f"it is described with `in: {elsewhere[0]}`" if elsewhere else meant
    is_path = argument.location == "path"
    part.report(
        "unknown-parameter",
        f"the operation {_name(operation)!r} has no {argument.location} parameter {argument.name!r}"
        + ("" if is_path else "; it is sent all the same"),
        argument.pointer,
        severity="error" if is_path else "warning",
        hint=hint,
    )


def check_media_type(part: Part, body: model.RequestBody, operation: Operation) -> None:
    """Report a content type that the operation does not take. Media type parameters (`charset`) do not count."""
    types = operation.request_media_types
    if body.content_type is None or body.content_type.startswith(("$", "{")):
        return
    stated = _plain(body.content_type)
    if not types or any(_takes(_plain(each), stated) for each in types):
        return
    part.report(
        "unknown-media-type",
        f"the operation {_name(operation)!r} takes {', '.join(types)}, not {body.content_type}",
        f"{body.pointer}/contentType",
        severity="warning",
    )


def check_payload(part: Part, body: model.RequestBody, media_type: str) -> None:
    """Report an object or list under a media type that cannot carry one: the request could never be built."""
    plain = _plain(media_type)
    is_form = form_of(plain) == "form" or plain.startswith("multipart/")
    written = body.payload
    if not isinstance(written, list if is_form else (dict, list)) or (not is_form and form_of(plain) != "other"):
        return
    part.report(
        "unsendable-payload",
        f"{'a list' if isinstance(written, list) else 'an object'} cannot be sent as {media_type}",
        f"{body.pointer}/payload",
        hint="give an object" if is_form else "give the payload as text, or name a JSON media type in `contentType`",
    )


def _plain(media_type: str) -> str:
    return media_type.partition(";")[0].strip().lower()


def _takes(described: str, stated: str) -> bool:
    kind, _, subtype = described.partition("/")
    return described in {"*/*", stated} or (subtype.startswith("*") and stated.startswith(f"{kind}/"))


def _name(operation: Operation) -> str:
    return operation.operation_id or f"{operation.method} {operation.path}"
