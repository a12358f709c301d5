"""AWS JSON beyond the official cases: requests that are none, answers that are none."""

from __future__ import annotations

import pytest

from treadle.aws.json11 import decode_answer, decode_call, encode_answer, encode_call, split_target
from treadle.aws.shapes import load_service
from treadle.errors import ServiceError, TransportError
from treadle.seams import Response

SAGEMAKER = load_service("sagemaker")
DESCRIBE = SAGEMAKER.operation("DescribeTrainingJob")
BODY = b'{"TrainingJobName":"job"}'


@pytest.mark.parametrize(
    ("body", "content_type", "want"),
    [
        (b"{", "", "SerializationException: The request is not JSON: "),
        (b'{"TrainingJobName": "\xff"}', "", "SerializationException: The request is not UTF-8, at byte "),
        (b'{"TrainingJobName": "\\ud800"}', "", "SerializationException: The request is not JSON: "),
        (b"[" * 100_000, "", "SerializationException: The request is nested too deeply."),
        (b'{"a":' * 900 + b"1" + b"}" * 900, "", "ValidationException: 1 validation error"),
        (b"null", "", "SerializationException: Expected null"),
        (b"", "", "ValidationException: 1 validation error detected: Value null at 'trainingJobName'"),
        (BODY, "text/html", "UnsupportedMediaTypeException: A request in AWS JSON has the content type "),
        (BODY, "application/cbor", "UnsupportedMediaTypeException: "),
    ],
)
def test_a_request_that_cannot_be_read_is_refused(body: bytes, content_type: str, want: str) -> None:
    """Each kind of damage has its code and says what is wrong."""
    with pytest.raises(ServiceError) as caught:
        decode_call(DESCRIBE, body, content_type)
    assert f"{caught.value.code}: {caught.value.message}".startswith(want)


@pytest.mark.parametrize(
    "content_type", ["application/x-amz-json-1.1", "application/json; charset=utf-8", "Application/X-Amz-Json-1.0", ""]
)
def test_every_json_media_type_is_read(content_type: str) -> None:
    """Descriptions of the API name more than one; the target has already said what it is."""
    assert decode_call(DESCRIBE, BODY, content_type) == {"TrainingJobName": "job"}


def test_an_operation_without_output_answers_nothing() -> None:
    """StopTrainingJob has no output shape: the body is empty."""
    stop = SAGEMAKER.operation("StopTrainingJob")
    assert encode_answer(stop, None) == b""
    assert decode_answer(SAGEMAKER, "StopTrainingJob", Response(200)) == {}


def test_a_call_goes_to_the_endpoint() -> None:
    """A client's request names the operation in its target and drops nothing but nulls."""
    request = encode_call(SAGEMAKER, "ListTrainingJobs", {"MaxResults": 5, "NextToken": None}, endpoint="http://h:1/")
    assert (request.method, request.url, request.body) == ("POST", "http://h:1/", b'{"MaxResults":5}')
    assert split_target(request.header("x-amz-target") or "") == ("SageMaker", "ListTrainingJobs")


def test_an_error_page_is_an_error_with_its_status() -> None:
    """A proxy's HTML becomes an error that names the status."""
    with pytest.raises(ServiceError, match="HTTP status 502, and the body is not JSON") as caught:
        decode_answer(SAGEMAKER, "DescribeTrainingJob", Response(502, (), b"<html>Bad Gateway</html>"))
    assert (caught.value.code, caught.value.status) == ("502", 502)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"TrainingJobName": 1}', b"\xff", b"[" * 100_000])
def test_an_answer_that_is_none_is_no_success(body: bytes) -> None:
    """Status 200 with something else than the operation's output is a fault of the transport."""
    with pytest.raises(TransportError, match="is not what sagemaker answers") as caught:
        decode_answer(SAGEMAKER, "DescribeTrainingJob", Response(200, (("content-type", "text/html"),), body))
    assert (caught.value.fault, caught.value.sent) == ("protocol", True)
