"""What every operation works on: the objects, the uploads, and who owns them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from treadle.seams import Objects, Uploads
from treadle.training.access import allows, beyond
from treadle.training.api.s3 import xml
from treadle.training.api.s3.errors import refusal
from treadle.training.api.s3.gate import Admitted
from treadle.training.api.s3.headers import owner_id
from treadle.training.api.s3.intake import Incoming, Run
from treadle.training.api.s3.request import S3Request

__all__ = ["Call", "Limits", "Store"]

GIB: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds; the defaults are S3's own where it has any.

    `object` is for what comes in one request, a part included; `part` is the least that a part but the last one has.
    `silence` is how long a client may send or take nothing; after `patience` an answer that takes long is begun.
    """

    object: int = 5 * GIB
    part: int = 5 << 20
    xml: int = 4 << 20
    silence: float = 30.0
    patience: float = 10.0


@dataclass(frozen=True, slots=True)
class Store:
    """The service behind the endpoint."""

    objects: Objects
    uploads: Uploads
    region: str
    account: str
    limits: Limits
    run: Run

    def owner(self, name: str = "Owner") -> str:
        """Give the owner of everything, as XML."""
        return xml.element(name, [xml.element("ID", owner_id(self.account))])

    def check_allowed(self, admitted: Admitted, action: str, bucket: str, key: str) -> None:
        """Raise `S3Error` (AccessDenied) unless the caller may do this; of a listing `key` is the prefix."""
        if allows(admitted.identity, action, bucket, key):
            return
        of_object = key and action not in {"s3:ListBucket", "s3:ListBucketMultipartUploads"}
        resource = f"arn:aws:s3:::{bucket}/{key}" if of_object else f"arn:aws:s3:::{bucket}" if bucket else "*"
        who = admitted.identity.arn
        why = f"because no identity-based policy allows the {action} action{beyond(admitted.identity)}"
        raise refusal(
            "AccessDenied", f'User: {who} is not authorized to perform: {action} on resource: "{resource}" {why}'
        )

    def check_owner(self, expected: str | None) -> None:
        """Raise `S3Error` unless the owner that a client expects is ours."""
        if expected is None or expected == self.account:
            return
        if not (expected.isascii() and expected.isdigit() and len(expected) == 12):
            raise refusal("InvalidBucketOwnerAWSAccountID")
        raise refusal("AccessDenied")


@dataclass(frozen=True, slots=True)
class Call:
    """One request on its way through an operation."""

    request: S3Request
    admitted: Admitted
    incoming: Incoming
