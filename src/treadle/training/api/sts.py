"""STS, as far as clients of a training service use it: who am I, and temporary credentials.

Roles are names here, so every role can be assumed, and a session may do what its owner may.
"""

from __future__ import annotations

import re
from typing import Final, Protocol

from treadle.aws.shapes import load_service
from treadle.errors import ServiceError
from treadle.training.api.operations import Api, Caller, Values
from treadle.training.keyring import Session, role_id

__all__ = ["Keys", "sts_api"]

_ROLE: Final = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/(?:[\w+=,.@-]+/)*[\w+=,.@-]{1,64}")
_HOUR: Final = 3600
_HALF_A_DAY: Final = 43_200


class Keys(Protocol):
    """Gives temporary credentials; `keyring.Keyring`."""

    def assume(self, role_arn: str, session: str, seconds: float) -> Session:
        """Give credentials of a session of a role."""
        ...

    def of_owner(self, seconds: float) -> Session:
        """Give temporary credentials of the owner himself."""
        ...


def sts_api(keys: Keys) -> Api:
    """Give the STS API. It speaks AWS Query, so requests find it by the scope of their signature."""
    model = load_service("sts")

    async def assume_role(values: Values, caller: Caller) -> Values:
        role, name = values["RoleArn"], values["RoleSessionName"]
        if not _ROLE.fullmatch(role):
            raise ServiceError("ValidationException", f"{role} is invalid")
        if values.get("Policy") or values.get("PolicyArns"):
            # Credentials that may do more than was asked for would be worse than none.
            raise ServiceError("ValidationException", "Session policies are not supported by Treadle. Leave them out.")
        session = keys.assume(role, name, values.get("DurationSeconds", _HOUR))
        answer = {
            "Credentials": _credentials(session),
            "AssumedRoleUser": {
                "AssumedRoleId": f"{role_id(role)}:{name}",
                "Arn": f"arn:aws:sts::{caller.account}:assumed-role/{role.rpartition('/')[2]}/{name}",
            },
        }
        return answer | ({"SourceIdentity": values["SourceIdentity"]} if "SourceIdentity" in values else {})

    async def get_session_token(values: Values, _caller: Caller) -> Values:
        return {"Credentials": _credentials(keys.of_owner(values.get("DurationSeconds", _HALF_A_DAY)))}

    return Api(
        name="sts",
        target_prefix="",
        model=model,
        operations={
            "AssumeRole": assume_role,
            "GetCallerIdentity": _identity,
            "GetSessionToken": get_session_token,
        },
    )


def _credentials(session: Session) -> Values:
    return {
        "AccessKeyId": session.access_key_id,
        "SecretAccessKey": session.secret_access_key,
        "SessionToken": session.session_token,
        "Expiration": session.expires_at,
    }


async def _identity(_values: Values, caller: Caller) -> Values:
    return {"UserId": caller.user_id or caller.access_key_id, "Account": caller.account, "Arn": caller.arn}
