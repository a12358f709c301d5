"""A client of the training service through its own AWS API: what boto3 would send, without boto3.

It is synchronous and uses the standard library alone: `treadle jobs ls` should not pay for an event loop and an HTTP
client that it does not need.
"""

from __future__ import annotations

import datetime as dt
import http.client
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from treadle.aws.sigv4 import Credentials, sign
from treadle.errors import ServiceError, TransportError
from treadle.seams import Json, Request

__all__ = ["FINAL", "LOG_GROUP", "Client", "LogLine", "LogReader", "tail"]

FINAL: Final = frozenset({"Completed", "Failed", "Stopped"})
LOG_GROUP: Final = "/aws/sagemaker/TrainingJobs"
_TIMEOUT: Final = 60.0

# X-Amz-Target prefix → the service name that a signature carries (endpoints.json of botocore, signingName).
_SIGNING_NAMES: Final = {"SageMaker": "sagemaker", "Logs_20140328": "logs", "Treadle": "treadle"}


@dataclass(frozen=True, slots=True)
class Client:
    """Calls the service at `url`."""

    url: str
    region: str
    credentials: Credentials

    def call(self, target: str, payload: Mapping[str, Json]) -> dict[str, Any]:
        """Call an operation such as `SageMaker.ListTrainingJobs`. Raises `ServiceError`, `TransportError`."""
        request = Request(
            "POST",
            self.url.rstrip("/") + "/",
            (("Content-Type", "application/x-amz-json-1.1"), ("X-Amz-Target", target)),
            msgspec.json.encode(payload),
        )
        service = _SIGNING_NAMES[target.partition(".")[0]]
        signed = sign(request, self.credentials, service=service, region=self.region, now=dt.datetime.now(dt.UTC))
        status, body = self._send(signed)
        return _decoded(status, body, target)

    def _send(self, request: Request) -> tuple[int, bytes]:
        parts = urlsplit(request.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=_TIMEOUT)
        try:
            connection.request(request.method, parts.path or "/", request.body, dict(request.headers))
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            refused = isinstance(error, ConnectionRefusedError)
            raise TransportError(
                "refused" if refused else "reset",
                f"The training service at {self.url} does not answer: {error}.",
                sent=not refused,
                url=self.url,
                hint="Is it still running? treadle serve shows what it does.",
            ) from error
        finally:
            connection.close()

    def describe(self, job: str) -> dict[str, Any]:
        """Give a job. Raises `ServiceError`."""
        return self.call("SageMaker.DescribeTrainingJob", {"TrainingJobName": job})

    def streams(self, job: str) -> list[str]:
        """Give the names of the log streams of a job, one per host and attempt; none before its program starts."""
        asked = {"logGroupName": LOG_GROUP, "logStreamNamePrefix": f"{job}/", "orderBy": "LogStreamName"}
        found: list[str] = []
        token: str | None = None
        while True:
            try:
                page = self.call("Logs_20140328.DescribeLogStreams", asked | ({"nextToken": token} if token else {}))
            except ServiceError as error:
                if error.code == "ResourceNotFoundException":
                    return found
                raise
            found += [stream["logStreamName"] for stream in page.get("logStreams", ())]
            token = page.get("nextToken")
            if not token:
                return found


def _decoded(status: int, body: bytes, target: str) -> dict[str, Any]:
    try:
        data = msgspec.json.decode(body) if body else {}
    except msgspec.DecodeError as error:
        raise ServiceError(
            "InvalidResponse", f"{target} was answered {status} with something that is no JSON."
        ) from error
    if status == 200 and isinstance(data, dict):
        return data
    said = data if isinstance(data, dict) else {}
    code = str(said.get("__type", "UnknownError")).rpartition("#")[2]
    message = said.get("message") or said.get("Message") or f"{target} was answered {status}."
    raise ServiceError(code, str(message), status=status)


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of a job's log; `at` in Unix seconds."""

    host: str
    at: float
    text: str


class LogReader:
    """Reads the log of a job from its beginning, further with each `read`."""

    def __init__(self, client: Client, job: str) -> None:
        self._client = client
        self._job = job
        self._tokens: dict[str, str | None] = {}

    @property
    def hosts(self) -> int:
        """How many log streams there are so far."""
        return len(self._tokens)

    def read(self) -> Iterator[LogLine]:
        """Give the lines that have come since the last read, host by host."""
        for stream in self._client.streams(self._job):
            self._tokens.setdefault(stream, None)
            yield from self._rest(stream)

    def _rest(self, stream: str) -> Iterator[LogLine]:
        while True:
            token = self._tokens[stream]
            asked: dict[str, Json] = {"logGroupName": LOG_GROUP, "logStreamName": stream, "startFromHead": True}
            page = self._client.call("Logs_20140328.GetLogEvents", asked | ({"nextToken": token} if token else {}))
            yield from _lines(stream, page)
            self._tokens[stream] = page["nextForwardToken"]
            # The API's own sign of the end: the token that was given comes back.
            if page["nextForwardToken"] == token or (token is None and not page["events"]):
                return


def tail(client: Client, job: str, lines: int) -> list[LogLine]:
    """Give the last lines of each host's log, in the order of time."""
    found: list[LogLine] = []
    for stream in client.streams(job):
        asked = {"logGroupName": LOG_GROUP, "logStreamName": stream, "limit": lines, "startFromHead": False}
        found += _lines(stream, client.call("Logs_20140328.GetLogEvents", asked))
    return sorted(found, key=lambda line: line.at)


def _lines(stream: str, page: Mapping[str, Any]) -> Iterator[LogLine]:
    host = stream.rpartition("/")[2].rpartition("-")[0]
    for event in page.get("events", ()):
        yield LogLine(host, event["timestamp"] / 1000, event["message"])
