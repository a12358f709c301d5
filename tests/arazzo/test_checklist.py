"""The conformance checklist for Arazzo 1.0.0, 1.0.1 and 1.1.0: one or more cases for each of its 83 rules.

The number of a rule stands in the id of its cases, so `pytest -k c49` shows what proves rule 49. Each case runs a
small document here, even where other tests look at the rule more closely.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import pytest

from tests.arazzo.conftest import Fault, Story, Teller
from tests.arazzo.shelf import Shelf
from tests.arazzo.test_run_messages import ASYNC, World, answering
from treadle.arazzo import events
from treadle.arazzo.build import build
from treadle.arazzo.criteria import compile_criterion
from treadle.arazzo.expressions import Context, EvaluationError, Scope, compile_value
from treadle.arazzo.load import load
from treadle.arazzo.location import Document
from treadle.arazzo.machine import Begin, Send
from treadle.arazzo.registry import base_uri, resolve
from treadle.errors import DescriptionError
from treadle.seams import MISSING, Answer, Json, Request

Case = Callable[[Path], None]


def _operation(operation_id: str, **more: Any) -> dict[str, Any]:
    answers = {"200": {"description": "ok", "content": {"application/json": {}}}}
    return {"operationId": operation_id, "responses": answers, **more}


def _taking(*media_types: str) -> dict[str, Any]:
    return {"requestBody": {"content": {each: {} for each in media_types}}}


def _parameter(name: str, place: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", **more}


API: dict[str, Any] = {
    "openapi": "3.2.0",
    "info": {"title": "t", "version": "1"},
    "servers": [{"url": "http://127.0.0.1:9/base"}],
    "paths": {
        **{f"/{name}": {"post": _operation(name, **_taking("application/json"))} for name in ("one", "two", "three")},
        "/read": {
            "get": _operation(
                "read",
                parameters=[
                    _parameter("tags", "query", explode=False, schema={"type": "array"}),
                    _parameter("q", "query"),
                    _parameter("X-Trace", "header"),
                    _parameter("crumb", "cookie"),
                ],
            )
        },
        "/find": {"get": _operation("find", parameters=[_parameter("whole", "querystring")])},
        "/items/{id}": {"get": _operation("item", parameters=[_parameter("id", "path")])},
        "/xml": {"post": _operation("xml", **_taking("application/xml"))},
        "/form": {"post": _operation("form", **_taking("application/x-www-form-urlencoded"))},
        "/odd": {"post": _operation("get.it (now)/ä", **_taking("application/json"))},
        "/url": {"get": _operation("url")},
    },
}

SOURCES = "sourceDescriptions: [{name: api, url: api.json, type: openapi}]\n"
LIB = """
sourceDescriptions: [{name: api, url: api.json, type: openapi}]
workflows:
- workflowId: far
  inputs: {type: object, properties: {n: {type: integer}}}
  parameters: [{reference: $components.parameters.p}]
  steps: [{stepId: f, operationId: read, outputs: {y: $response.body#/y}}]
  outputs: {y: $steps.f.outputs.y}
components: {parameters: {p: {name: q, in: query, value: theirs}}}
"""


def doc(workflows: str, *, sources: str = SOURCES, components: str = "") -> str:
    return sources + "workflows:\n" + indent(dedent(workflows).strip("\n"), "") + "\n" + dedent(components)


def steps(*lines: str, more: str = "") -> str:
    """Give a document of one workflow with these steps; `more` are further fields of the workflow."""
    text = "- workflowId: w\n" + indent(dedent(more).strip("\n") + "\n" if more else "", "  ") + "  steps:\n"
    return doc(text + "".join(f"  - {line}\n" for line in lines))


def shelf(folder: Path, text: str | bytes, version: str = "1.1.0") -> Shelf:
    return Shelf(folder, {"main.yaml": text, "api.json": API, "lib.yaml": LIB, "shop.json": ASYNC}, version=version)


# ---------------------------------------------------------------------------------------------------------------------
# Kinds of cases
# ---------------------------------------------------------------------------------------------------------------------


def finds(text: str | bytes, rule: str, severity: str = "error", *, version: str = "1.1.0", **more: Any) -> Case:
    """The document is checked, and the rule speaks up with this severity."""

    def check(folder: Path) -> None:
        try:
            found = shelf(folder, text, version).check(**more)
        except DescriptionError as error:
            found = list(error.diagnostics)
        except AssertionError:  # no description came out of it
            _, found = build(load((folder / "main.yaml").read_bytes(), "main.yaml"))
        assert (rule, severity) in {(each.rule, each.severity) for each in found}, [each.render() for each in found]

    return check


def allows(text: str | bytes, *, version: str = "1.1.0") -> Case:
    """The document is checked, and nothing is found but notes."""

    def check(folder: Path) -> None:
        found = [each for each in shelf(folder, text, version).check() if each.severity != "note"]
        assert found == [], [each.render() for each in found]

    return check


def tells(
    text: str | bytes,
    answers: Sequence[Any] = (200,),
    *,
    requests: Sequence[Any] | None = None,
    operations: str | None = None,
    urls: Sequence[str] | None = None,
    outputs: Json = None,
    status: str = "succeeded",
    reason: str = "",
    waits: Sequence[float] | None = None,
    workflow: str = "w",
    inputs: dict[str, Json] | None = None,
    version: str = "1.1.0",
    also: Callable[[Story], bool] = lambda _: True,
    **more: Any,
) -> Case:
    """The document is run against the answers, and this is what happens."""

    def check(folder: Path) -> None:
        story = shelf(folder, text, version).tell(answers, inputs, workflow=workflow, **more)
        assert story.end.status == status, story.end.reason
        assert reason in story.end.reason
        if requests is not None:
            assert story.requests == list(requests)
        if operations is not None:
            assert story.operations == operations.split()
        if urls is not None:
            assert [url.removeprefix("http://127.0.0.1:9/base") for url in story.urls] == list(urls)
        if outputs is not None:
            assert story.end.outputs == outputs
        if waits is not None:
            assert [seconds for seconds, _ in story.waits] == list(waits)
        assert also(story)

    return check


def sends(text: str, want: Callable[[Request], object], *, inputs: dict[str, Json] | None = None) -> Case:
    """The first request of the document is as wanted."""

    def check(folder: Path) -> None:
        plan = shelf(folder, text).open("w").plan
        effect = Teller(plan).machine.begin(Begin(0.0, "r", inputs or {})).effect
        assert isinstance(effect, Send)
        assert want(effect.request), effect.request

    return check


BODY: Json = {
    "name": "Available",
    "n": 7,
    "num": "42",
    "nul": None,
    "flag": False,
    "items": [{"id": 1}, {"id": 2}],
    "a/b": {"c": "d"},
}
CONTEXT = Context(
    inputs={"x": 5, "s": "it's", "o": {"k": [1]}, "b": True, "n": None, "a.b": "dotted"},
    steps={"st": {"out": {"deep": [10]}}},
    workflows={"wf": {"inputs": {"i": 1}, "outputs": {"o": {"p": 2}}}},
    outputs={"own": 3},
    sources={"api": {"url": "api.json", "type": "openapi"}},
    components={"parameters": {"p": {"name": "n"}}},
    self_uri="https://x.test/doc.yaml",
    request=Request("post", "http://x.test/p?q=1", (("Accept", "a/b"),)),
    request_body={"sent": 1},
    path_parameters={"id": 9},
    response=Answer(201, (("Content-Type", "a/b"), ("X-One", "1")), BODY),
    message={"payload": {"m": 1}, "header": {"Kind": "k"}},
)
SCOPE = Scope(
    version="1.1.0",
    inputs=frozenset(CONTEXT.inputs),
    steps={"st": frozenset({"out"})},
    workflows={"wf": (frozenset({"i"}), frozenset({"o"}))},
    sources=frozenset({"api"}),
)


def gives(value: Json, want: Json, *, kind: Any = "value", media_type: str | None = None) -> Case:
    """The value is compiled and evaluated."""

    def check(_: Path) -> None:
        got = compile_value(value, SCOPE, kind=kind, media_type=media_type).evaluate(CONTEXT)
        assert got == want
        assert type(got) is type(want)

    return check


def judged(
    condition: str,
    *,
    passes: bool,
    kind: str = "simple",
    context: str | None = None,
    body: Any = BODY,
    version: str | None = None,
    problem: str = "",
) -> Case:
    """The criterion is compiled and judged."""

    def check(_: Path) -> None:
        seen = Context(inputs=CONTEXT.inputs, steps=CONTEXT.steps, response=Answer(200, (), body))
        compiled = compile_criterion(condition, SCOPE, type=kind, context=context, version=version)
        verdict = compiled.judge(seen)
        assert verdict.passed is passes, verdict
        assert problem in verdict.problem

    return check


def when(action: str, *, step: str = "operationId: one", on: str = "onFailure") -> str:
    return steps(
        f"{{stepId: a, {step}, {on}: [{action}]}}", "{stepId: b, operationId: two}", "{stepId: c, operationId: three}"
    )


def identity(text: str, retrieved: str, base: str, spec: str) -> Case:
    """Appendix B: the base URI of a document, and what `../specs/…` means in it."""

    def check(_: Path) -> None:
        document = load(dedent(text).encode(), retrieved)
        assert base_uri(document) == base
        assert resolve(base_uri(document), document.value["sourceDescriptions"][0]["url"]) == spec

    return check


def loads(data: bytes, want: Callable[[Document], object]) -> Case:
    def check(_: Path) -> None:
        document = load(data, "x.yaml")
        assert want(document), document.value

    return check


def refuses_to_load(data: bytes, words: str) -> Case:
    def check(_: Path) -> None:
        with pytest.raises(DescriptionError, match=words):
            load(data, "x.yaml")

    return check


def opens(text: str, words: str, *, workflow: str | None = None) -> Case:
    """The document cannot be run, and this is why."""

    def check(folder: Path) -> None:
        with pytest.raises(DescriptionError) as caught:
            shelf(folder, text).open(workflow)
        said = "\n".join(each.message + each.hint for each in caught.value.diagnostics if each.severity == "error")
        assert words in said

    return check


def messages(check: Callable[[World], Any], *, replacing: tuple[str, str] = ("", "")) -> Case:
    """The workflow with channels is run with a broker."""
    from tests.arazzo.test_run_messages import DOCUMENT

    def run(folder: Path) -> None:
        world = World(folder, DOCUMENT.replace(*replacing) if replacing[0] else DOCUMENT)
        asyncio.run(check(world))

    return run


async def _answered(world: World) -> None:
    await world.broker.deliver("confirmed", answering(order="another"))
    await world.broker.deliver("confirmed", answering())
    outcome = await world.run()
    assert outcome.outputs == {"id": 42, "from": "till"}
    assert [address for address, _ in world.broker.sent] == ["orders/rome"]


async def _any_message(world: World) -> None:
    await world.broker.deliver("confirmed", answering("whatever"))
    assert (await world.run()).status == "succeeded"


async def _silence(world: World) -> None:
    outcome = await world.run()
    assert outcome.status == "failed"
    assert "no message came" in outcome.reason


MINIMAL = steps("{stepId: a, operationId: one}")
SELF_HOSTED = (
    "arazzo: 1.1.0\n{}info: {{title: t, version: '1'}}\nsourceDescriptions: [{{name: p, url: {}}}]\nworkflows: []\n"
)
CALL = SOURCES.replace("]", ", {name: lib, url: lib.yaml, type: arazzo}]")
CHANNELS = SOURCES.replace("]", ", {name: shop, url: shop.json, type: asyncapi}]")
CHANNEL_STEP = "- {{workflowId: w, steps: [{{stepId: a, {}}}]}}"
PLACE = "channelPath: '{$sourceDescriptions.shop.url}#/channels/confirm'"
PARAMETERS = "{{stepId: a, operationId: read, parameters: [{}]}}"
PAYLOAD = "{{stepId: a, operationId: {}, requestBody: {{{}}}}}"

CASES: dict[str, Case] = {
    # -- Document, versions, format -----------------------------------------------------------------------------------
    "c01-a-whole-document": allows(MINIMAL),
    "c01-no-info": finds(b"arazzo: 1.0.1\nsourceDescriptions: [{name: a, url: b}]\nworkflows: []", "missing-field"),
    "c01-no-sources": finds("workflows: [{workflowId: w, steps: [{stepId: a, operationId: one}]}]", "missing-field"),
    "c01-no-workflows": finds(SOURCES + "workflows: []", "wrong-value"),
    "c02-patch-does-not-count": allows(MINIMAL, version="1.0.7"),
    "c02-pre-release": allows(MINIMAL, version="1.1.0-rc1"),
    "c02-later-minor": finds(MINIMAL, "version", "warning", version="1.9.0"),
    "c02-later-major": finds(MINIMAL, "version", version="2.0.0"),
    "c03-field-names-have-case": finds(MINIMAL.replace("stepId", "stepid"), "unknown-field"),
    "c04-yaml-1-2": loads(
        b"a: yes\nb: 012\nc: on\nd: 2024-01-01",
        lambda d: d.value == {"a": "yes", "b": "012", "c": "on", "d": "2024-01-01"},
    ),
    "c04-no-other-tags": refuses_to_load(b"a: !!python/object:os.system {}", "tag"),
    "c04-keys-are-text": refuses_to_load(b"? [a]\n: b", "key"),
    "c05-any-name-will-do": tells(MINIMAL, operations="one"),
    "c06-only-by-source-descriptions": opens(
        doc("- {workflowId: w, steps: [{stepId: a, workflowId: $sourceDescriptions.lib.far}]}"),
        "there is no source description `lib`",
    ),
    "c07-integers-have-no-fraction": tells(
        steps(
            "{stepId: a, operationId: one, requestBody: {payload: {n: $inputs.n}}}",
            more="inputs: {type: object, properties: {n: {type: integer}}}",
        ),
        inputs={"n": 3.0},
        requests=[("one", {"n": 3.0})],
    ),
    "c07-password-is-masked": tells(
        steps(
            "{stepId: a, operationId: one}",
            more="inputs: {type: object, properties: {p: {type: string, format: password}}}",
        ),
        inputs={"p": "hidden!"},
        also=lambda story: story.of(events.RunStarted)[0].inputs == {"p": "•••"},
    ),
    "c08-extensions": allows(steps("{stepId: a, operationId: one, x-any: [1, {b: null}]}")),
    "c08-other-fields-are-told": finds(steps("{stepId: a, operationId: one, colour: red}"), "unknown-field", "warning"),
    "c08-reusable-objects-ignore-more": allows(
        doc(
            "- {workflowId: w, steps: [{stepId: a, operationId: read, parameters: [{reference: $components.parameters.p, note: x}]}]}",
            components="components: {parameters: {p: {name: q, in: query, value: 1}}}",
        )
    ),
    "c09-json-and-yaml": loads(
        b'{"arazzo": "1.1.0", "a": [1]}', lambda d: d.value == load(b"arazzo: 1.1.0\na: [1]", "y").value
    ),
    # -- Parsing, identity, base URI ----------------------------------------------------------------------------------
    "c10-parsed-whole-before-references": tells(
        doc(
            "- {workflowId: w, steps: [{stepId: a, operationId: read, parameters: [{reference: $components.parameters.late}]}]}",
            components="components: {parameters: {late: {name: q, in: query, value: 1}}}",
        ),
        urls=["/read?q=1"],
    ),
    "c11-a-document-may-come-last": tells(
        CALL + "workflows: [{workflowId: w, steps: [{stepId: a, workflowId: far}]}]", operations="read?q=theirs"
    ),
    "c12-self-without-fragment": finds("$self: https://x.test/a#b\n" + MINIMAL, "wrong-value"),
    "c12-self-is-a-reference": allows("$self: a/b.yaml\n" + MINIMAL.replace("url: api.json", "url: ../api.json")),
    "c13-self-absolute": identity(
        SELF_HOSTED.format("$self: https://api.example.com/workflows/purchase.arazzo.yaml\n", "../specs/petstore.yaml"),
        "file:///Users/dev/projects/workflows/purchase.arazzo.yaml",
        "https://api.example.com/workflows/purchase.arazzo.yaml",
        "https://api.example.com/specs/petstore.yaml",
    ),
    "c13-retrieval-uri": identity(
        SELF_HOSTED.format("", "../specs/petstore.yaml"),
        "file:///Users/dev/projects/workflows/purchase.arazzo.yaml",
        "file:///Users/dev/projects/workflows/purchase.arazzo.yaml",
        "file:///Users/dev/projects/specs/petstore.yaml",
    ),
    "c13-encapsulating-entity": identity(
        SELF_HOSTED.format("", "../specs/petstore.json"),
        "https://api.example.com/workflows/purchase.arazzo.json",
        "https://api.example.com/workflows/purchase.arazzo.json",
        "https://api.example.com/specs/petstore.json",
    ),
    "c13-application-default": identity(
        SELF_HOSTED.format("", "specs/petstore.yaml"),
        "https://workflows.example.com/a7b3c4d5",
        "https://workflows.example.com/a7b3c4d5",
        "https://workflows.example.com/specs/petstore.yaml",
    ),
    "c13-self-relative": identity(
        SELF_HOSTED.format("$self: workflows/purchase.arazzo.yaml\n", "../specs/petstore.yaml"),
        "https://api.example.com/v2/api-description.yaml",
        "https://api.example.com/v2/workflows/purchase.arazzo.yaml",
        "https://api.example.com/v2/specs/petstore.yaml",
    ),
    "c14-relative-urls": tells(MINIMAL.replace("url: api.json", "url: ./x/../api.json"), operations="one"),
    "c16-json-pointer-in-inputs": tells(
        doc(
            "- {workflowId: w, inputs: {$ref: '#/components/inputs/i'}, steps: [{stepId: a, operationId: one, requestBody: {payload: $inputs.n}}]}",
            components="components: {inputs: {i: {type: object, properties: {n: {type: integer, default: 4}}}}}",
        ),
        requests=[("one", 4)],
    ),
    "c16-anchor-in-inputs": tells(
        doc(
            "- {workflowId: w, inputs: {type: object, properties: {n: {$ref: '#four'}}}, steps: [{stepId: a, operationId: one, requestBody: {payload: $inputs.n}}]}",
            components="components: {inputs: {i: {$anchor: four, type: integer, default: 4}}}",
        ),
        requests=[("one", 4)],
    ),
    "c17-server-object": tells(
        "$self: sub/dir/a.yaml\n" + MINIMAL.replace("url: api.json", "url: ../../api.json"), urls=["/one"]
    ),
    # -- Source Description Object ------------------------------------------------------------------------------------
    "c18-unique-names": finds(MINIMAL.replace("type: openapi}", "type: openapi}, {name: api, url: x}"), "duplicate-id"),
    "c18-type-may-be-left-out": tells(MINIMAL.replace(", type: openapi", ""), operations="one"),
    "c18-known-types": finds(MINIMAL.replace("type: openapi", "type: graphql"), "wrong-value"),
    "c19-dots-in-names": finds(MINIMAL.replace("name: api", "name: my.api"), "name-pattern", "warning"),
    # -- Workflow Object ----------------------------------------------------------------------------------------------
    "c20-unique-ids": finds(
        doc(
            "- {workflowId: w, steps: [{stepId: a, operationId: one}]}\n- {workflowId: w, steps: [{stepId: a, operationId: one}]}"
        ),
        "duplicate-id",
    ),
    "c20-at-least-one-step": finds(doc("- {workflowId: w, steps: []}"), "wrong-value"),
    "c21-inputs-are-checked": tells(
        steps(
            "{stepId: a, operationId: one, requestBody: {payload: $inputs}}",
            more="inputs: {type: object, properties: {a: {type: string, default: d}}}",
        ),
        requests=[("one", {"a": "d"})],
    ),
    "c22-depends-on-runs-first": tells(
        doc(
            "- {workflowId: w, dependsOn: [p], steps: [{stepId: a, operationId: one}]}\n- {workflowId: p, steps: [{stepId: a, operationId: two}]}"
        ),
        operations="two one",
    ),
    "c22-foreign-by-expression": tells(
        CALL
        + "workflows: [{workflowId: w, dependsOn: [$sourceDescriptions.lib.far], steps: [{stepId: a, operationId: $sourceDescriptions.api.one}]}]",
        operations="read?q=theirs one",
    ),
    "c22-circles": finds(
        doc(
            "- {workflowId: w, dependsOn: [p], steps: [{stepId: a, operationId: one}]}\n- {workflowId: p, dependsOn: [w], steps: [{stepId: a, operationId: two}]}"
        ),
        "depends-on",
    ),
    "c22-unknown": finds(steps("{stepId: a, operationId: one}", more="dependsOn: [nowhere]"), "unknown-workflow"),
    "c23-actions-for-all-steps": tells(
        steps(
            "{stepId: a, operationId: one}",
            "{stepId: b, operationId: two, onFailure: [{name: own, type: end, criteria: [{condition: $statusCode == 404}]}]}",
            more="failureActions: [{name: r, type: retry}]",
        ),
        [500, 200, 500, 200],
        operations="one one two two",
    ),
    "c23-overridden-by-name": tells(
        steps(
            "{stepId: a, operationId: one, onFailure: [{name: r, type: retry, retryLimit: 0}]}",
            more="failureActions: [{name: r, type: retry}]",
        ),
        [500],
        operations="one",
        status="failed",
    ),
    "c24-parameters-for-all-steps": tells(
        steps("{stepId: a, operationId: read}", more="parameters: [{name: q, in: query, value: all}]"),
        urls=["/read?q=all"],
    ),
    "c25-output-names": finds(
        steps("{stepId: a, operationId: one}", more="outputs: {'a b': $inputs.x}"), "free-output-name", "warning"
    ),
    "c25-expressions-and-selectors": tells(
        steps(
            "{stepId: a, operationId: one, outputs: {e: $response.body#/n, s: {context: $response.body, selector: '$.l[*].i', type: jsonpath}}}",
            more="outputs: {e: $steps.a.outputs.e, s: $steps.a.outputs.s}",
        ),
        [(200, {"n": 1, "l": [{"i": 1}, {"i": 2}]})],
        outputs={"e": 1, "s": [1, 2]},
    ),
    # -- Step Object --------------------------------------------------------------------------------------------------
    "c26-unique-in-its-workflow": finds(
        steps("{stepId: a, operationId: one}", "{stepId: a, operationId: two}"), "duplicate-id"
    ),
    "c27-one-target": finds(steps("{stepId: a, operationId: one, workflowId: w}"), "step-target"),
    "c27-no-target": finds(steps("{stepId: a}"), "step-target"),
    "c28-must-exist": finds(steps("{stepId: a, operationId: onne}"), "unknown-operation"),
    "c28-qualified": tells(
        CHANNELS + "workflows: [{workflowId: w, steps: [{stepId: a, operationId: $sourceDescriptions.api.one}]}]",
        operations="one",
    ),
    "c28-unqualified-with-several": finds(
        MINIMAL.replace("type: openapi}", "type: openapi}, {name: b, url: lib.yaml}"),
        "unqualified-operation-id",
        "warning",
    ),
    "c29-source-and-pointer": tells(
        steps("{stepId: a, operationPath: '{$sourceDescriptions.api.url}#/paths/~1one/post'}"), operations="one"
    ),
    "c29-must-exist": finds(
        steps("{stepId: a, operationPath: '{$sourceDescriptions.api.url}#/paths/~1one/get'}"), "unknown-operation"
    ),
    "c30-channel-path": allows(CHANNELS + "workflows:\n" + CHANNEL_STEP.format(PLACE + ", action: receive")),
    "c30-must-exist": finds(
        CHANNELS + "workflows:\n" + CHANNEL_STEP.format(PLACE.replace("confirm'", "gone'") + ", action: receive"),
        "unknown-operation",
    ),
    "c31-qualified": tells(
        CALL
        + "workflows: [{workflowId: w, steps: [{stepId: a, workflowId: $sourceDescriptions.lib.far, outputs: {y: $outputs.y}}], outputs: {y: $steps.a.outputs.y}}]",
        [(200, {"y": 2})],
        outputs={"y": 2},
    ),
    "c31-unqualified": finds(
        CALL + "workflows: [{workflowId: w, steps: [{stepId: a, workflowId: far}]}]",
        "unqualified-workflow-id",
        "warning",
    ),
    "c32-overrides-by-name-and-place": tells(
        steps(
            "{stepId: a, operationId: read, parameters: [{name: q, in: query, value: own}]}",
            more="parameters: [{name: q, in: query, value: all}, {name: tags, in: query, value: [x]}]",
        ),
        urls=["/read?q=own&tags=x"],
    ),
    "c33-body-of-a-get": sends(
        steps(PAYLOAD.format("read", "contentType: application/json, payload: {a: 1}")),
        lambda r: r.method == "GET" and r.body == b'{"a":1}',
    ),
    "c34-all-criteria": tells(
        steps(
            "{stepId: a, operationId: one, successCriteria: [{condition: $statusCode == 200}, {condition: $response.body#/ok}]}"
        ),
        [(200, {"ok": False})],
        status="failed",
    ),
    "c34-not-empty": finds(steps("{stepId: a, operationId: one, successCriteria: []}"), "wrong-value"),
    "c35-next-step": tells(
        steps("{stepId: a, operationId: one}", "{stepId: b, operationId: two}"), operations="one two"
    ),
    "c35-first-match": tells(
        when("{name: x, type: goto, stepId: c}, {name: y, type: end}", on="onSuccess"), operations="one three"
    ),
    "c36-break-and-return": tells(
        steps("{stepId: a, operationId: one}", "{stepId: b, operationId: two}"),
        [500],
        operations="one",
        status="failed",
    ),
    "c36-first-match": tells(
        when(
            "{name: x, type: goto, stepId: c, criteria: [{condition: $statusCode == 404}]}, {name: y, type: goto, stepId: b}"
        ),
        [500, 200],
        operations="one two three",
    ),
    "c37-timeout": tells(
        steps("{stepId: a, operationId: read, timeout: 400}"),
        [Fault("timeout")],
        status="failed",
        reason="timeout of 0.4 s",
    ),
    "c37-on-failure": tells(
        when("{name: x, type: goto, stepId: c}", step="operationId: read, timeout: 400"),
        [Fault("timeout"), 200],
        operations="read three",
    ),
    "c38-action-of-a-channel": finds(CHANNELS + "workflows:\n" + CHANNEL_STEP.format(PLACE), "step-target"),
    "c38-action-needs-a-channel": finds(steps("{stepId: a, operationId: one, action: send}"), "step-target", "warning"),
    "c38-correlation-is-for-receiving": finds(
        CHANNELS + "workflows:\n" + CHANNEL_STEP.format(PLACE + ", action: send, correlationId: x"), "step-target"
    ),
    "c39-explicit-and-implied": tells(
        steps(
            "{stepId: a, operationId: one, dependsOn: [c], requestBody: {payload: $steps.b.outputs.x}}",
            "{stepId: b, operationId: two, outputs: {x: $response.body#/x}}",
            "{stepId: c, operationId: three}",
        ),
        [(200, {"x": 1})],
        operations="two three one",
    ),
    "c39-runs-nothing": opens(
        doc("""
        - {workflowId: w, steps: [{stepId: a, operationId: one, dependsOn: [$workflows.v.steps.b]}]}
        - {workflowId: v, steps: [{stepId: b, operationId: two}]}
        """),
        "which nothing here runs",
        workflow="w",
    ),
    "c40-forward-reference": finds(
        steps(
            "{stepId: a, operationId: one, requestBody: {payload: $steps.b.outputs.x}}",
            "{stepId: b, operationId: two, outputs: {x: $response.body}}",
        ),
        "forward-reference",
    ),
    "c40-excused-by-a-loop": allows(
        steps(
            "{stepId: a, operationId: one, requestBody: {payload: {x: $steps.b.outputs.x}}}",
            "{stepId: b, operationId: two, outputs: {x: $response.body}, onSuccess: [{name: l, type: goto, stepId: a, criteria: [{condition: $response.body#/m == true}]}]}",
        )
    ),
    "c41-within-the-workflow": finds(when("{name: x, type: goto, stepId: elsewhere}"), "unknown-step"),
    "c42-send-and-receive": messages(_answered),
    "c42-any-message-without-criteria": messages(
        _any_message, replacing=("    successCriteria: [{condition: $message.payload#/status == 'ok'}]\n", "")
    ),
    "c42-none-in-time": messages(_silence),
    # -- Parameter Object ---------------------------------------------------------------------------------------------
    "c43-name-is-required": finds(steps(PARAMETERS.format("{in: query, value: 1}")), "missing-field"),
    "c43-value-is-required": finds(steps(PARAMETERS.format("{name: q, in: query}")), "missing-field"),
    "c43-headers-have-no-case": finds(
        steps(PARAMETERS.format("{name: X-A, in: header, value: 1}, {name: x-a, in: header, value: 2}")),
        "duplicate-parameter",
    ),
    "c44-place-is-required": finds(steps(PARAMETERS.format("{name: q, value: 1}")), "parameter-place"),
    "c44-known-places": finds(steps(PARAMETERS.format("{name: q, in: url, value: 1}")), "wrong-value"),
    "c44-every-place": sends(
        steps(
            PARAMETERS.format(
                "{name: q, in: query, value: 1}, {name: X-Trace, in: header, value: t}, {name: crumb, in: cookie, value: c}"
            )
        ),
        lambda r: (r.url.endswith("/read?q=1"), r.header("X-Trace"), r.header("Cookie")) == (True, "t", "crumb=c"),
    ),
    "c44-inputs-of-workflows": tells(
        CALL
        + "workflows: [{workflowId: w, steps: [{stepId: a, workflowId: $sourceDescriptions.lib.far, parameters: [{name: n, value: 4}]}]}]",
        also=lambda story: story.state is not None and story.state.finished["lib#far"].inputs == {"n": 4},
    ),
    "c45-the-whole-query": tells(
        steps(
            "{stepId: a, operationId: find, parameters: [{name: whole, in: querystring, value: 'a=1&b={$inputs.b}'}]}",
            more="inputs: {type: object, properties: {b: {type: string}}}",
        ),
        urls=["/find?a=1&b=2"],
        inputs={"b": "2"},
    ),
    "c45-not-beside-others": finds(
        steps(
            "{stepId: a, operationId: find, parameters: [{name: whole, in: querystring, value: a}, {name: q, in: query, value: b}]}"
        ),
        "parameter-place",
    ),
    "c46-style-and-explode": tells(
        steps(PARAMETERS.format("{name: tags, in: query, value: [a, b c]}")), urls=["/read?tags=a,b%20c"]
    ),
    "c46-selector": tells(
        steps(
            PARAMETERS.format("{name: q, in: query, value: {context: $inputs.o, selector: $.k, type: jsonpath}}"),
            more="inputs: {type: object, properties: {o: {type: object}}}",
        ),
        urls=["/read?q=v"],
        inputs={"o": {"k": "v"}},
    ),
    "c47-every-parameter-is-passed": tells(
        steps(PARAMETERS.format("{name: other, in: query, value: 1}")), urls=["/read?other=1"]
    ),
    "c47-unknown": finds(
        steps(PARAMETERS.format("{name: other, in: query, value: 1}")), "unknown-parameter", "warning"
    ),
    "c47-missing": finds(steps("{stepId: a, operationId: item}"), "missing-parameter"),
    # -- Actions ------------------------------------------------------------------------------------------------------
    "c48-name-is-required": finds(when("{type: end}"), "missing-field"),
    "c48-known-types": finds(when("{name: x, type: retry}", on="onSuccess"), "wrong-value"),
    "c48-one-target": finds(when("{name: x, type: goto, stepId: b, workflowId: w}"), "unknown-step"),
    "c48-goto-needs-one": finds(when("{name: x, type: goto}"), "unknown-step"),
    "c49-end": tells(
        steps(
            "{stepId: a, operationId: one, outputs: {x: $response.body#/x}, onSuccess: [{name: e, type: end}]}",
            "{stepId: b, operationId: two}",
            more="outputs: {x: $steps.a.outputs.x}",
        ),
        [(200, {"x": 1})],
        operations="one",
        outputs={"x": 1},
    ),
    "c49-end-of-a-failure": tells(
        when("{name: e, type: end}"), [500], operations="one", status="failed", also=lambda story: story.end.handled
    ),
    "c50-one-way": tells(when("{name: g, type: goto, stepId: c}"), [500, 200], operations="one three"),
    "c50-to-a-workflow": tells(
        CALL
        + "workflows: [{workflowId: w, steps: [{stepId: a, operationId: $sourceDescriptions.api.one, onSuccess: [{name: g, type: goto, workflowId: $sourceDescriptions.lib.far}]}, {stepId: b, operationId: $sourceDescriptions.api.two}]}]",
        [200, (200, {"y": 3})],
        operations="one read?q=theirs",
        outputs={"y": 3},
    ),
    "c51-retry": tells(
        when("{name: r, type: retry, retryLimit: 5}"), [500, 500, 200], operations="one one one two three"
    ),
    "c51-with-a-step": tells(
        when("{name: r, type: retry, stepId: c}"), [500, 200], operations="one three one two three"
    ),
    "c51-with-a-workflow": tells(
        CALL
        + "workflows: [{workflowId: w, steps: [{stepId: a, operationId: $sourceDescriptions.api.one, onFailure: [{name: r, type: retry, workflowId: $sourceDescriptions.lib.far}]}]}]",
        [500, 200],
        operations="one read?q=theirs one",
    ),
    "c52-decimal-seconds": tells(when("{name: r, type: retry, retryAfter: 0.25}"), [500, 200], waits=[0.25]),
    "c52-retry-after-in-seconds": tells(
        when("{name: r, type: retry, retryAfter: 1}"), [(500, {}, {"Retry-After": "7"}), 200], waits=[7.0]
    ),
    "c52-retry-after-as-a-date": tells(
        when("{name: r, type: retry, retryAfter: 1}"),
        [(500, {}, {"Retry-After": "Thu, 01 Jan 1970 00:16:50 GMT"}), 200],
        waits=[9.5],
    ),
    "c52-not-negative": finds(when("{name: r, type: retry, retryAfter: -1}"), "number-range"),
    "c53-once-unless-said": tells(when("{name: r, type: retry}"), [500], operations="one one", status="failed"),
    "c53-exhausted-before-others": tells(
        when("{name: r, type: retry, retryLimit: 2}, {name: g, type: goto, stepId: c}"),
        [500, 500, 500, 200],
        operations="one one one three",
    ),
    "c53-not-negative": finds(when("{name: r, type: retry, retryLimit: -1}"), "number-range"),
    "c54-all-criteria-of-an-action": tells(
        when(
            "{name: g, type: goto, stepId: c, criteria: [{condition: $statusCode == 500}, {condition: $response.body#/x == 1}]}, {name: h, type: goto, stepId: b}"
        ),
        [(500, {"x": 2}), 200],
        operations="one two three",
    ),
    "c55-parameters": tells(
        CALL
        + "workflows: [{workflowId: w, steps: [{stepId: a, operationId: $sourceDescriptions.api.one, onSuccess: [{name: g, type: goto, workflowId: $sourceDescriptions.lib.far, parameters: [{name: n, value: $response.body#/n}]}]}]}]",
        [(200, {"n": 8})],
        also=lambda story: story.state is not None and story.state.finished["lib#far"].inputs == {"n": 8},
    ),
    "c55-without-in": finds(
        CALL
        + "workflows: [{workflowId: w, steps: [{stepId: a, operationId: $sourceDescriptions.api.one, onSuccess: [{name: g, type: goto, workflowId: $sourceDescriptions.lib.far, parameters: [{name: n, in: query, value: 1}]}]}]}]",
        "parameter-place",
    ),
    "c55-only-with-a-workflow": finds(
        when("{name: g, type: goto, stepId: c, parameters: [{name: n, value: 1}]}"), "unknown-step"
    ),
    # -- Components ---------------------------------------------------------------------------------------------------
    "c56-keys": finds(
        doc(
            "- {workflowId: w, steps: [{stepId: a, operationId: one}]}",
            components="components: {parameters: {'a b': {name: q, in: query, value: 1}}}",
        ),
        "free-output-name",
        "warning",
    ),
    "c56-scoped-to-their-document": tells(
        CALL
        + "workflows: [{workflowId: w, steps: [{stepId: a, workflowId: $sourceDescriptions.lib.far}]}]\ncomponents: {parameters: {p: {name: q, in: query, value: ours}}}",
        urls=["/read?q=theirs"],
    ),
    "c57-references": finds(steps(PARAMETERS.format("{reference: $components.parameters.none}")), "unknown-component"),
    "c57-value-overrides": tells(
        doc(
            "- {workflowId: w, steps: [{stepId: a, operationId: read, parameters: [{reference: $components.parameters.p, value: 1}]}]}",
            components="components: {parameters: {p: {name: q, in: query, value: x}}}",
        ),
        urls=["/read?q=1"],
    ),
    "c58-inputs-by-ref-only": finds(
        doc(
            "- {workflowId: w, inputs: {reference: $components.inputs.i}, steps: [{stepId: a, operationId: one, requestBody: {payload: $inputs.n}}]}",
            components="components: {inputs: {i: {type: object, properties: {n: {type: integer}}}}}",
        ),
        "undeclared-input",
        "warning",
    ),
    # -- Criterion Object ---------------------------------------------------------------------------------------------
    "c59-condition-is-required": finds(
        steps("{stepId: a, operationId: one, successCriteria: [{context: $response.body}]}"), "missing-field"
    ),
    "c59-context-with-a-type": finds(
        steps("{stepId: a, operationId: one, successCriteria: [{condition: '^2', type: regex}]}"), "criterion-context"
    ),
    "c60-operators": judged("($statusCode >= 200 && $statusCode < 300) || !($response.body#/n != 7)", passes=True),
    "c60-navigation": judged("$response.body.items[0].id == 1", passes=True),
    "c60-literals": judged(
        "$inputs.s == 'it''s' && $response.body#/nul == null && $response.body#/flag == false", passes=True
    ),
    "c61-case-insensitive": judged("$response.body#/name == 'AVAILABLE'", passes=True),
    "c62-numeric-strings": judged("$response.body#/num > 41", passes=True),
    "c62-null-equals-null-only": judged("$response.body#/n == null", passes=False),
    "c62-null-equals-null": judged("$response.body#/nul == null", passes=True),
    "c63-false-fails": judged("$response.body#/flag", passes=False),
    "c63-null-fails": judged("$response.body#/nul", passes=False),
    "c64-substituted-first": judged(
        "$.items[?@.id == {$inputs.x}]",
        kind="jsonpath",
        context="$response.body",
        body={"items": [{"id": 5}]},
        passes=True,
    ),
    "c64-in-a-pattern": judged("^{$inputs.x}$", kind="regex", context="$response.body#/n", body={"n": 5}, passes=True),
    "c65-matches": judged("^2\\d{2}$", kind="regex", context="$statusCode", passes=True),
    "c65-searches": judged("ail", kind="regex", context="$response.body#/name", passes=True),
    "c65-null-context": judged(".*", kind="regex", context="$response.body#/nul", passes=False),
    "c65-missing-context": judged(".*", kind="regex", context="$response.body#/gone", passes=False),
    "c66-a-node-passes": judged("$.flag", kind="jsonpath", context="$response.body", passes=True),
    "c66-no-node-fails": judged("$.gone[*]", kind="jsonpath", context="$response.body", passes=False),
    "c66-null-context": judged("$", kind="jsonpath", context="$response.body#/nul", passes=False),
    "c66-invalid-syntax": judged(
        "$.[", kind="jsonpath", context="$response.body", passes=False, problem="can never be evaluated"
    ),
    "c67-boolean": judged(
        "count(/r/a) > 1", kind="xpath", context="$response.body", body="<r><a/><a/></r>", passes=True
    ),
    "c67-node-set": judged("/r/b", kind="xpath", context="$response.body", body="<r><a/></r>", passes=False),
    "c67-zero": judged("count(/r/b)", kind="xpath", context="$response.body", body="<r><a/></r>", passes=False),
    "c67-empty-string": judged(
        "string(/r/b)", kind="xpath", context="$response.body", body="<r><a/></r>", passes=False
    ),
    "c68-errors-fail-and-are-told": tells(
        when(
            "{name: x, type: end, criteria: [{context: $response.body, type: jsonpath, condition: '$.a[*] == 1'}]}",
            on="onSuccess",
        ),
        [(200, {"a": [1, 2]})],
        status="failed",
        reason="cannot be evaluated",
    ),
    "c68-the-wrong-kind-of-context": judged("/r", kind="xpath", context="$response.body", passes=False, problem="XML"),
    "c69-and": tells(
        steps(
            "{stepId: a, operationId: one, successCriteria: [{condition: $statusCode == 200}, {context: $response.body, type: jsonpath, condition: '$.data[*]'}]}"
        ),
        [(200, {"data": []})],
        status="failed",
    ),
    # -- Expression Type, Selector ------------------------------------------------------------------------------------
    "c70-versions": finds(
        steps(
            "{stepId: a, operationId: one, successCriteria: [{context: $response.body, condition: $.a, type: {type: jsonpath, version: rfc1}}]}"
        ),
        "wrong-value",
    ),
    "c70-version-is-required": finds(
        steps(
            "{stepId: a, operationId: one, successCriteria: [{context: $response.body, condition: $.a, type: {type: jsonpath}}]}"
        ),
        "missing-field",
    ),
    "c71-xpath-1-has-no-such-function": judged(
        "ends-with(/r, 'x')",
        kind="xpath",
        context="$response.body",
        body="<r>x</r>",
        version="xpath-10",
        passes=False,
        problem="can never",
    ),
    "c71-xpath-2-has": judged(
        "ends-with(/r, 'x')", kind="xpath", context="$response.body", body="<r>x</r>", version="xpath-20", passes=True
    ),
    "c71-goessner": judged(
        "$.items[(@.length-1)]",
        kind="jsonpath",
        context="$response.body",
        version="draft-goessner-dispatch-jsonpath-00",
        passes=True,
    ),
    "c72-members-are-required": finds(
        steps("{stepId: a, operationId: one, outputs: {x: {context: $response.body, type: jsonpath}}}"), "missing-field"
    ),
    "c73-jsonpath": gives({"context": "$response.body", "selector": "$.items[*].id", "type": "jsonpath"}, [1, 2]),
    "c73-jsonpointer": gives({"context": "$response.body", "selector": "/a~1b/c", "type": "jsonpointer"}, "d"),
    "c73-in-a-payload": gives(
        {"deep": [{"context": "$inputs.o", "selector": "$.k[0]", "type": "jsonpath"}]}, {"deep": [1]}
    ),
    # -- Request Body -------------------------------------------------------------------------------------------------
    "c74-from-the-operation": sends(
        steps(PAYLOAD.format("xml", "payload: <a/>")),
        lambda r: r.header("Content-Type") == "application/xml" and r.body == b"<a/>",
    ),
    "c74-stated": sends(
        steps(PAYLOAD.format("one", "contentType: application/merge-patch+json, payload: {a: 1}")),
        lambda r: r.header("Content-Type") == "application/merge-patch+json",
    ),
    "c75-object": sends(
        steps(PAYLOAD.format("one", "payload: {n: $inputs.n, t: 'v{$inputs.n}', c: true}")),
        lambda r: r.body == b'{"n":7,"t":"v7","c":true}',
        inputs={"n": 7},
    ),
    "c75-json-as-text": sends(
        steps(PAYLOAD.format("one", 'payload: \'{"q": "{$inputs.q}", "n": {$inputs.n}}\'')),
        lambda r: r.body == b'{"q":"a\\"b","n":7}',
        inputs={"q": 'a"b', "n": 7},
    ),
    "c75-xml-as-text": sends(
        steps(PAYLOAD.format("xml", "payload: '<a>{$inputs.q}</a>'")),
        lambda r: r.body == b"<a>1 &lt; 2</a>",
        inputs={"q": "1 < 2"},
    ),
    "c75-form": sends(
        steps(PAYLOAD.format("form", "payload: {code: $inputs.q, b: 1}")),
        lambda r: r.body == b"code=x+y&b=1",
        inputs={"q": "x y"},
    ),
    "c75-form-as-text": sends(
        steps(PAYLOAD.format("form", "payload: 'code={$inputs.q}&b=1'")),
        lambda r: r.body == b"code=x%26y&b=1",
        inputs={"q": "x&y"},
    ),
    "c75-a-whole-expression": sends(
        steps(PAYLOAD.format("one", "payload: $inputs.q")), lambda r: r.body == b'{"a":[1]}', inputs={"q": {"a": [1]}}
    ),
    "c76-pointer-for-json": sends(
        steps(
            PAYLOAD.format(
                "one", "payload: {a: {b: 1}}, replacements: [{target: /a/b, value: 2}, {target: /a/c, value: 3}]"
            )
        ),
        lambda r: r.body == b'{"a":{"b":2,"c":3}}',
    ),
    "c76-xpath-for-xml": sends(
        steps(PAYLOAD.format("xml", "payload: <a><b>1</b></a>, replacements: [{target: /a/b, value: 2}]")),
        lambda r: r.body == b"<a><b>2</b></a>",
    ),
    "c76-jsonpath": sends(
        steps(
            PAYLOAD.format(
                "one",
                "payload: {l: [{s: x, q: 1}, {s: y, q: 1}]}, replacements: [{target: \"$.l[?@.s=='y'].q\", targetSelectorType: jsonpath, value: 9}]",
            )
        ),
        lambda r: r.body == b'{"l":[{"s":"x","q":1},{"s":"y","q":9}]}',
    ),
    "c77-expression": sends(
        steps(PAYLOAD.format("one", "payload: {a: 1}, replacements: [{target: /a, value: $inputs.n}]")),
        lambda r: r.body == b'{"a":[2]}',
        inputs={"n": [2]},
    ),
    "c77-selector": sends(
        steps(
            PAYLOAD.format(
                "one",
                "payload: {a: 1}, replacements: [{target: /a, value: {context: $inputs.o, selector: $.k, type: jsonpath}}]",
            )
        ),
        lambda r: r.body == b'{"a":5}',
        inputs={"o": {"k": 5}},
    ),
    # -- Runtime expressions ------------------------------------------------------------------------------------------
    "c78-number": gives("$inputs.x", 5),
    "c78-object": gives("$inputs.o", {"k": [1]}),
    "c78-null": gives("$inputs.n", None),
    "c79-scalars": gives("x={$inputs.x} b={$inputs.b} n={$inputs.n}", "x=5 b=true n=null"),
    "c79-structures-as-json": gives("o={$inputs.o}", 'o={"k":[1]}'),
    "c80-header-names-have-no-case": gives("$response.header.x-ONE", "1"),
    "c80-input-names-have": gives("$inputs.X", MISSING),
    "c81-request": gives(
        ["$request.header.accept", "$request.path.id", "$request.body#/sent", "$request.query.q"], ["a/b", 9, 1, "1"]
    ),
    "c81-what-was-sent": tells(
        steps(
            "{stepId: a, operationId: item, parameters: [{name: id, in: path, value: a/b}], outputs: {id: $request.path.id, m: $method, u: $url}}",
            more="outputs: {id: $steps.a.outputs.id, m: $steps.a.outputs.m, u: $steps.a.outputs.u}",
        ),
        outputs={"id": "a/b", "m": "GET", "u": "http://127.0.0.1:9/base/items/a%2Fb"},
    ),
    "c81-the-body-that-was-sent": tells(
        steps(
            "{stepId: a, operationId: one, requestBody: {payload: {n: $inputs.n}, replacements: [{target: /m, value: 2}]}, outputs: {b: $request.body, m: $request.body#/m}}",
            more="inputs: {type: object, properties: {n: {default: 1}}}\noutputs: {b: $steps.a.outputs.b, m: $steps.a.outputs.m}",
        ),
        outputs={"b": {"n": 1, "m": 2}, "m": 2},
    ),
    "c82-a-field": gives("$sourceDescriptions.api.url", "api.json"),
    "c82-an-operation-of-any-name": tells(
        steps("{stepId: a, operationId: '$sourceDescriptions.api.get.it (now)/ä'}"), operations="odd"
    ),
    "c82-an-operation-goes-before-a-field": tells(
        steps("{stepId: a, operationId: $sourceDescriptions.api.url}"), operations="url"
    ),
    "c83-self": gives("$self", "https://x.test/doc.yaml"),
    "c83-message": gives(["$message.header.kind", "$message.payload#/m"], ["k", 1]),
    "c83-pointers": gives(
        ["$steps.st.outputs.out#/deep/0", "$workflows.wf.outputs.o#/p", "$inputs.o#/k/0", "$outputs.own"], [10, 2, 1, 3]
    ),
    "c83-components": gives("$components.parameters.p", {"name": "n"}),
}


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])
def test_the_rule_holds(case: Case, tmp_path: Path) -> None:
    """Each rule of the checklist, by its number."""
    case(tmp_path)


def test_c15_an_absolute_url_means_a_document_by_its_self(tmp_path: Path) -> None:
    """Rule 15: by identity, among the documents that are given; nothing is read from the network."""
    text = (
        CALL.replace("lib.yaml", "https://x.test/lib.yaml")
        + "workflows: [{workflowId: w, steps: [{stepId: a, workflowId: $sourceDescriptions.lib.far}]}]"
    )
    made = shelf(tmp_path, text)
    (tmp_path / "given.yaml").write_text(
        "arazzo: 1.1.0\n$self: https://x.test/lib.yaml\ninfo: {title: t, version: '1'}\n"
        + LIB.replace("url: api.json", f"url: file://{tmp_path}/api.json")
    )
    story = made.tell([200], workflow="w", documents=[str(tmp_path / "given.yaml")])
    assert story.operations == ["read?q=theirs"]


def test_what_is_missing_in_a_path_is_an_error() -> None:
    """Beside rule 46: a value that is not there cannot be left out of a path."""
    with pytest.raises(EvaluationError, match="missing"):
        compile_value("x{$inputs.gone}", SCOPE).evaluate(CONTEXT)


def test_every_number_has_a_case() -> None:
    """83 rules; the fifteenth has a test of its own above."""
    numbers = {int(name[1:3]) for name in CASES} | {15}
    assert numbers == set(range(1, 84))
