"""The attack set: what a hostile document, description or answer tries, and how it is refused.

Three things must be true of each: it ends soon, it ends in a finding or a verdict that says why, and nothing that the
document should not see (a file, a secret) is in what is said.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.counting import lines_run
from treadle.arazzo.criteria import compile_criterion
from treadle.arazzo.expressions import Context, Scope
from treadle.arazzo.inputs import Inputs
from treadle.arazzo.load import load
from treadle.arazzo.registry import Registry
from treadle.arazzo.xmltext import XmlText
from treadle.cli.checking import check_document
from treadle.cli.opening import Setup
from treadle.errors import DescriptionError, Diagnostic, TransportError, TreadleError
from treadle.http.client import HttpTransport
from treadle.seams import Answer, Request

HEAD = """\
arazzo: 1.1.0
info: {title: Test, version: 1.0.0}
sourceDescriptions:
- {name: api, url: ./api.json, type: openapi}
"""
STEP = "{stepId: a, operationId: get}"
PATIENCE = 10.0
"""Seconds of CPU that no attack may take; most take a hundredth."""


@contextmanager
def soon(seconds: float = PATIENCE) -> Iterator[None]:
    """It ends in this time of the processor, however busy the machine is."""
    started = time.process_time()
    yield
    assert time.process_time() - started < seconds


def api(**more: Any) -> dict[str, Any]:
    ok = {"description": "ok", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/S"}}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "t", "version": "1"},
        "servers": [{"url": "http://127.0.0.1:9"}],
        "paths": {"/x": {"get": {"operationId": "get", "responses": {"200": ok}}}},
        "components": {"schemas": {"S": {"type": "object", "properties": {"a": {"type": "string"}}}}},
        **more,
    }


def checked(folder: Path, workflows: str, description: Any = None, head: str = HEAD) -> list[Diagnostic]:
    """Check a document with its API; what cannot be read at all is a finding, too."""
    (folder / "api.json").write_text(json.dumps(api() if description is None else description))
    (folder / "main.yaml").write_text(head + workflows)
    try:
        return list(check_document(Setup(document=str(folder / "main.yaml"), label="main.yaml")).diagnostics)
    except DescriptionError as error:
        return list(error.diagnostics)


def steps(*lines: str, more: str = "") -> str:
    return f"workflows:\n- workflowId: main\n{more}  steps:\n" + "".join(f"  - {line}\n" for line in lines)


# ---------------------------------------------------------------------------------------------------------------------
# Documents
# ---------------------------------------------------------------------------------------------------------------------

BOMB = "x0: &x0 [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]\n" + "".join(
    f"x{level}: &x{level} [{', '.join([f'*x{level - 1}'] * 10)}]\n" for level in range(1, 12)
)


@dataclass
class Text:
    """A whole document, and the rule and words of its refusal."""

    id: str
    text: str
    rule: str
    words: str


TEXTS = [
    Text("alias-bomb", HEAD + BOMB, "limits", "stand for more than"),
    Text("alias-of-itself", HEAD + "x-a: &a [*a]\n", "content", "inside the value that it names"),
    Text("100,000-levels-of-brackets", HEAD + "x-a: " + "[" * 100_000, "limits", "nested more than"),
    Text("100,000-levels-of-lists", HEAD + "x-a:\n" + "- " * 100_000, "limits", "nested more than"),
    Text("100,000-levels-of-json", '{"arazzo": "1.0.1", "x": ' + '{"a":' * 100_000, "limits", "nested more than"),
    Text("key-twice", HEAD + "info: {}\n", "duplicate-key", "stands twice"),
    Text("python-object", HEAD + "x-a: !!python/object/apply:os.system [id]\n", "content", "has no meaning here"),
    Text(
        "number-of-100,000-digits", HEAD + "x-a: " + "9" * 100_000 + "\n", "content", "a number of 100,000 characters"
    ),
    Text("too-large", HEAD + "x-a: " + "a" * 17_000_000 + "\n", "limits", "bytes"),
]


@pytest.mark.parametrize("attack", TEXTS, ids=[each.id for each in TEXTS])
def test_a_hostile_text_is_refused(attack: Text, tmp_path: Path) -> None:
    """Before anything of it is used."""
    (tmp_path / "main.yaml").write_text(attack.text)
    with soon(), pytest.raises(DescriptionError) as caught:
        check_document(Setup(document=str(tmp_path / "main.yaml"), label="main.yaml"))
    (found,) = caught.value.diagnostics
    assert (found.rule, attack.words in found.message) == (attack.rule, True)


DEEP_PAYLOAD = "[" * 150 + "1" + "]" * 150


@dataclass
class Part:
    """Workflows, and the rule and words of the finding."""

    id: str
    workflows: str
    rule: str
    words: str


def condition(text: str, kind: str = "simple") -> str:
    context = "" if kind == "simple" else f", type: {kind}, context: $response.body"
    return steps(f"{{stepId: a, operationId: get, successCriteria: [{{condition: {json.dumps(text)}{context}}}]}}")


def value(text: str) -> str:
    return steps(f"{{stepId: a, operationId: get, parameters: [{{name: q, in: query, value: {text}}}]}}")


PARTS = [
    Part("look-ahead", condition("^(?=(a+))b", "regex"), "bad-condition", "look-around"),
    Part("back-reference", condition(r"^(a+)\1+$", "regex"), "bad-condition", "back references"),
    Part("nested-repetition", condition("((a{1000}){1000}){1000}", "regex"), "bad-condition", "pattern"),
    Part("endless-pattern", condition("a" * 20_000, "regex"), "bad-condition", "longer than"),
    Part("endless-condition", condition("$statusCode == 1 || " * 1000 + "true"), "bad-condition", "longer than"),
    Part("deep-condition", condition("!" * 500 + "true"), "bad-condition", "levels deep"),
    Part("deep-parentheses", condition("(" * 3000 + "true" + ")" * 3000), "bad-condition", "levels deep"),
    Part("endless-query", condition("$" + ".a" * 10_000, "jsonpath"), "bad-condition", "longer than"),
    Part("deep-query", condition("$[?" * 2000, "jsonpath"), "bad-condition", ""),
    Part("deep-xpath", condition("(" * 3000 + "1" + ")" * 3000, "xpath"), "bad-condition", ""),
    Part("endless-expression", value('"$response.body#/' + "a/" * 10_000 + '"'), "bad-expression", "longer than"),
    Part("deep-payload", value(DEEP_PAYLOAD), "too-deep", "levels deep"),
    Part("endless-delay", steps("{stepId: a, operationId: get, onFailure: [{name: r, type: retry, retryAfter: 1e999}]}"), "number-range", "retryAfter"),
    Part("endless-loop", steps("{stepId: a, operationId: get, onSuccess: [{name: g, type: goto, stepId: a}]}"), "endless-loop", "nothing leads out"),
    Part("endless-recursion", steps("{stepId: a, workflowId: main}"), "endless-recursion", "never ends"),
]  # fmt: skip


@pytest.mark.parametrize("attack", PARTS, ids=[each.id for each in PARTS])
def test_a_hostile_part_is_found(attack: Part, tmp_path: Path) -> None:
    """By the check, before anything is sent."""
    with soon():
        found = checked(tmp_path, attack.workflows)
    assert any(each.rule == attack.rule and attack.words in each.message for each in found), found
    assert all(len(each.render()) < 3000 for each in found)


@pytest.mark.parametrize("odd", ["[]", "{}", "[[], string]", "[{}]", "{a: 1}"])
def test_a_type_of_an_odd_kind_is_no_crash(odd: str, tmp_path: Path) -> None:
    """Where a word is looked up, in the document and in the description of its API."""
    selector = f"{{context: $response.body, selector: /a, type: {{type: {odd}, version: rfc6901}}}}"
    checked(tmp_path, value(selector))  # it is an object like any other
    described = api()
    schema = {"properties": {"a": {"type": yaml.safe_load(odd)}}}
    described["paths"]["/x"]["get"]["requestBody"] = {"content": {"application/json": {"schema": schema}}}
    braced = steps("{stepId: a, operationId: get, requestBody: {payload: {a: '{$statusCode}'}}}")
    assert {each.severity for each in checked(tmp_path, braced, described)} <= {"note", "warning"}


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda n: "workflows:\n" + "".join(f"- workflowId: w{i}\n  steps: [{STEP}]\n" for i in range(n)), id="workflows"),
        pytest.param(lambda n: "workflows:\n" + "".join(f"- workflowId: w{i}\n  steps: [{{stepId: a, workflowId: w{min(i + 1, n - 1)}}}]\n" for i in range(n - 1)) + f"- workflowId: w{n - 1}\n  steps: [{STEP}]\n", id="chain-of-workflows"),
        pytest.param(lambda n: steps(*(f"{{stepId: s{i}, operationId: get}}" for i in range(n))), id="steps"),
        pytest.param(lambda n: steps(*(f"{{stepId: s{i}, operationId: get, onFailure: [{{name: g, type: goto, stepId: s{n - 1 - i}, criteria: [{{condition: $statusCode == 500}}]}}]}}" for i in range(n))), id="gotos"),
        pytest.param(lambda n: steps(*(f"{{stepId: s{i}, operationId: get, onFailure: [{{name: g, type: goto, stepId: nowhere{i}}}]}}" for i in range(n))), id="unknown-targets"),
        pytest.param(lambda n: steps(*(f"{{stepId: s{i}, operationId: nowhere{i}}}" for i in range(n))), id="unknown-operations"),
        pytest.param(lambda n: steps(*(f"{{stepId: s{i}, operationId: get, outputs: {{o: $steps.s{max(0, i - 1)}.outputs.o}}}}" for i in range(n))), id="chain-of-outputs"),
        pytest.param(lambda n: steps(*(f"{{stepId: s{i}, operationId: get, outputs: {{o: $response.body#/name{i}}}}}" for i in range(n))), id="unknown-fields"),
        pytest.param(lambda n: steps(STEP, more="  inputs: {properties: {" + ", ".join(f"i{k}: {{}}" for k in range(n)) + "}}\n"), id="inputs"),
        pytest.param(lambda n: steps("{stepId: a, operationId: get, successCriteria: [" + ", ".join("{condition: $statusCode == 200}" for _ in range(n)) + "]}"), id="criteria"),
        pytest.param(lambda n: steps(STEP, more="  failureActions: [" + ", ".join(f"{{name: f{k}, type: retry, criteria: [{{condition: $statusCode == 500}}]}}" for k in range(n)) + "]\n"), id="actions"),
    ],
)  # fmt: skip
def test_what_grows_grows_evenly(make: Callable[[int], str], tmp_path: Path) -> None:
    """Four times as much takes some four times the steps, where the square would take sixteen times."""
    few, many = (lines_run(checked, tmp_path, make(size)) for size in (150, 600))
    assert many < 6 * few


# ---------------------------------------------------------------------------------------------------------------------
# Sources
# ---------------------------------------------------------------------------------------------------------------------

SECRET = "hunter2-swordfish"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        pytest.param("file:///dev/zero", "is not a file", id="endless-device"),
        pytest.param("pipe", "is not a file", id="pipe"),
        pytest.param("secret.txt", "is no OpenAPI", id="any-file"),
        pytest.param("half.json", "this is not JSON", id="half-a-file"),
        pytest.param("x/%2e%2e/%2e%2e/outside.txt", "there is no file", id="encoded-dots"),
        pytest.param("a%00b", "no name of a file", id="nul"),
        pytest.param("gopher://127.0.0.1:9/x", "only files and http(s) URLs", id="another-scheme"),
        pytest.param("http://169.254.169.254/latest/meta-data", "the network is switched off", id="metadata"),
    ],
)
def test_a_source_is_no_way_to_other_files(url: str, words: str, tmp_path: Path) -> None:
    """What is no description is refused, and nothing of its content is told."""
    import os

    (tmp_path / "secret.txt").write_text(f"password={SECRET}\n")
    (tmp_path / "half.json").write_text(f'{{"password": "{SECRET}')
    os.mkfifo(tmp_path / "pipe")
    with soon():
        found = checked(tmp_path, steps(STEP), head=HEAD.replace("./api.json", url))
    errors = [each for each in found if each.severity == "error"]
    assert any(words in each.message for each in errors), errors
    assert not any(SECRET in each.render() for each in found)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "FILE:///etc/passwd", "../../../../etc/passwd", "//etc/passwd", "file:secret.yaml"]
)
def test_a_document_from_the_network_reads_no_local_file(url: str) -> None:
    """Relative addresses stay on its server; `file:` is refused."""
    asked: list[str] = []

    def fetch(uri: str) -> bytes:
        asked.append(uri)
        if uri == "https://evil.test/a/main.yaml":
            return (HEAD.replace("./api.json", url) + steps(STEP)).encode()
        raise TreadleError("not found")

    setup = Setup(document="https://evil.test/a/main.yaml", label="main.yaml")
    found = check_document(setup, fetch=fetch).diagnostics
    assert any(each.severity == "error" for each in found)
    assert not any("root:" in each.render() for each in found)
    assert all(each.startswith("https://") for each in asked)
    if url.lower().startswith("file:"):
        assert any("may not read the local file" in each.message for each in found)


def test_a_document_from_the_network_leads_nowhere_by_a_second_document() -> None:
    """An Arazzo source of it is from the network as well."""
    there = {
        "https://evil.test/main.yaml": HEAD.replace("{name: api, url: ./api.json, type: openapi}", "{name: o, url: ./o.yaml, type: arazzo}")
        + steps("{stepId: a, workflowId: $sourceDescriptions.o.main}"),
        "https://evil.test/o.yaml": HEAD.replace("./api.json", "file:///etc/passwd") + steps(STEP),
    }  # fmt: skip

    def fetch(uri: str) -> bytes:
        return there[uri].encode()

    found = check_document(Setup(document="https://evil.test/main.yaml"), fetch=fetch).diagnostics
    assert any("may not read the local file" in each.message for each in found)


@pytest.mark.parametrize(
    ("place", "found"),
    [
        pytest.param("https://evil.test/api.yaml", False, id="another host"),
        pytest.param("http://good.test/api.yaml", False, id="another scheme"),
        pytest.param("https://good.test/v2/api.yaml", True, id="the same host"),
        pytest.param("/copies/api.yaml", True, id="a file of the user's"),
    ],
)
def test_nobody_else_can_claim_to_be_a_document(place: str, found: bool) -> None:
    """A `$self` is taken at its word from files and from its own host; others could put themselves in its place."""
    claimed = "https://good.test/api.yaml"
    registry = Registry().with_document(load(f"openapi: 3.2.0\n$self: {claimed}\n".encode(), place))
    assert (claimed in registry.documents) is found


def test_a_registry_answers_only_for_what_it_was_asked() -> None:
    """Dots in a URL are resolved before anybody looks (RFC 3986 §5.2.4)."""
    registry = Registry()
    assert registry.resolve("https://a.test/b/c.yaml", "../../../../etc/passwd") == "https://a.test/etc/passwd"
    assert registry.resolve("https://a.test/b/c.yaml", "//b.test/x") == "https://b.test/x"


# ---------------------------------------------------------------------------------------------------------------------
# Descriptions
# ---------------------------------------------------------------------------------------------------------------------


def schemas(**schemas: Any) -> dict[str, Any]:
    return api(components={"schemas": schemas})


def ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


CHAIN = {f"S{i or ''}": ref(f"S{i + 1}") for i in range(5000)} | {"S5000": {"type": "string"}}
DESCRIPTIONS = [
    pytest.param(schemas(S=ref("S")), id="cycle-of-one"),
    pytest.param(schemas(S=ref("T"), T=ref("S")), id="cycle-of-two"),
    pytest.param(schemas(**CHAIN), id="long-chain"),
    pytest.param(schemas(S={"anyOf": [ref("S")] * 50}), id="alternatives-of-itself"),
    pytest.param(schemas(S={"allOf": [ref("S")] * 50}), id="all-of-itself"),
    pytest.param(schemas(S={"oneOf": [{"anyOf": [{"oneOf": [{"type": "object"}] * 60}] * 60}] * 60}), id="alternatives-of-alternatives"),
    pytest.param(schemas(S={"properties": {"a": ref("S")}, "allOf": [ref("T")]}, T={"allOf": [ref("U")] * 2}, U={"allOf": [ref("T")] * 2}), id="doubling-circle"),
    pytest.param(schemas(S={"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(20_000)}}), id="many-properties"),
    pytest.param(schemas(S={"type": "object", "properties": {"a": {"enum": [f"v{i}" for i in range(50_000)]}}}), id="many-values"),
    pytest.param(schemas(S={"type": [None, 5, {}], "properties": [], "enum": {}, "allOf": 3, "required": "x"}), id="nonsense"),
    pytest.param(api(paths={"/x": {"get": {"operationId": "get", "parameters": [{"$ref": "#/paths/~1x/get/parameters/0"}]}}}), id="parameter-of-itself"),
    pytest.param(api(paths={"/x": {"$ref": "#/paths/~1y"}, "/y": {"$ref": "#/paths/~1x"}}), id="paths-of-each-other"),
    pytest.param(api(servers=[{"url": "{a}" * 10_000}]), id="many-variables"),
]  # fmt: skip


@pytest.mark.parametrize("description", DESCRIPTIONS)
def test_a_hostile_description_ends(description: dict[str, Any], tmp_path: Path) -> None:
    """Whatever it refers to, however often."""
    reading = "{stepId: a, operationId: get, successCriteria: [{condition: \"$response.body#/a/a/a == 'x'\"}], outputs: {o: $response.body#/b/c, p: $response.body#/a/a/a/a/a/a/a/a}, onSuccess: [{name: g, type: goto, stepId: a, criteria: [{condition: \"$response.body#/a == 'v1'\"}]}]}"
    with soon():
        checked(tmp_path, steps(reading), description)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        pytest.param({"properties": {"a": {"pattern": "^(?=x)(a+)+$"}}}, "look-around", id="look-around"),
        pytest.param({"properties": {"a": {"pattern": r"^(a+)\1$"}}}, "back references", id="back-reference"),
        pytest.param({"properties": {"a": {"$ref": "file:///etc/passwd"}}}, "another document", id="file"),
        pytest.param({"properties": {"a": {"$ref": "http://169.254.169.254/x"}}}, "another document", id="network"),
        pytest.param({"properties": {"a": {"$ref": "#/nowhere"}}}, "", id="nowhere"),
    ],
)
def test_a_hostile_schema_of_inputs_is_refused(schema: Any, words: str) -> None:
    """Before a value is held against it."""
    document = load(json.dumps({"inputs": schema}).encode(), "x.json")
    with soon():
        inputs = Inputs(document.value["inputs"], document, "/inputs")
        _, found = inputs.prepare({"a": "a" * 50 + "!"})
    assert any(words in each.message for each in found if each.severity == "error"), found


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(a|aa)+$", "(.*)*x$", "^([a-z]+)*[0-9]$"])
def test_a_pattern_of_inputs_takes_linear_time(pattern: str) -> None:
    """An engine that goes back would take longer than the sun has."""
    document = load(json.dumps({"inputs": {"properties": {"a": {"type": "string", "pattern": pattern}}}}).encode(), "x")
    with soon(2):
        _, found = Inputs(document.value["inputs"], document, "/inputs").prepare({"a": "a" * 20_000 + "!"})
    assert any("is wrong" in each.message for each in found)


def test_defaults_that_contain_each_other_end() -> None:
    """A default whose own schema has a default, without end."""
    schema = {"$ref": "#/components/inputs/loop"}
    loop = {"type": "object", "properties": {"next": {"$ref": "#/components/inputs/loop", "default": {}}}}
    document = load(json.dumps({"inputs": schema, "components": {"inputs": {"loop": loop}}}).encode(), "x.json")
    with soon():
        _, found = Inputs(document.value["inputs"], document, "/inputs").prepare({})
    assert any("without end" in each.message for each in found)


# ---------------------------------------------------------------------------------------------------------------------
# Answers
# ---------------------------------------------------------------------------------------------------------------------

LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(9))
    + "]><l>&j;</l>"
)
OUTSIDE = '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><r>&x;</r>'


@pytest.mark.parametrize(
    ("body", "words"),
    [
        pytest.param(LAUGHS, "DTD", id="billion-laughs"),
        pytest.param(OUTSIDE, "DTD", id="outside-entity"),
        pytest.param("<a>" * 50_000, "deep", id="depth"),
        pytest.param("<a", "XML", id="half"),
    ],
)
def test_hostile_xml_fails_its_criterion_and_says_why(body: str, words: str) -> None:
    """No entity is resolved, no file read."""
    criterion = compile_criterion("count(//*) > 0", Scope(), type="xpath", context="$response.body")
    with soon():
        verdict = criterion.judge(Context(response=Answer(200, (), body)))
    assert not verdict.passed
    assert words in verdict.problem
    assert "root:" not in verdict.problem


def test_hostile_xml_is_no_payload() -> None:
    """Replacements in an XML payload refuse a DTD as criteria do."""
    with soon(), pytest.raises(TreadleError, match="DTD"):
        XmlText(LAUGHS)


@pytest.mark.parametrize(
    ("kind", "condition", "body"),
    [
        pytest.param("regex", "^(a+)+$", "a" * 100_000 + "!", id="pattern"),
        pytest.param("regex", "(x+x+)+y", "x" * 100_000, id="overlapping-pattern"),
        pytest.param("jsonpath", "$[?match(@.a, '(a+)+b')]", [{"a": "a" * 50_000}], id="pattern-in-a-query"),
        pytest.param("jsonpath", "$..[?@..a == 1]", [[[[{"b": 1}] * 20] * 20] * 20], id="descent-in-descent"),
        pytest.param("jsonpath", "$..*..*..*[?@ == 1]", {"a": [[0] * 60] * 60}, id="descents"),
        pytest.param("xpath", "//a//a//a//a//a//a//a", "<a>" * 100 + "</a>" * 100, id="xpath-descents"),
        pytest.param("xpath", "matches(., '(a+)+$')", f"<r>{'a' * 26}!</r>", id="xpath-pattern"),
        pytest.param("simple", "$response.body#/a/a/a == 1", {"a": {"a": {"a": 10**400}}}, id="number"),
    ],
)
def test_a_hostile_criterion_ends(kind: str, condition: str, body: Any) -> None:
    """With a verdict, in time that grows with its input and not beyond the limits."""
    context = None if kind == "simple" else "$response.body"
    criterion = compile_criterion(condition, Scope(), type=kind, context=context)
    with soon(20):
        verdict = criterion.judge(Context(response=Answer(200, (), body)))
    assert not verdict.passed or kind == "xpath"


@pytest.fixture
def endless() -> Iterator[str]:
    """A server whose answers have no end: with a length of 100 MB, in pieces, and packed."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            self.close_connection = True
            piece = b" " * 65536
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            if self.path == "/length":
                self.send_header("Content-Length", str(100_000_000))
            else:
                self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            try:
                for _ in range(100_000_000 // len(piece)):
                    chunk = piece if self.path == "/length" else b"10000\r\n" + piece + b"\r\n"
                    self.wfile.write(chunk)
            except OSError:
                pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("path", ["/length", "/pieces"])
async def test_an_answer_of_100_megabytes_is_dropped(endless: str, path: str) -> None:
    """By the bound of the transport, which is below that unless somebody sets it higher."""
    transport = HttpTransport()
    try:
        with pytest.raises(TransportError) as caught:
            await transport.send(Request("GET", endless + path))
    finally:
        await transport.close()
    assert caught.value.fault == "too-large"
