"""What every implementation of the seam `Objects` promises."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from treadle.errors import BucketNotEmpty, BucketNotFound, ObjectError, ObjectNotFound
from treadle.objects.filesystem import FilesystemObjects
from treadle.objects.memory import MemoryObjects
from treadle.seams import CommonPrefix, ObjectInfo, ObjectProperties, Objects

# The last one keeps properties as it must on file systems without extended attributes.
IMPLEMENTATIONS = ["memory", "filesystem", "filesystem, plain"]

AWKWARD = [
    "a", "a/b", "a/b/c", "a-b", "a.b", "a0", "a/", "a//", "a//b", "/", "//", "/a", ".", "..", "./x", "../x", "a/../b", "a/./b",
    "a%", "a%25", "a%2Fb", "%", "%-", "%+", "%2E", "a/%", "\x00", "a\x00b", "a\nb", "\x7f", "\x85", "A", "É", "é", "e\u0301", "😀", "\uffff",
    "x" * 254, "x" * 255, "x" * 256, "x" * 253 + "..", "x" * 253 + "/..", "é" * 512, "\x01" * 1024, "y" * 1024, "x" * 200, "x" * 200 + "/b", "x" * 201,
    "con", "a b", " ", "a\\b", ".treadle/tmp/x", "~", "-", "*", "?",
]  # fmt: skip


@contextlib.contextmanager
def made(kind: str) -> Iterator[Objects]:
    with TemporaryDirectory() as directory:
        root = Path(directory) / "s3"
        objects: Objects = (
            MemoryObjects() if kind == "memory" else FilesystemObjects(root, attributes=kind == "filesystem")
        )
        objects.create_bucket("bucket")
        yield objects


@pytest.fixture(params=IMPLEMENTATIONS)
def objects(request: pytest.FixtureRequest) -> Iterator[Objects]:
    with made(request.param) as each:
        yield each


def put(objects: Objects, key: str, content: bytes = b"x") -> None:
    objects.write("bucket", key, iter([content]))


def get(objects: Objects, key: str) -> bytes:
    return b"".join(objects.read("bucket", key))


def keys(objects: Objects, prefix: str = "", start_after: str = "") -> list[str]:
    return [each.key for each in objects.list("bucket", prefix, start_after=start_after)]


def test_what_was_written_is_read(objects: Objects) -> None:
    """An object holds the pieces that were written, and its etag is their MD5."""
    written = objects.write("bucket", "digits/train.csv", iter([b"1,2\n", b"", b"3,4\n"]))
    assert get(objects, "digits/train.csv") == b"1,2\n3,4\n"
    assert objects.head("bucket", "digits/train.csv") == written
    assert (written.key, written.size) == ("digits/train.csv", 8)
    assert written.etag == hashlib.md5(b"1,2\n3,4\n").hexdigest()
    assert list(objects.list("bucket")) == [written]


def test_an_object_is_replaced(objects: Objects) -> None:
    """A second write of a key replaces the first."""
    put(objects, "a", b"one")
    put(objects, "a", b"two, longer")
    assert get(objects, "a") == b"two, longer"
    assert keys(objects) == ["a"]


def test_a_reader_goes_on_with_what_it_opened(objects: Objects) -> None:
    """An object that is replaced or removed while it is read is read to its end as it was."""
    content = bytes(range(256)) * 20_000
    put(objects, "a", content)
    reader = objects.read("bucket", "a")
    first = next(reader)
    put(objects, "a", b"other")
    objects.delete("bucket", "a")
    assert first + b"".join(reader) == content


@pytest.mark.parametrize(
    ("start", "length", "want"),
    [
        pytest.param(0, None, b"0123456789", id="all"),
        pytest.param(3, None, b"3456789", id="from"),
        pytest.param(3, 4, b"3456", id="range"),
        pytest.param(8, 100, b"89", id="past the end"),
        pytest.param(10, 1, b"", id="at the end"),
        pytest.param(99, None, b"", id="after the end"),
        pytest.param(2, 0, b"", id="nothing"),
    ],
)
def test_ranges(objects: Objects, start: int, length: int | None, want: bytes) -> None:
    """`start` and `length` choose bytes as a range request does."""
    put(objects, "a", b"0123456789")
    assert b"".join(objects.read("bucket", "a", start=start, length=length)) == want


def test_all_awkward_keys_live_side_by_side(objects: Objects) -> None:
    """Keys that no file system takes are kept apart, listed in binary order, and removed one by one."""
    for key in AWKWARD:
        put(objects, key, key.encode())
    assert keys(objects) == sorted(AWKWARD, key=str.encode)
    for key in AWKWARD:
        assert get(objects, key) == key.encode()
    for index, key in enumerate(AWKWARD):
        objects.delete("bucket", key)
        assert keys(objects) == sorted(AWKWARD[index + 1 :], key=str.encode)


SEGMENTS = st.text(st.characters(blacklist_categories=["Cs"]), max_size=6) | st.sampled_from(
    ["", ".", "..", "a", "b", "a-", "a%", "%", "%-", "%+", "a" * 200, "a" * 201, "a" * 254, "a" * 255, "\x00"]
)
KEYS = (
    st.lists(SEGMENTS, min_size=1, max_size=5).map("/".join).filter(lambda key: 0 < len(key.encode()) <= 1024)
    | st.text(st.sampled_from("a%/.-+"), min_size=1, max_size=12)
)  # fmt: skip


@pytest.mark.parametrize("kind", IMPLEMENTATIONS)
@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(wanted=st.sets(KEYS, max_size=8), prefix=st.just("") | KEYS, after=st.just("") | KEYS)
@example(wanted={"a", "a/b", "a-b", "a/"}, prefix="a/", after="a/")
@example(wanted={"a" * 201 + "b" * 60, "a" * 201, "a" * 200, "a" * 200 + "/b"}, prefix="a" * 200, after="a" * 200)
def test_any_keys_round_trip_in_order(kind: str, wanted: set[str], prefix: str, after: str) -> None:
    """Whatever keys are written are listed in UTF-8 order, with any prefix and start, and can all be read."""
    with made(kind) as objects:
        for key in wanted:
            put(objects, key, key.encode())
        assert keys(objects) == sorted(wanted, key=str.encode)
        assert keys(objects, prefix, after) == [
            key for key in sorted(wanted, key=str.encode) if key.startswith(prefix) and key.encode() > after.encode()
        ]
        assert objects.holds("bucket", prefix) == any(key.startswith(prefix) for key in wanted)
        assert all(get(objects, key) == key.encode() for key in wanted)


@pytest.mark.parametrize("kind", IMPLEMENTATIONS)
@settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["write", "delete", "delete both", "move"]),
            *[st.sampled_from(["a", "a/b", "a/b/c", "a/", "b", "b/a"])] * 2,
        ),
        max_size=15,
    )
)
def test_any_history_ends_as_in_a_dictionary(kind: str, steps: list[tuple[str, str, str]]) -> None:
    """Writes, deletions and moves of keys that are in each other's way leave what a dictionary would hold."""
    with made(kind) as objects:
        model: dict[str, bytes] = {}
        for number, (step, one, other) in enumerate(steps):
            content = str(number).encode()
            if step == "write":
                put(objects, one, content)
                model[one] = content
            elif step == "delete":
                objects.delete("bucket", one)
                model.pop(one, None)
            elif step == "delete both":
                with objects.deleting("bucket") as delete:
                    for key in (one, other):
                        delete(key)
                        model.pop(key, None)
            elif one in model:
                objects.move("bucket", one, other)
                model[other] = model.pop(one)
            else:
                with pytest.raises(ObjectNotFound):
                    objects.move("bucket", one, other)
            assert {key: get(objects, key) for key in keys(objects)} == model
            for prefix in ("", "a", "a/", "a/b", "a/b/", "b", "b/", "c"):
                assert objects.holds("bucket", prefix) == any(key.startswith(prefix) for key in model), prefix


def test_a_moved_object_keeps_its_content(objects: Objects) -> None:
    """A move replaces its target and leaves nothing at its source."""
    put(objects, "staging/1/model.tar.gz", b"model")
    put(objects, "job/output/model.tar.gz", b"old")
    objects.move("bucket", "staging/1/model.tar.gz", "job/output/model.tar.gz")
    assert keys(objects) == ["job/output/model.tar.gz"]
    assert get(objects, "job/output/model.tar.gz") == b"model"
    assert objects.head("bucket", "job/output/model.tar.gz").etag == hashlib.md5(b"model").hexdigest()


def test_files_go_in_and_out(objects: Objects, tmp_path: Path) -> None:
    """`upload` and `download` carry a file's bytes; directories on the way are made, what is there is replaced."""
    source, target = tmp_path / "in", tmp_path / "new" / "out"
    content = bytes(range(256)) * 10_000
    source.write_bytes(content)
    assert objects.upload(source, "bucket", "a").size == len(content)
    for _ in range(2):
        objects.download("bucket", "a", target)
        assert target.read_bytes() == content
    source.write_bytes(b"changed")
    target.write_bytes(b"changed")
    assert get(objects, "a") == content


def test_a_download_writes_through_no_link(objects: Objects, tmp_path: Path) -> None:
    """What stands in the place of a download is replaced, never written to: neither through a hard nor a soft link."""
    put(objects, "a", b"new")
    precious, target = tmp_path / "precious", tmp_path / "target"
    precious.write_bytes(b"old")
    target.symlink_to(precious)
    objects.download("bucket", "a", target)
    assert (precious.read_bytes(), target.read_bytes(), target.is_symlink()) == (b"old", b"new", False)
    target.unlink()
    target.hardlink_to(precious)
    objects.download("bucket", "a", target)
    assert (precious.read_bytes(), target.read_bytes()) == (b"old", b"new")


def test_a_write_that_fails_leaves_what_was_there(objects: Objects) -> None:
    """When the pieces end in an error, the object is as it was, and no other has appeared."""

    def pieces() -> Iterator[bytes]:
        yield b"half"
        raise RuntimeError

    put(objects, "a", b"whole")
    for key in ("a", "b"):
        with pytest.raises(RuntimeError):
            objects.write("bucket", key, pieces())
    assert keys(objects) == ["a"]
    assert get(objects, "a") == b"whole"


def test_missing_things_are_said_to_be_missing(objects: Objects, tmp_path: Path) -> None:
    """What is not there raises `ObjectNotFound` at the call, and says whether it is the bucket or the object."""
    put(objects, "a/b")
    for key in ("b", "a", "a/", "a/b/c", "k" * 2000):
        for call in (objects.head, objects.read, lambda bucket, key: objects.download(bucket, key, tmp_path / "x")):
            with pytest.raises(ObjectNotFound, match="no object s3://bucket/"):
                call("bucket", key)
        objects.delete("bucket", key)
    assert keys(objects) == ["a/b"]
    for missing in (
        lambda: objects.list("nowhere"),
        lambda: objects.holds("nowhere"),
        lambda: objects.head("nowhere", "a"),
        lambda: objects.read("nowhere", "a"),
        lambda: objects.write("nowhere", "a", iter([b"x"])),
        lambda: objects.delete("nowhere", "a"),
        lambda: objects.move("nowhere", "a", "b"),
    ):
        with pytest.raises(ObjectNotFound, match="no bucket 'nowhere'"):
            missing()


@pytest.mark.parametrize(
    "key", ["", "k" * 1025, "é" * 513, "\ud800"], ids=["empty", "long", "long in UTF-8", "surrogate"]
)
def test_keys_that_no_object_can_have(objects: Objects, key: str) -> None:
    """A key is 1 to 1,024 bytes of Unicode text."""
    with pytest.raises(ObjectError, match="key"):
        put(objects, key)


def test_buckets(objects: Objects) -> None:
    """Buckets are sorted, making one twice does no harm, and names follow the rules of Amazon S3."""
    put(objects, "a", b"stays")
    for name in ("zebra", "bucket", "a.b-c"):
        objects.create_bucket(name)
    assert objects.buckets() == ["a.b-c", "bucket", "zebra"]
    names = ("bucket", "a.b-c", "buckets", "bucket/", ".", "..", "../x", "", "\0")
    assert [each for each in names if objects.has_bucket(each)] == ["bucket", "a.b-c"]
    assert get(objects, "a") == b"stays"
    for name in (
        "",
        "ab",
        "A-b",
        ".treadle",
        "../x",
        "a/b",
        "a..b",
        "-ab",
        "1.2.3.4",
        "a" * 64,
        "a_b",
        "ab\n",
        "abc\n",
    ):
        with pytest.raises(ObjectError, match="no name for a bucket"):
            objects.create_bucket(name)


def test_writers_at_once_do_not_harm_each_other(objects: Objects) -> None:
    """Threads that write keys in each other's way all succeed, and readers see a whole object or none."""
    names = ["a", "a/b", "a/b/c", "a/b/c/d"]
    seen: list[bytes] = []

    def work(key: str) -> None:
        for _ in range(10):
            put(objects, key, key.encode() * 1000)
            seen.append(get(objects, key))
            objects.delete("bucket", key)
        put(objects, key, key.encode() * 1000)

    threads = [threading.Thread(target=work, args=(key,)) for key in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert keys(objects) == names
    assert len(seen) == 40
    assert set(seen) <= {key.encode() * 1000 for key in names}


# ---------------------------------------------------------------------------------------------------------------------
# Readers, stages, properties, checks
# ---------------------------------------------------------------------------------------------------------------------

PROPERTIES = ObjectProperties(
    headers=(("content-type", "text/csv"), ("cache-control", "no-store")),
    metadata=(("author", "Ä. Nother"),),
    checksums=(("CRC32", "AAAAAA=="),),
    checksum_type="FULL_OBJECT",
    parts=((5 << 20, 2), (1, 1)),
    upload_id="u1",
)


def stage(objects: Objects, key: str, content: bytes, **options: Any) -> ObjectInfo:
    with objects.stage("bucket") as begun:
        begun.write(content)
        return begun.commit(key, **options)


def test_properties_stay_with_the_object(objects: Objects) -> None:
    """They are in every answer about the object, move with it, and go when it is replaced or removed."""
    written = stage(objects, "a", b"1", properties=PROPERTIES, etag="e-2")
    assert (written.properties, written.etag) == (PROPERTIES, "e-2")
    assert objects.head("bucket", "a") == written
    assert list(objects.list("bucket")) == list(objects.browse("bucket")) == [written]
    objects.move("bucket", "a", "b/a")
    assert (objects.head("bucket", "b/a").properties, objects.head("bucket", "b/a").etag) == (PROPERTIES, "e-2")
    put(objects, "b/a", b"2")
    assert objects.head("bucket", "b/a").properties == ObjectProperties()
    stage(objects, "b/a", b"3", properties=PROPERTIES)
    objects.delete("bucket", "b/a")
    put(objects, "b/a", b"3")
    assert objects.head("bucket", "b/a").properties == ObjectProperties()


def test_properties_may_be_large(objects: Objects) -> None:
    """Properties are kept whatever a file system says to their size."""
    large = ObjectProperties(metadata=(("a", "x" * 100_000),))
    stage(objects, "a", b"1", properties=large)
    assert objects.head("bucket", "a").properties == large
    stage(objects, "a", b"22", properties=PROPERTIES)
    assert objects.head("bucket", "a").properties == PROPERTIES
    stage(objects, "a", b"1", properties=large)
    objects.move("bucket", "a", "c")
    assert objects.head("bucket", "c").properties == large
    put(objects, "a", b"1")
    assert objects.head("bucket", "a").properties == ObjectProperties()


def test_nothing_is_seen_before_the_commit(objects: Objects) -> None:
    """A stage that is closed, or left by an error, leaves nothing; what is there stays until the commit."""
    put(objects, "a", b"old")
    with objects.stage("bucket") as begun:
        begun.write(b"new")
        assert begun.digest() == hashlib.md5(b"new").hexdigest()
        assert get(objects, "a") == b"old"
    begun.close()
    assert get(objects, "a") == b"old"
    with pytest.raises(BucketNotFound):
        objects.stage("nowhere")


def test_a_stage_takes_parts_of_objects(objects: Objects) -> None:
    """Ranges of open objects and bytes follow each other in the order in which they came; the etag is of the whole."""
    put(objects, "a", b"0123456789")
    with objects.open("bucket", "a") as source, objects.stage("bucket") as begun:
        begun.write(b"<")
        begun.append(source, 2, 3)
        begun.append(source, 8)
        begun.append(source)
        begun.append(source, 3, 0)
        begun.write(b">")
        info = begun.commit("b")
    assert get(objects, "b") == b"<234890123456789>"
    assert info.etag == hashlib.md5(b"<234890123456789>").hexdigest()


def test_a_reader_holds_one_object(objects: Objects) -> None:
    """Information and bytes of a reader are of the object that it opened, whatever takes its place."""
    stage(objects, "a", b"first", properties=PROPERTIES)
    with objects.open("bucket", "a") as reader:
        stage(objects, "a", b"second")
        assert (reader.info.size, reader.info.properties) == (5, PROPERTIES)
        assert (b"".join(reader.read()), b"".join(reader.read(1, 2))) == (b"first", b"ir")
    with pytest.raises(ObjectNotFound):
        objects.open("bucket", "b")


class RefusedError(Exception):
    """Raised by a check."""


def test_a_check_sees_what_is_there_and_may_refuse(objects: Objects) -> None:
    """What a check raises is raised, and nothing has changed: no object, no properties, no directory."""
    seen: list[ObjectInfo | None] = []

    def refuse(present: ObjectInfo | None) -> None:
        seen.append(present)
        raise RefusedError

    there = stage(objects, "a", b"1", properties=PROPERTIES)
    for key in ("a", "new/b"):
        with pytest.raises(RefusedError):
            stage(objects, key, b"22", check=refuse)
        with pytest.raises(RefusedError):
            objects.delete("bucket", key, check=refuse)
    assert seen == [there, there, None, None]
    assert list(objects.list("bucket")) == [there]
    stage(objects, "a", b"2", check=seen.append)
    objects.delete("bucket", "a", check=seen.append)
    assert [each and each.size for each in seen[4:]] == [1, 1]
    assert keys(objects) == []


def _then_raise(work: Callable[[], None]) -> None:
    work()
    raise RefusedError


def test_many_are_deleted_together(objects: Objects) -> None:
    """One that may not go stays, and keeps no other from going; an error of the caller's undoes nothing."""

    def refuse(_: ObjectInfo | None) -> None:
        raise RefusedError

    for key in ("a", "a/b", "a/c/d", "e"):
        stage(objects, key, b"1", properties=PROPERTIES)
    with objects.deleting("bucket") as delete:
        for key in ("a/b", "absent", "no/where", "a/b"):
            delete(key)
        with pytest.raises(RefusedError):
            delete("a", check=refuse)
        delete("a/c/d")
    assert keys(objects) == ["a", "e"]
    assert objects.head("bucket", "a").properties == PROPERTIES
    with pytest.raises(RefusedError), objects.deleting("bucket") as delete:
        _then_raise(partial(delete, "e"))
    assert keys(objects) == ["a"]
    put(objects, "e", b"2")
    assert objects.head("bucket", "e").properties == ObjectProperties()
    with pytest.raises(BucketNotFound), objects.deleting("nowhere") as delete:
        delete("a")


def test_only_one_of_many_creates(objects: Objects) -> None:
    """A check and the write that it allows are one: of many who write only if there is nothing, one succeeds."""

    def absent(present: ObjectInfo | None) -> None:
        if present is not None:
            raise RefusedError

    created = []

    def create(number: int) -> None:
        with contextlib.suppress(RefusedError):
            stage(objects, "a", str(number).encode(), check=absent)
            created.append(number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [str(number).encode() for number in created] == [get(objects, "a")]


BROWSED = ["a", "a/", "a/b", "a/b/c", "a-b", "b/x", "b/y", "c//d", "d%", "e/f/g", "\U0010ffff/z"]


def test_browsing(objects: Objects) -> None:
    """Browsing gives what grouping the plain listing by the first delimiter after the prefix gives."""
    for key in BROWSED:
        put(objects, key)
    for prefix in ("", "a", "a/", "a/b", "b/", "c/", "c//", "e/", "nothing/"):
        for after in ("", "a", "a/", "a/b", "a/b/c", "b/x", "b/y", "z"):
            for delimiter in ("/", "b", "/b", ""):
                found = objects.browse("bucket", prefix, delimiter=delimiter, start_after=after)
                names = [each.prefix if isinstance(each, CommonPrefix) else each.key for each in found]
                assert names == _browsed(prefix, after, delimiter), (prefix, after, delimiter)


def _browsed(prefix: str, after: str, delimiter: str) -> list[str]:
    want: list[str] = []
    for key in sorted(BROWSED, key=str.encode):
        if key.startswith(prefix) and key > after:
            end = key.find(delimiter, len(prefix)) if delimiter else -1
            name = key if end < 0 else key[: end + len(delimiter)]
            if name not in want:
                want.append(name)
    return want


def test_buckets_know_when_they_were_made(objects: Objects) -> None:
    """The time of a bucket is that of its making, whatever is written to it later."""
    before = objects.bucket_made_at("bucket")
    assert abs(time.time() - before) < 60
    put(objects, "a")
    objects.create_bucket("bucket")
    assert objects.bucket_made_at("bucket") == before
    with pytest.raises(BucketNotFound):
        objects.bucket_made_at("nowhere")


def test_a_bucket_with_objects_is_not_deleted(objects: Objects) -> None:
    """Only an empty bucket can be removed; one of the same name made later knows nothing of it."""
    stage(objects, "a/b", b"1", properties=ObjectProperties(metadata=(("a", "x" * 100_000),)))
    with pytest.raises(BucketNotEmpty):
        objects.delete_bucket("bucket")
    objects.delete("bucket", "a/b")
    objects.delete_bucket("bucket")
    with pytest.raises(BucketNotFound):
        objects.delete_bucket("bucket")
    assert objects.buckets() == []
