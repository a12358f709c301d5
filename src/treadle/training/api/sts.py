"""The one STS operation that clients of a training service need: it tells them who they are."""

from __future__ import annotations

from treadle.aws.shapes import load_service
from treadle.training.api.operations import Api, Caller, Values

__all__ = ["sts_api"]


def sts_api() -> Api:
    """Give the STS API. It speaks AWS Query, so requests find it by the scope of their signature."""
    return Api(name="sts", target_prefix="", model=load_service("sts"), operations={"GetCallerIdentity": _identity})


async def _identity(_values: Values, caller: Caller) -> Values:
    return {"UserId": caller.access_key_id, "Account": caller.account, "Arn": caller.arn}
