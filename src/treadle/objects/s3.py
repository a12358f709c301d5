"""`seams.HostObjects` over S3's own wire: how an agent on another machine reaches the service's objects.

The service may be away for a while, because it is started anew or because the network is. That is nobody's failure: a
request that got no answer is sent again, for as long as an agent waits for its service at all. So a read goes on where
it broke off, and only if the object is still the same; what is written goes in parts of a few megabytes, each of which
can be sent again. No more than one part is in memory.

urllib3 carries the requests: it comes with botocore, and knows pools, timeouts and TLS. botocore's own client was not
chosen: it takes a quarter of a second to import and two milliseconds for each small object.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import quote, unquote, urlencode
from xml.etree import ElementTree as ET

import urllib3

from treadle.aws import sigv4
from treadle.aws.sigv4 import Credentials
from treadle.errors import BucketNotFound, NoRoom, ObjectError, ObjectNotFound
from treadle.objects.uri import check_bucket, check_key
from treadle.seams import ObjectInfo, Request

if TYPE_CHECKING:
    import ssl

__all__ = ["S3Objects"]

_PATIENCE: Final = 7 * 24 * 3600.0
_PIECE: Final = 1 << 20
_PART: Final = 16 << 20
# S3 takes 10,000 parts: with these sizes, objects of up to 400 GB.
_LARGER_FROM: Final = 5_000
_LARGER: Final = 64 << 20
_CONNECTIONS: Final = 8
_TIMEOUT: Final = urllib3.Timeout(connect=5.0, read=60.0)
_AGAIN: Final = frozenset({429, 500, 502, 503, 504})
_LONGEST_WAIT: Final = 5.0

_Texts: TypeAlias = list[str]  # in `S3Objects`, `list` is a method


class S3Objects:
    """Objects at an endpoint, `http://host:port`; buckets are the first segment of paths.

    `patience` is how many seconds the endpoint may be away. `trust` says which certificates are taken.
    """

    def __init__(
        self,
        endpoint: str,
        credentials: Credentials,
        region: str,
        *,
        trust: ssl.SSLContext | None = None,
        patience: float = _PATIENCE,
    ) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._credentials = credentials
        self._region = region
        self._patience = patience
        secure: dict[str, Any] = {} if trust is None else {"ssl_context": trust}
        # A pool of one host's connections takes a path as it is: "." and ".." are keys like others.
        self._pool = urllib3.connection_from_url(
            self._endpoint, maxsize=_CONNECTIONS, block=False, retries=False, timeout=_TIMEOUT, **secure
        )

    # -- reading ------------------------------------------------------------------------------------------------------

    def list(self, bucket: str, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectInfo]:
        """Give the objects whose key starts with `prefix`, in UTF-8 binary order. Raises `BucketNotFound`."""
        pages = self._pages(bucket, prefix, start_after, 1000)
        first = next(pages)  # what is wrong is told now
        return chain.from_iterable(chain((first,), pages))

    def holds(self, bucket: str, prefix: str = "") -> bool:
        """Tell whether the key of some object starts with `prefix`. Raises `BucketNotFound`."""
        return bool(next(self._pages(bucket, prefix, "", 1)))

    def _pages(self, bucket: str, prefix: str, after: str, size: int) -> Iterator[Sequence[ObjectInfo]]:
        check_bucket(bucket)
        query = {"list-type": "2", "encoding-type": "url", "max-keys": str(size), "prefix": prefix}
        if after:
            query["start-after"] = after
        while True:
            page = _read_xml(self._asked("GET", bucket, "", query).data)
            yield [
                ObjectInfo(
                    key=unquote(_text(each, "Key")),
                    size=int(_text(each, "Size")),
                    modified_at=datetime.fromisoformat(_text(each, "LastModified")).timestamp(),
                    etag=_text(each, "ETag").strip('"'),
                )
                for each in page.findall("Contents")
            ]
            if _text(page, "IsTruncated") != "true":
                return
            query["continuation-token"] = _text(page, "NextContinuationToken")

    def head(self, bucket: str, key: str) -> ObjectInfo:
        """Give one object's information. Raises `ObjectNotFound`."""
        headers = self._asked("HEAD", bucket, _checked(key), {}).headers
        return ObjectInfo(
            key=key,
            size=int(headers["content-length"]),
            modified_at=parsedate_to_datetime(headers["last-modified"]).timestamp(),
            etag=headers["etag"].strip('"'),
        )

    def read(self, bucket: str, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Give the object's bytes in pieces. Raises `ObjectNotFound`."""
        return _Reading(self, bucket, _checked(key), start, length)

    def download(self, bucket: str, key: str, to: Path) -> None:
        """Write the object to a new file in the place of what is at `to`; its directory is made."""
        pieces = self.read(bucket, key)
        try:
            to.parent.mkdir(parents=True, exist_ok=True)
            to.unlink(missing_ok=True)
            descriptor = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            with os.fdopen(descriptor, "wb") as file:
                for piece in pieces:
                    file.write(piece)
        except OSError as error:
            to.unlink(missing_ok=True)
            raise ObjectError(f"s3://{bucket}/{key} cannot be written to {to}: {error.strerror}.") from error
        except BaseException:
            to.unlink(missing_ok=True)
            raise

    # -- writing ------------------------------------------------------------------------------------------------------

    def write(self, bucket: str, key: str, pieces: Iterator[bytes]) -> ObjectInfo:
        """Store an object, replacing one of the same key; visible only when it is whole."""
        parts = _parts(pieces)
        first = next(parts)
        if len(first) < _PART:
            answer = self._asked("PUT", bucket, _checked(key), {}, first)
            return _written(key, len(first), answer.headers["etag"])
        return self._in_parts(bucket, _checked(key), first, parts)

    def _in_parts(self, bucket: str, key: str, first: bytes, others: Iterator[bytes]) -> ObjectInfo:
        begun = _read_xml(self._asked("POST", bucket, key, {"uploads": ""}).data)
        upload = _text(begun, "UploadId")
        try:
            size = 0
            etags: _Texts = []
            for part in chain((first,), others):
                query = {"partNumber": str(len(etags) + 1), "uploadId": upload}
                etags.append(self._asked("PUT", bucket, key, query, part).headers["etag"])
                size += len(part)
            return _written(key, size, self._completed(bucket, key, upload, etags, size))
        except BaseException:
            self._asked("DELETE", bucket, key, {"uploadId": upload}, quietly=True)
            raise

    def _completed(self, bucket: str, key: str, upload: str, etags: Sequence[str], size: int) -> str:
        numbered = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>" for number, etag in enumerate(etags, 1)
        )
        body = f"<CompleteMultipartUpload>{numbered}</CompleteMultipartUpload>".encode()
        try:
            answer = _read_xml(self._asked("POST", bucket, key, {"uploadId": upload}, body).data)
        except _NoSuchUpload:
            # The first time it was asked for, the answer was lost.
            found = self.head(bucket, key)
            if found.size != size or not found.etag.endswith(f"-{len(etags)}"):
                raise
            return found.etag
        if answer.tag == "Error":  # the status is sent before it is known how it ends
            raise _error(500, answer, bucket, key)
        return _text(answer, "ETag")

    def upload(self, path: Path, bucket: str, key: str) -> ObjectInfo:
        """Store a file's content. The file stays."""
        try:
            with path.open("rb") as file:
                return self.write(bucket, key, iter(lambda: file.read(_PIECE), b""))
        except OSError as error:
            raise ObjectError(f"{path} cannot be read: {error.strerror}.") from error

    def delete(self, bucket: str, key: str) -> None:
        """Remove an object; no error when there is none."""
        self._asked("DELETE", bucket, _checked(key), {})

    # -- the wire -----------------------------------------------------------------------------------------------------

    def _asked(
        self,
        method: str,
        bucket: str,
        key: str,
        query: Mapping[str, str],
        body: bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
        stream: bool = False,
        quietly: bool = False,
    ) -> Any:
        """Ask until there is an answer. Raises `ObjectError` for one that refuses, unless `quietly`."""
        url = f"{self._endpoint}/{bucket}" + (f"/{quote(key, safe='/~')}" if key else "")
        if query:
            url += f"?{urlencode(query, quote_via=quote)}"
        request = Request(method, url, tuple((headers or {}).items()), body)
        waiting = _Patience(self._patience)
        while True:
            try:
                answer = self._sent(request, stream=stream)
            except urllib3.exceptions.HTTPError as error:
                if quietly:
                    return None
                waiting.more(f"s3://{bucket}/{key}: {error}")
                continue
            if answer.status < 300 or quietly:
                return answer
            told = _read_xml(answer.data)
            if answer.status not in _AGAIN and _text(told, "Code") != "RequestTimeout":
                raise _error(answer.status, told, bucket, key)
            waiting.more(f"s3://{bucket}/{key}: status {answer.status}")

    def _sent(self, request: Request, *, stream: bool) -> urllib3.BaseHTTPResponse:
        # Signed for each try: a signature is good for some minutes.
        signed = sigv4.sign(request, self._credentials, service="s3", region=self._region, now=datetime.now(UTC))
        return self._pool.urlopen(
            request.method,
            request.url.removeprefix(self._endpoint),
            headers=dict(signed.headers),
            body=request.body or None,
            preload_content=not stream,
        )


class _Reading:
    """The bytes of an object, as it was when the reading began; an iterator that goes on where a connection broke."""

    def __init__(self, objects: S3Objects, bucket: str, key: str, start: int, length: int | None) -> None:
        self._objects = objects
        self._bucket = bucket
        self._key = key
        self._at = start
        self._end = None if length is None else start + length
        self._etag = ""
        self._answer = self._opened()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        waiting = _Patience(self._objects._patience)  # noqa: SLF001  (it is the same thing in two classes)
        while self._end is None or self._at < self._end:
            try:
                piece: bytes = self._answer.read(_PIECE)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                self._answer.close()
                waiting.more(f"s3://{self._bucket}/{self._key}: {error}")
                self._answer = self._opened()
                continue
            if not piece:
                break
            self._at += len(piece)
            return piece
        if self._answer is not None:
            self._answer.release_conn()
        raise StopIteration

    def _opened(self) -> Any:
        headers = {}
        if self._at or self._end is not None:
            headers["range"] = f"bytes={self._at}-{'' if self._end is None else max(self._at, self._end - 1)}"
        if self._etag:
            headers["if-match"] = self._etag
        try:
            answer = self._objects._asked("GET", self._bucket, self._key, {}, headers=headers, stream=True)  # noqa: SLF001
        except _NotThatFar:
            self._end = self._at
            return None
        self._etag = answer.headers["etag"]
        # A range that reaches too far is cut.
        self._end = self._at + int(answer.headers["content-length"])
        return answer


class _Patience:
    """Waits between tries, 0.1 s to 5 s, and gives up in the end."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self._next = 0.1

    def more(self, problem: str) -> None:
        """Wait before the next try. Raises `ObjectError` when there is none."""
        if time.monotonic() + self._next > self._until:
            raise ObjectError(f"The service does not answer: {problem}.")
        time.sleep(self._next * random.uniform(0.7, 1.0))  # noqa: S311  (nothing secret)
        self._next = min(self._next * 2, _LONGEST_WAIT)


class _NoSuchUpload(ObjectError):  # noqa: N818  (S3 calls it so)
    """The upload is not there any more."""


class _NotThatFar(ObjectError):  # noqa: N818  (as above)
    """The object ends before what was asked for begins."""


def _error(status: int, told: ET.Element, bucket: str, key: str) -> ObjectError:
    """Translate S3's refusals."""
    code, message = _text(told, "Code"), _text(told, "Message")
    what = f"s3://{bucket}/{key}"
    if code == "NoSuchBucket":
        return BucketNotFound(f'There is no bucket "{bucket}".')
    if code == "NoSuchUpload":
        return _NoSuchUpload(f"{what}: {message}")
    if status == 404:
        return ObjectNotFound(f"There is no object {what}.")
    if code == "InvalidRange":
        return _NotThatFar(f"{what}: {message}")
    if status == 507:
        return NoRoom(f"{what}: {message}")
    if status == 412:
        return ObjectError(f"{what} was replaced while it was read.")
    return ObjectError(f"{what}: {message or f'status {status}'} ({code or status})")


def _read_xml(data: bytes) -> ET.Element:
    """Read an answer of the service; names without their namespace. An answer without a body is an empty element."""
    if not data.strip():
        return ET.Element("Empty")
    try:
        # What comes from the service, over a connection that is trusted; expat bounds what entities expand to.
        found = ET.fromstring(data)  # noqa: S314
    except ET.ParseError:
        return ET.Element("Unreadable")
    for each in found.iter():
        each.tag = each.tag.rpartition("}")[2]
    return found


def _text(element: ET.Element, name: str) -> str:
    return element.findtext(name) or ""


def _checked(key: str) -> str:
    check_key(key)
    return key


def _written(key: str, size: int, etag: str) -> ObjectInfo:
    return ObjectInfo(key=key, size=size, modified_at=time.time(), etag=etag.strip('"'))


def _parts(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Gather pieces to parts, at least one; all but the last have their full size."""
    number, gathered = 1, bytearray()
    for piece in pieces:
        gathered += piece
        while len(gathered) >= (size := _PART if number < _LARGER_FROM else _LARGER):
            yield bytes(gathered[:size])
            del gathered[:size]
            number += 1
    if gathered or number == 1:
        yield bytes(gathered)
