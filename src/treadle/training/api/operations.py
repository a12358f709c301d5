"""What an AWS API is here: the operations of a service model, some of them bound to code."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from treadle.aws.shapes import ServiceModel
from treadle.training.access import Identity

__all__ = ["Api", "Caller", "Handler", "Values"]

Values: TypeAlias = dict[str, Any]
"""Input or output of an operation, by the API's member names; timestamps are Unix seconds, blobs bytes."""


class Caller(msgspec.Struct, frozen=True, gc=False):
    """Who calls: the owner of the access key that signed the request. `identity` says what it may do, None all."""

    access_key_id: str
    account: str
    region: str
    arn: str
    user_id: str = ""
    identity: Identity | None = None


Handler: TypeAlias = Callable[[Values, Caller], Awaitable[Values | None]]
"""Performs an operation whose input has been checked against the model. Raises `ServiceError` to refuse."""


@dataclass(frozen=True, slots=True)
class Api:
    """A service: `target_prefix` is what stands before the dot of `X-Amz-Target`, "" for a service that has none.

    An operation of the model that is not bound is answered with UnknownOperationException. `invalid` is the code of an
    input that breaks the model's constraints.
    """

    name: str
    target_prefix: str
    model: ServiceModel
    operations: Mapping[str, Handler]
    invalid: str = "ValidationException"
