"""The HTTP face of the training service: one ASGI application for all its AWS APIs.

A request goes through five steps, and each has one way to fail:

1. its head is read: too many header bytes are refused before anything else is done;
2. its body is read, within a size and a time;
3. its signature is verified, before anything is said about what it asks for;
4. its operation is found (by `X-Amz-Target`, or for AWS Query by the scope of the signature and `Action`), its input is
   read and checked, and the bound handler called;
5. the output is written, by the shape that the model promises.

Whatever fails becomes an error of the protocol that the request speaks. A fault of our own is logged with its traceback
and told to the client as InternalFailure with the request id, nothing more. What the machine refuses (the disk is full)
is told as it is, as ServiceUnavailable: clients come again.
"""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

import msgspec

from treadle._version import __version__
from treadle.aws import json11, query, sigv4
from treadle.aws.sigv4 import claimed_scope, payload_hash, verify
from treadle.errors import ServiceError, TreadleError
from treadle.seams import Headers
from treadle.training.access import Identity, allows, beyond
from treadle.training.api.asgi import Asgi, BodyRefusedError, GoneError, Receive, Scope, Send, read_body
from treadle.training.api.operations import Api, Caller, Handler, Values
from treadle.training.api.s3.request import speaks_s3

__all__ = ["AGENT_PATH", "HEALTH_PATH", "Api", "Caller", "Handler", "Values", "build_app"]

AGENT_PATH: Final = "/_treadle/agent"
HEALTH_PATH: Final = "/_treadle/health"

# AWS's limits for a request of this protocol are of this order; a CreateTrainingJob of ours has a few KB.
_BODY_LIMIT: Final = 4 * 1024 * 1024
_HEAD_LIMIT: Final = 32 * 1024
_BODY_SECONDS: Final = 30.0

_log: Final = logging.getLogger(__name__)


def build_app(
    apis: Sequence[Api],
    *,
    secret_for: Callable[[str], str | None],
    region: str,
    account: str,
    authenticate: bool = True,
    identify: Callable[[sigv4.Identity], Identity] | None = None,
    agents: Asgi | None = None,
    s3: Asgi | None = None,
    body_limit: int = _BODY_LIMIT,
    body_seconds: float = _BODY_SECONDS,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Asgi:
    """Compose the application.

    `secret_for` gives the secret key of an access key id, or None. Without `authenticate` signatures are not looked at.
    `identify` tells who made a signature that holds, and raises `ServiceError` where its session token does not.
    `agents` serves what is below `/_treadle/agent`, with that in its `root_path`; `s3` what is for S3. `body_limit` in
    bytes; `body_seconds` is how long a client may take to send a body.
    """
    gate = _Gate(secret_for, region, account, authenticate, identify, clock)
    return _App(apis, gate, agents, s3, _Limits(body_limit, body_seconds))


# ---------------------------------------------------------------------------------------------------------------------
# Requests and answers
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Limits:
    body: int
    seconds: float


_ESCAPED: Final = "surrogateescape"
_LENGTH: Final = re.compile(r"[0-9]{1,18}")


class _Head(msgspec.Struct, frozen=True, gc=False):
    """What comes before the body. Bytes that are not UTF-8 become surrogate escapes, so that hashes come out right."""

    method: str
    path: str
    query: str
    headers: Headers
    target: str
    content_type: str
    length: int

    @classmethod
    def of(cls, scope: Scope) -> _Head:
        raw: Sequence[tuple[bytes, bytes]] = scope["headers"]
        if sum(len(name) + len(value) for name, value in raw) > _HEAD_LIMIT:
            message = f"The headers of the request are larger than {_HEAD_LIMIT} bytes."
            raise ServiceError("RequestHeaderSectionTooLarge", message, status=431)
        headers = tuple([(str(name, "utf-8", _ESCAPED), str(value, "utf-8", _ESCAPED)) for name, value in raw])
        found = {name: value for name, value in headers if name in {"x-amz-target", "content-type", "content-length"}}
        length = found.get("content-length", "")
        return cls(
            method=scope["method"],
            path=_text(scope.get("raw_path") or scope["path"].encode()),
            query=_text(scope["query_string"]),
            headers=headers,
            target=found.get("x-amz-target", ""),
            content_type=found.get("content-type", ""),
            length=int(length) if _LENGTH.fullmatch(length) else 0,
        )

    @property
    def is_query(self) -> bool:
        form = self.content_type.startswith("application/x-www-form-urlencoded")
        return not self.target and (form or self.query.startswith("Action=") or "&Action=" in self.query)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", _ESCAPED)


class _Answer(msgspec.Struct, frozen=True, gc=False):
    status: int
    media_type: str
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


# ---------------------------------------------------------------------------------------------------------------------
# Who may come in
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Gate:
    secret_for: Callable[[str], str | None]
    region: str
    account: str
    authenticate: bool
    identify: Callable[[sigv4.Identity], Identity] | None
    clock: Callable[[], datetime]

    def admit(self, head: _Head, body: bytes, service: str | None) -> Caller:
        """Tell who calls `service` (None: not known yet). Raises `ServiceError`."""
        if self.authenticate:
            signed = verify(
                head.method,
                head.path,
                head.query,
                head.headers,
                payload_hash(body),
                secret_for=self.secret_for,
                now=self.clock(),
                region=None if service in _GLOBAL else self.region,
                service=service,
            )
            if self.identify is not None:
                its = self.identify(signed)
                return Caller(its.access_key_id, self.account, self.region, its.arn, its.user_id, its)
            key = signed.access_key_id
        else:
            claimed = claimed_scope(head.headers, head.query)
            key = claimed.access_key_id if claimed else "anonymous"
        return Caller(key, self.account, self.region, f"arn:aws:iam::{self.account}:root")


# Services that have one endpoint for all regions; clients sign for us-east-1 or for their own.
_GLOBAL: Final = frozenset({"iam"})


# ---------------------------------------------------------------------------------------------------------------------
# The two protocols
# ---------------------------------------------------------------------------------------------------------------------


class _Wire(Protocol):
    """A protocol: what a request asks for, and how it is answered."""

    def api(self, head: _Head) -> Api | None:
        """Give the service that a request is for, if it is one of ours."""
        ...

    async def call(self, api: Api | None, head: _Head, body: bytes, caller: Caller, request_id: str) -> _Answer:
        """Perform the operation. Raises `ServiceError`."""
        ...

    def error(self, error: ServiceError, request_id: str) -> _Answer:
        """Give an error as an answer."""
        ...


class _Json:
    """AWS JSON: the target names service and operation."""

    def __init__(self, apis: Sequence[Api]) -> None:
        self.apis = {api.target_prefix: api for api in apis if api.target_prefix}
        self._modelled = frozenset[str]().union(*(each.model.errors_with("Message") for each in self.apis.values()))

    def api(self, head: _Head) -> Api | None:
        return self.apis.get(json11.split_target(head.target)[0])

    async def call(self, api: Api | None, head: _Head, body: bytes, caller: Caller, request_id: str) -> _Answer:  # noqa: ARG002  (for the other protocol)
        if not head.target:
            # Services that speak REST name their operations otherwise; none of ours but S3 does.
            scope = claimed_scope(head.headers, head.query)
            if scope is not None and scope.service not in {each.model.signing_name for each in self.apis.values()}:
                raise _elsewhere(scope.service)
            raise ServiceError("UnknownOperationException", "The request names no operation: it has no X-Amz-Target.")
        if head.method != "POST":
            raise ServiceError("UnknownOperationException", f"Operations are called with POST, not {head.method}.")
        if api is None:
            raise _elsewhere(json11.split_target(head.target)[0])
        name = json11.split_target(head.target)[1]
        handler = _handler(api, name, caller)
        operation = api.model.operation(name)
        try:
            values = json11.decode_call(operation, body, head.content_type)
        except ServiceError as error:
            raise ServiceError(api.invalid, error.message) if error.code == "ValidationException" else error from None
        output = await handler(values, caller)
        return _Answer(200, json11.media_type(api.model), json11.encode_answer(operation, output))

    def error(self, error: ServiceError, request_id: str) -> _Answer:  # noqa: ARG002  (for the other protocol)
        code, message = _clean(error.code), _clean(error.message)
        return _Answer(
            error.status,
            "application/x-amz-json-1.1",
            json11.encode_error(code, message, modelled=code in self._modelled),
            ((b"x-amzn-errortype", code.encode("latin-1", "replace")),),
        )


def _elsewhere(service: str) -> ServiceError:
    return ServiceError(
        "UnknownOperationException",
        f"There is no service '{service[:100]}' here. Treadle answers for SageMaker training jobs, their logs and "
        "metrics in CloudWatch, S3, STS and IAM.",
    )


class _Query:
    """AWS Query: the signature's scope names the service, `Action` the operation."""

    def __init__(self, apis: Sequence[Api]) -> None:
        self.apis = {api.model.signing_name: api for api in apis if api.model.protocol == "query"}

    def api(self, head: _Head) -> Api | None:
        scope = claimed_scope(head.headers, head.query)
        return self.apis.get(scope.service) if scope else None

    async def call(self, api: Api | None, head: _Head, body: bytes, caller: Caller, request_id: str) -> _Answer:
        # A URL that is given away, as to prove who one is, has all of it in its query.
        form = query.read_form(body or head.query.encode("utf-8", _ESCAPED))
        name = form.get("Action", "")
        if api is None and claimed_scope(head.headers, head.query) is None:
            # Where no signature is needed there may be none that names the service; names of operations differ.
            api = next((each for each in self.apis.values() if name in each.operations), None)
        if api is None or not name:
            raise ServiceError("UnknownOperationException", f"There is no operation '{name}' here.")
        handler = _handler(api, name, caller)
        operation = api.model.operation(name)
        output = await handler(query.decode_call(operation, form), caller)
        return _Answer(200, "text/xml", query.encode_answer(api.model, operation, output, request_id))

    def error(self, error: ServiceError, request_id: str) -> _Answer:
        body = query.encode_error(_clean(error.code), _clean(error.message), error.status, request_id)
        return _Answer(error.status, "text/xml", body)


def _handler(api: Api, name: str, caller: Caller) -> Handler:
    action = f"{api.name}:{name[:100]}"
    if caller.identity is not None and not allows(caller.identity, action):
        raise ServiceError(
            "AccessDeniedException",
            f"User: {caller.arn} is not authorized to perform: {action} because no identity-based policy allows the "
            f"{action} action{beyond(caller.identity)}",
            status=400 if api.target_prefix else 403,
        )
    handler = api.operations.get(name)
    if handler is None:
        what = "is not implemented by Treadle" if name in api.model else "does not exist"
        raise ServiceError("UnknownOperationException", f"The operation '{name[:100]}' of {api.name} {what}.")
    return handler


def _clean(text: str) -> str:
    """Give text that can be written as UTF-8: parts of a request may be quoted in it."""
    return text.encode("utf-8", "replace").decode()


# ---------------------------------------------------------------------------------------------------------------------
# The application
# ---------------------------------------------------------------------------------------------------------------------


class _App:
    def __init__(self, apis: Sequence[Api], gate: _Gate, agents: Asgi | None, s3: Asgi | None, limits: _Limits) -> None:
        self._gate = gate
        self._agents = agents
        self._s3 = s3
        self._limits = limits
        self._json = _Json(apis)
        self._query = _Query(apis)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            # First, because a key in a bucket that the host names may look like a path of ours.
            case "http" if self._s3 is not None and speaks_s3(scope):
                await self._s3(scope, receive, send)
            case "http" if scope["path"].startswith("/_treadle/"):
                await self._own(scope, receive, send)
            case "http":
                await self._aws(scope, receive, send)
            case "lifespan":
                await _lifespan(receive, send)
            case "websocket":
                await send({"type": "websocket.close", "code": 1000})

    async def _aws(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = str(uuid.uuid4())
        wire: _Wire = self._json
        try:
            head = _Head.of(scope)
            wire = self._query if head.is_query else self._json
            body = await self._body(head, receive)
            api = wire.api(head)
            caller = self._gate.admit(head, body, api.model.signing_name if api else None)
            answer = await wire.call(api, head, body, caller, request_id)
        except GoneError:
            return
        except ServiceError as error:
            answer = wire.error(error, request_id)
        except TreadleError as error:
            # A disk that is full, a database that is locked: it passes, and clients know to come again.
            _log.error("request %s failed: %s %s", request_id, error.message, error.hint)
            message = f"{error.message} {error.hint}".rstrip()
            answer = wire.error(ServiceError("ServiceUnavailable", message, status=503), request_id)
        except Exception:  # noqa: BLE001  (whatever it is, the client gets an answer and the log the traceback)
            _log.exception("request %s failed", request_id)
            message = f"The request failed because of an error in the service; its log has more, at {request_id}."
            answer = wire.error(ServiceError("InternalFailure", message, status=500), request_id)
        await _send(send, answer, request_id)

    async def _body(self, head: _Head, receive: Receive) -> bytes:
        limits = self._limits
        try:
            return await read_body(receive, limit=limits.body, seconds=limits.seconds, announced=head.length)
        except BodyRefusedError as refused:
            raise ServiceError(_REFUSED[refused.status], str(refused), status=refused.status) from None

    async def _own(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if self._agents is not None and (path == AGENT_PATH or path.startswith(f"{AGENT_PATH}/")):
            root = f"{scope.get('root_path', '')}{AGENT_PATH}"
            await self._agents({**scope, "root_path": root}, receive, send)
        elif path == HEALTH_PATH and scope["method"] in {"GET", "HEAD"}:
            health = {
                "status": "ok",
                "version": __version__,
                "region": self._gate.region,
                "account": self._gate.account,
            }
            await _send(send, _Answer(200, "application/json", msgspec.json.encode(health)), "")
        else:
            await _send(send, _Answer(404, "application/json", b'{"message":"There is nothing here."}'), "")


_REFUSED: Final = {408: "RequestTimeout", 413: "RequestEntityTooLargeException"}

# The rest of such a request is not read, so the connection cannot serve another.
_CLOSING: Final = frozenset({408, 413, 431})


async def _send(send: Send, answer: _Answer, request_id: str) -> None:
    headers = [
        (b"content-type", answer.media_type.encode("ascii")),
        (b"content-length", str(len(answer.body)).encode("ascii")),
        *answer.headers,
    ]
    if request_id:
        headers.append((b"x-amzn-requestid", request_id.encode("ascii")))
    if answer.status in _CLOSING:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


async def _lifespan(receive: Receive, send: Send) -> None:
    """Agree to start and to stop: what has a life of its own belongs to the server, not to its HTTP face."""
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return
