"""What only the objects in files promise: whole or absent, nothing outside the tree, plain to look at."""

from __future__ import annotations

import hashlib
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from treadle.errors import BucketNotEmpty, NoRoom, ObjectError, ObjectNotFound
from treadle.objects.filesystem import FilesystemObjects
from treadle.seams import ObjectProperties

WORKSHOP = ".treadle/tmp"


@pytest.fixture
def objects(tmp_path: Path) -> FilesystemObjects:
    made = FilesystemObjects(tmp_path / "s3")
    made.create_bucket("bucket")
    return made


def put(objects: FilesystemObjects, key: str, content: bytes = b"x") -> None:
    objects.write("bucket", key, iter([content]))


def get(objects: FilesystemObjects, key: str) -> bytes:
    return b"".join(objects.read("bucket", key))


def keys(objects: FilesystemObjects) -> list[str]:
    return [each.key for each in objects.list("bucket")]


def files(root: Path) -> list[str]:
    return sorted(str(each.relative_to(root)) for each in root.rglob("*") if each.is_file())


def names(directory: Path) -> list[str]:
    return sorted(each.name for each in directory.iterdir())


def test_an_ordinary_key_is_a_path(objects: FilesystemObjects) -> None:
    """A person finds the object where its key says."""
    put(objects, "digits/train/train 1.csv", b"1,2\n")
    assert (objects.root / "bucket/digits/train/train 1.csv").read_bytes() == b"1,2\n"
    assert objects.path("bucket", "digits/train/train 1.csv") == objects.root / "bucket/digits/train/train 1.csv"


@pytest.mark.parametrize("order", [("a", "a/b"), ("a/b", "a")], ids="-then-".join)
def test_a_directory_displaces_a_file(objects: FilesystemObjects, order: tuple[str, str]) -> None:
    """`a` beside `a/b` is kept in `a%`, whichever came first."""
    for key in order:
        put(objects, key, key.encode())
    assert files(objects.root / "bucket") == ["a%", "a/b"]
    assert objects.path("bucket", "a") == objects.root / "bucket" / "a%"
    put(objects, "a", b"again")
    objects.delete("bucket", "a/b")
    assert (files(objects.root / "bucket"), get(objects, "a")) == (["a%"], b"again")
    put(objects, "a", b"home again")
    assert (files(objects.root / "bucket"), get(objects, "a")) == (["a"], b"home again")


def test_the_first_of_two_places_counts(objects: FilesystemObjects) -> None:
    """Where a crash left both files of an object, `a` is it, and no change brings `a%` to light."""
    for change in ("delete", "move"):
        (objects.root / "bucket" / "a").write_bytes(b"new")
        (objects.root / "bucket" / "a%").write_bytes(b"old")
        assert (keys(objects), get(objects, "a")) == (["a"], b"new")
        if change == "delete":
            objects.delete("bucket", "a")
            assert keys(objects) == []
        else:
            objects.move("bucket", "a", "b")
            assert keys(objects) == ["b"]


def test_empty_directories_go(objects: FilesystemObjects) -> None:
    """With its last object a directory goes, and a bucket stays."""
    put(objects, "a/b/c/d")
    put(objects, "a/x")
    objects.delete("bucket", "a/b/c/d")
    assert names(objects.root / "bucket" / "a") == ["x"]
    objects.move("bucket", "a/x", "y")
    assert names(objects.root / "bucket") == ["y"]
    with pytest.raises(ObjectError, match="not empty"):
        objects.delete_bucket("bucket")
    objects.delete("bucket", "y")
    assert objects.buckets() == ["bucket"]
    objects.delete_bucket("bucket")
    assert objects.buckets() == []


def test_what_a_person_puts_there_is_an_object(objects: FilesystemObjects) -> None:
    """A file copied into the tree by hand is listed without an etag, and has one when it is asked for."""
    (objects.root / "bucket" / "by-hand.csv").write_bytes(b"1")
    os.utime(objects.root / "bucket" / "by-hand.csv", (0, 0))
    assert [(each.key, each.size, each.etag) for each in objects.list("bucket")] == [("by-hand.csv", 1, "")]
    want = hashlib.md5(b"1").hexdigest()
    assert [objects.head("bucket", "by-hand.csv").etag for _ in range(2)] == [want, want]


def test_a_file_that_was_edited_has_a_new_etag(objects: FilesystemObjects) -> None:
    """A remembered etag holds for the size and the time of the file that it was computed for."""
    put(objects, "a", b"one")
    (objects.root / "bucket" / "a").write_bytes(b"two")
    os.utime(objects.root / "bucket" / "a", (1, 1))
    assert objects.head("bucket", "a").etag == hashlib.md5(b"two").hexdigest()


def test_what_is_no_object_is_not_listed(objects: FilesystemObjects) -> None:
    """Links, FIFOs and names that no key has are no objects, and do no harm."""
    bucket = objects.root / "bucket"
    put(objects, "dir/a")
    (bucket / "link").symlink_to(bucket / "dir" / "a")
    (bucket / "linked").symlink_to(bucket / "dir")
    os.mkfifo(bucket / "fifo")
    for name in (b"bad%zz", b"bad%41", b"\xff", b"%", b"plain%%"):
        Path(os.fsdecode(os.fsencode(bucket) + b"/" + name)).write_bytes(b"x")
    assert keys(objects) == ["dir/a"]
    for key in ("link", "linked/a", "fifo", "bad%zz"):
        with pytest.raises(ObjectNotFound):
            objects.head("bucket", key)
        objects.delete("bucket", key)
    assert (bucket / "link").is_symlink()
    put(objects, "link", b"object")
    assert (get(objects, "link"), get(objects, "dir/a")) == (b"object", b"x")


def test_no_link_leads_out_of_the_tree(objects: FilesystemObjects, tmp_path: Path) -> None:
    """A symbolic link to a directory elsewhere is neither read nor written through, and a bucket is none."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (objects.root / "bucket" / "way").symlink_to(outside)
    (objects.root / "linked").symlink_to(outside)
    assert objects.buckets() == ["bucket"]
    for bucket, key in (("bucket", "way/secret"), ("linked", "secret"), ("bucket", "../../outside/secret")):
        with pytest.raises(ObjectNotFound):
            objects.read(bucket, key)
        with pytest.raises(ObjectNotFound):
            objects.download(bucket, key, tmp_path / "got")
    with pytest.raises(ObjectError):
        put(objects, "way/in")
    with pytest.raises(ObjectError):
        objects.create_bucket("linked")
    put(objects, "../../outside/secret", b"mine")
    assert (names(outside), (outside / "secret").read_bytes()) == (["secret"], b"secret")


def test_a_directory_can_be_shown_only_when_it_shows_the_keys(objects: FilesystemObjects) -> None:
    """`plain_directory` is there for prefixes whose files are named as their keys are."""
    put(objects, "plain/train/a.csv")
    put(objects, "odd/train/a%b.csv")
    assert objects.plain_directory("bucket", "plain/train/") == objects.root / "bucket/plain/train"
    assert objects.plain_directory("bucket", "plain/") == objects.root / "bucket/plain"
    assert objects.plain_directory("bucket", "") is None
    assert objects.plain_directory("bucket", "odd/") is None
    assert objects.plain_directory("bucket", "nowhere/") is None
    (objects.root / "bucket/plain/train/link").symlink_to("/etc/passwd")
    assert objects.plain_directory("bucket", "plain/train/") is None


def test_large_objects_pass_through_little_memory(objects: FilesystemObjects, tmp_path: Path) -> None:
    """Writing, reading and copying hold a few pieces in memory, not the object."""
    piece = bytes(1 << 20)
    tracemalloc.start()
    try:
        objects.write("bucket", "large", (piece for _ in range(64)))
        assert sum(map(len, objects.read("bucket", "large"))) == 64 << 20
        objects.download("bucket", "large", tmp_path / "large")
        objects.upload(tmp_path / "large", "bucket", "again")
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert objects.head("bucket", "again").size == 64 << 20


WRITER = """
import sys
from pathlib import Path
from treadle.objects.filesystem import FilesystemObjects
objects = FilesystemObjects(Path(sys.argv[1]))
def pieces(number):
    for _ in range(8):
        yield bytes([number % 256]) * 4096
        print(number, flush=True)
for number in range(1_000_000):
    objects.write("bucket", ("a", "a/b", "c/d/e")[number % 3], pieces(number))
"""


def start_writer(objects: FilesystemObjects) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", WRITER, str(objects.root)], stdout=subprocess.PIPE)


def read_until(process: subprocess.Popen[bytes], lines: int) -> None:
    assert process.stdout
    for _ in range(lines):
        assert select.select([process.stdout], [], [], 30)[0]
        assert process.stdout.readline()


@pytest.mark.parametrize("lines", [1, 4, 9, 30, 61])
def test_a_killed_writer_leaves_whole_objects(objects: FilesystemObjects, lines: int) -> None:
    """Whenever a writer is killed, each object is one that it wrote, whole; what it left is swept, not listed."""
    with start_writer(objects) as process:
        read_until(process, lines)
        process.send_signal(signal.SIGKILL)
        process.wait()
    for key in keys(objects):
        content = get(objects, key)
        assert (len(content), len(set(content))) == (8 * 4096, 1)
    put(objects, "next")
    assert files(objects.root / WORKSHOP) == []


DELETER = """
import sys
from pathlib import Path
from treadle.objects.filesystem import FilesystemObjects
with FilesystemObjects(Path(sys.argv[1])).deleting("bucket") as delete:
    for number in range(400):
        delete(f"{number % 4}/{number}")
        print(number, flush=True)
"""


@pytest.mark.parametrize("lines", [1, 150, 400])
def test_a_killed_deletion_leaves_whole_objects(objects: FilesystemObjects, lines: int) -> None:
    """What it has come to is gone, what it has not is as it was, and the next one has the bucket."""
    for number in range(400):
        put(objects, f"{number % 4}/{number}", b"content")
    argv = [sys.executable, "-c", DELETER, str(objects.root)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        read_until(process, lines)
        process.send_signal(signal.SIGKILL)
        process.wait()
    left = keys(objects)
    assert not set(left) & {f"{number % 4}/{number}" for number in range(lines)}
    assert all(get(objects, key) == b"content" for key in left)
    with objects.deleting("bucket") as delete:
        for key in left:
            delete(key)
    objects.delete_bucket("bucket")


def test_living_writers_are_not_swept(objects: FilesystemObjects) -> None:
    """A sweep leaves alone what somebody is still writing."""

    def pieces() -> Iterator[bytes]:
        yield b"one "
        assert FilesystemObjects(objects.root).sweep() == 0
        yield b"two"

    (objects.root / WORKSHOP).mkdir(parents=True)
    (objects.root / WORKSHOP / "dead").write_bytes(b"left behind")
    objects.write("bucket", "a", pieces())
    assert get(objects, "a") == b"one two"
    assert files(objects.root) == ["bucket/a"]


def test_a_listing_survives_changes(objects: FilesystemObjects) -> None:
    """Objects that go while they are listed are left out; the rest comes."""
    for key in ("a/1", "a/2", "b/1", "c"):
        put(objects, key)
    listing = objects.list("bucket")
    assert next(listing).key == "a/1"
    objects.delete("bucket", "a/2")
    objects.delete("bucket", "b/1")
    assert [each.key for each in listing] == ["c"]


def test_a_home_without_objects_has_no_buckets(tmp_path: Path) -> None:
    """Nothing is made before it is needed."""
    objects = FilesystemObjects(tmp_path / "s3")
    assert objects.buckets() == []
    with pytest.raises(ObjectNotFound):
        objects.list("bucket")
    assert not (tmp_path / "s3").exists()


def test_uploads_want_files(objects: FilesystemObjects, tmp_path: Path) -> None:
    """Neither a directory nor nothing can be uploaded, and the error names it."""
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(ObjectError, match=str(path)):
            objects.upload(path, "bucket", "a")
    assert keys(objects) == []


def test_a_file_of_somebody_has_no_properties(objects: FilesystemObjects) -> None:
    """What is put in the place of an object by hand is a file like any other: properties are not taken for its own."""
    for attributes in (True, False):
        store = FilesystemObjects(objects.root, attributes=attributes)
        with store.stage("bucket") as stage:
            stage.write(b"one")
            stage.commit("a", properties=ObjectProperties(metadata=(("a", "b"),)), etag="x-2")
        path = store.path("bucket", "a")
        assert store.head("bucket", "a").etag == "x-2"
        path.unlink()
        path.write_bytes(b"two")
        info = store.head("bucket", "a")
        assert (info.etag, info.properties) == (hashlib.md5(b"two").hexdigest(), ObjectProperties())


def test_properties_go_where_the_whole_tree_goes(objects: FilesystemObjects, tmp_path: Path) -> None:
    """A copy of the tree that keeps times keeps properties, however they are kept."""
    for attributes in (True, False):
        store = FilesystemObjects(objects.root, attributes=attributes)
        with store.stage("bucket") as stage:
            stage.write(b"one")
            stage.commit("a", properties=ObjectProperties(metadata=(("a", "b"),)), etag="x-2")
        copy = tmp_path / f"copy-{attributes}"
        shutil.copytree(objects.root, copy)
        assert FilesystemObjects(copy).head("bucket", "a") == store.head("bucket", "a")


def test_large_files_of_somebody_are_not_read_for_an_etag(objects: FilesystemObjects) -> None:
    """A file that would take long to hash is told apart by size and time, in a form that no client takes for an MD5."""
    path = objects.root / "bucket" / "large"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    etag = objects.head("bucket", "large").etag
    assert re.fullmatch(r"[0-9a-f]{32}-1", etag)
    assert objects.head("bucket", "large").etag == etag
    os.utime(path, (1, 1))
    assert objects.head("bucket", "large").etag != etag


def test_a_full_disk_is_said_to_be_full(tmp_path: Path) -> None:
    """Where there is no room the error says so, and nothing is left behind."""
    objects = FilesystemObjects(tmp_path / "s3")
    objects.create_bucket("bucket")
    with objects.stage("bucket") as stage, Path("/dev/full").open("wb") as full:
        os.dup2(full.fileno(), stage.temporary.file)
        with pytest.raises(NoRoom, match="no room left"):
            stage.write(b"x")
    assert files(objects.root) == []


def test_empty_directories_do_not_keep_a_bucket(objects: FilesystemObjects) -> None:
    """A bucket with nothing but directories in it is empty; one with something else in them is not."""
    (objects.root / "bucket" / "a" / "b").mkdir(parents=True)
    (objects.root / "bucket" / "a" / "link").symlink_to("/")
    with pytest.raises(BucketNotEmpty):
        objects.delete_bucket("bucket")
    (objects.root / "bucket" / "a" / "link").unlink()
    objects.delete_bucket("bucket")
    assert objects.buckets() == []


def test_large_directories_are_listed_as_they_are(objects: FilesystemObjects) -> None:
    """What is remembered of a large directory for the next page is not believed once something has changed there."""
    directory = objects.root / "bucket" / "many"
    directory.mkdir()
    want = [f"many/{number:04d}" for number in range(2500)]
    for key in want:
        (objects.root / "bucket" / key).touch()
    os.utime(directory, (1, 1))
    for _ in range(2):
        assert keys(objects) == want
        assert [each.key for each in objects.list("bucket", start_after="many/2497")] == want[2498:]
    put(objects, "many/2497x")
    assert [each.key for each in objects.list("bucket", start_after="many/2497")] == ["many/2497x", *want[2498:]]
    objects.delete("bucket", "many/2498")
    put(objects, "many/2499/x")
    assert [each.key for each in objects.list("bucket", "many/", start_after="many/2497")] == [
        "many/2497x", "many/2499", "many/2499/x"
    ]  # fmt: skip
