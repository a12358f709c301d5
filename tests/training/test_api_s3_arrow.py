"""A client of S3 that has nothing of botocore: Arrow's, on AWS's SDK for C++, which signs and sends in its own way."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.training.s3_world import KEY, SECRET, World, world

fs: Any = pytest.importorskip("pyarrow.fs", reason="pyarrow is not installed")


@pytest.fixture
def arrow(tmp_path: Path) -> Iterator[Any]:
    with world(tmp_path) as service:
        yield connected(service)


def connected(service: World) -> Any:
    host, port = service.address
    return fs.S3FileSystem(
        access_key=KEY,
        secret_key=SECRET,
        endpoint_override=f"{host}:{port}",
        scheme="http",
        region="us-east-1",
        allow_bucket_creation=True,
    )


def write(arrow: Any, path: str, data: bytes) -> None:
    with arrow.open_output_stream(path) as stream:
        stream.write(data)


def test_what_arrow_does(arrow: Any) -> None:
    """Directories, small objects, uploads in parts, ranges, listings, moves: all of it works."""
    arrow.create_dir("arrow/é")
    large = os.urandom(12 << 20)
    write(arrow, "arrow/é/x +y", b"small")
    write(arrow, "arrow/é/large", large)
    with arrow.open_input_file("arrow/é/x +y") as file:
        assert file.read() == b"small"
    with arrow.open_input_file("arrow/é/large") as file:
        assert file.read() == large
        assert file.read_at(5, 1 << 20) == large[1 << 20 : (1 << 20) + 5]
    found = {each.path: each.size for each in arrow.get_file_info(fs.FileSelector("arrow", recursive=True))}
    assert found == {"arrow/é": None, "arrow/é/x +y": 5, "arrow/é/large": len(large)}
    arrow.move("arrow/é/x +y", "arrow/é/moved")
    arrow.delete_file("arrow/é/large")
    assert [each.path for each in arrow.get_file_info(fs.FileSelector("arrow/é"))] == ["arrow/é/moved"]
    arrow.delete_dir("arrow/é")
    assert arrow.get_file_info("arrow/é").type == fs.FileType.NotFound


def test_what_arrow_is_refused(arrow: Any) -> None:
    """It reads the errors, too."""
    with pytest.raises(FileNotFoundError):
        arrow.open_input_file("arrow/none")
    with pytest.raises(OSError, match="bucket"):
        write(arrow, "nowhere/x", b"")
