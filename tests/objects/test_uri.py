"""s3:// URIs."""

from __future__ import annotations

import pytest

from treadle.errors import ObjectError
from treadle.objects.uri import parse_s3_uri


@pytest.mark.parametrize(
    ("uri", "want"),
    [
        pytest.param("s3://bucket/key", ("bucket", "key"), id="plain"),
        pytest.param("s3://bucket", ("bucket", ""), id="bucket alone"),
        pytest.param("s3://bucket/", ("bucket", ""), id="bucket and slash"),
        pytest.param("s3://bucket/a/b/", ("bucket", "a/b/"), id="prefix"),
        pytest.param("s3://bucket//a", ("bucket", "/a"), id="empty segment"),
        pytest.param("s3://bucket/a%20b?c#d", ("bucket", "a%20b?c#d"), id="nothing is decoded"),
        pytest.param("s3://my.bucket-1/ü", ("my.bucket-1", "ü"), id="unicode"),
    ],
)
def test_a_uri_is_bucket_and_key(uri: str, want: tuple[str, str]) -> None:
    """The bucket ends at the first slash; the rest is the key as it stands."""
    assert parse_s3_uri(uri) == want


@pytest.mark.parametrize(
    ("uri", "message", "hint"),
    [
        pytest.param("bucket/key", "not an S3 URI", "s3://bucket/key", id="no scheme"),
        pytest.param("s3:/bucket/key", "not an S3 URI", "here s3://bucket/key", id="one slash"),
        pytest.param("https://bucket/key?x=1", "not an S3 URI", "s3://bucket/key.", id="another scheme"),
        pytest.param("s3a://bucket/key", "older spelling", "s3://bucket/key", id="s3a"),
        pytest.param("s3:///key", "names no bucket", "two slashes", id="no bucket"),
        pytest.param("s3://Bucket/key", "only lower-case letters", "", id="upper case"),
        pytest.param("s3://bucket/" + "k" * 1025, "too long", "", id="long key"),
    ],
)
def test_what_is_no_uri_is_explained(uri: str, message: str, hint: str) -> None:
    """The error says what is wrong, the hint how it is written."""
    with pytest.raises(ObjectError) as caught:
        parse_s3_uri(uri)
    assert message in caught.value.message
    assert hint in caught.value.hint
