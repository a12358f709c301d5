"""The AWS Query cases of botocore's protocol suite, as a server has them: forms come in, XML goes out."""

from __future__ import annotations

import json
from typing import Any

import botocore.model
import botocore.parsers
import pytest
from tests.conformance.aws_suite import cases, from_suite, plain

from treadle.aws.query import decode_call, encode_answer, read_form
from treadle.aws.shapes import ServiceModel

pytestmark = pytest.mark.suite


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


@pytest.mark.parametrize(("suite", "case"), cases("input", ("query",), _skipped))
def test_a_server_reads_the_form(suite: dict[str, Any], case: dict[str, Any]) -> None:
    """The form of a case gives the parameters that the client was called with."""
    operation = ServiceModel("suite", json.dumps(_document(suite, case)).encode()).operation(case["given"]["name"])
    form = read_form(case["serialized"].get("body", "").encode())
    assert form["Action"] == case["given"]["name"]
    assert plain(decode_call(operation, form)) == plain(case["params"])


@pytest.mark.parametrize(("suite", "case"), cases("output", ("query",), _skipped))
def test_botocore_reads_what_a_server_writes(suite: dict[str, Any], case: dict[str, Any]) -> None:
    """The result of a case comes through our XML and botocore's parser as it was."""
    document = _document(suite, case)
    model = ServiceModel("suite", json.dumps(document).encode())
    operation = model.operation(case["given"]["name"])
    body = encode_answer(model, operation, from_suite(case["result"]), "an-id")
    parser = botocore.parsers.create_parser("query")
    theirs = botocore.model.ServiceModel(document).operation_model(case["given"]["name"])
    parsed = parser.parse({"status_code": 200, "headers": {}, "body": body}, theirs.output_shape)
    assert parsed.pop("ResponseMetadata")["RequestId"] == "an-id"
    assert plain(parsed) == plain(case["result"])
