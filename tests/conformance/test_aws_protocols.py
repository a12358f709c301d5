"""The AWS JSON 1.0 and 1.1 cases of botocore's protocol suite, run both ways: as a client has them, and as a server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.conformance.aws_suite import SUITE, cases, from_suite, plain

from treadle.aws.json11 import decode_answer, decode_call, encode_answer, encode_call, encode_error
from treadle.aws.shapes import ServiceModel
from treadle.errors import ServiceError
from treadle.seams import Response

pytestmark = pytest.mark.suite

PROTOCOLS = ("json", "json_1_0", "json_1_0-query-compatible")
OTHERS = {
    "query": "test_aws_query.py has it",
    "rest-xml": "S3 is written by hand, and held to botocore's own S3 client",
    "rest-json": "no service here speaks it",
    "ec2": "no service here speaks it",
    "smithy-rpc-v2-cbor": "no service here speaks it",
    "smithy-rpc-v2-cbor-query-compatible": "no service here speaks it",
    "smithy-rpc-v2-cbor-non-query-compatible": "no service here speaks it",
}


def _unwritten(suite: dict[str, Any], case: dict[str, Any]) -> str:
    """Say what our client leaves to others."""
    if "EndpointTrait" in case["id"]:
        return "the endpoint is always given, so host prefixes and paths of endpoints are not computed"
    return _renamed(suite, case) or _compressed(suite, case)


def _compressed(_suite: dict[str, Any], case: dict[str, Any]) -> str:
    if "Gzip" in case["id"] or "ContentEncoding" in case["id"]:
        return "compression is for operations with the requestCompression trait, and no service here has one"
    return ""


def _renamed(suite: dict[str, Any], _case: dict[str, Any]) -> str:
    if "awsQueryCompatible" in suite["metadata"]:
        return "services that came from AWS Query have a header more, and errors of two names: none here has"
    return ""


@pytest.mark.parametrize("direction", ["input", "output"])
def test_no_protocol_is_passed_over(direction: str) -> None:
    """A protocol that is not run here has the reason."""
    assert {each.stem for each in (SUITE / direction).glob("*.json")} == {*PROTOCOLS, *OTHERS}


def _model(suite: dict[str, Any], case: dict[str, Any]) -> ServiceModel:
    document = {
        "metadata": suite["metadata"],
        "operations": {case["given"]["name"]: case["given"]} if "given" in case else {},
        "shapes": suite["shapes"],
    }
    return ServiceModel("suite", json.dumps(document).encode())


@pytest.mark.parametrize(("suite", "case"), cases("input", PROTOCOLS, _compressed))
def test_a_server_reads_the_request(suite: dict[str, Any], case: dict[str, Any]) -> None:
    """The request of a case, read by the server, gives the parameters that the client was called with."""
    operation = _model(suite, case).operation(case["given"]["name"])
    wanted = case["serialized"]
    body = wanted.get("body", "").encode()
    given = decode_call(operation, body, wanted.get("headers", {}).get("Content-Type", ""))
    assert plain(given) == plain(case["params"])


@pytest.mark.parametrize(("suite", "case"), cases("input", PROTOCOLS, _unwritten))
def test_a_client_writes_the_request(suite: dict[str, Any], case: dict[str, Any]) -> None:
    """The parameters of a case, written by the client, give the case's request."""
    model = _model(suite, case)
    wanted = case["serialized"]
    endpoint = f"https://{wanted.get('host', 'example.com')}"
    request = encode_call(model, case["given"]["name"], from_suite(case["params"]), endpoint=endpoint)
    assert (request.method, request.url) == (wanted["method"], f"https://{wanted.get('host', 'example.com')}/")
    headers = wanted.get("headers", {})
    assert {name: request.header(name) for name in headers} == headers
    assert json.loads(request.body) == json.loads(wanted.get("body") or "{}")


@pytest.mark.parametrize(("suite", "case"), cases("output", PROTOCOLS, _renamed))
def test_a_client_reads_the_answer(suite: dict[str, Any], case: dict[str, Any]) -> None:
    """The answer of a case, read by the client, gives the case's result or error."""
    model = _model(suite, case)
    answer = case["response"]
    response = Response(answer["status_code"], tuple(answer["headers"].items()), answer.get("body", "").encode())
    name = case.get("given", {}).get("name", "")
    if "errorCode" in case:
        with pytest.raises(ServiceError) as caught:
            decode_answer(model, name, response)
        assert (caught.value.code, caught.value.message) == (case["errorCode"], case.get("errorMessage", ""))
        assert caught.value.status == answer["status_code"]
    else:
        assert plain(decode_answer(model, name, response)) == plain(case["result"])


@pytest.mark.parametrize(("suite", "case"), cases("output", PROTOCOLS, _renamed))
def test_a_server_writes_the_answer(suite: dict[str, Any], case: dict[str, Any]) -> None:
    """The result of a case, written by the server, is the case's answer, or reads back as its error."""
    model = _model(suite, case)
    if "errorCode" in case:
        body = encode_error(case["errorCode"], case.get("errorMessage", ""))
        with pytest.raises(ServiceError) as caught:
            decode_answer(model, "", Response(case["response"]["status_code"], (), body))
        assert (caught.value.code, caught.value.message) == (case["errorCode"], case.get("errorMessage", ""))
        return
    operation = model.operation(case["given"]["name"])
    body = encode_answer(operation, from_suite(case["result"]))
    again = decode_answer(model, operation.name, Response(200, (), body))
    assert plain(again) == plain(case["result"])
