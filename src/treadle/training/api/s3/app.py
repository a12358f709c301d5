"""S3 as an ASGI application: who asks, what for, and the answer on its way out.

An answer that takes long (a large object is put together) is begun after a while, with blanks before its XML, as S3
does it: the client keeps the connection. What fails after that is an error with status 200, which SDKs know.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias, TypeVar

from treadle.aws import sigv4
from treadle.errors import ObjectError, ServiceError
from treadle.seams import Objects, Uploads
from treadle.training.access import Identity
from treadle.training.api.asgi import Asgi, Receive, Scope, Send
from treadle.training.api.s3 import buckets, listing, reading, uploading, writing, xml
from treadle.training.api.s3.answers import Answer
from treadle.training.api.s3.checks import body_checks
from treadle.training.api.s3.errors import S3Error, of_object_error, of_service_error, refusal
from treadle.training.api.s3.gate import Gate
from treadle.training.api.s3.intake import ClientGoneError, Incoming, Intake, deliver
from treadle.training.api.s3.request import S3Request
from treadle.training.api.s3.routes import operation_of
from treadle.training.api.s3.store import Call, Limits, Store

__all__ = ["OPERATIONS", "s3_app"]

T = TypeVar("T")

Handler: TypeAlias = Callable[[Store, Call], Awaitable[Answer]]

_log: Final = logging.getLogger(__name__)

# Most of the time a thread waits for the disk, and those who wait together are served together.
_THREADS: Final = 32

# A client that has not been told to go on may keep its body to itself, or send it: the connection is of no more use.
# Else what is left of a body is read and dropped, so that the client gets to see the answer; within limits.
_DROPPED: Final = 16 << 20


def s3_app(
    objects: Objects,
    uploads: Uploads,
    *,
    secret_for: Callable[[str], str | None],
    region: str,
    account: str,
    authenticate: bool = True,
    identify: Callable[[sigv4.Identity], Identity] | None = None,
    limits: Limits | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Asgi:
    """Compose the application.

    `secret_for` gives the secret key of an access key id, or None. Without `authenticate` signatures are not looked at.
    `identify` tells who made a signature that holds, and what he may do; without it everybody may do everything.
    """
    threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="s3")

    def run(function: Callable[[], T], /) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(threads, function)

    store = Store(objects, uploads, region, account, limits or Limits(), run)
    return _App(store, Gate(secret_for, region, account, authenticate, identify, clock))


# ---------------------------------------------------------------------------------------------------------------------
# Operations
# ---------------------------------------------------------------------------------------------------------------------


def _plain(function: Callable[[Store, S3Request], Answer]) -> Handler:
    async def handle(store: Store, call: Call) -> Answer:
        return await store.run(lambda: function(store, call.request))

    return handle


def _of_call(function: Callable[[Store, Call], Answer]) -> Handler:
    async def handle(store: Store, call: Call) -> Answer:
        return await store.run(lambda: function(store, call))

    return handle


def _with_body(function: Callable[[Store, Call, bytes], Answer]) -> Handler:
    async def handle(store: Store, call: Call) -> Answer:
        limit = store.limits.xml
        if (call.request.length or 0) > limit:
            raise refusal("MaxMessageLengthExceeded", MaxMessageLengthBytes=str(limit))
        intake = Intake(call.request, call.admitted, body_checks(call.request), limit)
        document = _Document()

        def finish(batch: Any) -> Answer:
            intake.take(batch, document)
            intake.verify(document)
            return function(store, call, bytes(document.content))

        return await deliver(call.incoming, store.run, lambda batch: intake.take(batch, document), finish)

    return handle


class _Document:
    """A body that is kept in memory: a document."""

    def __init__(self) -> None:
        self.content = bytearray()

    def write(self, piece: bytes) -> None:
        self.content += piece

    def digest(self) -> str:
        from hashlib import md5

        return md5(self.content, usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class _Operation:
    """An operation: what performs it, what a caller must be allowed, and whether it may take long."""

    handler: Handler
    action: str
    slow: bool = False


OPERATIONS: Final[Mapping[str, _Operation]] = {
    "ListBuckets": _Operation(_plain(buckets.list_buckets), "s3:ListAllMyBuckets"),
    "CreateBucket": _Operation(
        _with_body(lambda store, call, body: buckets.create_bucket(store, call.request, body)), "s3:CreateBucket"
    ),
    "HeadBucket": _Operation(_plain(buckets.head_bucket), "s3:ListBucket"),
    "GetBucketLocation": _Operation(_plain(buckets.get_bucket_location), "s3:GetBucketLocation"),
    "GetBucketVersioning": _Operation(_plain(buckets.get_bucket_versioning), "s3:ListBucket"),
    "DeleteBucket": _Operation(_plain(buckets.delete_bucket), "s3:DeleteBucket"),
    "ListObjects": _Operation(_plain(listing.list_objects), "s3:ListBucket"),
    "ListObjectsV2": _Operation(_plain(listing.list_objects_v2), "s3:ListBucket"),
    "ListObjectVersions": _Operation(_plain(listing.list_object_versions), "s3:ListBucket"),
    "GetObject": _Operation(_plain(reading.get_object), "s3:GetObject"),
    "HeadObject": _Operation(_plain(reading.head_object), "s3:GetObject"),
    "GetObjectTagging": _Operation(_plain(reading.get_object_tagging), "s3:GetObject"),
    "PutObject": _Operation(writing.put_object, "s3:PutObject"),
    "CopyObject": _Operation(_of_call(writing.copy_object), "s3:PutObject", slow=True),
    "DeleteObject": _Operation(_plain(writing.delete_object), "s3:DeleteObject"),
    "DeleteObjects": _Operation(_with_body(writing.delete_objects), ""),  # asked for each key
    "CreateMultipartUpload": _Operation(_plain(uploading.create_multipart_upload), "s3:PutObject"),
    "UploadPart": _Operation(uploading.upload_part, "s3:PutObject"),
    "UploadPartCopy": _Operation(_of_call(uploading.upload_part_copy), "s3:PutObject", slow=True),
    "ListParts": _Operation(_plain(uploading.list_parts), "s3:ListMultipartUploadParts"),
    "ListMultipartUploads": _Operation(_plain(uploading.list_multipart_uploads), "s3:ListBucketMultipartUploads"),
    "CompleteMultipartUpload": _Operation(
        _with_body(lambda store, call, body: uploading.complete_multipart_upload(store, call.request, body)),
        "s3:PutObject",
        slow=True,
    ),
    "AbortMultipartUpload": _Operation(_plain(uploading.abort_multipart_upload), "s3:AbortMultipartUpload"),
}


# ---------------------------------------------------------------------------------------------------------------------
# The application
# ---------------------------------------------------------------------------------------------------------------------


class _App:
    def __init__(self, store: Store, gate: Gate) -> None:
        self._store = store
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        incoming = Incoming(receive, self._store.limits.silence)
        exchange = _Exchange(scope, incoming, receive, send, self._store)
        bucket = key = ""
        try:
            request = S3Request.of(scope)
            bucket, key = request.bucket, request.key
            await self._perform(request, exchange)
        except ClientGoneError:
            return
        except ServiceError as error:
            await exchange.refuse(of_service_error(error))
        except ObjectError as error:
            await exchange.refuse(of_object_error(error, bucket, key) or exchange.fault())
        except Exception:  # noqa: BLE001  (whatever it is, the client gets an answer and the log the traceback)
            await exchange.refuse(exchange.fault())

    async def _perform(self, request: S3Request, exchange: _Exchange) -> None:
        admitted = self._gate.admit(request)
        name = operation_of(request)
        operation = OPERATIONS[name]
        request.check_names()
        self._store.check_owner(request.header("x-amz-expected-bucket-owner"))
        if operation.action:
            what = request.key or request.query.get("prefix", "")
            self._store.check_allowed(admitted, operation.action, request.bucket, what)
        work = operation.handler(self._store, Call(request, admitted, exchange.incoming))
        answer = await (exchange.patiently(work) if operation.slow else work)
        await exchange.send(answer)


class _Exchange:
    """A request and its answer: sends the one answer that there is, in whatever state the request's body is."""

    def __init__(self, scope: Scope, incoming: Incoming, receive: Receive, send: Send, store: Store) -> None:
        self.incoming = incoming
        self.request_id = secrets.token_hex(8).upper()
        self._host_id = secrets.token_urlsafe(42)
        self._scope = scope
        self._receive = receive
        self._send = send
        self._store = store
        self._begun: Literal["", "blanks", "answer"] = ""

    # -- answers ------------------------------------------------------------------------------------------------------

    async def send(self, answer: Answer) -> None:
        """Send an answer. A reader is closed, whatever happens."""
        if answer.reader is None:
            await self._whole(answer)
            return
        with answer.reader:
            await self._start(answer.status, {**answer.headers, "content-length": str(answer.length)})
            if self._scope["method"] == "HEAD":
                await self._send({"type": "http.response.body"})
            else:
                await self._stream(answer)

    async def refuse(self, error: S3Error) -> None:
        """Send an error; after headers that promised something else there is nothing to be said."""
        if error.status == 507:
            _log.warning("S3 request %s: %s", self.request_id, error)
        said = [("Code", error.code), ("Message", error.message), *error.details.items()]
        said += [("RequestId", self.request_id), ("HostId", self._host_id)]
        content = [xml.element(name, text) for name, text in said]
        headers = {"content-type": "application/xml"}
        if region := error.details.get("Region"):
            headers["x-amz-bucket-region"] = region
        body = b"" if self._scope["method"] == "HEAD" else xml.document("Error", content, namespace=False)
        await self._whole(Answer(error.status, headers, body))

    def fault(self) -> S3Error:
        """Log what is being handled, and give what the client is told of it."""
        _log.exception("S3 request %s failed", self.request_id)
        return refusal("InternalError")

    async def _whole(self, answer: Answer) -> None:
        if self._begun == "answer":
            return  # the connection is closed, and the client sees that something is missing
        if self._begun == "blanks":
            await self._send({"type": "http.response.body", "body": answer.body.removeprefix(xml.DECLARATION)})
            return
        headers = dict(answer.headers)
        if answer.status not in {204, 304}:
            headers.setdefault("content-length", str(len(answer.body)))
        await self._start(answer.status, headers)
        await self._send({"type": "http.response.body", "body": answer.body})

    async def patiently(self, work: Awaitable[Answer]) -> Answer:
        """Wait for an answer; one that takes long is begun, and blanks tell the client that it is still to come."""
        task = asyncio.ensure_future(work)
        try:
            while not (await asyncio.wait({task}, timeout=self._store.limits.patience))[0]:
                # Not before the body is there: until then the client does not wait for us.
                if not self.incoming.finished and self._scope["method"] == "POST":
                    continue
                if not self._begun:
                    await self._start(200, {"content-type": "application/xml"})
                    self._begun = "blanks"
                    await self._send({"type": "http.response.body", "body": xml.DECLARATION, "more_body": True})
                await self._send({"type": "http.response.body", "body": b" ", "more_body": True})
        finally:
            if not task.done():
                task.cancel()
        return task.result()

    # -- bytes --------------------------------------------------------------------------------------------------------

    async def _start(self, status: int, headers: Mapping[str, str]) -> None:
        told = {**headers, "x-amz-request-id": self.request_id, "x-amz-id-2": self._host_id}
        if not self._reusable():
            told["connection"] = "close"
        raw = [(name.encode("latin-1"), text.encode("latin-1", "replace")) for name, text in told.items()]
        self._begun = "answer"
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    def _reusable(self) -> bool:
        """Tell whether the connection can serve another request."""
        if self.incoming.finished:
            return True
        headers = dict(self._scope["headers"])
        if b"transfer-encoding" in headers or self.incoming.silent:
            return False
        length = headers.get(b"content-length", b"0")
        if length == b"0":
            return True
        waits = b"expect" in headers and self.incoming.untouched
        return not waits and length.isdigit() and len(length) < 18 and int(length) <= _DROPPED

    async def _stream(self, answer: Answer) -> None:
        """Send an object's bytes: the next piece is read while one is on its way."""
        if answer.reader is None:
            return
        pieces = answer.reader.read(answer.start, answer.length)
        gone: asyncio.Future[Any] = asyncio.ensure_future(self._gone())
        left = answer.length
        upcoming: asyncio.Future[Any] = asyncio.ensure_future(self._store.run(lambda: next(pieces, None)))
        try:
            while left and not gone.done():
                piece = await upcoming
                if piece is None:
                    _log.error("S3 request %s: the file has been cut while it was read", self.request_id)
                    return
                left -= len(piece)
                upcoming = asyncio.ensure_future(self._store.run(lambda: next(pieces, None)))
                async with asyncio.timeout(self._store.limits.silence):
                    await self._send({"type": "http.response.body", "body": piece, "more_body": left > 0})
        except TimeoutError:
            _log.info("S3 request %s: the client takes nothing", self.request_id)
        finally:
            gone.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([upcoming, gone])

    async def _gone(self) -> None:
        """Wait until the client has closed the connection."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
