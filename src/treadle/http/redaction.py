"""What of a request or response may be shown: everything but what opens a door.

Names decide first: headers and query members that carry credentials are masked whatever their value. Then the values
decide: every secret that the caller knows is masked wherever it stands, in plain or percent-encoded form.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote_plus

from treadle.masking import MASK, SHORTEST, spellings
from treadle.seams import Headers

__all__ = ["redact_headers", "redact_text", "redact_url"]

_HEADERS: Final = frozenset(
    {
        "api-key",
        "apikey",
        "authorization",
        "cookie",
        "cookie2",
        "proxy-authorization",
        "set-cookie",
        "www-authenticate",
        "x-amz-security-token",
        "x-vault-token",
        "x-csrf-token",
        "x-xsrf-token",
    }
)
_HEADER_PARTS: Final = re.compile(
    r"api[-_]?key|auth[-_]?token|access[-_]?token|secret|password|session[-_]?(id|token)|signature"
)

_QUERY: Final = frozenset(
    {
        "access_token",
        "api-key",
        "api_key",
        "apikey",
        "assertion",
        "auth",
        "auth_token",
        "authorization",
        "client_assertion",
        "client_secret",
        "code_verifier",
        "id_token",
        "key",
        "passwd",
        "password",
        "pwd",
        "refresh_token",
        "secret",
        "sig",
        "signature",
        "token",
        "x-amz-credential",
        "x-amz-security-token",
        "x-amz-signature",
        "x-goog-credential",
        "x-goog-signature",
    }
)

_USERINFO: Final = re.compile(r"(?<=//)[^/?#@]*@")
_MEMBER: Final = re.compile(r"(?<=[?&])([^=&#]+)=([^&#]*)")


def redact_url(url: str, secrets: Iterable[str] = ()) -> str:
    """Give a URL without user information, credentials in its query, and the given secrets."""
    url = _USERINFO.sub(f"{MASK}@", url)
    return redact_text(_MEMBER.sub(lambda found: f"{found[1]}={_member(found[1], found[2])}", url), secrets)


def _member(name: str, value: str) -> str:
    return MASK if value and unquote_plus(name).lower() in _QUERY else value


def redact_headers(headers: Headers, secrets: Iterable[str] = ()) -> Headers:
    """Give headers with the values of those that carry credentials masked, the scheme kept: `Bearer •••`."""
    known = tuple(secrets)
    return tuple((name, _header(name.lower(), value, known)) for name, value in headers)


def _header(name: str, value: str, secrets: Iterable[str]) -> str:
    if name not in _HEADERS and not _HEADER_PARTS.search(name):
        return redact_text(value, secrets)
    scheme, space, _ = value.partition(" ")
    return f"{scheme} {MASK}" if space and name.endswith("authorization") else MASK


def redact_text(text: str, secrets: Iterable[str]) -> str:
    """Give a text with every secret masked, the longest first, in plain and percent-encoded form."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        if len(secret) >= SHORTEST:
            for form in spellings(secret):
                text = text.replace(form, MASK)
    return text
