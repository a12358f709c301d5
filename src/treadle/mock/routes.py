"""Which operation a request means, and what is wrong with the request.

Operations of AWS's JSON protocols share `POST /` and are told apart by `X-Amz-Target`; some descriptions tell
operations apart by constants in the query (`/{Bucket}?acl`). Of several operations that fit, the one that says most
about the request is meant.

A request is held to what the description says, as far as the document itself keeps to it: a required parameter that no
step gives, or a media type that only the document knows, is the document's affair and is said by `treadle check`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from treadle.arazzo.expressions import Context, EvaluationError, nodes
from treadle.arazzo.plan import Plan, PlannedArgument, PlannedStep, PlannedWorkflow
from treadle.errors import DescriptionError
from treadle.mock.patterns import compiled
from treadle.seams import MISSING, Operation, OperationParameter, Request
from treadle.sources.bodies import is_json
from treadle.sources.paths import Placeholder, parse_path_key
from treadle.sources.reads import AMZ_TARGET

__all__ = ["Route", "Routes"]


@dataclass(frozen=True)
class Route:
    """An operation with where it is served. `uses` are the steps that call it, with their workflows."""

    operation: Operation
    prefix: str
    amz_target: str
    uses: tuple[tuple[PlannedWorkflow, PlannedStep], ...]

    @property
    def label(self) -> str:
        """Name it for people."""
        method, path = self.operation.method, self.operation.path.partition("#")[0]
        target = f" ({AMZ_TARGET}: {self.amz_target})" if self.amz_target else ""
        return f"{method} {self.prefix}{path}{target}"

    @cached_property
    def _pattern(self) -> Any:
        key = parse_path_key(self.operation.path)
        parts = [_placeholder(part) if isinstance(part, Placeholder) else re.escape(part) for part in key.path]
        text = "".join(parts)
        # A key without a path is the server itself, whose path is never empty on the wire (RFC 9112, section 3.2.1).
        return compiled(text if text.startswith("/") else f"/{text}")

    @cached_property
    def _constants(self) -> Mapping[str, str | None]:
        """The members of the query that the path key spells out; None where their value does not matter."""
        found: dict[str, str | None] = {}
        for name, parts in parse_path_key(self.operation.path).query:
            fixed = parts is None or all(isinstance(part, str) for part in parts)
            found[unquote(name)] = unquote("".join(str(part) for part in parts or ())) if fixed else None
        return found

    @cached_property
    def weight(self) -> tuple[int, int, int]:
        """How much the route says about a request that fits."""
        key = parse_path_key(self.operation.path)
        literal = sum(len(part) for part in key.path if isinstance(part, str))
        return (int(bool(self.amz_target)), len(self._constants), literal)

    def fits_path(self, path: str) -> bool:
        """Tell whether a path, without its prefix, is the operation's."""
        texts = (each.encode("utf-8", "replace") for each in (path, unquote(path)))
        return any(self._pattern is not None and self._pattern.fullmatch(each) for each in texts)

    def fits(self, request: Request, path: str, query: Mapping[str, str]) -> bool:
        """Tell whether the operation is meant."""
        if request.method != self.operation.method or not self.fits_path(path):
            return False
        if self.amz_target and request.header(AMZ_TARGET) != self.amz_target:
            return False
        return all(name in query and (value is None or query[name] == value) for name, value in self._constants.items())

    # -- what is wrong ------------------------------------------------------------------------------------------------

    def problem(self, request: Request) -> str:
        """Say what is wrong with a request, "" where nothing is."""
        return next(self._problems(request), "")

    def _problems(self, request: Request) -> Iterator[str]:
        query = dict(parse_qsl(urlsplit(request.url).query, keep_blank_values=True))
        cookies = _cookies(request.header("cookie") or "")
        for each in self.insisted:
            present = {
                "query": any(name == each.name or name.startswith(f"{each.name}[") for name in query)
                or _exploded(each),
                "header": request.header(each.name) is not None,
                "cookie": each.name in cookies,
            }
            if not present.get(each.location, True):
                yield f"the required {each.location} parameter {each.name!r} is missing"
        if not request.body:
            if self._needs_body:
                yield "the request body is missing"
            return
        stated = (request.header("content-type") or "").partition(";")[0].strip().lower()
        if self._accepted and not any(_takes(each, stated) for each in self._accepted):
            yield f"the media type {stated or '(none)'} is not accepted here; accepted are {', '.join(self._accepted)}"
        if is_json(stated):
            try:
                msgspec.json.decode(request.body)
            except (msgspec.DecodeError, RecursionError) as error:
                yield f"the request body is no JSON: {error}"

    @cached_property
    def insisted(self) -> tuple[OperationParameter, ...]:
        """The required parameters that every step that calls the operation surely gives."""
        return tuple(
            each
            for each in self.operation.parameters
            if each.required and each.location != "path" and self.uses and all(_gives(*use, each) for use in self.uses)
        )

    @cached_property
    def _accepted(self) -> tuple[str, ...]:
        types = [each.partition(";")[0].strip().lower() for each in self.operation.request_media_types]
        stated = [_plain(type_) for _, step in self.uses for type_ in _stated_types(step)]
        return tuple(dict.fromkeys((*types, *stated))) if types else ()

    @cached_property
    def _needs_body(self) -> bool:
        node = getattr(self.operation, "described", None)
        try:
            body = node.get("requestBody") if node is not None else None
        except DescriptionError:
            return False
        required = body is not None and isinstance(body.value, dict) and body.value.get("required") is True
        # A form whose fields are all left out is an empty body, and still a form.
        required = required and all(map(is_json, self.operation.request_media_types))
        return required and all(step.payload is not None for _, step in self.uses)


def _placeholder(part: Placeholder) -> str:
    return "(?:.+)" if part.greedy else "(?:[^/]+)"


def _exploded(parameter: OperationParameter) -> bool:
    """Tell whether a parameter may be sent under other names than its own: an object in the query."""
    schema = parameter.schema if isinstance(parameter.schema, dict) else {}
    return schema.get("type") == "object" or "properties" in schema or "$ref" in schema


def _cookies(text: str) -> Mapping[str, object]:
    try:
        return SimpleCookie(text)
    except CookieError:
        return {}


def _takes(accepted: str, stated: str) -> bool:
    kind, _, subtype = accepted.partition("/")
    if accepted in {"*/*", stated}:
        return True
    if subtype.startswith("*"):
        return stated.startswith(f"{kind}/") and stated.endswith(subtype[1:])
    # `application/vnd.x+json` is a JSON like any other to whoever only reads JSON.
    return is_json(accepted) and is_json(stated)


def _plain(media_type: str) -> str:
    return media_type.partition(";")[0].strip().lower()


def _stated_types(step: PlannedStep) -> Iterator[str]:
    if step.content_type:
        yield step.content_type
    for argument in step.arguments:
        if argument.location == "header" and argument.name.lower() == "content-type" and argument.value.constant:
            yield str(argument.value.evaluate(Context()))


def _gives(workflow: PlannedWorkflow, step: PlannedStep, wanted: OperationParameter) -> bool:
    return any(
        _same(argument, wanted) and _surely(workflow, argument)
        for argument in step.arguments
        if argument.location is not None
    )


def _same(argument: PlannedArgument, wanted: OperationParameter) -> bool:
    if argument.location != wanted.location:
        return False
    if wanted.location == "header":
        return argument.name.lower() == wanted.name.lower()
    return argument.name == wanted.name


def _surely(workflow: PlannedWorkflow, argument: PlannedArgument) -> bool:
    """Tell whether an argument always has a value: no input in it may be left out."""
    declared = workflow.inputs.declared
    for expression in argument.value.expressions:
        if not isinstance(expression, nodes.InputReference) or expression.tail:
            return False
        known = declared.get(expression.name)
        if known is None or not (known.required or known.default not in (MISSING, None)):
            return False
    return True


class Routes:
    """All operations that some documents use. `bases` are the servers of their sources."""

    def __init__(self, plans: Iterable[Plan], bases: Mapping[str, str]) -> None:
        uses: dict[tuple[str, str, str], list[tuple[PlannedWorkflow, PlannedStep]]] = {}
        operations: dict[tuple[str, str, str], Operation] = {}
        for plan in plans:
            for workflow in plan.workflows.values():
                for step in workflow.steps:
                    if step.operation is not None:
                        key = self.key(step.operation)
                        operations.setdefault(key, step.operation)
                        uses.setdefault(key, []).append((workflow, step))
        self.all: Sequence[Route] = tuple(
            Route(
                operation,
                urlsplit(bases.get(operation.source, "")).path.rstrip("/"),
                _amz_target(operation, [step for _, step in uses[key]]),
                tuple(uses[key]),
            )
            for key, operation in operations.items()
        )

    @staticmethod
    def key(operation: Operation) -> tuple[str, str, str]:
        """Give what identifies an operation among those of all sources."""
        name = operation.operation_id if operation.path in {"/", ""} else ""
        return (operation.source, f"{operation.method} {operation.path}", name)

    def find(self, request: Request) -> list[Route]:
        """Give the routes that a request may mean: below its own prefix, or, where that is missing, anywhere.

        Several, where sources that are served at one place have operations alike.
        """
        parts = urlsplit(request.url)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        path = parts.path or "/"
        own = [each for each in self.all if each.fits(request, _below(path, each.prefix) or "\0", query)]
        found = own or [each for each in self.all if each.fits(request, path, query)]
        best = max((each.weight for each in found), default=None)
        return [each for each in found if each.weight == best]

    def methods(self, request: Request) -> list[str]:
        """Give the methods that a path is served for."""
        path = urlsplit(request.url).path or "/"
        fitting = [
            each for each in self.all if each.fits_path(_below(path, each.prefix) or "\0") or each.fits_path(path)
        ]
        return sorted({each.operation.method for each in fitting})

    @property
    def labels(self) -> list[str]:
        """Name everything that is served."""
        return [each.label for each in self.all]


def _below(path: str, prefix: str) -> str | None:
    if not prefix:
        return path
    if path == prefix:
        return "/"
    return path[len(prefix) :] if path.startswith(f"{prefix}/") else None


def _amz_target(operation: Operation, steps: Iterable[PlannedStep]) -> str:
    """Give the X-Amz-Target of an operation: what the steps write, else the only one that the description allows."""
    for step in steps:
        for argument in step.arguments:
            if (
                argument.location == "header"
                and argument.name.lower() == AMZ_TARGET.lower()
                and argument.value.constant
            ):
                try:
                    return str(argument.value.evaluate(Context()))
                except EvaluationError:
                    continue
    for parameter in operation.parameters:
        if parameter.location == "header" and parameter.name.lower() == AMZ_TARGET.lower():
            schema = parameter.schema if isinstance(parameter.schema, dict) else {}
            listed = [schema["const"]] if "const" in schema else schema.get("enum")
            if isinstance(listed, list) and len(listed) == 1:
                return str(listed[0])
    return ""
