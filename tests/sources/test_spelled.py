"""Steps that spell their requests out, and the one rule for what is a read."""

from __future__ import annotations

import pytest

from treadle.errors import CallError
from treadle.seams import MISSING, Argument, Call, Request, Response
from treadle.sources.reads import certainly_reads
from treadle.sources.spelled import SpelledOutSource

AMZ = "application/x-amz-json-1.1"
SOURCE = SpelledOutSource("sagemakerApi", "http://127.0.0.1:7777")
TARGET = Argument("X-Amz-Target", "header", "SageMaker.CreateTrainingJob")


@pytest.mark.parametrize(
    ("method", "amz_target", "want"),
    [
        ("GET", None, True),
        ("HEAD", None, True),
        ("OPTIONS", None, True),
        ("QUERY", None, True),
        ("GET", "SageMaker.CreateTrainingJob", True),
        ("POST", None, False),
        ("PUT", "SageMaker.DescribeTrainingJob", False),
        ("DELETE", None, False),
        ("POST", "SageMaker.DescribeTrainingJob", True),
        ("POST", "SageMaker.ListTrainingJobs", True),
        ("POST", "SageMaker.Search", True),
        ("POST", "DynamoDB_20120810.BatchGetItem", True),
        ("POST", "DynamoDB_20120810.Query", True),
        ("POST", "DynamoDB_20120810.Scan", True),
        ("POST", "CodeBuild_20161006.BatchGetBuilds", True),
        ("POST", "ListModels", True),
        ("POST", "SageMaker.CreateTrainingJob", False),
        ("POST", "SageMaker.StopTrainingJob", False),
        ("POST", "DynamoDB_20120810.BatchWriteItem", False),
        ("POST", "Describe.CreateX", False),
        ("POST", "X.Listen", False),
        ("POST", "X.Scanner", False),
        ("POST", "", False),
    ],
)
def test_reads(method: str, amz_target: str | None, *, want: bool) -> None:
    """A request is a read by its method, or by AWS's name for the operation; in doubt it is none."""
    assert certainly_reads(method, amz_target) is want


def test_a_spelled_out_request() -> None:
    """Any operation is `POST /` with the step's header and body."""
    (operation,) = SOURCE.find("CreateTrainingJob")

    assert operation.request(Call((TARGET,), AMZ, {"a": 1})) == Request(
        "POST",
        "http://127.0.0.1:7777/",
        (("X-Amz-Target", "SageMaker.CreateTrainingJob"), ("Content-Type", AMZ)),
        b'{"a":1}',
    )
    assert (operation.operation_id, operation.source) == ("CreateTrainingJob", "sagemakerApi")
    assert not operation.read_only(Call((TARGET,)))
    assert operation.read_only(Call((Argument("x-amz-target", "header", "SageMaker.DescribeTrainingJob"),)))


def test_an_operation_without_members_is_sent_an_empty_object() -> None:
    """AWS JSON has no request without a body."""
    (operation,) = SOURCE.find("ListModels")

    request = operation.request(Call((TARGET,)))

    assert (request.body, request.header("content-type")) == (b"{}", AMZ)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (Call(), "does not spell out its request"),
        (Call((Argument("X-Amz-Target", "query", "SageMaker.X"),)), "does not spell out its request"),
        (Call((TARGET, Argument("id", "path", 1))), "path of 'op' is not known"),
    ],
)
def test_a_step_that_leaves_something_open(call: Call, message: str) -> None:
    """What only the description could say is an error that names the source."""
    (operation,) = SOURCE.find("op")

    with pytest.raises(CallError, match=message):
        operation.request(call)


def test_answers_are_json() -> None:
    """AWS JSON answers are JSON whatever they call themselves; a page of HTML is a problem."""
    (operation,) = SOURCE.find("op")

    good = operation.answer(Response(200, (("Content-Type", AMZ),), b'{"a":1}', "http://u"))
    bad = operation.answer(Response(200, (("Content-Type", "text/html"),), b"<html><title>Login</title>"))

    assert (good.body, good.problem, good.url) == ({"a": 1}, "", "http://u")
    assert bad.body is MISSING
    assert "HTML (<title>Login</title>)" in bad.problem


@pytest.mark.parametrize(
    ("pointer", "want"),
    [
        ("/paths/~1#CreateTrainingJob/post", "CreateTrainingJob"),
        ("/paths/~1%23CreateTrainingJob/post", "CreateTrainingJob"),
        ("/paths/~1/post", ""),
        ("/paths/~1pets/post", None),
        ("/paths/~1/get", None),
        ("/paths", None),
    ],
)
def test_at(pointer: str, want: str | None) -> None:
    """An operationPath works where its path is `/`."""
    found = SOURCE.at(pointer)

    assert (found and found.operation_id) == want
