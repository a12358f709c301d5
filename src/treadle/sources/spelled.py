"""A source that could not be read, while its steps spell their requests out.

AWS's JSON protocols need no description: every operation is `POST /` with its name in the header `X-Amz-Target`. So a
step that gives that header says everything, and where the caller names a server such a step can be called. Whatever
else a step leaves to the description is an error that says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote

from treadle.errors import CallError
from treadle.seams import Answer, ArgumentLocation, Call, Operation, OperationParameter, Request, Response
from treadle.sources import bodies
from treadle.sources.calls import Recipe, build
from treadle.sources.paths import parse_path_key
from treadle.sources.reads import AMZ_TARGET, certainly_reads
from treadle.sources.walk import split_pointer

__all__ = ["SpelledOutSource"]

_JSON_1_1: Final = "application/x-amz-json-1.1"


class SpelledOutSource:
    """Knows every operation, as long as the step spells it out. `server` is the base URL that the caller named."""

    unread = ()

    def __init__(self, name: str, server: str) -> None:
        self.name = name
        self.server = server

    def __repr__(self) -> str:
        return f"SpelledOutSource({self.name!r}, {self.server!r})"

    def operations(self) -> Sequence[Operation]:
        """Give none: what the API can do is not known."""
        return ()

    def find(self, operation_id: str) -> Sequence[Operation]:
        """Give the operation of any id."""
        return (_SpelledOutOperation(self, operation_id),)

    def at(self, pointer: str) -> Operation | None:
        """Give the operation at a pointer whose path is `/`, as those of AWS's JSON protocols are, or None."""
        tokens = split_pointer(unquote(pointer))
        if len(tokens) != 3 or tokens[0] != "paths" or tokens[2] != "post":
            return None
        path, _, name = tokens[1].partition("#")
        return _SpelledOutOperation(self, name) if path == "/" else None


class _SpelledOutOperation:
    """One operation that is known by its name only."""

    method = "POST"
    path = "/"
    parameters = (OperationParameter(AMZ_TARGET, "header", required=True),)
    request_media_types = (_JSON_1_1,)
    body_required = False
    statuses = ()
    notes = ()

    def __init__(self, source: SpelledOutSource, operation_id: str) -> None:
        self._source = source
        self.operation_id = operation_id

    @property
    def source(self) -> str:
        return self._source.name

    def request_schema(self, media_type: str = "") -> None:
        """Nothing is known."""

    def response_schema(self, status: str) -> None:
        """Nothing is known."""

    def ready(self) -> None:
        """There is a server, or the source would not be."""

    def read_only(self, call: Call) -> bool:
        return certainly_reads(self.method, _amz_target(call))

    def request(self, call: Call) -> Request:
        if not _amz_target(call):
            raise CallError(
                f"the description of {self.source!r} could not be read, and the step does not spell out its request",
                hint="give the step the header parameter X-Amz-Target, or name the description with "
                f"--source {self.source}=PATH",
            )
        locations: set[ArgumentLocation] = {each.location for each in call.arguments}
        if "path" in locations:
            raise CallError(f"the path of {self.operation_id!r} is not known: the source could not be read")
        recipe = Recipe(self.method, self._source.server, parse_path_key("/"), media_types=self.request_media_types)
        return build(recipe, call)

    def answer(self, response: Response) -> Answer:
        body, problem = bodies.decode(response.body, response.header("content-type"), promised=(_JSON_1_1,))
        return Answer(response.status, response.headers, body, problem, response.url)


def _amz_target(call: Call) -> str | None:
    found = (
        each.value for each in call.arguments if each.location == "header" and each.name.lower() == AMZ_TARGET.lower()
    )
    return next((str(value) for value in found if value), None)
