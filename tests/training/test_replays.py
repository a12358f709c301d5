"""Requests that somebody has overheard: for how long, and for what, they are good; and names that lead elsewhere."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.training.world import World, request, world

from treadle.aws.sigv4 import Credentials, sign
from treadle.seams import Request


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("world")) as made:
        yield made


def signed(service: World, operation: str, payload: object, *, age: float = 0.0) -> Request:
    """Give a request that was signed so many seconds ago."""
    headers = (("Content-Type", "application/x-amz-json-1.1"), ("X-Amz-Target", f"SageMaker.{operation}"))
    unsigned = Request("POST", f"{service.service.endpoint.url}/", headers, json.dumps(payload).encode())
    now = datetime.now(UTC) - timedelta(seconds=age)
    return sign(unsigned, Credentials(*service.home.credentials()), service="sagemaker", region="us-east-1", now=now)


def sent(request: Request, **changes: Any) -> tuple[int, dict[str, Any]]:
    """Send it as it is, or with another body or other headers; status and answer."""
    headers = dict(request.headers) | changes.get("headers", {})
    headers = {name: value for name, value in headers.items() if name.lower() != "host"}
    asked = urllib.request.Request(request.url, changes.get("body", request.body), headers, method="POST")
    try:
        with urllib.request.urlopen(asked, timeout=20) as answer:
            return answer.status, json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def test_a_request_is_good_for_some_minutes(service: World) -> None:
    """As on AWS the same one may come again; from 15 minutes on it is refused, and so is one from the future."""
    asked = signed(service, "ListTrainingJobs", {})
    assert [sent(asked)[0] for _ in range(3)] == [200, 200, 200]
    assert sent(signed(service, "ListTrainingJobs", {}, age=14 * 60))[0] == 200
    for age, said in ((16 * 60, "Signature expired"), (-16 * 60, "Signature not yet current")):
        status, answer = sent(signed(service, "ListTrainingJobs", {}, age=age))
        assert (status, answer["__type"]) == (403, "InvalidSignatureException")
        assert answer["message"].startswith(said)


def test_a_request_is_good_for_what_it_says(service: World) -> None:
    """Neither another body nor another operation has its signature; a create that comes again creates nothing."""
    create = signed(service, "CreateTrainingJob", request("quick-replayed"))
    assert sent(create)[0] == 200
    said = (
        "Training job names must be unique within an AWS account and region, and a training job with this name "
        "already exists (arn:aws:sagemaker:us-east-1:000000000000:training-job/quick-replayed)"
    )
    assert sent(create) == (400, {"__type": "ResourceInUse", "message": said, "Message": said})
    other = json.dumps(request("quick-other")).encode()
    for changes in ({"body": other}, {"headers": {"X-Amz-Target": "SageMaker.DeleteTrainingJob"}}):
        status, answer = sent(create, **changes)
        assert (status, answer["__type"]) == (403, "InvalidSignatureException")
    assert sent(signed(service, "DescribeTrainingJob", {"TrainingJobName": "quick-other"}))[0] == 400


@pytest.mark.parametrize(
    "name", ["..", "../../x", "/etc/x", "a/b", "a\\b", "a\0b", "a\nb", "", ".hidden", "ä", "a" * 64, "-rf", "a."]
)
def test_names_of_jobs_that_lead_elsewhere(service: World, name: str) -> None:
    """They are refused by the model's rule, before anything has them for a path."""
    for operation, payload in {
        "CreateTrainingJob": request(name),
        "DescribeTrainingJob": {"TrainingJobName": name},
        "StopTrainingJob": {"TrainingJobName": name},
        "DeleteTrainingJob": {"TrainingJobName": name},
        "UpdateTrainingJob": {"TrainingJobName": name},
    }.items():
        status, answer = sent(signed(service, operation, payload))
        assert (status, answer["__type"]) == (400, "ValidationException")
        assert "at 'trainingJobName' failed to satisfy constraint" in answer["message"]
    made = {each.name for root in (service.home.jobs, service.home.logs) if root.is_dir() for each in root.iterdir()}
    assert made <= {"quick-replayed"}
    assert not Path("/etc/x").exists()
