"""OpenAPI descriptions as sources: the seed's, every version's, and broken ones."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import urljoin

import pytest
import yaml

from treadle.errors import CallError, DescriptionError, Diagnostic
from treadle.seams import MISSING, Argument, ArgumentLocation, Call, Json, Request, Response
from treadle.sources.openapi import OpenApiSource
from treadle.sources.walk import ReadOther

AMZ = "application/x-amz-json-1.1"
URI = "file:///api.yaml"


def description(paths: Json, **members: Json) -> dict[str, Json]:
    return {"openapi": "3.1.0", "info": {}, "servers": [{"url": "https://h.test/v1/"}], "paths": paths, **members}


def source(paths: Json, *, server: str | None = None, **members: Json) -> OpenApiSource:
    return OpenApiSource("api", description(paths, **members), uri=URI, server=server)


def arguments(**given: tuple[str, Json]) -> tuple[Argument, ...]:
    return tuple(Argument(name, cast("ArgumentLocation", location), value) for name, (location, value) in given.items())


def only(found: Any) -> Any:
    (one,) = found
    return one


# ---------------------------------------------------------------------------------------------------------------------
# The seed
# ---------------------------------------------------------------------------------------------------------------------

SAGEMAKER = description(
    {
        f"/#{name}": {
            "post": {
                "operationId": name,
                "parameters": [{"$ref": "#/components/parameters/XAmzTarget"}],
                "requestBody": {"required": True, "content": {AMZ: {"schema": {"type": "object"}}}},
                "responses": {"200": {"content": {"application/json": {}}}},
            }
        }
        for name in ("CreateTrainingJob", "DescribeTrainingJob")
    },
    servers=[
        {"url": "https://api.sagemaker.{region}.amazonaws.com", "variables": {"region": {"default": "us-east-1"}}}
    ],
    components={
        "parameters": {
            "XAmzTarget": {"name": "X-Amz-Target", "in": "header", "required": True, "schema": {"type": "string"}}
        }
    },
)


def sagemaker(**more: Any) -> OpenApiSource:
    return OpenApiSource("sagemakerApi", SAGEMAKER, uri=URI, **{"environment": {}, **more})


def test_an_aws_call() -> None:
    """`/#CreateTrainingJob` is `POST /`, with the step's header and its JSON under AWS's media type."""
    call = Call(arguments(**{"X-Amz-Target": ("header", "SageMaker.CreateTrainingJob")}), AMZ, {"TrainingJobName": "a"})

    request = only(sagemaker().find("CreateTrainingJob")).request(call)

    assert request == Request(
        "POST",
        "https://api.sagemaker.us-east-1.amazonaws.com/",
        (("Accept", "application/json"), ("X-Amz-Target", "SageMaker.CreateTrainingJob"), ("Content-Type", AMZ)),
        b'{"TrainingJobName":"a"}',
    )


@pytest.mark.parametrize(
    ("options", "want"),
    [
        pytest.param({}, "https://api.sagemaker.us-east-1.amazonaws.com/", id="default"),
        pytest.param(
            {"environment": {"AWS_DEFAULT_REGION": "eu-west-1"}},
            "https://api.sagemaker.eu-west-1.amazonaws.com/",
            id="environment",
        ),
        pytest.param(
            {"environment": {"AWS_DEFAULT_REGION": "eu-west-1", "AWS_REGION": "eu-north-1"}},
            "https://api.sagemaker.eu-north-1.amazonaws.com/",
            id="AWS_REGION first",
        ),
        pytest.param({"server": "http://127.0.0.1:1234/"}, "http://127.0.0.1:1234/", id="a named server"),
    ],
)
def test_the_region(options: dict[str, Any], want: str) -> None:
    """The region: the environment, then the default; a named server outranks them all."""
    operation = only(sagemaker(**options).find("DescribeTrainingJob"))

    assert operation.request(Call(payload={})).url == want


def test_reads_are_known_by_their_target() -> None:
    """Describe may be sent again, Create may not; without a target nothing is certain."""
    read, write = (
        Call(arguments(**{"x-amz-target": ("header", f"SageMaker.{name}")})) for name in ("DescribeX", "CreateX")
    )
    operation = only(sagemaker().find("DescribeTrainingJob"))

    assert [operation.read_only(call) for call in (read, write, Call())] == [True, False, False]


def test_a_target_with_one_possible_value_is_sent() -> None:
    """A required X-Amz-Target that can have one value only needs not be spelled out; an example is no value."""
    fixed = copy.deepcopy(SAGEMAKER)
    fixed["components"]["parameters"]["XAmzTarget"]["schema"] = {"enum": ["SageMaker.DescribeTrainingJob"]}
    operation = only(OpenApiSource("s", fixed, uri=URI).find("DescribeTrainingJob"))

    request = operation.request(Call())

    assert (request.header("x-amz-target"), request.header("content-type")) == ("SageMaker.DescribeTrainingJob", AMZ)
    assert request.body == b"{}"
    assert operation.read_only(Call())
    assert only(sagemaker().find("DescribeTrainingJob")).request(Call()).header("x-amz-target") is None


@pytest.mark.suite
def test_the_seed_itself(shared: Path) -> None:
    """The real description answers for every operation of its workflow."""
    text = (shared / "seed/openapi/amazon-sagemaker-openapi.yml").read_text()
    seed = OpenApiSource("s", yaml.safe_load(text), uri=URI, environment={})

    for name in ("CreateTrainingJob", "DescribeTrainingJob"):
        operation = only(seed.find(name))
        assert operation.request(Call(payload={})).url == "https://api.sagemaker.us-east-1.amazonaws.com/"
        assert seed.at(f"/paths/~1%23{name}/post") is operation
    assert len(seed.operations()) == 13


# ---------------------------------------------------------------------------------------------------------------------
# Requests
# ---------------------------------------------------------------------------------------------------------------------


@dataclass
class Case:
    """`given` are the arguments (location, value) by name; `want` is the URL after the server."""

    description: str
    path: str
    given: dict[str, tuple[str, Json]]
    want: str
    declared: list[Json] = field(default_factory=list)


ID: Json = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
URLS = [
    Case("a path parameter", "/pets/{id}", {"id": ("path", "2/0 x?")}, "/pets/2%2F0%20x%3F", [ID]),
    Case("an undeclared path parameter", "/pets/{id}", {"id": ("path", 7)}, "/pets/7"),
    Case("a label", "/f{id}", {"id": ("path", "x")}, "/f.x", [{**ID, "style": "label"}]),
    Case("two in one segment", "/{a}..{b}", {"a": ("path", 1), "b": ("path", 2)}, "/1..2"),
    Case("a fragment of the key", "/#Op", {"Action": ("query", "X")}, "/?Action=X"),
    Case("a constant query", "/{B}?acl", {"B": ("path", "b")}, "/b?acl"),
    Case("a constant with a value", "/{B}?list-type=2", {"B": ("path", "b"), "prefix": ("query", "a/")}, "/b?list-type=2&prefix=a%2F"),
    Case("a constant that an argument replaces", "/x?list-type=2", {"list-type": ("query", 1)}, "/x?list-type=1"),
    Case(
        "a templated query",
        "/{B}/{Key+}?partNumber={partNumber}&uploadId={uploadId}",
        {"B": ("path", "b"), "Key": ("path", "a/b c"), "partNumber": ("query", 1), "uploadId": ("path", "u&1")},
        "/b/a/b%20c?partNumber=1&uploadId=u%261",
    ),
    Case("fragment and query", "/x?tempPassword=true#two", {}, "/x?tempPassword=true"),
    Case("an undeclared query", "/x", {"q": ("query", ["a", "b"])}, "/x?q=a&q=b"),
    Case("a declared style", "/x", {"q": ("query", ["a", "b"])}, "/x?q=a|b".replace("|", "%7C"), [{"name": "q", "in": "query", "style": "pipeDelimited"}]),
    Case("a null query", "/x", {"q": ("query", None), "r": ("query", 1)}, "/x?r=1"),
    Case("the whole query as text", "/x", {"q": ("querystring", "?a=1&b=x y#z")}, "/x?a=1&b=x%20y%23z"),
    Case("the whole query as a form", "/x", {"q": ("querystring", {"a": "1 2"})}, "/x?a=1+2", [{"name": "q", "in": "querystring", "content": {"application/x-www-form-urlencoded": {}}}]),
    Case("the whole query as JSON", "/x", {"q": ("querystring", {"a": 1})}, "/x?%7B%22a%22%3A1%7D", [{"name": "q", "in": "querystring", "content": {"application/json": {}}}]),
    Case("characters that a path cannot have", "/a b/é/%41", {}, "/a%20b/%C3%A9/%41"),
    Case("a path without its slash", "pets", {}, "/pets"),
]  # fmt: skip


@pytest.mark.parametrize("case", URLS, ids=lambda case: case.description)
def test_urls(case: Case) -> None:
    """Path keys, parameters and their styles make the URL."""
    operation = {"operationId": "op", "parameters": case.declared}
    found = only(source({case.path: {"get": operation}}).find("op"))

    assert found.request(Call(arguments(**case.given))).url == f"https://h.test/v1{case.want}"


@pytest.mark.parametrize(
    ("path", "given", "message"),
    [
        pytest.param("/p/{id}", {}, r"path parameter \{id\} has no value", id="a missing path parameter"),
        pytest.param("/p/{id}", {"ID": ("path", 1)}, r"has no parameter \{ID\}; it has \{id\}", id="a wrong name"),
        pytest.param("/p/{id}", {"id": ("path", "..")}, "another path", id="a way up"),
        pytest.param("/p/{K+}", {"K": ("path", "a/../b")}, "another path", id="a way up within a greedy one"),
        pytest.param("/p?u={u}", {}, r"query parameter \{u\} of the path has no value", id="a missing query template"),
        pytest.param("/p", {"X": ("header", "a\r\nb")}, "line break", id="a header of two lines"),
        pytest.param("/p", {"q": ("querystring", 5)}, "'q' is the whole query: it must be text, not 5", id="a number"),
        pytest.param(
            "/p", {"q": ("querystring", "a"), "r": ("query", 1)}, "whole query", id="query beside querystring"
        ),
    ],
)
def test_calls_that_cannot_be_built(path: str, given: dict[str, Any], message: str) -> None:
    """What a call lacks, or has too much, is a `CallError` that names it."""
    operation = only(source({path: {"get": {"operationId": "op"}}}).find("op"))

    with pytest.raises(CallError, match=message):
        operation.request(Call(arguments(**given)))


def test_headers_and_cookies() -> None:
    """Undeclared headers are sent too; cookies are joined; framing is the transport's own business."""
    declared = [{"name": "X-List", "in": "header", "schema": {"type": "array"}}]
    operation = only(source({"/x": {"get": {"operationId": "op", "parameters": declared}}}).find("op"))
    given: dict[str, tuple[str, Json]] = {
        "x-list": ("header", ["a", "b"]),
        "X-Other": ("header", 7),
        "X-None": ("header", None),
        "Content-Length": ("header", 3),
        "sid": ("cookie", "a b"),
        "lang": ("cookie", "en"),
        "Cookie": ("header", "z=1"),
    }

    request = operation.request(Call(arguments(**given)))

    assert request.headers == (("x-list", "a,b"), ("X-Other", "7"), ("Cookie", "z=1; sid=a%20b; lang=en"))


@dataclass
class Body:
    description: str
    types: list[str]
    call: Call
    want: bytes
    content_type: str | None


BODIES = [
    Body("the step's type", ["application/json"], Call((), "application/vnd.a+json", {"a": 1}), b'{"a":1}', "application/vnd.a+json"),
    Body("the operation's only type", ["application/x-www-form-urlencoded"], Call(payload={"a": 1}), b"a=1", "application/x-www-form-urlencoded"),
    Body("JSON before others", ["application/xml", "application/json"], Call(payload={"a": 1}), b'{"a":1}', "application/json"),
    Body("no type known, an object", [], Call(payload={"a": 1}), b'{"a":1}', "application/json"),
    Body("no type known, text", [], Call(payload="a"), b"a", "text/plain; charset=utf-8"),
    Body("a wildcard", ["*/*"], Call(payload=[1]), b"[1]", "application/json"),
    Body("no payload", ["application/json"], Call(), b"", None),
    Body("an explicit null", ["application/json"], Call(payload=None), b"null", "application/json"),
    Body("the type as a header", ["application/json"], Call(arguments(**{"content-type": ("header", "application/merge-patch+json")}), None, {"a": 1}), b'{"a":1}', "application/merge-patch+json"),
    Body("a type as a header without a body", [], Call(arguments(**{"Content-Type": ("header", "text/plain")})), b"", "text/plain"),
]  # fmt: skip


@pytest.mark.parametrize("case", BODIES, ids=lambda case: case.description)
def test_bodies(case: Body) -> None:
    """The content type is the step's, else the operation's; the bytes follow it."""
    operation = {"operationId": "op", "requestBody": {"content": {each: {} for each in case.types}}}
    request = only(source({"/x": {"post": operation}}).find("op")).request(case.call)

    assert (request.body, request.header("content-type")) == (case.want, case.content_type)


def test_a_boundary_belongs_to_its_body() -> None:
    """A Content-Type header of the step cannot replace the one that names the boundary."""
    operation = only(source({"/x": {"post": {"operationId": "op"}}}).find("op"))
    stated = arguments(**{"Content-Type": ("header", "multipart/form-data")})

    request = operation.request(Call(stated, None, {"a": "b"}))

    boundary = (request.header("content-type") or "").partition("boundary=")[2]
    assert boundary
    assert request.body.startswith(f"--{boundary}\r\n".encode())


def test_encodings_of_a_form() -> None:
    """The Encoding Object of a form decides how its members are written."""
    encoding = {"a": {"style": "deepObject", "explode": True}, "b": {"$ref": "#/components/x"}}
    content = {"application/x-www-form-urlencoded": {"encoding": encoding}}
    operation = {"operationId": "op", "requestBody": {"$ref": "#/components/requestBodies/f"}}
    components = {"requestBodies": {"f": {"content": content}}, "x": {"style": "form", "explode": False}}
    found = only(source({"/x": {"post": operation}}, components=components).find("op"))

    assert found.request(Call(payload={"a": [1], "b": [1, 2]})).body == b"a%5B0%5D=1&b=1%2C2"


# ---------------------------------------------------------------------------------------------------------------------
# Finding operations
# ---------------------------------------------------------------------------------------------------------------------


def test_path_level_parameters() -> None:
    """Parameters of the path hold for its operations, which may declare them anew."""
    item = {
        "parameters": [ID, {"name": "v", "in": "query", "required": True}],
        "get": {"operationId": "op", "parameters": [{"name": "v", "in": "query", "style": "pipeDelimited"}]},
    }
    found = only(source({"/x/{id}": item}).find("op"))

    assert [(each.name, each.location, each.required) for each in found.parameters] == [
        ("id", "path", True),
        ("v", "query", False),
    ]
    assert found.parameters[0].schema == {"type": "string"}


def test_duplicates_are_all_given() -> None:
    """An operationId that is used twice gives both, with their places."""
    found = source({"/a": {"get": {"operationId": "op"}}, "/b": {"get": {"operationId": "op"}}}).find("op")

    assert [(each.method, each.path, each.operation_id, each.source) for each in found] == [
        ("GET", "/a", "op", "api"),
        ("GET", "/b", "op", "api"),
    ]


def test_only_paths_are_indexed() -> None:
    """Callbacks and webhooks are requests that others send."""
    callback = {"get": {"operationId": "cb"}}
    paths = {
        "/a": {"post": {"operationId": "op", "callbacks": {"x": {"{$request.body#/u}": callback}}}},
        "x-y": callback,
    }
    api = source(paths, webhooks={"w": callback})

    assert [each.operation_id for each in api.operations()] == ["op"]
    assert not api.find("cb")


def test_a_description_without_paths() -> None:
    """OpenAPI 3.1 allows a description that has webhooks only."""
    api = OpenApiSource("api", {"openapi": "3.1.0", "webhooks": {}}, uri=URI)

    assert (api.operations(), api.find("x"), api.at("/paths/~1x/get")) == ([], (), None)


@pytest.mark.parametrize(
    "pointer",
    ["/paths/~1pets~1{id}/get", "/paths/~1pets~1%7Bid%7D/get", "/paths/%7E1pets%7E1%7Bid%7D/get"],
)
def test_at(pointer: str) -> None:
    """An operationPath's pointer names an operation, percent-encoded or not; operations without an id can be had so."""
    found = source({"/pets/{id}": {"get": {}, "parameters": [ID]}}).at(pointer)

    assert found is not None
    assert (found.method, found.path, found.operation_id) == ("GET", "/pets/{id}", "")


@pytest.mark.parametrize(
    "pointer", ["", "/paths", "/paths/~1pets", "/paths/~1x/get", "/paths/~1pets/put", "/info", "x"]
)
def test_at_nothing(pointer: str) -> None:
    """A pointer to anything else gives none."""
    assert source({"/pets": {"get": {}}}).at(pointer) is None


def test_openapi_3_2() -> None:
    """Version 3.2 has the method QUERY and methods of any name."""
    item = {"query": {"operationId": "q"}, "additionalOperations": {"COPY": {"operationId": "c"}}}
    api = OpenApiSource("api", {**description({"/x": item}), "openapi": "3.2.0"}, uri=URI)

    assert [only(api.find(name)).method for name in ("q", "c")] == ["QUERY", "COPY"]
    assert api.at("/paths/~1x/additionalOperations/COPY") is only(api.find("c"))
    assert only(api.find("q")).read_only(Call())
    assert not only(api.find("c")).read_only(Call())


def test_a_path_item_by_reference() -> None:
    """A path item may be a reference, with members of its own beside it."""
    components = {"pathItems": {"p": {"get": {"operationId": "op"}}}}
    api = source({"/x": {"$ref": "#/components/pathItems/p", "parameters": [ID]}}, components=components)

    found = only(api.find("op"))

    assert (found.path, [each.name for each in found.parameters]) == ("/x", ["id"])
    assert api.at("/paths/~1x/get") is found


# ---------------------------------------------------------------------------------------------------------------------
# Servers
# ---------------------------------------------------------------------------------------------------------------------

NESTED: Json = {
    "/a": {"servers": [{"url": "https://path.test"}], "get": {"operationId": "a"}},
    "/b": {"get": {"operationId": "b", "servers": [{"url": "https://operation.test/x"}]}},
    "/c": {"get": {"operationId": "c"}},
}


@pytest.mark.parametrize(
    ("server", "want"),
    [
        (None, ["https://path.test/a", "https://operation.test/x/b", "https://h.test/v1/c"]),
        ("https://h.test/v1", ["https://path.test/a", "https://operation.test/x/b", "https://h.test/v1/c"]),
        ("http://127.0.0.1:1", ["http://127.0.0.1:1/a", "http://127.0.0.1:1/b", "http://127.0.0.1:1/c"]),
    ],
)
def test_servers_of_paths_and_operations(server: str | None, want: list[str]) -> None:
    """The nearest server holds, unless a person names another one than the description's own."""
    api = source(NESTED, server=server)

    assert [only(api.find(name)).request(Call()).url for name in "abc"] == want


@pytest.mark.parametrize(
    ("uri", "servers", "want"),
    [
        ("https://a.test/docs/api.yaml", None, "https://a.test/x"),
        ("https://a.test/docs/api.yaml", [{"url": "../v2"}], "https://a.test/v2/x"),
        ("https://a.test/docs/api.yaml", [{"url": "//b.test"}], "https://b.test/x"),
        (
            URI,
            [{"url": "{p}://{h}", "variables": {"p": {"default": "http"}, "h": {"default": "c.test"}}}],
            "http://c.test/x",
        ),
    ],
)
def test_relative_servers(uri: str, servers: Json, want: str) -> None:
    """A relative server is resolved against where the description was read from."""
    document = {
        key: value for key, value in description({"/x": {"get": {"operationId": "op"}}}).items() if key != "servers"
    }
    api = OpenApiSource("api", {**document, **({"servers": servers} if servers else {})}, uri=uri)

    assert only(api.find("op")).request(Call()).url == want


@pytest.mark.parametrize("servers", [[], [{"url": "/v1"}], [{"url": "//your-domain.test"}]])
def test_no_server(servers: Json) -> None:
    """A description that was read from a file and names no host needs a server by name; it can be checked without."""
    document = description({"/x": {"get": {"operationId": "op"}}}, servers=servers)
    api = OpenApiSource("api", document, uri=URI)

    operation = only(api.find("op"))
    with pytest.raises(CallError, match="names no server") as caught:
        operation.request(Call())
    assert caught.value.hint == "name one with --server api=URL"
    named = OpenApiSource("api", document, uri=URI, server="http://n.test")
    assert only(named.find("op")).request(Call()).url == "http://n.test/x"


def test_a_server_variable_without_a_value() -> None:
    """A variable without a value is found when the operation is looked up; naming a server mends it."""
    document = description({"/x": {"get": {"operationId": "op"}}}, servers=[{"url": "https://{tenant}.test"}])
    api = OpenApiSource("api", document, uri=URI)

    with pytest.raises(DescriptionError, match=r"variable \{tenant\}") as caught:
        api.find("op")
    assert [each.place and each.place.pointer for each in caught.value.diagnostics] == ["/servers/0"]
    assert only(OpenApiSource("api", document, uri=URI, server="http://n.test").find("op"))


# ---------------------------------------------------------------------------------------------------------------------
# Answers
# ---------------------------------------------------------------------------------------------------------------------

HTML = b"<html><title>Sign in</title></html>"
JSON_BODY: Json = {"content": {"application/json": {}}}


@dataclass
class Reply:
    description: str
    responses: Json
    response: Response
    want: Json
    problem: str = ""


HTML_200 = Response(200, (("Content-Type", "text/html"),), HTML)
REPLIES = [
    Reply("JSON", {"200": JSON_BODY}, Response(200, (("Content-Type", AMZ),), b'{"a":1}'), {"a": 1}),
    Reply("nothing", {"200": JSON_BODY}, Response(200, (("Content-Type", AMZ),)), MISSING),
    Reply("HTML where JSON is promised", {"200": JSON_BODY}, HTML_200, MISSING, "the body is HTML (<title>Sign in"),
    Reply("HTML, promised for a number", {200: JSON_BODY}, HTML_200, MISSING, "the body is HTML"),
    Reply("HTML, promised for the range", {"2xx": JSON_BODY}, HTML_200, MISSING, "the body is HTML"),
    Reply("HTML, promised by default", {"default": JSON_BODY}, HTML_200, MISSING, "the body is HTML"),
    Reply("HTML, promised by reference", {"200": {"$ref": "#/components/responses/r"}}, HTML_200, MISSING, "HTML"),
    Reply("HTML where nothing is promised", {"200": {}}, HTML_200, HTML.decode()),
    Reply("HTML where another status is promised", {"404": JSON_BODY}, HTML_200, HTML.decode()),
    Reply("HTML where HTML is promised", {"200": {"content": {"text/html": {}}}}, HTML_200, HTML.decode()),
    Reply("broken responses", {"200": {"$ref": "#/nowhere"}}, HTML_200, HTML.decode()),
    Reply("no responses at all", None, HTML_200, HTML.decode()),
]


@pytest.mark.parametrize("case", REPLIES, ids=lambda case: case.description)
def test_answers(case: Reply) -> None:
    """An answer is decoded by its type, and held against what the description promises for its status."""
    operation = {"operationId": "op", **({} if case.responses is None else {"responses": case.responses})}
    api = source({"/x": {"get": operation}}, components={"responses": {"r": JSON_BODY}})

    answer = only(api.find("op")).answer(case.response)

    assert (answer.status, answer.body) == (case.response.status, case.want)
    assert (case.problem in answer.problem) if case.problem else not answer.problem


# ---------------------------------------------------------------------------------------------------------------------
# Broken descriptions
# ---------------------------------------------------------------------------------------------------------------------

PET: Json = {"operationId": "op"}


@pytest.mark.parametrize(
    ("document", "pointer", "message"),
    [
        pytest.param([], "", "an object was expected", id="a list"),
        pytest.param({"a": 1}, "", "no member `openapi`", id="another document"),
        pytest.param({"openapi": "2.9"}, "", "version is '2.9'", id="an unknown version"),
        pytest.param(description([]), "/paths", "an object was expected here, not a list", id="paths is a list"),
        pytest.param(description({"/x": {"get": {**PET, "parameters": {}}}}), "/paths/~1x/get/parameters", "a list was", id="parameters is an object"),
        pytest.param(description({"/x": {"get": {**PET, "parameters": [{"in": "query"}]}}}), "/paths/~1x/get/parameters/0", "has no name", id="a parameter without a name"),
        pytest.param(description({"/x": {"get": {**PET, "parameters": [{"name": "a", "in": "body"}]}}}), "/paths/~1x/get/parameters/0", "is in 'body'", id="a parameter somewhere else"),
        pytest.param(description({"/x": {"get": {**PET, "parameters": [{"name": "a", "in": "path", "style": "form"}]}}}), "/paths/~1x/get/parameters/0", "cannot have the style 'form'", id="a style in the wrong place"),
        pytest.param(description({"/x": {"get": {**PET, "parameters": [{"name": "a", "in": "query", "explode": "yes"}]}}}), "/paths/~1x/get/parameters/0/explode", "must be true or false", id="explode is text"),
        pytest.param(description({"/x": {"get": {**PET, "requestBody": {"$ref": "#/a"}}}}, a={"$ref": "#/b"}, b={"$ref": "#/a"}), "/paths/~1x/get/requestBody", "leads back to itself", id="references in a circle"),
        pytest.param(description({"/x": {"get": {**PET, "requestBody": {"$ref": "#anchor"}}}}), "/paths/~1x/get/requestBody", "no JSON Pointer", id="a reference by anchor"),
        pytest.param(description({"/x": {"get": {**PET, "requestBody": {"content": []}}}}), "/paths/~1x/get/requestBody/content", "an object was", id="content is a list"),
        pytest.param(description({"/x": {"get": PET}}, servers=[{"url": "http://[::1"}]), "/servers/0", "cannot be called", id="a server that is no URL"),
        pytest.param(description({"/x": {"get": PET}}, servers="x"), "/servers", "a list was expected here, not text", id="servers is text"),
    ],
)  # fmt: skip
def test_broken_descriptions(document: Json, pointer: str, message: str) -> None:
    """What is wrong in what a run needs is a diagnostic with its pointer, never a KeyError."""
    with pytest.raises(DescriptionError, match=message) as caught:
        OpenApiSource("api", document, uri=URI).find("op")

    place = caught.value.diagnostics[0].place
    assert place is not None
    assert (place.document, place.pointer) == (URI, pointer)


def test_mistakes_elsewhere_do_not_matter() -> None:
    """An operation serves as long as it is sound itself."""
    paths = {
        "/bad": {"get": {"operationId": "bad", "parameters": [{"in": "query"}]}, "put": None, "post": "x"},
        "/list": ["x"],
        "/lost": {"$ref": "#/nowhere"},
        "/good": {
            "get": {"operationId": "good", "responses": {"200": {"$ref": "#/nowhere"}}},
            "put": {"operationId": 7},
        },
    }
    api = source(paths)

    assert only(api.find("good")).request(Call()).url == "https://h.test/v1/good"
    assert [each.place.pointer for each in api.unread if each.place] == ["/paths/~1lost"]
    with pytest.raises(DescriptionError, match="has no name"):
        api.find("bad")
    with pytest.raises(CallError, match="has no name"):
        next(each for each in api.operations() if each.operation_id == "bad").request(Call())


ELSEWHERE: Json = {
    "/x": {
        "get": {
            "operationId": "op",
            "parameters": [
                {"$ref": "common.yaml#/q"},
                {"name": "r", "in": "query", "schema": {"$ref": "common.yaml#/s"}},
            ],
            "requestBody": {"$ref": "common.yaml#/body"},
        }
    }
}


def test_other_documents_that_are_not_read() -> None:
    """What stands in a document that cannot be read counts as not described; the step's own spelling decides."""
    api = source(ELSEWHERE)
    found = only(api.find("op"))

    request = found.request(Call(arguments(q=("query", ["a", "b"])), None, {"a": 1}))

    assert (request.url, request.body) == ("https://h.test/v1/x?q=a&q=b", b'{"a":1}')
    assert [each.name for each in found.parameters] == ["r"]
    assert [(each.severity, each.rule) for each in found.notes] == [("warning", "reference-external")] * 2


def among(documents: Mapping[str, Json]) -> ReadOther:
    """Give what reads these documents, by their URIs, and no other."""

    def read(reference: str, base: str) -> tuple[str, Json]:
        uri = urljoin(base, reference)
        if uri not in documents:
            raise DescriptionError([Diagnostic("source-unreadable", f"there is no {uri}", hint="look elsewhere")])
        return uri, documents[uri]

    return read


def test_other_documents_that_are_read() -> None:
    """References into other documents are followed, also from there on, and back."""
    elsewhere: dict[str, Json] = {
        "https://a.test/d/common.yaml": {
            "q": {"$ref": "deeper/q.yaml"},
            "body": {"content": {"text/plain": {}}},
            "s": {"type": "string"},
        },
        "https://a.test/d/deeper/q.yaml": {"name": "q", "in": "query", "explode": False},
    }
    uri = "https://a.test/d/api.yaml"
    api = OpenApiSource("api", description(ELSEWHERE), uri=uri, read=among(elsewhere))
    found = only(api.find("op"))

    request = found.request(Call(arguments(q=("query", ["a", "b"])), None, "t"))

    assert (request.url, request.body) == ("https://h.test/v1/x?q=a,b", b"t")
    assert [each.schema for each in found.parameters] == [None, {"type": "string"}]
    assert not found.notes


def test_a_path_in_another_document() -> None:
    """It refers to what stands beside it; what the description writes beside the reference is the description's."""
    ok = {"schema": {"type": "array", "items": {"$ref": "#/item"}}}
    item: Json = {
        "get": {
            "operationId": "op",
            "parameters": [{"$ref": "../api.yaml#/components/parameters/p"}],
            "responses": {"200": {"$ref": "#/ok"}, "404": {"$ref": "../lost.yaml"}},
        },
        "ok": {"content": {"application/json": ok}},
        "item": {"properties": {"id": {"type": "integer"}}},
    }
    members: Json = {"parameters": {"p": {"name": "p", "in": "query"}, "z": {"name": "z", "in": "header"}}}
    paths: Json = {"/x": {"$ref": "paths/x.yaml", "parameters": [{"$ref": "#/components/parameters/z"}]}}
    document = description(paths, components=members)
    uri = "https://a.test/d/api.yaml"
    read = among({uri: document, "https://a.test/d/paths/x.yaml": item})
    found = only(OpenApiSource("api", document, uri=uri, read=read).find("op"))

    schema = found.response_schema("200")
    inner = schema.below("items") if schema else None
    assert sorted(each.name for each in found.parameters) == ["p", "z"]
    assert inner is not None
    assert inner.keywords == {"properties": {"id": {"type": "integer"}}}
    assert found.response_schema("404") is None
    assert [(each.rule, each.hint) for each in found.notes] == [("reference-external", "look elsewhere")]
    assert "'../lost.yaml' leads into another document, which cannot be read: there is no https://a.test/d/lost" in (
        found.notes[0].message
    )


def test_a_path_of_swagger_in_another_document() -> None:
    """Its references are its own, and the media types are those of the description."""
    body = {"name": "b", "in": "body", "schema": {"type": "array", "items": {"$ref": "#/definitions/Pet"}}}
    item: Json = {
        "post": {
            "operationId": "op",
            "parameters": [{"$ref": "../parts/body.json#/b"}],
            "responses": {"200": {"$ref": "../parts/body.json#/answer"}},
        }
    }
    parts: Json = {
        "b": body,
        "answer": {"description": "", "schema": {"$ref": "#/definitions/Pet"}},
        "definitions": {"Pet": {"title": "a pet"}},
    }
    document: Json = {
        "swagger": "2.0",
        "host": "h.test",
        "consumes": ["application/json"],
        "produces": ["application/json"],
        "paths": {"/x": {"$ref": "paths/x.json"}},
    }
    uri = "https://a.test/d/api.json"
    read = among({"https://a.test/d/paths/x.json": item, "https://a.test/d/parts/body.json": parts})
    found = only(OpenApiSource("api", document, uri=uri, read=read).find("op"))

    asked, answered = found.request_schema(), found.response_schema("200")
    pet = asked.below("items") if asked else None
    assert [each and each.keywords for each in (pet, answered)] == [{"title": "a pet"}] * 2
    assert found.request_media_types == ["application/json"]


def test_documents_that_lead_in_a_circle() -> None:
    """Two documents of which each is but the other are a mistake of the path that leads there."""
    read = among({"https://a.test/b.yaml": {"$ref": "c.yaml"}, "https://a.test/c.yaml": {"$ref": "b.yaml"}})
    api = OpenApiSource("api", description({"/x": {"$ref": "b.yaml"}}), uri="https://a.test/a.yaml", read=read)

    assert not api.find("op")
    assert [each.rule for each in api.unread] == ["reference-cycle"]


def test_references_into_what_was_cut_away() -> None:
    """Descriptions of one tag of a large API are cut out of it; what they lack counts as not described."""
    operation = {"operationId": "op", "parameters": [{"$ref": "#/cut"}], "requestBody": {"$ref": "#/components/x"}}
    api = source({"/x/{id}": {"put": operation}})

    found = only(api.find("op"))

    request = found.request(Call(arguments(id=("path", 7)), None, {"a": 1}))

    assert (request.url, request.body) == ("https://h.test/v1/x/7", b'{"a":1}')
    assert [(each.severity, each.rule) for each in found.notes] == [("warning", "reference-unknown")] * 2


def test_a_large_description_is_not_walked() -> None:
    """Finding an operation touches the index and the operation, not the thousands of schemas beside them."""

    class Untouchable(dict[str, Json]):
        def __getitem__(self, key: str) -> Json:
            raise AssertionError(f"{key} was looked at")

        def __iter__(self) -> Any:
            raise AssertionError("the schemas were walked")

    paths = {f"/p{number}": {"get": {"operationId": f"op{number}"}} for number in range(2000)}
    api = source(paths, components={"schemas": Untouchable({"a": {}})})

    assert only(api.find("op1999")).path == "/p1999"


# ---------------------------------------------------------------------------------------------------------------------
# Swagger 2.0
# ---------------------------------------------------------------------------------------------------------------------

SWAGGER: Json = {
    "swagger": "2.0",
    "host": "s.test",
    "basePath": "/v2",
    "schemes": ["http", "https"],
    "consumes": ["application/json"],
    "produces": ["application/json"],
    "parameters": {"id": {"name": "id", "in": "path", "type": "string", "required": True}},
    "paths": {
        "/pets/{id}": {
            "parameters": [{"$ref": "#/parameters/id"}],
            "post": {
                "operationId": "body",
                "parameters": [
                    {"name": "tags", "in": "query", "type": "array", "collectionFormat": "pipes"},
                    {"name": "x", "in": "body", "schema": {"type": "object"}},
                ],
                "responses": {"200": {"description": "ok", "schema": {}}, "204": {"description": "none"}},
            },
            "put": {
                "operationId": "form",
                "consumes": ["application/x-www-form-urlencoded"],
                "parameters": [{"name": "n", "in": "formData", "type": "array", "collectionFormat": "multi"}],
            },
            "patch": {"operationId": "file", "parameters": [{"name": "f", "in": "formData", "type": "file"}]},
        }
    },
    "securityDefinitions": {"key": {"type": "apiKey", "in": "header", "name": "K"}},
}


def test_swagger() -> None:
    """Swagger 2.0 is read as what version 3 would say."""
    api = OpenApiSource("api", SWAGGER, uri=URI)
    body, form, file = (only(api.find(name)) for name in ("body", "form", "file"))

    request = body.request(Call(arguments(id=("path", 1), tags=("query", ["a", "b"])), None, {"a": 1}))
    assert (request.url, request.body) == ("https://s.test/v2/pets/1?tags=a%7Cb", b'{"a":1}')
    assert request.header("accept") == "application/json"
    assert [each.name for each in body.parameters] == ["id", "tags"]
    assert body.answer(HTML_200).problem
    assert form.request(Call(arguments(id=("path", 1)), None, {"n": [1, 2]})).body == b"n=1&n=2"
    assert file.request_media_types == ["multipart/form-data"]
    assert b'filename="f"' in file.request(Call(arguments(id=("path", 1)), None, {"f": "x"})).body
    assert api.security_schemes() == {"key": {"type": "apiKey", "in": "header", "name": "K"}}


@pytest.mark.parametrize("odd", [{"schemes": 1.5}, {"schemes": "http"}, {"host": "[s.test"}, {"host": ["s.test"]}])
def test_a_swagger_server_that_is_none(odd: Json) -> None:
    """It is found when the operation is looked up; naming a server mends it."""
    with pytest.raises(DescriptionError):
        OpenApiSource("api", {**SWAGGER, **odd}, uri=URI).find("body")
    assert OpenApiSource("api", {**SWAGGER, **odd}, uri=URI, server="http://n.test").find("body")


# ---------------------------------------------------------------------------------------------------------------------
# Public descriptions
# ---------------------------------------------------------------------------------------------------------------------


def descriptions(shared: Path) -> Iterator[tuple[Path, Json]]:
    for file in sorted(each for pattern in ("*.y*ml", "*.json") for each in (shared / "corpus").rglob(pattern)):
        start = file.read_text(encoding="utf-8")[:300]
        if file.stat().st_size < 200_000 and re.search(r"^\s*[\"']?(openapi|swagger)[\"']?:", start, re.MULTILINE):
            yield file, yaml.load(file.read_bytes(), yaml.CSafeLoader)


@pytest.mark.suite
def test_public_descriptions(shared: Path) -> None:
    """Every operation of the public descriptions at hand can be looked up and called."""
    operations = 0
    for file, document in descriptions(shared):
        api = OpenApiSource("api", document, uri=file.as_uri(), server="http://h.test", environment={})
        for operation in api.operations():
            path = operation.path.replace("~", "~0").replace("/", "~1")
            assert api.at(f"/paths/{path}/{operation.method.lower()}") is operation
            names = re.findall(r"\{([^{}]+?)\+?\}", operation.path)
            given = tuple(Argument(name, "path", "x") for name in names)
            assert operation.request(Call(given)).url.startswith("http://h.test")
            operations += 1
    assert operations > 500
