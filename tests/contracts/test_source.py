"""What every `Source` and its operations promise the planner and the run loop."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from treadle.errors import CallError
from treadle.seams import MISSING, Argument, Call, Operation, Response, Source
from treadle.sources.openapi import OpenApiSource
from treadle.sources.spelled import SpelledOutSource

AMZ = "application/x-amz-json-1.1"
DOCUMENT = {
    "openapi": "3.1.0",
    "servers": [{"url": "https://api.sagemaker.us-east-1.amazonaws.com"}],
    "paths": {
        f"/#{name}": {
            "post": {
                "operationId": name,
                "parameters": [{"name": "X-Amz-Target", "in": "header", "required": True}],
                "requestBody": {"content": {AMZ: {}}},
                "responses": {"200": {"content": {AMZ: {}}}},
            }
        }
        for name in ("CreateModel", "DescribeModel")
    },
}
URL = "http://127.0.0.1:7777"


@dataclass
class Known:
    source: Source
    operation: Operation


@pytest.fixture(params=["openapi", "spelled"])
def known(request: pytest.FixtureRequest) -> Known:
    source: Source = (
        OpenApiSource("aws", DOCUMENT, uri="x.json", server=URL)
        if request.param == "openapi"
        else SpelledOutSource("aws", URL)
    )
    (operation,) = source.find("DescribeModel")
    return Known(source, operation)


def call(target: str = "SageMaker.DescribeModel") -> Call:
    return Call((Argument("X-Amz-Target", "header", target),), AMZ, {"ModelName": "m"})


def test_an_operation_says_what_it_is(known: Known) -> None:
    """Name, source, method, parameters and media types can be asked before anything is sent."""
    operation = known.operation

    assert (operation.operation_id, operation.source, operation.method) == ("DescribeModel", "aws", "POST")
    assert operation.path.startswith("/")
    assert [(each.name, each.location, each.required) for each in operation.parameters] == [
        ("X-Amz-Target", "header", True)
    ]
    assert list(operation.request_media_types) == [AMZ]
    assert known.source.name == "aws"


def test_finding_is_stable(known: Known) -> None:
    """An operation found again is the same to the machine: same id, method and path; a pointer finds it too."""
    (again,) = known.source.find("DescribeModel")
    pointed = known.source.at("/paths/~1#DescribeModel/post")

    assert pointed is not None
    for other in (again, pointed):
        assert (other.operation_id, other.method) == ("DescribeModel", "POST")
        assert other.request(call()) == known.operation.request(call())
    assert known.source.at("/info/title") is None


def test_the_same_call_is_the_same_request(known: Known) -> None:
    """Building a request has no memory and no side effects, so a retry sends the same bytes."""
    request = known.operation.request(call())

    assert request == known.operation.request(call())
    assert (request.method, request.url, request.body) == ("POST", f"{URL}/", b'{"ModelName":"m"}')
    assert (request.header("X-AMZ-TARGET"), request.header("content-type")) == ("SageMaker.DescribeModel", AMZ)


def test_reads_are_certain(known: Known) -> None:
    """What may be sent again is decided from the call."""
    assert known.operation.read_only(call())
    assert not known.operation.read_only(call("SageMaker.CreateModel"))


def test_a_request_that_cannot_be_built(known: Known) -> None:
    """A call that cannot become a request is a `CallError`."""
    with pytest.raises(CallError):
        known.operation.request(Call((Argument("X-Amz-Target", "header", "SageMaker.X\r\nEvil: 1"),), AMZ, {}))


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'{"a": ', AMZ),
        (b"<html><title>x</title>", "text/html"),
        (b"\xff\xfe\x00", "application/octet-stream"),
        (b"[" * 5000, AMZ),
    ],
)
def test_an_answer_never_raises(known: Known, body: bytes, content_type: str) -> None:
    """What cannot be decoded is MISSING, with a problem in words; status, headers and URL stay."""
    answer = known.operation.answer(Response(200, (("Content-Type", content_type),), body, URL))

    assert answer.body is MISSING
    assert answer.problem
    assert (answer.status, answer.url, answer.header("content-type")) == (200, URL, content_type)


def test_an_empty_answer_is_no_problem(known: Known) -> None:
    """AWS answers Stop and Delete with nothing at all."""
    answer = known.operation.answer(Response(200, (("Content-Type", AMZ),)))

    assert (answer.body, answer.problem) == (MISSING, "")
