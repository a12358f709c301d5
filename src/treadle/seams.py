"""READ FIRST: every seam of Treadle, with the frozen values in its signatures.

A seam is a small protocol between two parts that do not know each other. Each has a first implementation that needs
nothing but memory or the local machine, is shipped, and is used by the tests; each has one contract suite in
`tests/contracts/` that every implementation passes.

=====================  ====================================  =================================================
seam                   who calls it                          who implements it
=====================  ====================================  =================================================
`Source`, `Operation`  the planner and the run loop          `sources.openapi`, `sources.spelled`
`Transport`            the run loop                          `http` (aiohttp; scripted)
`ChannelSource`        the planner                           `sources.asyncapi`
`MessageTransport`     the run loop                          `messages` (in memory)
`Authoriser`           the run loop                          `sources.security`
`RunStore`             the run loop, `treadle runs`          `stores.memory`, `stores.sqlite`
`Reporter`             the run loop                          `reporters.*`
`JobStore`             the training service                  `stores.memory`, `stores.sqlite`
`Objects`              the service (checks, S3)              `objects.filesystem`, `objects.memory`
`HostObjects`          the agent: the part of `Objects`      the above, `objects.s3`
                       that it needs
`Uploads`              the S3 endpoint                       `objects.multipart`
`Launcher`             the supervisor                        `launchers.local`, `launchers.ray`, `.scripted`
`Sandbox`              the agent                             `agent.sandbox.*`
=====================  ====================================  =================================================

The last part of the file holds what an agent and the control plane say to each other: those are values on a wire, so
members are only ever added.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Protocol, Self, TypeAlias

import msgspec

from treadle.errors import Diagnostic

__all__ = [
    "MISSING",
    "Answer",
    "Argument",
    "ArgumentLocation",
    "Authoriser",
    "Call",
    "Capacity",
    "Channel",
    "ChannelOperation",
    "ChannelSource",
    "ClaimAnswer",
    "Command",
    "CommonPrefix",
    "Deletion",
    "HostEvent",
    "HostEventKind",
    "HostLaunch",
    "HostObjects",
    "HostSpec",
    "JobRecord",
    "JobStore",
    "Json",
    "Launcher",
    "LogBatch",
    "Message",
    "MessageTransport",
    "Missing",
    "ObjectCheck",
    "ObjectInfo",
    "ObjectProperties",
    "ObjectReader",
    "ObjectStage",
    "Objects",
    "Operation",
    "OperationParameter",
    "Report",
    "ReportAnswer",
    "Reporter",
    "Request",
    "Response",
    "Room",
    "RunRecord",
    "RunStore",
    "Sandbox",
    "SandboxCommand",
    "SandboxProcess",
    "Schema",
    "Source",
    "StagedOutput",
    "Transport",
    "Upload",
    "Uploads",
]

Json: TypeAlias = Any
"""A JSON value: None, bool, int, float, str, list or dict with string keys."""


class Missing(enum.Enum):
    """The value of an expression that resolves to nothing. It is not null: see "Missing is not null"."""

    MISSING = "missing"

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing.MISSING


# ---------------------------------------------------------------------------------------------------------------------
# HTTP
# ---------------------------------------------------------------------------------------------------------------------

Headers: TypeAlias = tuple[tuple[str, str], ...]


# `gc=False`: nothing in these values leads back to them, so the garbage collector need not look at them. A poll makes
# some at each visit, and thousands of runs in one process hold as many.
class Request(msgspec.Struct, frozen=True, gc=False):
    """One HTTP request. `url` is absolute and already percent-encoded; `method` is upper-case."""

    method: str
    url: str
    headers: Headers = ()
    body: bytes = b""

    def header(self, name: str) -> str | None:
        """Give the first value of a header, names compared without case, or None."""
        return _header(self.headers, name)


class Response(msgspec.Struct, frozen=True, gc=False):
    """One HTTP response, read to its end. `url` is the final one, after redirects."""

    status: int
    headers: Headers = ()
    body: bytes = b""
    url: str = ""

    def header(self, name: str) -> str | None:
        """Give the first value of a header, names compared without case, or None."""
        return _header(self.headers, name)


def _header(headers: Headers, name: str) -> str | None:
    wanted, length = name.lower(), len(name)
    for key, value in headers:
        if len(key) == length and key.lower() == wanted:
            return value
    return None


class Transport(Protocol):
    """Sends requests. One transport serves many runs at once."""

    async def send(self, request: Request, *, timeout: float | None = None) -> Response:  # noqa: ASYNC109
        """Send, and read the whole answer; `timeout` in seconds covers both. Raises `TransportError`."""
        ...

    async def close(self) -> None:
        """Let go of all connections."""
        ...


class Authoriser(Protocol):
    """Adds what a server wants to see before it trusts a request: today a SigV4 signature.

    It is asked for every try of every request, so credentials that expire are renewed in the middle of a long poll.
    """

    async def authorise(self, request: Request) -> Request:
        """Give the request as it must be sent. Raises `UsageError` where configured credentials cannot be had."""
        ...


# ---------------------------------------------------------------------------------------------------------------------
# What an operation is
# ---------------------------------------------------------------------------------------------------------------------

ArgumentLocation = Literal["path", "query", "header", "cookie", "querystring"]


class Argument(msgspec.Struct, frozen=True, gc=False):
    """A parameter with its value; a missing value never gets here."""

    name: str
    location: ArgumentLocation
    value: Json


class Call(msgspec.Struct, frozen=True, gc=False):
    """What a step asks of an operation, all expressions evaluated. `payload` is MISSING when there is no body."""

    arguments: tuple[Argument, ...] = ()
    content_type: str | None = None
    payload: Json | Missing = MISSING


class Answer(msgspec.Struct, frozen=True, gc=False):
    """A response as expressions see it.

    `body` is the decoded value: JSON data for JSON media types, text for other text, MISSING for an empty body and for
    one that is not what its media type says; `problem` then says so ("declared application/json, but it is HTML").
    """

    status: int
    headers: Headers = ()
    body: Json | Missing = MISSING
    problem: str = ""
    url: str = ""

    def header(self, name: str) -> str | None:
        """Give all values of a header joined with ", ", names compared without case, or None."""
        wanted, length = name.lower(), len(name)
        values = [value for key, value in self.headers if len(key) == length and key.lower() == wanted]
        return ", ".join(values) if values else None


@dataclass(frozen=True, slots=True)
class OperationParameter:
    """A parameter that an operation declares."""

    name: str
    location: ArgumentLocation
    required: bool = False
    schema: Json = None


class Schema(Protocol):
    """A JSON Schema of a description, walked only where somebody asks; references are followed, within limits."""

    @property
    def keywords(self) -> Mapping[str, Json]:
        """Its keywords, its own `$ref` followed; none for the schemas `true` and `false`."""
        ...

    def below(self, *tokens: str | int) -> Schema | None:
        """Give the schema at this way through the keywords, ("properties", "name"); None where there is none.

        None also where a reference is broken, leads into another document, or leads back to itself.
        """
        ...


class Operation(Protocol):
    """One operation of a source: turns a call into a request, and a response into an answer. It does no I/O."""

    @property
    def operation_id(self) -> str:
        """The operationId, or "" where the description gives none."""
        ...

    @property
    def source(self) -> str:
        """The name of the source description."""
        ...

    @property
    def method(self) -> str:
        """The HTTP method, upper-case."""
        ...

    @property
    def path(self) -> str:
        """The path as the description writes it."""
        ...

    @property
    def parameters(self) -> Sequence[OperationParameter]:
        """What the description declares, path level included."""
        ...

    @property
    def request_media_types(self) -> Sequence[str]:
        """The media types of the request body, in the description's order."""
        ...

    @property
    def body_required(self) -> bool:
        """Whether the description calls the request body required."""
        ...

    @property
    def statuses(self) -> Sequence[str]:
        """The responses that are described: `200`, `4XX`, `default`; none where nothing is known about them."""
        ...

    @property
    def notes(self) -> Sequence[Diagnostic]:
        """What of its description could not be read and counts as not described, once `find` gave it. Warnings."""
        ...

    def request_schema(self, media_type: str = "") -> Schema | None:
        """Give the schema of the request body; without a media type that of the first JSON one. None: unknown."""
        ...

    def response_schema(self, status: str) -> Schema | None:
        """Give the schema of the body of one of `statuses`, that of the first JSON one. None: unknown."""
        ...

    def ready(self) -> None:
        """Do what needs no call yet. Raises `CallError` where no call could be sent: no server is known."""
        ...

    def read_only(self, call: Call) -> bool:
        """Tell whether the call certainly changes nothing, so that it may be sent again without harm."""
        ...

    def request(self, call: Call) -> Request:
        """Build the request. Raises `CallError`."""
        ...

    def answer(self, response: Response) -> Answer:
        """Decode the response by its media type. Raises nothing: what cannot be decoded is the answer's `problem`."""
        ...


class Source(Protocol):
    """A source description that has been read: it knows operations."""

    @property
    def name(self) -> str:
        """The name that the Arazzo document gives it."""
        ...

    @property
    def unread(self) -> Sequence[Diagnostic]:
        """What stands in the way of paths that cannot be read: their operations are not known. Warnings."""
        ...

    def operations(self) -> Sequence[Operation]:
        """Give every operation of its paths."""
        ...

    def find(self, operation_id: str) -> Sequence[Operation]:
        """Give the operations with that id: none, one, or (a faulty description) several."""
        ...

    def at(self, pointer: str) -> Operation | None:
        """Give the operation at a JSON Pointer of its document, such as `/paths/~1pets/get`."""
        ...


# ---------------------------------------------------------------------------------------------------------------------
# Messages
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel of a message broker. `address` is complete; `server` is its host, as the description writes it."""

    source: str
    address: str
    server: str = ""
    protocol: str = ""

    @property
    def url(self) -> str:
        """The channel as people read it: `kafka://localhost:9092/orders`."""
        return f"{self.protocol or 'channel'}://{self.server}/{self.address.lstrip('/')}"


@dataclass(frozen=True, slots=True)
class Message:
    """A message. `payload` is its decoded value, MISSING where there is none."""

    payload: Json | Missing = MISSING
    headers: Mapping[str, Json] = field(default_factory=dict)
    content_type: str = ""


class MessageTransport(Protocol):
    """Sends and receives messages. One transport serves many runs at once."""

    async def subscribe(self, channels: Sequence[Channel]) -> None:
        """Keep from now on what arrives on these channels until it is received. Raises `TransportError`.

        A run asks for it before its first step, so that an answer can come before the step that waits for it.
        """
        ...

    async def send(self, channel: Channel, message: Message) -> None:
        """Hand a message over to the broker. Raises `TransportError`."""
        ...

    async def receive(
        self,
        channel: Channel,
        wanted: Callable[[Message], bool],
        *,
        timeout: float,  # noqa: ASYNC109
    ) -> Message | None:
        """Take the first message that is wanted, of those that came and will come; None after `timeout` seconds.

        Raises `TransportError`.
        """
        ...

    async def close(self) -> None:
        """Let go of all connections."""
        ...


@dataclass(frozen=True, slots=True)
class ChannelOperation:
    """A channel of an AsyncAPI description, or an operation on one.

    `address` may have `{parameters}`; `correlations` are the places where messages carry their correlation id: in the
    "header" or the "payload", and the reference tokens there.
    """

    source: str
    address: str
    operation_id: str = ""
    server: str = ""
    protocol: str = ""
    media_types: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    correlations: tuple[tuple[Literal["header", "payload"], tuple[str, ...]], ...] = ()


class ChannelSource(Protocol):
    """An AsyncAPI description that has been read: it knows channels."""

    @property
    def name(self) -> str:
        """The name that the Arazzo document gives it."""
        ...

    def operations(self) -> Sequence[ChannelOperation]:
        """Give every operation that has an id."""
        ...

    def find(self, operation_id: str) -> Sequence[ChannelOperation]:
        """Give the operations with that id."""
        ...

    def at(self, pointer: str) -> ChannelOperation | None:
        """Give the channel, or the operation, at a JSON Pointer of its document, such as `/channels/orders`."""
        ...


# ---------------------------------------------------------------------------------------------------------------------
# Runs
# ---------------------------------------------------------------------------------------------------------------------


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A run as stored. `state` is the machine's state and `setup` what is needed to build its plan again, both JSON."""

    run_id: str
    workflow_id: str
    document: str
    status: str
    started_at: float
    updated_at: float
    state: bytes
    setup: bytes


class RunStore(Protocol):
    """Keeps runs, so that they can go on after anything. Several processes may use one store at once."""

    async def save(self, record: RunRecord, events: Sequence[bytes] = ()) -> None:
        """Store the record and append the events in one transaction, durable on return. Raises `StoreError`."""
        ...

    async def load(self, run_id: str) -> RunRecord | None:
        """Give a run, or None."""
        ...

    async def runs(self, limit: int = 100) -> Sequence[RunRecord]:
        """Give the latest runs, newest first."""
        ...

    async def events(self, run_id: str) -> Sequence[bytes]:
        """Give the stored events of a run, oldest first."""
        ...

    async def close(self) -> None:
        """Finish what is being written and let go."""
        ...


class Reporter(Protocol):
    """Shows a run to somebody while it goes on. `event` is one of `arazzo.events`; values in it are masked already."""

    def report(self, event: Any) -> None:
        """Take notice of an event. Must not block."""
        ...


# ---------------------------------------------------------------------------------------------------------------------
# Training jobs
# ---------------------------------------------------------------------------------------------------------------------


class JobRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A training job as stored: the members that lists filter and sort by, and the whole job as JSON in `body`.

    `version` counts the changes, from 1; times are Unix seconds.
    """

    name: str
    status: str
    secondary_status: str
    created_at: float
    modified_at: float
    version: int
    body: bytes


class JobStore(Protocol):
    """Keeps training jobs, durable on return. Has one user at a time: the owner of the home."""

    async def insert(self, record: JobRecord) -> bool:
        """Store a new job; False when the name is taken."""
        ...

    async def update(self, record: JobRecord) -> bool:
        """Replace a job; False unless the stored version is `record.version - 1`."""
        ...

    async def get(self, name: str) -> JobRecord | None:
        """Give a job, or None."""
        ...

    async def delete(self, name: str) -> bool:
        """Remove a job; its name is free again. False when there is none."""
        ...

    async def all(self) -> Sequence[JobRecord]:
        """Give every job, oldest first."""
        ...

    async def unfinished(self) -> Sequence[JobRecord]:
        """Give the jobs whose status is InProgress or Stopping, oldest first."""
        ...

    async def close(self) -> None:
        """Finish what is being written and let go."""
        ...


class ObjectProperties(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What S3 keeps beside the bytes of an object; nobody but S3 clients asks for it, and it is never needed.

    `headers` are given back with the object, names in lower case: `content-type`, `cache-control` …; `metadata` is the
    user's own (`x-amz-meta-…`, without that). `checksums` are pairs of algorithm and Base64 text, as verified when the
    object was written, of kind `checksum_type`. An object that was put together from parts has their sizes in `parts`,
    as runs of (size, how many), and the upload that they came by.
    """

    headers: tuple[tuple[str, str], ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()
    checksums: tuple[tuple[str, str], ...] = ()
    checksum_type: str = ""
    parts: tuple[tuple[int, int], ...] = ()
    upload_id: str = ""


_NO_PROPERTIES: Final = ObjectProperties()


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object as a listing shows it; `modified_at` in Unix seconds."""

    key: str
    size: int
    modified_at: float
    etag: str = ""
    properties: ObjectProperties = _NO_PROPERTIES


@dataclass(frozen=True, slots=True)
class CommonPrefix:
    """All the keys that start with `prefix`, which ends in the delimiter of the listing."""

    prefix: str


ObjectCheck: TypeAlias = Callable[[ObjectInfo | None], None]
"""Looks at the object that a write or a deletion is about to replace, and raises to refuse.

Nothing can change that object between the look and the act.
"""


class ObjectReader(Protocol):
    """One object, opened: information and bytes belong together, whatever happens to its key. A context manager."""

    @property
    def info(self) -> ObjectInfo:
        """The object's information, etag included."""
        ...

    def read(self, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Give its bytes in pieces; they can be read to the end even when the reader is closed meanwhile."""
        ...

    def close(self) -> None:
        """Let go; a second time changes nothing."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class ObjectStage(Protocol):
    """An object in the making, which nobody sees before `commit`. A context manager; one thread at a time."""

    def write(self, piece: bytes) -> None:
        """Add bytes. Raises `NoRoom`."""
        ...

    def append(self, source: ObjectReader, start: int = 0, length: int | None = None) -> None:
        """Add bytes of an object, as cheaply as the stores of the two can between them."""
        ...

    def digest(self) -> str:
        """Give the MD5 of what is there so far, in hexadecimal digits."""
        ...

    def commit(
        self, key: str, *, properties: ObjectProperties | None = None, etag: str = "", check: ObjectCheck | None = None
    ) -> ObjectInfo:
        """Make it the object of this key, whole and on the disk, replacing one that is there. The stage is used up.

        Without `etag` it is the MD5. What `check` raises is raised, and changes nothing.
        """
        ...

    def close(self) -> None:
        """Forget what was not committed; a second time changes nothing."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class Deletion(Protocol):
    """Deletes one object after the other of a bucket: `Objects.delete` for many."""

    def __call__(self, key: str, *, check: ObjectCheck | None = None) -> None:
        """Remove an object; no error when there is none. What `check` raises is raised, and changes nothing."""
        ...


class HostObjects(Protocol):
    """Objects in buckets, by `s3://bucket/key`, as an agent needs them, wherever they lie.

    Synchronous: callers in an event loop use a thread. An object is either whole or absent, whatever is killed and
    whenever.
    """

    def list(self, bucket: str, prefix: str = "", *, start_after: str = "") -> Iterator[ObjectInfo]:
        """Give the objects whose key starts with `prefix`, in UTF-8 binary order. Raises `ObjectNotFound` (bucket)."""
        ...

    def holds(self, bucket: str, prefix: str = "") -> bool:
        """Tell whether the key of some object starts with `prefix`. Raises `BucketNotFound`."""
        ...

    def head(self, bucket: str, key: str) -> ObjectInfo:
        """Give one object's information. Raises `ObjectNotFound`."""
        ...

    def read(self, bucket: str, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Give the object's bytes in pieces. Raises `ObjectNotFound`."""
        ...

    def write(self, bucket: str, key: str, pieces: Iterator[bytes]) -> ObjectInfo:
        """Store an object, replacing one of the same key; visible only when it is whole and on the disk."""
        ...

    def download(self, bucket: str, key: str, to: Path) -> None:
        """Write the object to a file, as cheaply as the store can (a reflink where there is one)."""
        ...

    def upload(self, path: Path, bucket: str, key: str) -> ObjectInfo:
        """Store a file's content. The file stays."""
        ...

    def delete(self, bucket: str, key: str) -> None:
        """Remove an object; no error when there is none."""
        ...


class Objects(HostObjects, Protocol):
    """All that there is to do with objects, on the machine that keeps them."""

    def move(self, bucket: str, source: str, target: str) -> None:
        """Give an object another key of the same bucket, at once and whole. Raises `ObjectNotFound`."""
        ...

    def open(self, bucket: str, key: str) -> ObjectReader:
        """Open the object that is there now. Raises `ObjectNotFound`."""
        ...

    def stage(self, bucket: str) -> ObjectStage:
        """Begin an object of this bucket. Raises `BucketNotFound`."""
        ...

    def browse(
        self, bucket: str, prefix: str = "", *, delimiter: str = "/", start_after: str = ""
    ) -> Iterator[ObjectInfo | CommonPrefix]:
        """List, with all keys that have the delimiter after the prefix as one entry for each beginning, up to there.

        In UTF-8 binary order; a common prefix is there when a key of it comes after `start_after`. Raises
        `BucketNotFound`.
        """
        ...

    def delete(self, bucket: str, key: str, *, check: ObjectCheck | None = None) -> None:
        """Remove an object; no error when there is none. What `check` raises is raised, and changes nothing."""
        ...

    def deleting(self, bucket: str) -> AbstractContextManager[Deletion]:
        """Give what deletes objects of a bucket, one after the other; they are gone for good when the context ends.

        Nobody else changes the bucket meanwhile. Raises `BucketNotFound`.
        """
        ...

    def buckets(self) -> Sequence[str]:
        """Give the names of the buckets, sorted."""
        ...

    def has_bucket(self, bucket: str) -> bool:
        """Tell whether there is a bucket of that name."""
        ...

    def create_bucket(self, bucket: str) -> None:
        """Make a bucket; no error when it is there."""
        ...

    def bucket_made_at(self, bucket: str) -> float:
        """Tell when a bucket was made, in Unix seconds. Raises `BucketNotFound`."""
        ...

    def delete_bucket(self, bucket: str) -> None:
        """Remove an empty bucket. Raises `BucketNotFound`, `BucketNotEmpty`."""
        ...


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """An upload in parts that is under way.

    `properties` are those that the object will have, `algorithm` and `checksum_type` tell which checksum: "" for none.
    """

    upload_id: str
    bucket: str
    key: str
    begun_at: float
    properties: ObjectProperties
    algorithm: str = ""
    checksum_type: str = ""


class Uploads(Protocol):
    """Uploads in parts under way. Synchronous, as `Objects` are; they survive the process. One process at a time.

    A part is known by an `ObjectInfo` whose key is its number in five digits.
    """

    def begin(
        self, bucket: str, key: str, properties: ObjectProperties, *, algorithm: str = "", checksum_type: str = ""
    ) -> Upload:
        """Begin an upload. Raises `BucketNotFound`."""
        ...

    def get(self, bucket: str, key: str, upload_id: str) -> Upload | None:
        """Give the upload of that id, if it is one of this object."""
        ...

    def all(self, bucket: str) -> Sequence[Upload]:
        """Give the uploads to a bucket, by key, and for one key in the order in which they were begun."""
        ...

    def stage(self, upload: Upload) -> ObjectStage:
        """Begin a part, to be committed under its key. Raises `BucketNotFound`: the upload is gone."""
        ...

    def parts(self, upload: Upload) -> Sequence[ObjectInfo]:
        """Give the parts that are there, by number. Raises `BucketNotFound`: the upload is gone."""
        ...

    def complete(
        self,
        upload: Upload,
        parts: Sequence[ObjectInfo],
        *,
        properties: ObjectProperties,
        etag: str,
        check: ObjectCheck | None = None,
    ) -> ObjectInfo:
        """Put an object together from parts, and end the upload; whole or not at all.

        Raises `ObjectNotFound` for a part that is not there, or not the same, and `BucketNotFound` for an upload that
        is gone. What `check` raises is raised, and the upload goes on.
        """
        ...

    def abort(self, upload: Upload) -> None:
        """Forget an upload and its parts; no error when it is gone."""
        ...

    def abort_all(self, bucket: str) -> None:
        """Forget the uploads to a bucket."""
        ...


# ---------------------------------------------------------------------------------------------------------------------
# Hosts: the supervisor asks a launcher for them; on each runs one agent
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Capacity:
    """What machines have together: CPUs, memory in bytes, GPUs.

    `machines` are the machines of a cluster, one of which a host must fit on; None where it is one machine, the
    service's own. `withheld` says what keeps GPUs of it from the service, "" where nothing does.
    """

    cpus: float
    memory: int
    gpus: int = 0
    machines: tuple[Capacity, ...] | None = None
    withheld: str = ""


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """Room that is kept for the hosts of an attempt, by host name."""

    addresses: dict[str, str]
    """Of each one's machine."""
    gpus: dict[str, tuple[int, ...]] = {}
    """Each one's own, by their numbers; none where they are assigned on its machine."""


class HostLaunch(msgspec.Struct, frozen=True, kw_only=True):
    """What a launcher needs in order to place one host of one attempt of one job.

    The agent is `python -m treadle.agent`; it reads this value as JSON from the file that its only argument names.
    """

    job: str
    attempt: int
    host: str
    """`algo-1` …"""
    token: str
    """The secret of this attempt; sent as `Authorization: Bearer …`."""
    endpoint: str
    """Where the control plane listened when the host was launched."""
    endpoint_file: str = ""
    """`endpoint.json` of the home, read again when the endpoint does not answer; "" when there is no shared disk."""
    directory: str
    """The host's own directory on the machine; the agent makes everything below it."""
    certificate: str = ""
    """PEM: who may have signed the endpoint's certificate besides those whom the machine trusts anyway."""
    leased: bool = False
    """Standard input is a pipe: when its other end is closed, whoever launched the agent is gone, and so must it be."""
    hidden: list[str] = []
    """Paths of the machine that the program must not see, besides those of `HostSpec`."""
    gpus: list[str] = []
    """The machine's GPUs, numbers or UUIDs, where they are assigned on the machine and `HostSpec` has none."""
    claims: list[int] = []
    """Descriptors that the agent inherits, and closes when its program has ended: nobody has its GPUs until then."""


class Launcher(Protocol):
    """Decides where agents run. A handle is text, stored before it is waited for, so that hosts can be found again."""

    async def capacity(self) -> Capacity:
        """Give what all machines have together, used or not."""
        ...

    async def reserve(self, job: str, attempt: int, needs: Mapping[str, Capacity]) -> Room | None:
        """Keep room for all hosts of an attempt, by name, so that they begin together; None: not now, ask again.

        Asked before `launch` where `capacity` has `machines`, and for GPUs. What earlier attempts of the job had is
        given back first. Raises `LaunchError`: not now either, and why.
        """
        ...

    async def release(self, job: str) -> None:
        """Give back all room that is kept for a job, and end what is left of its hosts. Raises `LaunchError`."""
        ...

    async def launch(self, host: HostLaunch) -> str:
        """Start an agent and give its handle. Raises `LaunchError`."""
        ...

    async def alive(self, handle: str) -> bool:
        """Tell whether that very agent still runs; a process that only has its number again is not it."""
        ...

    async def launch_again(self, handle: str) -> str:
        """End what is left of a host, and start another agent in its directory, which goes on as well as it can.

        Gives the handle that takes the place of the other one. Raises `LaunchError`, also where it is not possible.
        """
        ...

    async def kill(self, handle: str) -> None:
        """End the agent and all that it started, at once; no error when it is gone."""
        ...

    async def sweep(self, directory: str, live: Callable[[], Collection[str]]) -> None:
        """Remove what hosts with directories below this one left behind that outlives agents, machines' reboots too.

        Hosts whose directories `live` gives keep what is theirs. Never raises.
        """
        ...


@dataclass(frozen=True, slots=True)
class Mount:
    """A directory or file of the machine, and where the program sees it; read-only unless said otherwise."""

    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True, slots=True)
class Unlayered:
    """What a command has instead where that layer of it cannot be made; always, if it is none of its layers.

    `files` are written first, with these texts, and `links` made, with what they lead to; programs see them where the
    names say.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    files: Mapping[str, str]
    links: Mapping[str, str]
    layer: Path | None = None


@dataclass(frozen=True, slots=True)
class SandboxCommand:
    """The training program, as a sandbox starts it.

    `ml` is the host's `/opt/ml` on the machine; the program must see it as `/opt/ml` where the sandbox can arrange it.
    `hosts` maps host names to addresses. `hidden` are paths that the program must not see. `readable` are further
    directories that it must be able to read (the image). `mounts` come on top of `ml`. `layers` are directories
    that the program may change for itself, each with an empty one that takes the changes; where a sandbox cannot do
    that, they are as they are, and `unlayered` says what else is then different. `network_namespace` is a
    descriptor of the one that the program belongs in; without it, the machine's where `network` is, else an empty one.
    `cgroups` are directories of control groups that the program is put into. `rest` is a file for what nobody has
    read of the output when the agent dies; who gives it reads to the end, and the sandbox waits for that. For a
    container, `argv` takes the place of the image's CMD and `directory` that of its WORKDIR, "" for the image's own;
    it has no `rest`.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    directory: str
    ml: Path
    host: str
    hosts: Mapping[str, str]
    hidden: tuple[Path, ...] = ()
    readable: tuple[Path, ...] = ()
    network: bool = True
    mounts: tuple[Mount, ...] = ()
    layers: tuple[tuple[Path, Path], ...] = ()
    unlayered: Unlayered | None = None
    network_namespace: int | None = None
    cgroups: tuple[Path, ...] = ()
    rest: Path | None = None


class SandboxProcess(Protocol):
    """A training program that has been started."""

    @property
    def pid(self) -> int:
        """The process that stands for the program on the machine."""
        ...

    @property
    def output(self) -> int:
        """A file descriptor to read standard output and standard error from; end of file when all writers are gone."""
        ...

    def terminate(self) -> None:
        """Send SIGTERM to the program and everything that it started."""
        ...

    def kill(self) -> None:
        """End the program and everything that it started, now; also what left its process group, where possible."""
        ...

    async def wait(self) -> int:
        """Wait for the program itself; its exit code, 128 + n when signal n ended it."""
        ...


class Sandbox(Protocol):
    """How the command is isolated on its host."""

    @property
    def name(self) -> str:
        """`namespace`, `plain` or `container`."""
        ...

    def probe(self) -> str:
        """Give "" when it works on this machine, else why not. It really tries, it does not guess."""
        ...

    async def start(self, command: SandboxCommand) -> SandboxProcess:
        """Start the command, from a thread that lives as long as the program may. Raises `LaunchError`."""
        ...


# ---------------------------------------------------------------------------------------------------------------------
# The wire between agent and control plane. JSON over HTTP, `Authorization: Bearer <token of the attempt>`:
#
#   POST /_treadle/agent/v1/claim    {"job", "attempt", "host", "agent": <a random id>} → ClaimAnswer
#        The first claim of an attempt's host wins; another agent id gets 409 and must end without touching anything.
#        The same agent may claim again (it was answered while the connection broke).
#   POST /_treadle/agent/v1/report   Report → ReportAnswer
#        Held open for up to `wait` seconds while there is nothing to command. 409: the attempt is over, end at once.
#   401 means a wrong token. Anything else (connection refused, 5xx): keep spooling and try again.
# ---------------------------------------------------------------------------------------------------------------------


class HostSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that an agent must know about its job: the request as the API took it, and what was decided from it.

    `request` is the CreateTrainingJob input with its defaults filled in, in the API's own members.
    """

    job: str
    arn: str
    attempt: int
    host: str
    hosts: list[str]
    """All host names of the job, `algo-1` … sorted as strings."""
    region: str
    request: dict[str, Json]
    command: list[str]
    """The argv: entry point and arguments already combined as §1.2 says; for a container, what replaces its CMD."""
    image: dict[str, Json]
    """`kind` ("local", "builtin" or "container"), `directory` (local), `environment` of the image; a container's `name`
    is its reference, and `entrypoint`, if it is not null, replaces the image's ENTRYPOINT. `archive` (local) is the
    s3:// URI of a tar of the directory, where it is not on the host's machine."""
    environment: dict[str, str]
    """What the program gets besides what the contract gives it: credentials of the job, endpoints."""
    objects: dict[str, str]
    """`kind` "filesystem" and `root`; or `kind` "s3", `endpoint`, `region`, `access_key_id`, `secret_access_key` and
    `session_token`."""
    staging: str
    """s3:// prefix below which outputs are put beside their place until the control plane commits them."""
    sandbox: str
    """`auto`, `namespace`, `plain` or `container`."""
    max_runtime: int
    """Seconds that Training may take, all attempts together, less what earlier ones used."""
    volume_bytes: int
    stop_grace: float = 120.0
    """Seconds between SIGTERM and SIGKILL."""
    log_bytes: int = 1 << 30
    """How much of the program's output goes to the log; of what is more, the last lines do."""
    hidden: list[str] = []
    """Paths that the program must not see: the home's credentials and databases."""
    cpus: float = 0.0
    """How many CPUs' time the program may take; 0 for all of the machine's."""
    memory: int = 0
    """Bytes of memory that the program may take; 0 for all of the machine's."""
    gpus: list[int] = []
    """The machine's GPUs that are the host's, by their numbers; nobody else has them meanwhile."""
    file_systems: dict[str, str] = {}
    """FileSystemId → the directory of the machine that stands for it."""
    addresses: dict[str, str] = {}
    """Host name → address of its machine, on a cluster."""


class ClaimAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a claim."""

    spec: HostSpec


HostEventKind = Literal["downloading", "image", "ready", "training", "stopping", "uploading", "ended"]
"""`image` is said while the image is fetched, with how far that is as its `note`. `ready` is said by a host of several:
it begins to train when it is told to `start`, with all the others. `stopping` is said when the program has got SIGTERM.
From `stopping` and `uploading` on it is known how the host will end, and they say it as `ended` does."""


class StagedOutput(msgspec.Struct, frozen=True, kw_only=True):
    """An uploaded output that waits beside its place: the control plane moves `staged` to `target` when it commits."""

    bucket: str
    staged: str
    target: str
    model: bool = False
    """Whether it is (part of) the model, which a job that failed does not have."""


class HostEvent(msgspec.Struct, frozen=True, kw_only=True):
    """What happened on a host. `seq` counts from 1 within an attempt's host; a repeat changes nothing.

    `ended` is the last one, and has the outputs. Its `outcome`: "completed" (exit code 0), "failed" (`failure_reason`
    in AWS's form), "stopped" (a Stop command), "max-runtime", "interrupted" (an Interrupt command; nothing but
    checkpoints is kept).
    `trained_for` is the seconds spent in Training. An agent that comes after another one, and finds nothing that it
    could finish, says so as `ended` with the note "lost". It is not taken from a host that has commands: it has not
    heard of them yet, and will say something else.
    """

    seq: int
    kind: HostEventKind
    at: float
    outcome: str = ""
    exit_code: int | None = None
    failure_reason: str = ""
    outputs: list[StagedOutput] = []
    metrics: dict[str, list[float]] = {}
    """Metric name → [value, Unix time] of its last match."""
    trained_for: float = 0.0
    note: str = ""


class LogBatch(msgspec.Struct, frozen=True, kw_only=True):
    """Log lines of a host, each [milliseconds since the epoch, text], from line number `first` (counted from 0)."""

    first: int
    lines: list[tuple[int, str]]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent has to tell since the last answer; empty, it is a heartbeat."""

    job: str
    attempt: int
    host: str
    agent: str
    events: list[HostEvent] = []
    log: LogBatch | None = None
    stream_epoch: int = 0
    """Unix seconds in the name of the host's log stream, `<job>/<host>-<epoch>`."""
    wait: float = 0.0


Command = Literal["stop", "interrupt", "abandon", "start"]


class ReportAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What the control plane has taken (so the spool can forget it), and what it wants: `stop` → SIGTERM …, upload."""

    events_to: int = 0
    """The highest `seq` taken."""
    log_to: int = 0
    """How many log lines are stored."""
    commands: list[Command] = []
