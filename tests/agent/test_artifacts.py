"""Archives of what programs leave behind, however strange it is."""

from __future__ import annotations

import io
import os
import socket
import tarfile
from pathlib import Path

import pytest

from treadle.agent.artifacts import archive


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Give an empty model directory."""
    (tmp_path / "model").mkdir()
    return tmp_path / "model"


def packed(root: Path) -> tuple[bytes, list[str]]:
    said: list[str] = []
    return b"".join(archive(root, said.append, seen_as="/opt/ml/model")), said


def opened(root: Path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(packed(root)[0]), mode="r:gz") as file:
        return {each.name: each for each in file}


def test_members_are_relative_and_sorted(model: Path) -> None:
    """No leading directory; a directory before what is in it; nobody owns anything."""
    (model / "b").mkdir()
    (model / "b/2").write_text("two")
    (model / "a").write_text("one")
    (model / "b/10").touch()
    members = opened(model)
    assert list(members) == ["a", "b", "b/10", "b/2"]
    assert members["a"].size == 3
    assert {(each.uid, each.gid, each.uname, each.gname) for each in members.values()} == {(0, 0, "", "")}


def test_same_bytes_whatever_the_order(tmp_path: Path) -> None:
    """Two directories with the same content give the same archive."""
    archives = []
    for name, order in (("x", ["a", "b", "c"]), ("y", ["c", "a", "b"])):
        (tmp_path / name).mkdir()
        for each in order:
            (tmp_path / name / each).write_text(each)
            os.utime(tmp_path / name / each, (5, 5))
        archives.append(packed(tmp_path / name)[0])
    assert archives[0] == archives[1]


def test_empty(model: Path) -> None:
    """An empty model is an empty archive."""
    assert opened(model) == {}


def test_large_and_long(model: Path) -> None:
    """Sizes that are no multiple of a block, names that no plain header holds, names that are no UTF-8."""
    (model / "large").write_bytes(os.urandom(3_000_001))
    (model / ("d" * 200)).mkdir()
    (model / ("d" * 200) / ("é" * 100)).write_text("x")
    Path(os.fsdecode(os.fsencode(model) + b"/\xff")).write_text("y")
    members = opened(model)
    assert members["large"].size == 3_000_001
    assert f"{'d' * 200}/{'é' * 100}" in members
    assert os.fsdecode(b"\xff") in members


def test_links(model: Path) -> None:
    """A link that stays inside is kept as a link; one that leads out is left out, and nothing is followed."""
    (model / "sub").mkdir()
    (model / "weights").write_text("w")
    inside = {
        "latest": "weights",
        "sub/up": "../weights",
        "absolute": "/opt/ml/model/weights",
        "sub/all": "/opt/ml/model",
    }
    outside = {
        "passwd": "/etc/passwd",
        "up": "..",
        "sub/far": "../../x",
        "near": "/opt/ml/modelx",
        "sneak": "sub/../../x",
    }
    for name, target in (inside | outside).items():
        (model / name).symlink_to(target)
    members = opened(model)
    assert {name: members[name].linkname for name in members if members[name].issym()} == {
        "latest": "weights",
        "sub/up": "../weights",
        "absolute": "weights",
        "sub/all": "..",
    }
    said = packed(model)[1]
    assert sorted(each.partition(":")[0] for each in said) == sorted(outside)


def test_what_is_no_file(model: Path) -> None:
    """Pipes and sockets are left out, said, and not waited for."""
    os.mkfifo(model / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(model)
        server.bind("socket")
    assert opened(model) == {}
    assert packed(model)[1] == [
        "pipe: neither a file nor a directory; it is left out",
        "socket: neither a file nor a directory; it is left out",
    ]


def test_unreadable(model: Path) -> None:
    """What the program made unreadable for its owner is kept all the same."""
    (model / "dir").mkdir()
    (model / "dir/file").write_text("x")
    (model / "dir/file").chmod(0)
    (model / "dir").chmod(0)
    assert list(opened(model)) == ["dir", "dir/file"]


def test_root_that_is_a_link(tmp_path: Path) -> None:
    """A model directory that the program has replaced by a link holds nothing."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/secret").write_text("s")
    (tmp_path / "model").symlink_to(tmp_path / "elsewhere")
    assert opened(tmp_path / "model") == {}
    assert packed(tmp_path / "model")[1] == ["/opt/ml/model is not a directory any more; nothing of it is kept"]
