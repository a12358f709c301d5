"""A document, its API description and the mock of both, made from a few lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import dedent, indent
from typing import Any

import msgspec

from treadle.arazzo import events
from treadle.arazzo.build import build
from treadle.arazzo.load import load
from treadle.arazzo.plan import OpenedSource, Plan, plan
from treadle.arazzo.run import Outcome, run
from treadle.cli.tape import Still, Unsigned
from treadle.mock import Mock, MockTransport, sample_inputs
from treadle.seams import Json, Request, Response
from treadle.sources.openapi import OpenApiSource
from treadle.stores.memory import MemoryRunStore

BASE = "http://mock.example"

HEAD = """\
arazzo: 1.1.0
info: {title: Test, version: 1.0.0}
sourceDescriptions:
- {name: api, url: ./api.yaml, type: openapi}
workflows:
"""


def operation(schema: Json = None, *, status: int = 200, **more: Any) -> dict[str, Any]:
    """Describe an operation whose answer has a schema."""
    content = {"application/json": {"schema": schema}} if schema is not None else {}
    return {"responses": {str(status): {"description": "", **({"content": content} if content else {})}}, **more}


def api(
    operations: Mapping[str, tuple[str, dict[str, Any]]], schemas: Mapping[str, Json] | None = None
) -> dict[str, Any]:
    """Describe an API: operationId → (`GET /path`, Operation Object)."""
    paths: dict[str, Any] = {}
    for name, (line, described) in operations.items():
        method, path = line.split(" ")
        paths.setdefault(path, {})[method.lower()] = {"operationId": name, **described}
    return {"openapi": "3.1.0", "info": {}, "paths": paths, "components": {"schemas": dict(schemas or {})}}


def plans(workflows: str, described: Mapping[str, Any]) -> list[Plan]:
    """Plan every workflow of a document; `workflows` is the YAML of the list."""
    document = load((HEAD + indent(dedent(workflows).strip(), "")).encode(), "test.yaml")
    description, found = build(document)
    assert description is not None, [each.render() for each in found]
    source = OpenApiSource("api", dict(described), uri="api.yaml", server=BASE)
    made = []
    for workflow in description.workflows:
        planned, problems = plan(
            description, document, {"api": OpenedSource(source, None, BASE)}, workflow_id=workflow.workflow_id
        )
        assert planned is not None, [each.render() for each in problems]
        made.append(planned)
    return made


def step_of(criteria: str = "", *, outputs: str = "", actions: str = "", operation_id: str = "get") -> str:
    """Write a workflow with one step."""
    lines = [f"- {{stepId: s, operationId: {operation_id}}}"]
    if criteria or outputs or actions:
        lines = ["- stepId: s", f"  operationId: {operation_id}"]
        lines += [f"  successCriteria: {criteria}"] if criteria else []
        lines += [f"  outputs: {outputs}"] if outputs else []
        lines += [f"  onSuccess: {actions}"] if actions else []
    return "- workflowId: w\n  steps:\n" + indent("\n".join(lines), "  ")


class Listing:
    """Keeps what is reported."""

    def __init__(self) -> None:
        self.told: list[events.Event] = []

    def report(self, event: events.Event) -> None:
        self.told.append(event)

    @property
    def steps(self) -> list[str]:
        return [each.step_id for each in self.told if isinstance(each, events.StepStarted)]


async def ran(mock: Mock, planned: Plan, inputs: Mapping[str, Json] | None = None) -> tuple[Outcome, Listing]:
    """Run a plan against a mock."""
    workflow = planned.workflows[planned.entry]
    given, problems = workflow.prepare(sample_inputs(workflow) if inputs is None else inputs)
    assert not problems, problems
    listing = Listing()
    outcome = await run(
        planned,
        given,
        transport=MockTransport(mock),
        authoriser=Unsigned(),
        store=MemoryRunStore(),
        reporter=listing,
        clock=Still(),
    )
    return outcome, listing


def asked(
    line: str, body: Json = None, headers: Sequence[tuple[str, str]] = (), media_type: str = "application/json"
) -> Request:
    """Make a request: `GET /pets?limit=2`."""
    method, path = line.split(" ")
    data = b"" if body is None else body if isinstance(body, bytes) else msgspec.json.encode(body)
    content = (("Content-Type", media_type),) if data else ()
    return Request(method, BASE + path, (*content, *headers), data)


def body_of(response: Response) -> Any:
    """Read the JSON body of a response."""
    return msgspec.json.decode(response.body)
