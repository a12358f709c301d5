"""Who may do what: the owner of the home everything, a training program what its job needs in S3, and nothing else.

A job may read its channels, the s3:// URIs that its hyperparameters, environment and arguments name (that is where
script mode keeps its source), and write below its own outputs and its checkpoints. What AWS leaves to the role's
policies follows from the request here, because roles are only names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from treadle.seams import Json
from treadle.training.job import Job

__all__ = ["OWN", "READ", "WRITE", "Grant", "Identity", "allows", "beyond", "grants"]

READ: Final = frozenset({"s3:GetObject", "s3:ListBucket"})
WRITE: Final = READ | {
    "s3:PutObject",
    "s3:DeleteObject",
    "s3:AbortMultipartUpload",
    "s3:ListMultipartUploadParts",
    "s3:ListBucketMultipartUploads",
}

OWN: Final = ".treadle/"
"""What the service itself keeps in a user's bucket begins with this."""

# Actions that every identity may do, and that tell nothing about anybody else's data.
_HARMLESS: Final = frozenset({"sts:GetCallerIdentity", "s3:GetBucketLocation"})


@dataclass(frozen=True, slots=True)
class Grant:
    """Actions on the keys of a bucket, "" for any, that begin with `prefix`; `own` for what is the service's own."""

    actions: frozenset[str]
    bucket: str
    prefix: str
    own: bool = False


class Identity(msgspec.Struct, frozen=True, gc=False):
    """Who calls. `grants` is None for who may do everything."""

    access_key_id: str
    arn: str
    user_id: str
    grants: tuple[Grant, ...] | None = None


def allows(identity: Identity, action: str, bucket: str = "", key: str = "") -> bool:
    """Tell whether the identity may do something, named as IAM names it: `s3:GetObject`, `sagemaker:Search`.

    `key` is the object's; for `s3:ListBucket` and `s3:ListBucketMultipartUploads` the prefix that is listed.
    """
    if identity.grants is None or action in _HARMLESS:
        return True
    own = key.startswith(OWN)
    return any(
        action in grant.actions
        and grant.bucket in {"", bucket}
        and key.startswith(grant.prefix)
        and (grant.own or not own)
        for grant in identity.grants
    )


def beyond(identity: Identity) -> str:
    """Give what follows AWS's words when an identity may not do something: a role's policies are not looked at here."""
    if identity.grants is None:
        return ""
    return (
        ". A training program may read its channels and the s3:// URIs that its hyperparameters, environment and "
        "arguments name, and write below its outputs and checkpoints; for more, give the job an AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY in its Environment"
    )


def grants(job: Job) -> tuple[Grant, ...]:
    """Give what the training program of a job may do."""
    return tuple(
        Grant(actions, bucket, prefix)
        for actions, uri in (*_read(job.request), *_written(job))
        for bucket, prefix in _split(uri)
    )


def _read(request: Mapping[str, Json]) -> Iterator[tuple[frozenset[str], str]]:
    for channel in request.get("InputDataConfig") or ():
        if source := channel["DataSource"].get("S3DataSource"):
            yield READ, source["S3Uri"]
    for member in ("HyperParameters", "Environment"):
        for value in (request.get(member) or {}).values():
            yield READ, _plain(value)
    # The SDK's remote functions are told there where they are.
    for value in request["AlgorithmSpecification"].get("ContainerArguments") or ():
        yield READ, value


def _written(job: Job) -> Iterator[tuple[frozenset[str], str]]:
    # The toolkit writes intermediate outputs, and the debugger its tensors, below the name of the job. A path that ends
    # with the name is the job's already: a remote function writes its result there.
    for member in ("OutputDataConfig", "DebugHookConfig", "ProfilerConfig"):
        if uri := (job.request.get(member) or {}).get("S3OutputPath"):
            path = uri.rstrip("/")
            yield WRITE, f"{path}/" if path.endswith(f"/{job.name}") else f"{path}/{job.name}/"
    for uri in (
        _member(job.request, "CheckpointConfig", "S3Uri"),
        _member(job.request, "TensorBoardOutputConfig", "S3OutputPath"),
    ):
        if uri:
            yield WRITE, f"{uri.rstrip('/')}/"


def _member(request: Mapping[str, Json], name: str, member: str) -> str:
    found: Any = (request.get(name) or {}).get(member)
    return found or ""


def _plain(value: str) -> str:
    """Give a hyperparameter as it is meant: the SDK encodes texts as JSON, quotes included (§1.5)."""
    if value.startswith('"'):
        try:
            decoded = json.loads(value)
        except ValueError:
            return value
        return decoded if isinstance(decoded, str) else value
    return value


def _split(uri: str) -> Iterator[tuple[str, str]]:
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    if uri.startswith("s3://") and bucket:
        yield bucket, prefix
