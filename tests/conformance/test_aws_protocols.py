"""The AWS JSON 1.0 and 1.1 cases of botocore's protocol suite, run both ways: as a client has them, and as a server."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from treadle.aws.json11 import decode_answer, decode_call, encode_answer, encode_call, encode_error
from treadle.aws.shapes import ServiceModel
from treadle.errors import ServiceError
from treadle.seams import Response

pytestmark = pytest.mark.suite

SUITE = Path(__file__).resolve().parents[3] / "shared" / "suites" / "aws-protocols"
if not SUITE.is_dir():
    pytest.skip("the AWS protocol cases do not stand beside the checkout", allow_module_level=True)

HOST = "the endpoint is always given, so host prefixes and paths of endpoints are not computed"
GZIP = "compression is for operations with the requestCompression trait, and no service here has one"
SKIPPED = {
    "AwsJson11EndpointTrait": HOST,
    "AwsJson11EndpointTraitWithHostLabel": HOST,
    "AwsJson10EndpointTrait": HOST,
    "AwsJson10EndpointTraitWithHostLabel": HOST,
    "SDKAppliedContentEncoding_awsJson1_1": GZIP,
    "SDKAppendsGzipAndIgnoresHttpProvidedEncoding_awsJson1_1": GZIP,
    "SDKAppliedContentEncoding_awsJson1_0": GZIP,
    "SDKAppendsGzipAndIgnoresHttpProvidedEncoding_awsJson1_0": GZIP,
}


def _cases(direction: str) -> list[Any]:
    cases: list[Any] = []
    for file in sorted((SUITE / direction).glob("*.json")):
        if file.name not in {"json.json", "json_1_0.json"}:
            reason = f"{file.stem}: another protocol than AWS JSON"
            cases.append(pytest.param({}, {}, id=file.stem, marks=pytest.mark.skip(reason=reason)))
            continue
        for suite in json.loads(file.read_bytes()):
            for case in suite["cases"]:
                reason = SKIPPED.get(case["id"], "")
                marks = [pytest.mark.skip(reason=reason)] if reason else []
                cases.append(pytest.param(suite, case, id=f"{file.stem}-{case['id']}", marks=marks))
    return cases


def _model(suite: dict[str, Any], case: dict[str, Any]) -> ServiceModel:
    document = {
        "metadata": suite["metadata"],
        "operations": {case["given"]["name"]: case["given"]} if "given" in case else {},
        "shapes": suite["shapes"],
    }
    return ServiceModel("suite", json.dumps(document).encode())


def _plain(value: Any) -> Any:
    """Give a value as the suite writes it: bytes as text, numbers that are none by their names."""
    match value:
        case dict():
            return {key: _plain(item) for key, item in value.items() if item is not None}
        case list():
            return [_plain(item) for item in value]
        case bytes():
            return value.decode()
        case float() if not math.isfinite(value):
            return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    return value


def _from_suite(value: Any) -> Any:
    """Give a value as a caller has it: the suite's names of numbers that are none become those."""
    match value:
        case dict():
            return {key: _from_suite(item) for key, item in value.items()}
        case list():
            return [_from_suite(item) for item in value]
        case "NaN" | "Infinity" | "-Infinity":
            return float(value)
    return value


@pytest.mark.parametrize(("suite", "case"), _cases("input"))
def test_a_server_reads_the_request(suite: dict[str, Any], case: dict[str, Any]) -> None:
    """The request of a case, read by the server, gives the parameters that the client was called with."""
    operation = _model(suite, case).operation(case["given"]["name"])
    wanted = case["serialized"]
    body = wanted.get("body", "").encode()
    given = decode_call(operation, body, wanted.get("headers", {}).get("Content-Type", ""))
    assert _plain(given) == _plain(case["params"])


@pytest.mark.parametrize(("suite", "case"), _cases("input"))
def test_a_client_writes_the_request(suite: dict[str, Any], case: dict[str, Any]) -> None:
    """The parameters of a case, written by the client, give the case's request."""
    model = _model(suite, case)
    wanted = case["serialized"]
    endpoint = f"https://{wanted.get('host', 'example.com')}"
    request = encode_call(model, case["given"]["name"], _from_suite(case["params"]), endpoint=endpoint)
    assert (request.method, request.url) == (wanted["method"], f"https://{wanted.get('host', 'example.com')}/")
    headers = wanted.get("headers", {})
    assert {name: request.header(name) for name in headers} == headers
    assert json.loads(request.body) == json.loads(wanted.get("body") or "{}")


@pytest.mark.parametrize(("suite", "case"), _cases("output"))
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
        assert _plain(decode_answer(model, name, response)) == _plain(case["result"])


@pytest.mark.parametrize(("suite", "case"), _cases("output"))
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
    body = encode_answer(operation, _from_suite(case["result"]))
    again = decode_answer(model, operation.name, Response(200, (), body))
    assert _plain(again) == _plain(case["result"])
