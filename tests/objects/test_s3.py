"""Objects over S3's wire, as agents on other machines have them: the service's own endpoint, and its absences."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contracts.test_objects import AWKWARD
from tests.training import s3_world
from tests.training.s3_world import ACCOUNT, KEY, REGION, SECRET

from treadle.aws.sigv4 import Credentials
from treadle.errors import BucketNotFound, NoRoom, ObjectError, ObjectNotFound
from treadle.objects.s3 import S3Objects

MIB = 1 << 20


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3_world.World]:
    with s3_world.world(tmp_path_factory.mktemp("s3")) as made:
        made.objects.create_bucket("bucket")
        yield made


def client(url: str, **options: Any) -> S3Objects:
    return S3Objects(url, Credentials(KEY, SECRET), REGION, **{"patience": 10.0} | options)


@pytest.fixture
def remote(world: s3_world.World) -> S3Objects:
    shutil.rmtree(world.objects.root / "bucket")
    world.objects.create_bucket("bucket")
    return client(world.url)


def test_awkward_keys_go_and_come(world: s3_world.World, remote: S3Objects) -> None:
    """Every key that an object can have is written, listed, read and removed as it is."""
    for key in AWKWARD:
        remote.write("bucket", key, iter([key.encode()]))
    listed = [each.key for each in remote.list("bucket")]
    assert listed == sorted(set(AWKWARD), key=str.encode)
    assert listed == [each.key for each in world.objects.list("bucket")]
    for key in AWKWARD:
        assert b"".join(remote.read("bucket", key)) == key.encode()
        remote.delete("bucket", key)
    assert list(remote.list("bucket")) == []


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(min_size=1, max_size=40).filter(lambda key: len(key.encode("utf-8", "ignore")) > 0))
def test_any_key(world: s3_world.World, key: str) -> None:
    """What the service's own store takes is the same object over the wire; what it refuses is refused."""
    remote = client(world.url)
    try:
        world.objects.write("bucket", key, iter([b"x"]))
    except ObjectError:
        with pytest.raises(ObjectError):
            remote.head("bucket", key)
        return
    there, here = remote.head("bucket", key), world.objects.head("bucket", key)
    assert (there.key, there.size, there.etag) == (here.key, here.size, here.etag)
    assert abs(there.modified_at - here.modified_at) < 1
    world.objects.delete("bucket", key)


def test_a_listing_of_many_pages(world: s3_world.World, remote: S3Objects) -> None:
    """In order, from a key on, and only what has the prefix."""
    directory = world.objects.root / "bucket" / "many"  # objects are plain files; to write each by itself takes longer
    directory.mkdir()
    for number in range(2_300):
        (directory / f"{number:05d}").write_bytes(b"x")
    found = list(remote.list("bucket", "many/", start_after="many/00099"))
    assert [each.key for each in found] == [f"many/{number:05d}" for number in range(100, 2_300)]
    assert {each.size for each in found} == {1}
    assert (remote.holds("bucket", "many/02"), remote.holds("bucket", "many/9")) == (True, False)


@pytest.mark.parametrize("size", [0, 1, 16 * MIB - 1, 16 * MIB, 16 * MIB + 1, 40 * MIB])
def test_sizes_around_that_of_a_part(world: s3_world.World, remote: S3Objects, tmp_path: Path, size: int) -> None:
    """Whole on both ways, and no upload is left behind."""
    source, target = tmp_path / "source", tmp_path / "below" / "target"
    source.write_bytes(os.urandom(size))
    written = remote.upload(source, "bucket", "sized")
    assert (written.size, written.etag) == (size, world.objects.head("bucket", "sized").etag)
    remote.download("bucket", "sized", target)
    assert target.read_bytes() == source.read_bytes()
    assert b"".join(remote.read("bucket", "sized", start=size // 2, length=7)) == source.read_bytes()[size // 2 :][:7]
    assert world.uploads.all("bucket") == []


def test_a_write_that_is_broken_off_leaves_nothing(world: s3_world.World, remote: S3Objects) -> None:
    """Whatever stops the one who has the bytes; not even an upload is left."""

    def pieces() -> Iterator[bytes]:
        yield bytes(17 * MIB)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        remote.write("bucket", "broken", pieces())
    assert list(world.objects.list("bucket")) == []
    assert world.uploads.all("bucket") == []


def test_what_is_not_there(remote: S3Objects, tmp_path: Path) -> None:
    """The same errors as of objects on this machine."""
    with pytest.raises(ObjectNotFound, match="There is no object s3://bucket/none"):
        remote.read("bucket", "none")
    with pytest.raises(ObjectNotFound):
        remote.head("bucket", "none")
    with pytest.raises(ObjectNotFound):
        remote.download("bucket", "none", tmp_path / "none")
    for ask in (remote.list, remote.holds):
        with pytest.raises(BucketNotFound, match='There is no bucket "missing"'):
            ask("missing")
    remote.delete("bucket", "none")
    assert not (tmp_path / "none").exists()


def test_another_secret_is_refused_at_once(world: s3_world.World) -> None:
    """What is wrong with a request is not tried again."""
    stranger = S3Objects(world.url, Credentials(KEY, "another"), REGION, patience=30.0)
    began = time.monotonic()
    with pytest.raises(ObjectError, match="SignatureDoesNotMatch"):
        stranger.write("bucket", "x", iter([b"x"]))
    assert time.monotonic() - began < 5


def test_an_object_that_is_replaced_while_it_is_read(world: s3_world.World, remote: S3Objects) -> None:
    """A reading that must go on after a break goes on with the same object, or not at all."""
    world.objects.write("bucket", "changing", iter([bytes(30 * MIB)]))
    reading = remote.read("bucket", "changing")
    next(reading)
    world.objects.write("bucket", "changing", iter([b"other"]))
    reading._answer.close()  # type: ignore[attr-defined]  # the connection breaks
    with pytest.raises(ObjectError, match="was replaced while it was read"):
        list(reading)


def test_a_service_that_is_killed_and_started_again(tmp_path: Path) -> None:
    """In the middle of a read and of a write; both are whole in the end."""
    data = os.urandom(60 * MIB)
    with socket.create_server(("127.0.0.1", 0)) as door:
        front = Front(door)
        threading.Thread(target=front.run, daemon=True).start()
        remote = client(f"http://127.0.0.1:{door.getsockname()[1]}", patience=60.0)
        with s3_world.process(tmp_path) as (first, served):
            first.objects.create_bucket("bucket")
            first.objects.write("bucket", "large", iter([data]))
            front.to(first.address)
            reading = remote.read("bucket", "large")
            got = [next(reading)]
            written: list[Any] = []

            def pieces() -> Iterator[bytes]:
                for start in range(0, len(data), MIB):
                    if start == 20 * MIB:
                        half.set()
                        again.wait(30)
                    yield data[start : start + MIB]

            half, again = threading.Event(), threading.Event()
            writing = threading.Thread(target=lambda: written.append(remote.write("bucket", "copy", pieces())))
            writing.start()
            half.wait(30)
            served.kill()
            served.wait()
            front.to(None)
        with s3_world.process(tmp_path) as (second, _):
            again.set()
            front.to(second.address)
            got += list(reading)
            writing.join(60)
            assert b"".join(got) == data
            assert b"".join(second.objects.read("bucket", "copy")) == data
            assert written[0].size == len(data)
            assert second.uploads.all("bucket") == []
        front.to(None)


class Front:
    """Passes connections on to wherever the service is now, and breaks them when it is nowhere."""

    def __init__(self, door: socket.socket) -> None:
        self._door = door
        self._where: tuple[str, int] | None = None
        self._open: list[socket.socket] = []

    def to(self, where: tuple[str, int] | None) -> None:
        self._where = where
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)  # who waits to read from it hears of it
            each.close()
        self._open.clear()

    def run(self) -> None:
        """Accept until the door is closed."""
        while True:
            try:
                client, _ = self._door.accept()
            except OSError:
                return
            server = self._reached()
            if server is None:
                client.close()
                continue
            self._open += [client, server]
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=_copy, args=(one, other), daemon=True).start()

    def _reached(self) -> socket.socket | None:
        with contextlib.suppress(OSError):
            return socket.create_connection(self._where) if self._where else None
        return None


def _copy(one: socket.socket, other: socket.socket) -> None:
    try:
        while piece := one.recv(65536):
            other.sendall(piece)
    except OSError:
        return
    finally:
        for each in (one, other):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    """No try after it would go better: the job must hear of it."""
    from treadle.objects.filesystem import FilesystemObjects

    class Full(FilesystemObjects):
        def stage(self, _bucket: str) -> Any:
            raise NoRoom("The disk is full.")

    with s3_world.world(tmp_path, objects=Full(tmp_path), account=ACCOUNT) as made:
        made.objects.create_bucket("bucket")
        with pytest.raises(NoRoom):
            client(made.url).write("bucket", "x", iter([b"x"]))
