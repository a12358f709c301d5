"""The AWS APIs over HTTP: boto3 as the client, and raw sockets for what no client sends."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from tests.training.serving import serving

from treadle.aws.json11 import decode_answer, encode_call
from treadle.aws.shapes import load_service
from treadle.aws.sigv4 import Credentials, sign
from treadle.errors import ServiceError, StoreError
from treadle.seams import Request, Response
from treadle.training.api.app import Api, Caller, Values, build_app
from treadle.training.api.logs import logs_api
from treadle.training.api.sagemaker import sagemaker_api
from treadle.training.api.sts import sts_api
from treadle.training.keyring import Keyring

KEY, SECRET, REGION, ACCOUNT = "AKIAEXAMPLE", "secret", "us-east-1", "000000000000"
EPOCH = 1747393850.603


@dataclass
class Jobs:
    """A training service that only remembers. A job whose name begins with `boom` is too much for it."""

    jobs: dict[str, Values] = field(default_factory=dict)
    callers: list[Caller] = field(default_factory=list)

    async def create_training_job(self, values: Values, caller: Caller) -> Values:
        self.callers.append(caller)
        name = values["TrainingJobName"]
        if name.startswith("boom"):
            raise RuntimeError(f"{SECRET} is in a state that nobody thought of")
        if name.startswith("full"):
            raise StoreError("The database cannot be used: the disk is full.", hint="Make room.")
        arn = f"arn:aws:sagemaker:{caller.region}:{caller.account}:training-job/{name}"
        if name in self.jobs:
            raise ServiceError("ResourceInUse", f"Training job names must be unique ({arn})")
        self.jobs[name] = values | {"TrainingJobArn": arn, "TrainingJobStatus": "InProgress", "CreationTime": EPOCH}
        return {"TrainingJobArn": arn, "Unknown": 1}

    async def describe_training_job(self, values: Values, _caller: Caller) -> Values:
        if values["TrainingJobName"] not in self.jobs:
            raise ServiceError("ValidationException", "Requested resource not found.")
        return self.jobs[values["TrainingJobName"]]

    async def list_training_jobs(self, values: Values, _caller: Caller) -> Values:
        names = [name for name in self.jobs if values.get("NameContains", "") in name]
        return {"TrainingJobSummaries": [self.jobs[name] for name in names]}

    async def stop_training_job(self, values: Values, _caller: Caller) -> None:
        self.jobs[values["TrainingJobName"]]["TrainingJobStatus"] = "Stopped"

    async def delete_training_job(self, values: Values, _caller: Caller) -> None:
        del self.jobs[values["TrainingJobName"]]

    async def _nothing(self, _values: Values, _caller: Caller) -> Values:
        return {}

    update_training_job = list_training_jobs_for_hyper_parameter_tuning_job = search = _nothing
    add_tags = list_tags = delete_tags = _nothing


async def _agents(scope: Any, _receive: Any, send: Any) -> None:
    """Tell where it is mounted, as an application below the path must see it."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": f"{scope['root_path']} {scope['path']}".encode()})


def _app(apis: Sequence[Api], **options: Any) -> Any:
    settings: dict[str, Any] = {"agents": _agents, "body_limit": 100_000, "body_seconds": 0.2} | options
    return build_app(apis, secret_for={KEY: SECRET}.get, region=REGION, account=ACCOUNT, **settings)


@pytest.fixture(scope="module")
def jobs() -> Jobs:
    return Jobs()


@pytest.fixture(scope="module")
def endpoint(jobs: Jobs) -> Iterator[str]:
    with serving(_app([sagemaker_api(jobs), sts_api(Keyring(KEY, SECRET, account=ACCOUNT))])) as url:
        yield url


def _client(endpoint: str, service: str = "sagemaker", secret: str = SECRET, **options: Any) -> Any:
    config = Config(retries={"max_attempts": 0}, parameter_validation=False)
    settings = {"aws_access_key_id": KEY, "aws_secret_access_key": secret, "region_name": REGION} | options
    return boto3.client(service, endpoint_url=endpoint, config=config, **settings)


def _job(name: str) -> Values:
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
        "RoleArn": "arn:aws:iam::000000000000:role/train",
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"},
        "ResourceConfig": {"InstanceType": "ml.local.cpu", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    }


def _code(error: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    return error.value.response["Error"]["Code"], error.value.response["ResponseMetadata"]["HTTPStatusCode"]


def test_boto3_drives_a_job(endpoint: str, jobs: Jobs) -> None:
    """Create, describe, list and stop work as on AWS: times are times, a stop answers nothing."""
    client = _client(endpoint)
    created = client.create_training_job(**_job("job-1"))
    arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:training-job/job-1"
    assert created["TrainingJobArn"] == arn
    assert "Unknown" not in created
    assert len(created["ResponseMetadata"]["RequestId"]) == 36
    described = client.describe_training_job(TrainingJobName="job-1")
    assert described["CreationTime"] == datetime.fromtimestamp(EPOCH, UTC)
    assert [
        job["TrainingJobName"] for job in client.list_training_jobs(NameContains="b-1")["TrainingJobSummaries"]
    ] == ["job-1"]
    client.stop_training_job(TrainingJobName="job-1")
    client.get_waiter("training_job_completed_or_stopped").wait(TrainingJobName="job-1")
    assert jobs.callers[-1] == Caller(KEY, ACCOUNT, REGION, f"arn:aws:iam::{ACCOUNT}:root")


def test_errors_reach_boto3_by_their_names(endpoint: str) -> None:
    """Modelled exceptions can be caught by their class, others by their code; all are status 400."""
    client = _client(endpoint)
    client.create_training_job(**_job("twice"))
    with pytest.raises(client.exceptions.ResourceInUse, match="must be unique") as taken:
        client.create_training_job(**_job("twice"))
    assert _code(taken) == ("ResourceInUse", 400)
    # The member as the model has it, which is all that clients in Go and Rust read of a modelled error.
    assert taken.value.response["Message"] == taken.value.response["Error"]["Message"]
    with pytest.raises(ClientError, match=r"Requested resource not found\.") as absent:
        client.describe_training_job(TrainingJobName="absent")
    assert _code(absent) == ("ValidationException", 400)
    assert "Message" not in absent.value.response


def test_a_wrong_request_is_told_every_fault(endpoint: str) -> None:
    """The model's constraints are checked before the service is asked."""
    with pytest.raises(
        ClientError, match=r"2 validation errors detected: .*'trainingJobName'.*'resourceConfig"
    ) as caught:
        _client(endpoint).create_training_job(**_job("a_b") | {"ResourceConfig": {"InstanceType": "local"}})
    assert _code(caught) == ("ValidationException", 400)


def test_an_operation_that_is_not_here_is_named(endpoint: str) -> None:
    """Every other operation of the model is unknown, by name."""
    with pytest.raises(ClientError, match="'ListModels' of sagemaker is not implemented by Treadle") as caught:
        _client(endpoint).list_models()
    assert _code(caught) == ("UnknownOperationException", 400)
    for service, name, call in (
        ("dynamodb", "DynamoDB_20120810", "list_tables"),
        ("lambda", "lambda", "list_functions"),
    ):
        with pytest.raises(ClientError, match=rf"There is no service '{name}' here\. Treadle answers for SageMaker tr"):
            getattr(_client(endpoint, service), call)()


def test_a_fault_of_the_service_tells_nothing(endpoint: str, caplog: pytest.LogCaptureFixture) -> None:
    """The client gets a request id, the log the traceback under the same id."""
    with caplog.at_level(logging.ERROR, "treadle"), pytest.raises(ClientError) as caught:
        _client(endpoint).create_training_job(**_job("boom"))
    assert _code(caught) == ("InternalFailure", 500)
    assert SECRET not in str(caught.value)
    request_id = caught.value.response["ResponseMetadata"]["RequestId"]
    assert f"request {request_id} failed" in caplog.text
    assert "RuntimeError" in caplog.text


def test_what_the_machine_refuses_is_told(endpoint: str, caplog: pytest.LogCaptureFixture) -> None:
    """A full disk passes: clients read why, and come again. It is no fault that needs a traceback."""
    with (
        caplog.at_level(logging.ERROR, "treadle"),
        pytest.raises(ClientError, match=r"disk is full\. Make room\.") as caught,
    ):
        _client(endpoint).create_training_job(**_job("full"))
    assert _code(caught) == ("ServiceUnavailable", 503)
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"secret": "wrong"}, "InvalidSignatureException"),
        ({"aws_access_key_id": "AKIAUNKNOWN"}, "UnrecognizedClientException"),
        ({"region_name": "eu-west-1"}, "InvalidSignatureException"),
    ],
)
def test_a_stranger_is_refused(endpoint: str, options: dict[str, str], code: str) -> None:
    """A wrong secret, an unknown key and another region do not come in, whatever they ask for."""
    for call in ("list_training_jobs", "list_models"):
        with pytest.raises(ClientError) as caught:
            getattr(_client(endpoint, **options), call)()
        assert _code(caught) == (code, 403)


def test_sts_tells_who_calls(endpoint: str) -> None:
    """GetCallerIdentity speaks AWS Query, and its errors do."""
    identity = _client(endpoint, "sts").get_caller_identity()
    assert {name: identity[name] for name in ("UserId", "Account", "Arn")} == {
        "UserId": KEY,
        "Account": ACCOUNT,
        "Arn": f"arn:aws:iam::{ACCOUNT}:root",
    }
    assert identity["ResponseMetadata"]["RequestId"]
    with pytest.raises(ClientError, match="does not match the signature you provided") as caught:
        _client(endpoint, "sts", "wrong").get_caller_identity()
    assert _code(caught) == ("SignatureDoesNotMatch", 403)
    with pytest.raises(ClientError, match="'GetAccessKeyInfo' of sts is not implemented by Treadle") as caught:
        _client(endpoint, "sts").get_access_key_info(AccessKeyId="AKIAIOSFODNN7EXAMPLE")
    assert _code(caught) == ("InvalidAction", 400)


def test_sts_is_asked_by_a_url(endpoint: str) -> None:
    """A signed URL proves who one is to somebody else, who asks it: with GET, and all of it in the query."""
    url = _client(endpoint, "sts").generate_presigned_url("get_caller_identity", HttpMethod="GET")
    query = url.partition("?")[2]
    host = url.split("/")[2]
    answer = _exchange(endpoint, f"GET /?{query} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert (answer.status, answer.header("content-type")) == (200, "text/xml")
    assert f"<Account>{ACCOUNT}</Account>".encode() in answer.body
    forged = _exchange(endpoint, f"GET /?{query[:-1]} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert forged.status == 403


def test_a_client_with_a_wrong_clock_is_told(jobs: Jobs) -> None:
    """A signature that is too old for the server's clock says by how much."""
    clock = lambda: datetime.now(UTC) + timedelta(hours=1)  # noqa: E731  (a clock is a function)
    expired = pytest.raises(ClientError, match=r"Signature expired: .* is now earlier than .* - 15 min\.\)")
    with serving(_app([sagemaker_api(jobs)], clock=clock)) as url, expired:
        _client(url).list_training_jobs()


def test_without_authentication_nothing_is_asked(jobs: Jobs) -> None:
    """`authenticate=False` takes unsigned requests and wrong secrets, and still tells who it seems to be."""
    with serving(
        _app([sagemaker_api(jobs), sts_api(Keyring(KEY, SECRET, account=ACCOUNT))], authenticate=False)
    ) as url:
        assert "TrainingJobSummaries" in _client(url, secret="wrong").list_training_jobs()
        assert _client(url, "sts", "wrong").get_caller_identity()["UserId"] == KEY
        request = encode_call(load_service("sagemaker"), "ListTrainingJobs", {}, endpoint=url)
        assert _exchange(url, _bytes(request)).status == 200


def test_a_service_has_its_own_code_for_what_its_model_refuses(jobs: Jobs) -> None:
    """The words are everywhere the same; CloudWatch Logs calls it InvalidParameterException."""

    class NoLogs:
        def streams(self, _prefix: str) -> list[tuple[str, int, int]]:
            return []

        def lines(self, _stream: str) -> None:
            return None

    words = "1 validation error detected: Value null at '{}' failed to satisfy constraint: Member must not be null"
    with serving(_app([sagemaker_api(jobs), logs_api(NoLogs())])) as url:
        with pytest.raises(ClientError) as caught:
            _client(url, "logs").get_log_events(logGroupName="group")
        assert _code(caught) == ("InvalidParameterException", 400)
        assert caught.value.response["Error"]["Message"] == words.format("logStreamName")
        with pytest.raises(ClientError) as caught:
            _client(url).describe_training_job()
        assert _code(caught) == ("ValidationException", 400)
        assert caught.value.response["Error"]["Message"] == words.format("trainingJobName")


def test_our_own_client_speaks_with_it(endpoint: str) -> None:
    """What `encode_call` and `sign` write is taken, what comes back `decode_answer` reads."""
    model = load_service("sagemaker")
    for name, want in (("nope", "Requested resource not found."), ("a_b", "1 validation error detected: Value 'a_b'")):
        request = encode_call(model, "DescribeTrainingJob", {"TrainingJobName": name}, endpoint=endpoint)
        response = _exchange(endpoint, _bytes(_sign(request)))
        with pytest.raises(ServiceError) as caught:
            decode_answer(model, "DescribeTrainingJob", response)
        assert (caught.value.code, caught.value.message[: len(want)]) == ("ValidationException", want)
        assert response.header("x-amzn-errortype") == "ValidationException"


# ---------------------------------------------------------------------------------------------------------------------
# What no client sends
# ---------------------------------------------------------------------------------------------------------------------


def _sign(request: Request) -> Request:
    return sign(request, Credentials(KEY, SECRET), service="sagemaker", region=REGION, now=datetime.now(UTC))


def _bytes(request: Request) -> bytes:
    host = request.url.split("/")[2]
    lines = [f"{name}: {value}" for name, value in (("Host", host), *request.headers)]
    head = "\r\n".join([f"{request.method} / HTTP/1.1", *lines, f"Content-Length: {len(request.body)}"])
    return head.encode() + b"\r\n\r\n" + request.body


def _exchange(endpoint: str, data: bytes) -> Response:
    """Send bytes, and read until the server closes or a whole answer has come."""
    host, port = endpoint.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(data)
        with connection.makefile("rb") as stream:
            status = int(stream.readline().split()[1])
            headers = []
            while (line := stream.readline().strip()) != b"":
                name, _, value = line.decode().partition(":")
                headers.append((name.lower(), value.strip()))
            length = int(dict(headers).get("content-length", "0"))
            return Response(status, tuple(headers), stream.read(length))


def _signed_body(body: bytes, **headers: str) -> Callable[[str], bytes]:
    extra = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return lambda url: _bytes(
        _sign(Request("POST", f"{url}/", (("X-Amz-Target", "SageMaker.ListTrainingJobs"), *extra), body))
    )


def _raw(text: str) -> Callable[[str], bytes]:
    return lambda _url: text.replace("\n", "\r\n").encode("latin-1")


@dataclass(frozen=True)
class Strange:
    description: str
    data: Callable[[str], bytes]
    status: int
    code: str


STRANGE = [
    Strange("a browser", _raw("GET / HTTP/1.1\nHost: h\n\n"), 403, "MissingAuthenticationTokenException"),
    Strange("JSON that is none", _signed_body(b"{"), 400, "SerializationException"),
    Strange("a list", _signed_body(b"[]"), 400, "SerializationException"),
    Strange("another media type", _signed_body(b"{}", content_type="text/plain"), 415, "UnsupportedMediaTypeException"),
    Strange(
        "no target",
        lambda url: _bytes(_sign(Request("POST", f"{url}/", (), b"{}"))),
        400,
        "UnknownOperationException",
    ),
    Strange(
        "a target without a service",
        lambda url: _bytes(_sign(Request("POST", f"{url}/", (("X-Amz-Target", "x"),), b"{}"))),
        400,
        "UnknownOperationException",
    ),
    Strange(
        "another method",
        lambda url: _bytes(_sign(Request("PUT", f"{url}/", (("X-Amz-Target", "SageMaker.ListTrainingJobs"),)))),
        400,
        "UnknownOperationException",
    ),
    Strange(
        "bytes that are no text in a header",
        _raw("POST / HTTP/1.1\nHost: h\nX-Amz-Target: \xff\xfe\nAuthorization: \xff\nContent-Length: 0\n\n"),
        403,
        "IncompleteSignatureException",
    ),
    Strange(
        "a large body, announced",
        _raw("POST / HTTP/1.1\nHost: h\nContent-Length: 100001\n\n"),
        413,
        "RequestEntityTooLargeException",
    ),
    Strange(
        "a large body, in chunks",
        _raw("POST / HTTP/1.1\nHost: h\nTransfer-Encoding: chunked\n\n186a1\n" + "x" * 100_001 + "\n0\n\n"),
        413,
        "RequestEntityTooLargeException",
    ),
    Strange(
        "a body that does not come",
        _raw("POST / HTTP/1.1\nHost: h\nContent-Length: 10\n\n{"),
        408,
        "RequestTimeout",
    ),
    Strange(
        "huge headers",
        _raw(f"POST / HTTP/1.1\nHost: h\nX-Long: {'x' * 40_000}\nContent-Length: 0\n\n"),
        431,
        "RequestHeaderSectionTooLarge",
    ),
]


@pytest.mark.parametrize("case", STRANGE, ids=[case.description for case in STRANGE])
def test_a_strange_request_gets_a_clean_error(endpoint: str, case: Strange) -> None:
    """Whatever comes, the answer is an AWS error in JSON with a request id."""
    response = _exchange(endpoint, case.data(endpoint))
    assert (response.status, json.loads(response.body)["__type"]) == (case.status, case.code)
    assert response.header("x-amzn-requestid")
    assert response.header("content-type") == "application/x-amz-json-1.1"


def test_garbage_is_refused_by_the_server(endpoint: str) -> None:
    """What is not HTTP never gets as far as the application."""
    assert _exchange(endpoint, b"\x16\x03\x01\x02\x00garbage\r\n\r\n").status == 400


def test_a_form_without_a_signature_is_refused_in_xml(endpoint: str) -> None:
    """A request that speaks AWS Query is answered in it."""
    form = "Action=GetCallerIdentity&Version=2011-06-15"
    head = "POST / HTTP/1.1\nHost: h\nContent-Type: application/x-www-form-urlencoded\n"
    response = _exchange(endpoint, _raw(f"{head}Content-Length: {len(form)}\n\n{form}")(endpoint))
    assert (response.status, response.header("content-type")) == (403, "text/xml")
    assert b"<Code>MissingAuthenticationToken</Code>" in response.body


def test_a_client_that_goes_away_leaves_no_error(endpoint: str, caplog: pytest.LogCaptureFixture) -> None:
    """A connection that breaks in the middle of a body is nothing to report."""
    host, port = endpoint.removeprefix("http://").split(":")
    with caplog.at_level(logging.WARNING):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n{")
        assert _exchange(endpoint, b"GET /_treadle/health HTTP/1.1\r\nHost: h\r\n\r\n").status == 200
    assert caplog.text == ""


def test_health_needs_no_signature(endpoint: str) -> None:
    """Who waits for the service can ask without keys; nothing secret is told."""
    response = _exchange(endpoint, b"GET /_treadle/health HTTP/1.1\r\nHost: h\r\n\r\n")
    told = json.loads(response.body)
    assert (response.status, told["status"], told["region"], told["account"]) == (200, "ok", REGION, ACCOUNT)


@pytest.mark.parametrize(
    ("path", "want"),
    [
        ("/_treadle/agent/v1/claim", (200, "/_treadle/agent /_treadle/agent/v1/claim")),
        ("/_treadle/agents", (404, '{"message":"There is nothing here."}')),
        ("/_treadle/", (404, '{"message":"There is nothing here."}')),
    ],
)
def test_agents_are_served_below_their_path(endpoint: str, path: str, want: tuple[int, str]) -> None:
    """The application of the agents gets its own path and nothing else."""
    host, port = endpoint.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(
            f"POST {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode()
        )
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    assert int(answer.split()[1]) == want[0]
    assert want[1] in answer


def test_many_clients_at_once(endpoint: str) -> None:
    """Answers do not get mixed up between connections."""
    client = _client(endpoint)
    for number in range(4):
        client.create_training_job(**_job(f"many-{number}"))
    found: dict[int, str] = {}

    def ask(number: int) -> None:
        found[number] = client.describe_training_job(TrainingJobName=f"many-{number % 4}")["TrainingJobName"]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: f"many-{number % 4}" for number in range(8)}
