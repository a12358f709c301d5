"""Access keys: the home's own, and temporary ones, which nobody has to remember.

A temporary key is made from the home's secret: its secret key is a keyed hash of its id, and its session token says,
authenticated by another, whose it is and until when. So it outlives the service that gave it, and there is no table of
sessions that could grow. Those of a training program are good while its attempt runs, and no longer: the token names
the attempt, and whether that one is current is asked anew each time.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import msgspec

from treadle.aws import sigv4
from treadle.errors import ServiceError
from treadle.training.access import READ, WRITE, Grant, Identity, grants
from treadle.training.job import Job
from treadle.training.spec import staging

__all__ = ["Keyring", "Session", "agents_objects", "environment", "role_id", "role_name"]

_TEMPORARY: Final = re.compile(r"ASIA[A-Z2-7]{16}")
_MAC: Final = 16


@dataclass(frozen=True, slots=True)
class Session:
    """Temporary credentials; `expires_at` in Unix seconds, None for those of a job."""

    access_key_id: str
    secret_access_key: str
    session_token: str
    expires_at: float | None

    def __repr__(self) -> str:
        return f"Session({self.access_key_id!r}, …)"


def environment(keyring: Keyring, job: Job, *, endpoint: str, region: str) -> dict[str, str]:
    """Give what a training program needs in order to reach the service with its job's credentials (§1.4).

    `S3_ENDPOINT_URL` is what SageMaker's training toolkit looks at; the rest is what the SDKs do. A job with network
    isolation gets no credentials, as on AWS: it could not use them. Neither does one that brings its own in
    `Environment`: half of those and half of these would be nobody's.
    """
    if job.request.get("EnableNetworkIsolation"):
        return {"AWS_REGION": region}
    session = keyring.of_job(job)
    credentials = {
        "AWS_ACCESS_KEY_ID": session.access_key_id,
        "AWS_SECRET_ACCESS_KEY": session.secret_access_key,
        "AWS_SESSION_TOKEN": session.session_token,
    }
    if not credentials.keys().isdisjoint(job.request.get("Environment") or {}):
        credentials = {}
    return {**credentials, "AWS_REGION": region, "AWS_ENDPOINT_URL": endpoint, "S3_ENDPOINT_URL": endpoint}


def agents_objects(keyring: Keyring, job: Job, *, endpoint: str, region: str) -> dict[str, str]:
    """Give what the agents of a job on other machines need in order to reach the service's objects."""
    session = keyring.of_agents(job)
    return {
        "kind": "s3",
        "endpoint": endpoint,
        "region": region,
        "access_key_id": session.access_key_id,
        "secret_access_key": session.secret_access_key,
        "session_token": session.session_token,
    }


class _Token(msgspec.Struct, frozen=True, array_like=True):
    """What a session token says. `job` and `attempt` belong to a training program or its agents; they never expire."""

    key: str
    arn: str
    user_id: str
    expires: float | None = None
    job: str = ""
    attempt: int = 0
    agent: bool = False


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(_Token)


class Keyring:
    """Knows every access key of a home. `running` gives a job while that attempt of it runs, else None."""

    def __init__(
        self,
        access_key_id: str,
        secret: str,
        *,
        account: str,
        running: Callable[[str, int], Job | None] = lambda _name, _attempt: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._key = access_key_id
        self._secret = secret
        self._account = account
        self._running = running
        self._clock = clock
        self.owner: Final = Identity(access_key_id, f"arn:aws:iam::{account}:root", account)
        """Who has the home's own key."""

    # -- who calls ----------------------------------------------------------------------------------------------------

    def secret_for(self, access_key_id: str) -> str | None:
        """Give the secret key of an access key id, or None for one that is not ours."""
        if access_key_id == self._key:
            return self._secret
        return self._derived(access_key_id) if _TEMPORARY.fullmatch(access_key_id) else None

    def identity(self, signed: sigv4.Identity) -> Identity:
        """Tell who made a signature that holds. Raises `ServiceError`, status 403."""
        if signed.access_key_id == self._key and not signed.session_token:
            return self.owner
        token = self._read(signed.session_token or "")
        if token is None or token.key != signed.access_key_id or signed.access_key_id == self._key:
            raise ServiceError(
                "UnrecognizedClientException", "The security token included in the request is invalid.", status=403
            )
        if token.job:
            return self._program(token)
        if token.expires is None or token.expires <= self._clock():
            raise _expired()
        return Identity(token.key, token.arn, token.user_id)

    def _program(self, token: _Token) -> Identity:
        job = self._running(token.job, token.attempt)
        if job is None or job.arn != token.arn:
            raise _expired()
        role = role_name(job.request["RoleArn"])
        return Identity(
            token.key,
            f"arn:aws:sts::{self._account}:assumed-role/{role}/SageMaker",
            f"{role_id(job.request['RoleArn'])}:SageMaker",
            (*grants(job), *_of_agents(job)) if token.agent else grants(job),
        )

    # -- giving keys --------------------------------------------------------------------------------------------------

    def assume(self, role_arn: str, session: str, seconds: float) -> Session:
        """Give credentials of a session of a role."""
        arn = f"arn:aws:sts::{self._account}:assumed-role/{role_name(role_arn)}/{session}"
        return self._session(arn, f"{role_id(role_arn)}:{session}", seconds)

    def of_owner(self, seconds: float) -> Session:
        """Give temporary credentials of the owner himself."""
        return self._session(self.owner.arn, self.owner.user_id, seconds)

    def of_job(self, job: Job) -> Session:
        """Give the credentials of the training program: the same ones for all hosts of an attempt."""
        key = _key_id(self._mac("key of a job", f"{job.arn} {job.created_at} {job.attempt}"))
        return self._given(_Token(key, job.arn, "", None, job.name, job.attempt))

    def of_agents(self, job: Job) -> Session:
        """Give the credentials of the agents of an attempt, where they are on other machines."""
        key = _key_id(self._mac("key of agents", f"{job.arn} {job.created_at} {job.attempt}"))
        return self._given(_Token(key, job.arn, "", None, job.name, job.attempt, agent=True))

    def _session(self, arn: str, user_id: str, seconds: float) -> Session:
        # Whole seconds: an answer has no more, and a client renews by what it was told.
        expires = float(int(self._clock() + seconds))
        return self._given(_Token(_key_id(secrets.token_bytes(32)), arn, user_id, expires))

    def _given(self, token: _Token) -> Session:
        text = _encoder.encode(token)
        sealed = base64.b64encode(self._mac("token", text.decode())[:_MAC] + text).decode("ascii")
        return Session(token.key, self._derived(token.key), sealed, token.expires)

    # -- how ----------------------------------------------------------------------------------------------------------

    def _read(self, text: str) -> _Token | None:
        try:
            sealed = base64.b64decode(text, validate=True)
            token = _decoder.decode(sealed[_MAC:])
        except (binascii.Error, ValueError, msgspec.DecodeError):
            return None
        mac = self._mac("token", sealed[_MAC:].decode())[:_MAC]
        return token if hmac.compare_digest(mac, sealed[:_MAC]) else None

    def _derived(self, key: str) -> str:
        return base64.b64encode(self._mac("secret", key))[:40].decode("ascii")

    def _mac(self, purpose: str, text: str) -> bytes:
        return hmac.digest(self._secret.encode(), f"treadle {purpose}\n{text}".encode(), "sha256")


def _of_agents(job: Job) -> tuple[Grant, ...]:
    """Give what the agents of a job may do that its program may not: stage outputs, and read what manifests name."""
    bucket, prefix = staging(job, job.attempt)
    channels = [each["DataSource"].get("S3DataSource", {}) for each in job.request.get("InputDataConfig") or ()]
    anywhere = any(each.get("S3DataType", "S3Prefix") != "S3Prefix" for each in channels)
    return (Grant(WRITE, bucket, prefix, own=True), *([Grant(READ, "", "")] if anywhere else []))


def role_name(arn: str) -> str:
    """Give the name of a role, without its path."""
    return arn.rpartition("/")[2]


def role_id(arn: str) -> str:
    """Give the id of a role: AWS makes one up, here it follows from the name."""
    return "AROA" + _letters(sha256(role_name(arn).encode()).digest())[:17]


def _key_id(seed: bytes) -> str:
    return "ASIA" + _letters(seed)[:16]


def _letters(seed: bytes) -> str:
    return base64.b32encode(seed).decode("ascii")


def _expired() -> ServiceError:
    return ServiceError("ExpiredTokenException", "The security token included in the request is expired", status=403)
