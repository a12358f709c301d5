"""`s3://bucket/key`, and what may be a bucket's or an object's name."""

from __future__ import annotations

import re

from treadle.aws.s3names import LONGEST_KEY, bucket_problem
from treadle.errors import ObjectError

__all__ = ["LONGEST_KEY", "bucket_problem", "check_bucket", "check_key", "parse_s3_uri"]


def parse_s3_uri(uri: str) -> tuple[str, str]:
    """Give bucket and key of `s3://bucket/key`; the key is "" for `s3://bucket` and `s3://bucket/`.

    The key is everything after the bucket's slash as it stands: S3 URIs are not percent-encoded, and `?` and `#` are
    ordinary characters. Raises `ObjectError`.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        raise ObjectError(f"{uri!r} is not an S3 URI.", hint=f"Write it as s3://bucket/key{_guess(uri)}.")
    if scheme != "s3":
        known = "the older spelling of s3://" if scheme in {"s3a", "s3n"} else "not an S3 URI"
        raise ObjectError(f"{uri!r} is {known}.", hint=f"Write it as s3://{rest.partition('?')[0]}.")
    bucket, _, key = rest.partition("/")
    if not bucket:
        raise ObjectError(f"{uri!r} names no bucket.", hint="Write it as s3://bucket/key, with two slashes.")
    check_bucket(bucket)
    if key:
        check_key(key)
    return bucket, key


def _guess(uri: str) -> str:
    match = re.fullmatch(r"s3:/?([^/].*)", uri)
    return f", here s3://{match[1]}" if match else ""


def check_bucket(bucket: str) -> None:
    """Raise `ObjectError` for a name that no bucket can have."""
    problem = bucket_problem(bucket)
    if problem:
        raise ObjectError(f"{bucket!r} is no name for a bucket: {problem}.")


def check_key(key: str) -> None:
    """Raise `ObjectError` for a key that no object can have: empty, longer than 1,024 bytes, or not Unicode text."""
    try:
        length = len(key.encode())
    except UnicodeEncodeError as error:
        raise ObjectError(f"{key!r} is no key for an object: it is not valid Unicode text.") from error
    if not length:
        raise ObjectError("An object's key must not be empty.")
    if length > LONGEST_KEY:
        raise ObjectError(f"A key of {length} bytes is too long ({key[:40]!r} …): {LONGEST_KEY} bytes are allowed.")
