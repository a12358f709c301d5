"""Outputs of several hosts become one: merged, moved, tidied up, and the same after a crash at any point."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from treadle.objects.filesystem import FilesystemObjects
from treadle.seams import ObjectCheck, ObjectInfo, StagedOutput
from treadle.training.outputs import commit

BUCKET = "bucket"

Tree = Mapping[str, bytes | Path | None]
"""Name → content; None is a directory, a Path a symbolic link."""


def packed(tree: Tree) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in tree.items():
            member = tarfile.TarInfo(name)
            if content is None:
                member.type = tarfile.DIRTYPE
            elif isinstance(content, Path):
                member.type, member.linkname = tarfile.SYMTYPE, str(content)
            else:
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)
    return buffer.getvalue()


def unpacked(objects: FilesystemObjects, key: str) -> dict[str, bytes | Path | None]:
    found: dict[str, bytes | Path | None] = {}
    data = b"".join(objects.read(BUCKET, key))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            assert member.name not in found
            file = archive.extractfile(member) if member.isreg() else None
            found[member.name] = Path(member.linkname) if member.issym() else file.read() if file else None
    return found


@pytest.fixture
def objects(tmp_path: Path) -> FilesystemObjects:
    made = FilesystemObjects(tmp_path / "s3")
    made.create_bucket(BUCKET)
    return made


def staged(objects: FilesystemObjects, *trees: Tree, name: str = "model.tar.gz") -> list[StagedOutput]:
    outputs = []
    for number, tree in enumerate(trees, 1):
        output = StagedOutput(bucket=BUCKET, staged=f"stage/algo-{number}/{name}", target=f"out/j/output/{name}")
        objects.write(BUCKET, output.staged, iter([packed(tree)]))
        outputs.append(output)
    return outputs


@dataclass(frozen=True)
class Case:
    description: str
    trees: list[Tree]
    want: Tree
    said: tuple[str, ...] = ()


CASES = [
    Case("one host", [{"m": b"1"}], {"m": b"1"}),
    Case("only one has anything", [{}, {"m": b"1"}, {}], {"m": b"1"}),
    Case("nobody has anything", [{}, {}], {}),
    Case("each its own", [{"a": b"1"}, {"b": b"2"}], {"b": b"2", "a": b"1"}),
    Case(
        "a directory of all",
        [{"d": None, "d/a": b"1"}, {"d": None, "d/b": b"2"}],
        {"d": None, "d/b": b"2", "d/a": b"1"},
    ),
    Case("the last one wins", [{"m": b"1", "x": b"x"}, {"m": b"2"}], {"m": b"2", "x": b"x"}, ("m in model.tar.gz",)),
    Case(
        "a file where the last has a directory",
        [{"a": b"1"}, {"a": None, "a/b": b"2"}],
        {"a": None, "a/b": b"2"},
        ("a in model",),
    ),
    Case(
        "a directory where the last has a file",
        [{"a": None, "a/b": b"1"}, {"a": b"2"}],
        {"a": b"2"},
        ("a in", "a/b in"),
    ),
    Case("links", [{"l": Path("m"), "m": b"1"}, {"n": b"2"}], {"n": b"2", "l": Path("m"), "m": b"1"}),
    Case(
        "ten hosts, sorted by number", [{"m": str(each).encode()} for each in range(1, 11)], {"m": b"10"}, ("m in",) * 9
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.description)
def test_archives(objects: FilesystemObjects, case: Case) -> None:
    """The members of all hosts; of one name the last host's, and that is said."""
    said: list[str] = []
    outputs = staged(objects, *case.trees)
    assert commit(objects, list(reversed(outputs)), said.append) == ""
    assert unpacked(objects, "out/j/output/model.tar.gz") == case.want
    assert len(said) == len(case.said)
    assert all(line.startswith(start) for line, start in zip(said, case.said, strict=True))
    assert [each.key for each in objects.list(BUCKET, "stage")] == []


def test_plain_files(objects: FilesystemObjects) -> None:
    """CompressionType NONE: an object that several hosts have is the last one's."""
    outputs = []
    for host in ("algo-1", "algo-2"):
        output = StagedOutput(bucket=BUCKET, staged=f"stage/{host}/model/m", target="out/j/output/model/m")
        objects.write(BUCKET, output.staged, iter([host.encode()]))
        outputs.append(output)
    said: list[str] = []
    assert commit(objects, outputs, said.append) == ""
    assert b"".join(objects.read(BUCKET, "out/j/output/model/m")) == b"algo-2"
    assert said == ["model/m: 2 hosts have written it; the last one's is kept"]
    assert [each.key for each in objects.list(BUCKET, "stage")] == []


class KilledError(Exception):
    pass


class Mortal(FilesystemObjects):
    """Dies at the n-th change."""

    def __init__(self, root: Path, changes: int) -> None:
        super().__init__(root)
        self._left = changes

    def _change(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise KilledError

    def write(self, bucket: str, key: str, pieces: Iterator[bytes]) -> ObjectInfo:  # type: ignore[override]
        self._change()
        return super().write(bucket, key, pieces)

    def move(self, bucket: str, source: str, target: str) -> None:
        self._change()
        super().move(bucket, source, target)

    def delete(self, bucket: str, key: str, *, check: ObjectCheck | None = None) -> None:
        self._change()
        super().delete(bucket, key, check=check)


@pytest.mark.parametrize("changes", range(7))
def test_killed_at_any_point(objects: FilesystemObjects, changes: int) -> None:
    """Done again from the beginning, it comes to the same end."""
    outputs = staged(objects, {"a": b"1"}, {"b": b"2"}) + staged(objects, {}, {"p": b"3"}, name="output.tar.gz")
    try:
        commit(Mortal(objects.root, changes), outputs, lambda _: None)
    except KilledError:
        assert changes < 6
    assert commit(objects, outputs, lambda _: None) == ""
    assert unpacked(objects, "out/j/output/model.tar.gz") == {"b": b"2", "a": b"1"}
    assert unpacked(objects, "out/j/output/output.tar.gz") == {"p": b"3"}
    assert [each.key for each in objects.list(BUCKET, "stage")] == []


def test_what_cannot_be_put_stays(objects: FilesystemObjects) -> None:
    """An archive that is damaged is not thrown away, and the reason says where it is; one that is nowhere is lost."""
    outputs = staged(objects, {"a": b"1"}, {"b": b"2"})
    objects.write(BUCKET, outputs[0].staged, iter([packed({"a": b"1"})[:-20]]))
    reason = commit(objects, outputs, lambda _: None)
    assert reason.startswith("InternalServerError: ")
    assert "stays at s3://bucket/stage/algo-1/model.tar.gz and s3://bucket/stage/algo-2/model.tar.gz" in reason
    assert len(list(objects.list(BUCKET, "stage"))) == 2
    objects.delete(BUCKET, outputs[0].staged)
    assert "An output is lost" in commit(objects, outputs, lambda _: None)
