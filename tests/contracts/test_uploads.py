"""What the seam `Uploads` promises, over every implementation of `Objects`."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from treadle.errors import BucketNotFound, ObjectNotFound
from treadle.objects.filesystem import FilesystemObjects
from treadle.objects.memory import MemoryObjects
from treadle.objects.multipart import StagedUploads
from treadle.seams import ObjectInfo, ObjectProperties, Objects, Upload

PROPERTIES = ObjectProperties(metadata=(("a", "b"),))


@dataclass(frozen=True)
class Place:
    objects: Objects
    staging: Objects

    @property
    def uploads(self) -> StagedUploads:
        """Give what another process of the same place would work with."""
        return StagedUploads(self.objects, self.staging)


@pytest.fixture(params=["memory", "filesystem"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    root = tmp_path / "s3"
    made = (
        Place(MemoryObjects(), MemoryObjects())
        if request.param == "memory"
        else Place(FilesystemObjects(root), FilesystemObjects(root / ".treadle" / "uploads"))
    )
    made.objects.create_bucket("bucket")
    yield made
    assert made.objects.buckets() == ["bucket"]


def put(uploads: StagedUploads, upload: Upload, number: int, content: bytes) -> ObjectInfo:
    with uploads.stage(upload) as stage:
        stage.write(content)
        return stage.commit(f"{number:05d}")


def complete(uploads: StagedUploads, upload: Upload, parts: list[ObjectInfo]) -> ObjectInfo:
    return uploads.complete(upload, parts, properties=upload.properties, etag="e-1")


def get(objects: Objects, key: str) -> bytes:
    return b"".join(objects.read("bucket", key))


def test_parts_become_an_object(place: Place) -> None:
    """Parts come in any order, the last of a number counts, and only those that are named are used."""
    uploads = place.uploads
    upload = uploads.begin("bucket", "a/b", PROPERTIES, algorithm="CRC32", checksum_type="COMPOSITE")
    for number, content in ((3, b"three"), (1, b"old"), (1, b"one"), (2, b"two")):
        put(uploads, upload, number, content)
    assert list(place.objects.list("bucket")) == []
    parts = uploads.parts(upload)
    assert [(int(each.key), each.size) for each in parts] == [(1, 3), (2, 3), (3, 5)]
    info = complete(uploads, upload, [parts[0], parts[2]])
    assert get(place.objects, "a/b") == b"onethree"
    assert (info.etag, info.properties) == ("e-1", PROPERTIES)
    assert uploads.get("bucket", "a/b", upload.upload_id) is None
    assert (list(place.staging.buckets()), uploads.all("bucket")) == ([], [])


def test_uploads_outlive_the_process(place: Place) -> None:
    """What was begun and sent is there for the next process."""
    upload = place.uploads.begin("bucket", "a", PROPERTIES)
    put(place.uploads, upload, 1, b"one")
    found = place.uploads.get("bucket", "a", upload.upload_id)
    assert found == upload
    complete(place.uploads, upload, list(place.uploads.parts(upload)))
    assert get(place.objects, "a") == b"one"


def test_an_upload_belongs_to_its_object(place: Place) -> None:
    """An id is good for one bucket and key, and what is no id is no upload."""
    upload = place.uploads.begin("bucket", "a", PROPERTIES)
    for bucket, key, upload_id in (
        ("bucket", "b", upload.upload_id),
        ("other", "a", upload.upload_id),
        ("bucket", "a", upload.upload_id[:-1]),
        ("bucket", "a", "../bucket"),
        ("bucket", "a", ""),
    ):
        assert place.uploads.get(bucket, key, upload_id) is None
    with pytest.raises(BucketNotFound):
        place.uploads.begin("nowhere", "a", PROPERTIES)
    place.uploads.abort(upload)


def test_uploads_are_listed_by_key_and_age(place: Place) -> None:
    """The listing is that of one bucket."""
    place.objects.create_bucket("other")
    uploads = place.uploads
    begun = [uploads.begin(bucket, key, PROPERTIES) for bucket, key in (("bucket", "b"), ("other", "b"), ("bucket", "a"), ("bucket", "b"))]  # fmt: skip
    assert uploads.all("bucket") == [begun[2], begun[0], begun[3]]
    uploads.abort_all("bucket")
    assert (uploads.all("bucket"), uploads.all("other")) == ([], [begun[1]])
    uploads.abort_all("other")
    place.objects.delete_bucket("other")


def test_an_aborted_upload_is_gone(place: Place) -> None:
    """Its parts are gone with it; neither parts nor an end are taken any more, not even ones that had begun."""
    uploads = place.uploads
    upload = uploads.begin("bucket", "a", PROPERTIES)
    part = put(uploads, upload, 1, b"one")
    with uploads.stage(upload) as late:
        late.write(b"late")
        uploads.abort(upload)
        uploads.abort(upload)
        with pytest.raises(BucketNotFound):
            late.commit("00002")
    with pytest.raises(BucketNotFound):
        uploads.stage(upload)
    with pytest.raises(BucketNotFound):
        uploads.parts(upload)
    with pytest.raises(ObjectNotFound):
        complete(uploads, upload, [part])
    assert list(place.staging.buckets()) == []
    assert list(place.objects.list("bucket")) == []


def test_a_part_that_was_replaced_is_not_used(place: Place) -> None:
    """An object is made of the parts that were named, or not at all."""
    uploads = place.uploads
    upload = uploads.begin("bucket", "a", PROPERTIES)
    part = put(uploads, upload, 1, b"one")
    put(uploads, upload, 1, b"other")
    with pytest.raises(ObjectNotFound):
        complete(uploads, upload, [part])
    assert list(place.objects.list("bucket")) == []
    complete(uploads, upload, list(uploads.parts(upload)))
    assert get(place.objects, "a") == b"other"


def test_one_of_many_ends_completes(place: Place) -> None:
    """Requests to complete that come at once are served one after the other, and the first one does it."""
    uploads = place.uploads
    upload = uploads.begin("bucket", "a", PROPERTIES)
    parts = [put(uploads, upload, number, bytes([number]) * 100_000) for number in (1, 2, 3)]
    outcomes: list[str] = []

    def end() -> None:
        try:
            complete(uploads, upload, parts)
            outcomes.append("completed")
        except ObjectNotFound:
            outcomes.append("gone")

    threads = [threading.Thread(target=end) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["completed", *["gone"] * 5]
    want = b"".join(bytes([number]) * 100_000 for number in (1, 2, 3))
    assert hashlib.md5(get(place.objects, "a")).digest() == hashlib.md5(want).digest()
