"""`treadle data`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from treadle.cli.app import run
from treadle.objects.filesystem import FilesystemObjects


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, with a home of its own."""
    monkeypatch.setenv("TREADLE_HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


@pytest.fixture
def objects(place: Path) -> FilesystemObjects:
    return FilesystemObjects(place.parent / "home" / "s3")


def put(objects: FilesystemObjects, *keys: str) -> None:
    objects.create_bucket("bucket")
    for key in keys:
        objects.write("bucket", key, iter([key.encode()]))


def keys(objects: FilesystemObjects) -> list[str]:
    return [each.key for each in objects.list("bucket")]


def tree(directory: Path) -> dict[str, bytes]:
    return {str(each.relative_to(directory)): each.read_bytes() for each in directory.rglob("*") if each.is_file()}


def files(place: Path, *names: str) -> None:
    for name in names:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(name)


@pytest.mark.parametrize(
    ("arguments", "want"),
    [
        pytest.param(["a.csv", "s3://bucket/x/"], ["x/a.csv"], id="prefix"),
        pytest.param(["a.csv", "s3://bucket"], ["a.csv"], id="bucket"),
        pytest.param(["a.csv", "s3://bucket/x/b.csv"], ["x/b.csv"], id="whole name"),
        pytest.param(["a.csv", "b.csv", "s3://bucket/x"], ["x/a.csv", "x/b.csv"], id="several"),
        pytest.param(["dir", "s3://bucket/x"], ["x/c.csv", "x/sub/d.csv"], id="directory"),
        pytest.param([".", "s3://bucket"], ["a.csv", "b.csv", "dir/c.csv", "dir/sub/d.csv"], id="here"),
        pytest.param(["a.csv", "dir", "s3://bucket"], ["a.csv", "dir/c.csv", "dir/sub/d.csv"], id="file and directory"),
    ],
)
def test_put(place: Path, objects: FilesystemObjects, arguments: list[str], want: list[str]) -> None:
    """Names are appended to prefixes; a directory gives all that is in it."""
    files(place, "a.csv", "b.csv", "dir/c.csv", "dir/sub/d.csv")
    assert run(["data", "put", *arguments]) == 0
    assert keys(objects) == want


def test_put_says_what_went_where(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each file, with its size, and a sum."""
    files(place, "a.csv", "b.csv")
    assert run(["data", "put", "a.csv", "b.csv", "s3://bucket/x"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "a.csv → s3://bucket/x/a.csv (5 B)",
        "b.csv → s3://bucket/x/b.csv (5 B)",
        "2 files, 10 B",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["nowhere.csv", "s3://bucket/"], "There is no file or directory nowhere.csv.", id="no file"),
        pytest.param(["a.csv", "bucket/x"], "'bucket/x' is not an S3 URI.", id="no URI"),
        pytest.param(["a.csv", "s3://Bad_Bucket/x"], "'Bad_Bucket' is no name for a bucket", id="bucket name"),
        pytest.param(["empty", "s3://bucket/"], "There are no files in empty.", id="empty directory"),
        pytest.param(["a.csv", "dir/a.csv", "s3://bucket/"], "would both be stored as a.csv", id="clash"),
        pytest.param(["a.csv", "s3://bucket/" + "k" * 1025], "too long", id="long key"),
        pytest.param(["fifo", "s3://bucket/"], "neither a file nor a directory", id="fifo"),
    ],
)
def test_put_refuses_before_it_stores(
    place: Path, objects: FilesystemObjects, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """What cannot be stored is told with exit code 2, and nothing has been stored."""
    files(place, "a.csv", "dir/a.csv")
    (place / "empty").mkdir()
    os.mkfifo(place / "fifo")
    assert run(["data", "put", *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err
    assert objects.buckets() == []


@pytest.mark.parametrize(
    ("arguments", "want"),
    [
        pytest.param(["s3://bucket/x/a", "b"], {"b": b"x/a"}, id="object"),
        pytest.param(["s3://bucket/x/a", "."], {"a": b"x/a"}, id="object into a directory"),
        pytest.param(["s3://bucket/x/a", "new/"], {"new/a": b"x/a"}, id="object into a new directory"),
        pytest.param(["s3://bucket/x", "out"], {"out/a": b"x/a", "out/s/b": b"x/s/b"}, id="prefix"),
        pytest.param(["s3://bucket/x/", "."], {"a": b"x/a", "s/b": b"x/s/b"}, id="prefix with a slash"),
        pytest.param(["s3://bucket", "."], {"x/a": b"x/a", "x/s/b": b"x/s/b", "xy": b"xy"}, id="bucket"),
    ],
)
def test_get(place: Path, objects: FilesystemObjects, arguments: list[str], want: dict[str, bytes]) -> None:
    """An object becomes a file, a prefix the files below it."""
    put(objects, "x/a", "x/s/b", "x/empty/", "xy")
    assert run(["data", "get", *arguments]) == 0
    assert tree(place) == want


def test_get_to_standard_output(objects: FilesystemObjects, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """`-` is standard output, byte for byte."""
    objects.create_bucket("bucket")
    objects.write("bucket", "raw", iter([bytes(range(256))]))
    assert run(["data", "get", "s3://bucket/raw", "-"]) == 0
    assert capfdbinary.readouterr().out == bytes(range(256))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["s3://bucket/nothing", "."], "There is nothing at s3://bucket/nothing.", id="no object"),
        pytest.param(["s3://nowhere/a", "."], "There is no bucket 'nowhere'.", id="no bucket"),
        pytest.param(["s3://bucket/up", "."], "cannot become a file below", id="out of the directory"),
        pytest.param(["s3://bucket/a", "file/x"], "cannot be written to", id="no directory"),
        pytest.param(["s3://bucket/a", "dirs"], "dirs/a is a directory", id="a directory in its place"),
    ],
)
def test_get_explains(
    place: Path, objects: FilesystemObjects, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """What cannot be fetched is told with exit code 1; no file has appeared, none has changed."""
    put(objects, "a", "up/fine", "up/../../../out")
    files(place, "file", "dirs/a/x")
    before = tree(place.parent)
    assert run(["data", "get", *arguments]) == 1
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err
    assert tree(place.parent) == before


def test_ls(objects: FilesystemObjects, capsys: pytest.CaptureFixture[str]) -> None:
    """Buckets, one level, everything, one object; with sizes that a person reads."""

    def names(*arguments: str) -> list[str]:
        assert run(["data", "ls", *arguments]) == 0
        return [line.split()[-1] for line in capsys.readouterr().out.splitlines()[1:]]

    assert run(["data", "ls"]) == 0
    assert "No buckets" in capsys.readouterr().err
    put(objects, "a", "a/b", "a/c/d", "a-b", "z/y/x", "z/y/w", "z0")
    objects.create_bucket("empty")
    assert run(["data", "ls"]) == 0
    assert capsys.readouterr().out == "s3://bucket\ns3://empty\n"
    assert names("s3://bucket") == ["a", "a-b", "a/", "z/", "z0"]
    assert names("s3://bucket/a") == ["a", "a/b", "a/c/"]
    assert names("s3://bucket/z/") == ["z/y/"]
    assert names("s3://bucket", "-r") == ["a", "a-b", "a/b", "a/c/d", "z/y/w", "z/y/x", "z0"]
    assert names("s3://empty") == []
    objects.write("bucket", "large", iter([bytes(1536)]))
    assert run(["data", "ls", "s3://bucket/large"]) == 0
    assert "1.5 KiB" in capsys.readouterr().out
    assert run(["data", "ls", "s3://bucket/a/", "--json"]) == 0
    assert [(each["Key"], each["Size"]) for each in json.loads(capsys.readouterr().out)] == [("a/b", 3), ("a/c/", None)]
    assert run(["data", "ls", "s3://bucket/nothing"]) == 1
    assert "There is nothing at s3://bucket/nothing." in capsys.readouterr().err


def test_rm(objects: FilesystemObjects, capsys: pytest.CaptureFixture[str]) -> None:
    """An object alone, a prefix only recursively, a bucket when it is empty or recursively."""
    put(objects, "a", "a/b", "a/c", "ab", "d/e", "f")
    for arguments, code, message, left in [
        (["s3://bucket/a"], 0, "removed s3://bucket/a", ["a/b", "a/c", "ab", "d/e", "f"]),
        (["s3://bucket/a"], 2, "is no object but a prefix", ["a/b", "a/c", "ab", "d/e", "f"]),
        (["s3://bucket/a", "--recursive"], 0, "removed 2 objects", ["ab", "d/e", "f"]),
        (["s3://bucket/a"], 1, "There is nothing at", ["ab", "d/e", "f"]),
        (["s3://bucket/a", "-r"], 1, "There is nothing at", ["ab", "d/e", "f"]),
        (["s3://bucket"], 2, "is not empty", ["ab", "d/e", "f"]),
        (["s3://nowhere/a"], 1, "There is no bucket", ["ab", "d/e", "f"]),
    ]:
        assert run(["data", "rm", *arguments]) == code
        captured = capsys.readouterr()
        assert message in captured.out + captured.err
        assert keys(objects) == left
    assert run(["data", "rm", "s3://bucket", "-r"]) == 0
    assert objects.buckets() == []
    objects.create_bucket("bucket")
    assert run(["data", "rm", "s3://bucket"]) == 0
    assert objects.buckets() == []
