"""Credentials become part of a request, at the last moment and for the right server only.

Every authoriser here is bound to origins: a request to any other origin leaves it as it came, whatever headers the
document gave it, so a description cannot lead credentials astray. Credentials are asked for at each request: a poll may
outlive any temporary ones. And what a step itself says wins: a request that already has an Authorization header or
the API key in question is not touched.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from msgspec.structs import replace

from treadle.aws.sigv4 import Credentials, sign
from treadle.errors import TransportError, UsageError
from treadle.seams import Authoriser, Json, Request
from treadle.sources.parameters import encoded
from treadle.sources.servers import SigningScope, Target, origin

__all__ = [
    "AuthoriserChain",
    "AwsChain",
    "CredentialsProvider",
    "Grant",
    "NoAuthoriser",
    "SchemeAuthoriser",
    "SigV4Authoriser",
    "StaticCredentials",
    "grant_for",
    "resolved_secret",
]


class NoAuthoriser:
    """Leaves requests as they are."""

    async def authorise(self, request: Request) -> Request:
        """Give the request itself."""
        return request


class AuthoriserChain:
    """Asks several authorisers, one after the other."""

    def __init__(self, authorisers: Iterable[Authoriser]) -> None:
        self._authorisers = tuple(authorisers)

    async def authorise(self, request: Request) -> Request:
        """Give what the last one makes of it. Raises `UsageError`."""
        for authoriser in self._authorisers:
            request = await authoriser.authorise(request)
        return request


# ---------------------------------------------------------------------------------------------------------------------
# SigV4
# ---------------------------------------------------------------------------------------------------------------------


class CredentialsProvider(Protocol):
    """Where credentials come from."""

    async def credentials(self) -> Credentials | None:
        """Give credentials that are valid now, or None where there are none. Raises `UsageError` where broken."""
        ...


@dataclass(frozen=True, slots=True)
class StaticCredentials:
    """Credentials that stay the same: those of the embedded service."""

    value: Credentials

    async def credentials(self) -> Credentials | None:
        """Give them."""
        return self.value


@dataclass(frozen=True, slots=True)
class Grant:
    """Leave to sign requests to one origin, for a scope, with a provider's credentials.

    Where `required` does not hold and there are no credentials, requests go unsigned.
    """

    origin: str
    scope: SigningScope
    provider: CredentialsProvider
    required: bool = True


def grant_for(target: Target, provider: CredentialsProvider) -> Grant | None:
    """Give the leave to sign that a target needs, or None where its requests are not signed."""
    if target.signing is None:
        return None
    return Grant(origin(target.url), target.signing, provider, target.must_sign)


def _now() -> datetime:
    return datetime.now(UTC)


class SigV4Authoriser:
    """Signs the requests to the origins that it has a grant for, each with fresh credentials."""

    def __init__(self, grants: Iterable[Grant], *, clock: Callable[[], datetime] = _now) -> None:
        self._grants = {grant.origin: grant for grant in grants}
        self._clock = clock

    async def authorise(self, request: Request) -> Request:
        """Give the signed request. Raises `UsageError` where credentials are needed and cannot be had."""
        grant = self._grants.get(origin(request.url))
        if grant is None or request.header("authorization") is not None:
            return request
        credentials = await grant.provider.credentials()
        if credentials is None:
            return self._unsigned(request, grant)
        scope = grant.scope
        return sign(request, credentials, service=scope.service, region=scope.region, now=self._clock())

    def _unsigned(self, request: Request, grant: Grant) -> Request:
        if not grant.required:
            return request
        raise UsageError(
            f"there are no AWS credentials to sign requests to {urlsplit(request.url).hostname} with",
            hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile that `aws configure` or "
            "`aws sso login` has set up",
        )


class AwsChain:
    """botocore's credential chain: environment, ~/.aws, SSO, assumed roles, credential_process, instance metadata.

    Refreshable credentials are renewed by botocore, in a thread, since that may talk to a network; those of a file are
    read again when the file changes, as tools that log in for a person rewrite it. `instance_metadata=False` leaves out
    the search that takes seconds on a machine outside AWS; for servers that can also be called unsigned.
    """

    def __init__(self, profile: str | None = None, *, instance_metadata: bool = True) -> None:
        self._profile = profile
        self._instance_metadata = instance_metadata
        self._lock = asyncio.Lock()
        self._loaded = False
        self._found: Any = None
        self._files: Sequence[str] = ()
        self._seen: Sequence[int] = ()

    async def credentials(self) -> Credentials | None:
        """Give credentials that are valid now, or None. Raises `UsageError`; `TransportError` for a passing fault."""
        if not self._loaded or self._changed() or (self._found is not None and self._needs_renewal()):
            async with self._lock:
                frozen = await asyncio.to_thread(self._renewed)
        else:
            frozen = self._found.get_frozen_credentials() if self._found is not None else None
        if frozen is None:
            return None
        return Credentials(frozen.access_key, frozen.secret_key, frozen.token)

    def region(self) -> str | None:
        """Give the region that the environment or the profile names, or None. Reads files; raises `UsageError`."""
        session = _translating(self._session)
        region = session.get_config_variable("region")
        return str(region) if region else None

    def _session(self) -> Any:
        import botocore.session  # heavy: only where credentials of AWS are asked for

        session = botocore.session.Session(profile=self._profile)
        session.get_scoped_config()  # says now whether the profile exists
        return session

    def _needs_renewal(self) -> bool:
        needed = getattr(self._found, "refresh_needed", None)
        return bool(needed and needed())

    def _changed(self) -> bool:
        return self._seen != _modified(self._files)

    def _renewed(self) -> Any:
        return _translating(self._load)

    def _load(self) -> Any:
        if not self._loaded or self._changed():
            session = self._session()
            paths = (session.get_config_variable(name) for name in ("credentials_file", "config_file"))
            self._files = [os.path.expanduser(path) for path in paths if path]  # noqa: PTH111  (once per load)
            self._seen = _modified(self._files)
            if not self._instance_metadata:
                session.get_component("credential_provider").remove("iam-role")
            self._found = session.get_credentials()
            self._loaded = True
        return self._found.get_frozen_credentials() if self._found is not None else None


def _modified(files: Iterable[str]) -> Sequence[int]:
    """Give when the files changed last, in nanoseconds; -1 for one that is not there."""
    return [_modified_at(file) for file in files]


def _modified_at(file: str) -> int:
    try:
        return os.stat(file).st_mtime_ns  # noqa: PTH116  (asked at every request: no Path is made)
    except OSError:
        return -1


def _translating(act: Callable[[], Any]) -> Any:
    """Do something with botocore, its exceptions translated. A fault of the network passes; the others do not."""
    from botocore import exceptions  # heavy: only where credentials of AWS are asked for

    hint = "see `aws sts get-caller-identity`; after `aws sso login` or a renewed login the run can be resumed"
    try:
        return act()
    except exceptions.HTTPClientError as error:
        message = f"AWS credentials cannot be renewed: {error}"
        raise TransportError("refused", message, sent=False, hint=hint) from error
    # RuntimeError: botocore's own, for credentials that are still expired after their renewal.
    except (exceptions.BotoCoreError, exceptions.ClientError, RuntimeError) as error:
        raise UsageError(f"AWS credentials cannot be had: {error}", hint=hint) from error


# ---------------------------------------------------------------------------------------------------------------------
# OpenAPI security schemes
# ---------------------------------------------------------------------------------------------------------------------


def resolved_secret(reference: str, environment: Mapping[str, str] | None = None) -> str:
    """Give the secret that a reference means: `env:NAME`, `file:PATH`, else the text itself. Raises `UsageError`."""
    kind, colon, rest = reference.partition(":")
    if colon and kind == "env":
        value = (os.environ if environment is None else environment).get(rest)
        if not value:
            raise UsageError(f"the environment variable {rest} is not set, but a credential is to come from it")
        return value
    if colon and kind == "file":
        try:
            return Path(rest).expanduser().read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"the credential file {rest} cannot be read: {error}") from error
    return reference


@dataclass(frozen=True, slots=True)
class _Placed:
    """Where a scheme's secret goes: `prefix` before it, `basic` when it is `user:password`."""

    location: str
    name: str
    prefix: str = ""
    basic: bool = False


_BEARING: Final = frozenset({"bearer", "oauth2", "openIdConnect"})


class SchemeAuthoriser:
    """Adds the credentials of an API's security schemes to requests to its server.

    `schemes` are the description's security schemes, `credentials` the configured `{scheme name: secret}`, where a
    secret is a text, `env:NAME` or `file:PATH`, looked up anew at each request; that of HTTP Basic is `user:password`.
    For OAuth 2 and OpenID Connect it is an access token that the caller has. Raises `UsageError` for a scheme that
    there is not.
    """

    def __init__(
        self,
        server: str,
        schemes: Mapping[str, Json],
        credentials: Mapping[str, str],
        *,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._origin = origin(server)
        self._environment = environment
        self._entries = [(_placed(name, schemes), reference) for name, reference in credentials.items()]

    async def authorise(self, request: Request) -> Request:
        """Give the request with the credentials that it does not have yet. Raises `UsageError`."""
        if origin(request.url) != self._origin:
            return request
        for placed, reference in self._entries:
            request = _with(request, placed, partial(resolved_secret, reference, self._environment))
        return request

    def secrets(self) -> Sequence[str]:
        """Give the secrets as they are now, so that they can be masked. Raises `UsageError`."""
        return [resolved_secret(reference, self._environment) for _, reference in self._entries]


def _placed(name: str, schemes: Mapping[str, Json]) -> _Placed:
    scheme = schemes.get(name)
    if not isinstance(scheme, Mapping):
        known = ", ".join(sorted(schemes)) or "none"
        raise UsageError(f"the description has no security scheme {name!r}", hint=f"it has: {known}")
    kind = str(scheme.get("type"))
    if kind == "http":
        kind = str(scheme.get("scheme")).lower()
    if kind == "basic":
        return _Placed("header", "Authorization", "Basic ", basic=True)
    if kind in _BEARING:
        return _Placed("header", "Authorization", "Bearer ")
    location, member = scheme.get("in"), scheme.get("name")
    if kind == "apiKey" and location in {"header", "query", "cookie"} and isinstance(member, str):
        return _Placed(location, member)
    raise UsageError(f"the security scheme {name!r} is of a kind ({kind}) that cannot be configured")


def _with(request: Request, placed: _Placed, secret: Callable[[], str]) -> Request:
    if placed.location == "query":
        return _with_query(request, placed.name, secret)
    if placed.location == "cookie":
        return _with_cookie(request, placed.name, secret)
    if request.header(placed.name) is not None:
        return request
    value = _header_safe(secret(), placed)
    if placed.basic:
        value = base64.b64encode(value.encode()).decode()
    return replace(request, headers=(*request.headers, (placed.name, placed.prefix + value)))


def _with_query(request: Request, name: str, secret: Callable[[], str]) -> Request:
    query = urlsplit(request.url).query
    if any(pair.partition("=")[0] == encoded(name) for pair in query.split("&")):
        return request
    joint = "&" if query else "?"
    return replace(request, url=f"{request.url}{joint}{encoded(name)}={encoded(secret())}")


def _with_cookie(request: Request, name: str, secret: Callable[[], str]) -> Request:
    stated = request.header("cookie") or ""
    if any(pair.partition("=")[0].strip() == name for pair in stated.split(";")):
        return request
    others = tuple(pair for pair in request.headers if pair[0].lower() != "cookie")
    value = "; ".join(filter(None, (stated, f"{name}={encoded(secret())}")))
    return replace(request, headers=(*others, ("Cookie", value)))


def _header_safe(secret: str, placed: _Placed) -> str:
    if not secret.isprintable():
        raise UsageError(f"the credential for the header {placed.name} contains a line break or control character")
    return secret
