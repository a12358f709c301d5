"""The AWS Query cases of botocore's protocol suite, as a server has them: forms come in, XML goes out."""

from __future__ import annotations

import json
import math
from datetime import datetime
from pathlib import Path
from typing import Any

import botocore.model
import botocore.parsers
import pytest

from treadle.aws.query import decode_call, encode_answer, read_form
from treadle.aws.shapes import ServiceModel

pytestmark = pytest.mark.suite

SUITE = Path(__file__).resolve().parents[3] / "shared" / "suites" / "aws-protocols"
if not SUITE.is_dir():
    pytest.skip("the AWS protocol cases do not stand beside the checkout", allow_module_level=True)


def _skipped(suite: dict[str, Any], case: dict[str, Any]) -> str:
    if "errorCode" in case:
        return "errors that a model renames: no service here has one"
    if any(trait in json.dumps(suite["shapes"]) for trait in ('"flattened"', '"locationName"', '"xmlNamespace"')):
        return "names and namespaces of XML elements given by traits: STS and IAM have none"
    if case["id"] == "QueryProtocolIdempotencyTokenAutoFill":
        return "what a client fills in by itself; a server reads what is there"
    if "Gzip" in case["id"] or "ContentEncoding" in case["id"]:
        return "compression is for operations with the requestCompression trait, and no service here has one"
    return ""


def _cases(direction: str) -> list[Any]:
    cases: list[Any] = []
    for suite in json.loads((SUITE / direction / "query.json").read_bytes()):
        for case in suite["cases"]:
            reason = _skipped(suite, case)
            marks = [pytest.mark.skip(reason=reason)] if reason else []
            cases.append(pytest.param(suite, case, id=case["id"], marks=marks))
    return cases


def _document(suite: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    given = dict(case["given"])
    if "output" in given:
        # Real models say it; the cases leave it out, and their XML has it.
        given["output"] = {**given["output"], "resultWrapper": f"{given['name']}Result"}
    return {
        "metadata": {"xmlNamespace": "https://example.com/", **suite["metadata"]},
        "operations": {given["name"]: given},
        "shapes": suite["shapes"],
    }


def _plain(value: Any) -> Any:
    """Give a value as the suite writes it."""
    match value:
        case dict():
            return {key: _plain(item) for key, item in value.items() if item is not None}
        case list():
            return [_plain(item) for item in value]
        case bytes():
            return value.decode()
        case datetime():
            return value.timestamp()
        case float() if not math.isfinite(value):
            return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    return value


def _from_suite(value: Any) -> Any:
    match value:
        case dict():
            return {key: _from_suite(item) for key, item in value.items()}
        case list():
            return [_from_suite(item) for item in value]
        case "NaN" | "Infinity" | "-Infinity":
            return float(value)
    return value


@pytest.mark.parametrize(("suite", "case"), _cases("input"))
def test_a_server_reads_the_form(suite: dict[str, Any], case: dict[str, Any]) -> None:
    """The form of a case gives the parameters that the client was called with."""
    operation = ServiceModel("suite", json.dumps(_document(suite, case)).encode()).operation(case["given"]["name"])
    form = read_form(case["serialized"].get("body", "").encode())
    assert form["Action"] == case["given"]["name"]
    assert _plain(decode_call(operation, form)) == _plain(case["params"])


@pytest.mark.parametrize(("suite", "case"), _cases("output"))
def test_botocore_reads_what_a_server_writes(suite: dict[str, Any], case: dict[str, Any]) -> None:
    """The result of a case comes through our XML and botocore's parser as it was."""
    document = _document(suite, case)
    model = ServiceModel("suite", json.dumps(document).encode())
    operation = model.operation(case["given"]["name"])
    body = encode_answer(model, operation, _from_suite(case["result"]), "an-id")
    parser = botocore.parsers.create_parser("query")
    theirs = botocore.model.ServiceModel(document).operation_model(case["given"]["name"])
    parsed = parser.parse({"status_code": 200, "headers": {}, "body": body}, theirs.output_shape)
    assert parsed.pop("ResponseMetadata")["RequestId"] == "an-id"
    assert _plain(parsed) == _plain(case["result"])
