"""Conditional requests and ranges: what headers say about an object, decided without looking at anything else.

Sources: RFC 9110 §13 and §14, and where S3 differs "GetObject", "CopyObject" and "PutObject" in the Amazon S3 API
Reference. Times have whole seconds, as in the headers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from treadle.seams import ObjectCheck, ObjectInfo
from treadle.training.api.s3.errors import refusal

__all__ = ["Span", "check_deletion", "check_source", "is_not_modified", "read_copy_range", "read_range", "write_check"]

Header = Callable[[str], str | None]

_RANGE: Final = re.compile(r"bytes\s*=\s*([0-9]*)\s*-\s*([0-9]*)\s*(?:,.*)?", re.ASCII | re.DOTALL)
_COPY_RANGE: Final = re.compile(r"bytes=([0-9]{1,18})-([0-9]{1,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Span:
    """Some bytes of an object."""

    start: int
    length: int

    def header(self, size: int) -> str:
        """Give Content-Range."""
        return f"bytes {self.start}-{self.start + self.length - 1}/{size}"


def read_range(header: Header, info: ObjectInfo) -> Span | None:
    """Give the bytes that Range asks for, of several ranges the first; None for all. Raises `S3Error`: InvalidRange.

    A header that is no range, and one whose If-Range does not hold, asks for all.
    """
    text = header("range")
    found = _RANGE.fullmatch(text.strip()) if text is not None else None
    if text is None or found is None or not (found[1] or found[2]) or not _if_range(header("if-range"), info):
        return None
    first, last = found[1][:19], found[2][:19]
    if not first:
        length = min(int(last), info.size)
        span = Span(info.size - length, length)
    elif last and int(last) < int(first):
        return None
    else:
        end = min(int(last) + 1, info.size) if last else info.size
        span = Span(int(first), end - int(first))
    if span.length <= 0:
        raise refusal("InvalidRange", RangeRequested=text, ActualObjectSize=str(info.size))
    return span


def _if_range(value: str | None, info: ObjectInfo) -> bool:
    if value is None:
        return True
    moment = _seconds(value)
    return value.strip('"') == info.etag if moment is None else int(info.modified_at) <= moment


def read_copy_range(text: str, info: ObjectInfo) -> Span:
    """Give the bytes that `x-amz-copy-source-range` asks for: both ends must be there. Raises `S3Error`."""
    found = _COPY_RANGE.fullmatch(text)
    if found is None or int(found[2]) < int(found[1]):
        message = "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the "
        raise refusal(
            "InvalidArgument",
            f"{message}zero-based offsets of the first and last bytes to copy",
            ArgumentName="x-amz-copy-source-range",
            ArgumentValue=text,
        )
    if int(found[2]) >= info.size:
        message = f"Range specified is not valid for source object of size: {info.size}"
        raise refusal("InvalidArgument", message, ArgumentName="x-amz-copy-source-range", ArgumentValue=text)
    return Span(int(found[1]), int(found[2]) - int(found[1]) + 1)


# ---------------------------------------------------------------------------------------------------------------------
# Reading
# ---------------------------------------------------------------------------------------------------------------------


def is_not_modified(header: Header, info: ObjectInfo) -> bool:
    """Tell whether a read is answered with 304 (RFC 9110 §13.2.2). Raises `S3Error`: PreconditionFailed."""
    failed, unmodified = _evaluated(header, "", info)
    if failed:
        raise refusal("PreconditionFailed", Condition=failed)
    return unmodified != ""


def check_source(header: Header, info: ObjectInfo) -> None:
    """Raise `S3Error` (PreconditionFailed) unless a copy's conditions on its source hold, whatever their kind."""
    failed, unmodified = _evaluated(header, "x-amz-copy-source-", info)
    if failed or unmodified:
        raise refusal("PreconditionFailed", Condition=failed or unmodified)


def _evaluated(header: Header, prefix: str, info: ObjectInfo) -> tuple[str, str]:
    """Give the names of a condition that does not hold and of one that says "not modified", "" for none.

    Of each pair the etag's condition, where it is there, takes the place of the time's.
    """
    modified = int(info.modified_at)
    match, none_match = header(f"{prefix}if-match"), header(f"{prefix}if-none-match")
    since, unmodified = header(f"{prefix}if-modified-since"), header(f"{prefix}if-unmodified-since")
    if match is not None:
        if not _matches(match, info.etag):
            return f"{prefix}If-Match", ""
    elif unmodified is not None and (moment := _seconds(unmodified)) is not None and modified > moment:
        return f"{prefix}If-Unmodified-Since", ""
    if none_match is not None:
        return "", f"{prefix}If-None-Match" if _matches(none_match, info.etag) else ""
    if since is not None and (moment := _seconds(since)) is not None and modified <= moment:
        return "", f"{prefix}If-Modified-Since"
    return "", ""


def _matches(text: str, etag: str) -> bool:
    return any(each.strip().removeprefix("W/").strip('"') in {"*", etag} for each in text.split(","))


def _seconds(text: str) -> int | None:
    """Read an HTTP date; None where it is none, which makes a condition as good as absent (RFC 9110 §13.1.3)."""
    # Few requests have one, and the module brings the whole of the mail library with it.
    from email.utils import parsedate_to_datetime

    try:
        return int(parsedate_to_datetime(text).timestamp())
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


# ---------------------------------------------------------------------------------------------------------------------
# Writing
# ---------------------------------------------------------------------------------------------------------------------


def write_check(header: Header, key: str) -> ObjectCheck | None:
    """Give what must hold for a write to take place, or None when it always may. Raises `S3Error`."""
    none_match, match = header("if-none-match"), header("if-match")
    for name in ("if-modified-since", "if-unmodified-since"):
        if header(name) is not None:
            raise refusal("NotImplemented", Header=name)
    if none_match is None and match is None:
        return None
    if (none_match is not None and none_match.strip() != "*") or (none_match is not None and match is not None):
        raise refusal("NotImplemented", Header="If-None-Match")

    def check(present: ObjectInfo | None) -> None:
        if none_match is not None:
            if present is not None:
                raise refusal("PreconditionFailed", Condition="If-None-Match")
        elif present is None:
            raise refusal("NoSuchKey", Key=key)
        elif match is not None and not _matches(match, present.etag):
            raise refusal("PreconditionFailed", Condition="If-Match")

    return check


def check_deletion(etag: str) -> ObjectCheck:
    """Give what must hold for an object to be deleted if it has an etag; one that is gone already is as deleted."""

    def check(present: ObjectInfo | None) -> None:
        if present is not None and not _matches(etag, present.etag):
            raise refusal("PreconditionFailed", Condition="If-Match")

    return check
