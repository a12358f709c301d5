"""Objects that come in parts: begun, collected in a place of their own, put together at the end.

An upload is a bucket of another store, named by the upload's id: a part is an object in it, and what the upload is
about is another one. So a part is whole or absent, the last one of a number counts, and all of it survives the process,
by the rules of the store. Putting together is one commit in the store of the objects, done before the upload goes: who
is killed between the two leaves an upload that can be completed again.

The finished object remembers the upload that it came by (`ObjectProperties.upload_id`): a client whose connection broke
asks again, and can be told that it has succeeded.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from treadle.errors import BucketNotEmpty, BucketNotFound, ObjectNotFound
from treadle.seams import ObjectCheck, ObjectInfo, ObjectProperties, Objects, ObjectStage, Upload

__all__ = ["StagedUploads"]

_ID: Final = re.compile(r"[0-9a-f]{48}", re.ASCII)
_RECORD: Final = "upload"


class StagedUploads:
    """The uploads under way to the buckets of `objects`; parts wait in `staging`. One process at a time."""

    def __init__(self, objects: Objects, staging: Objects) -> None:
        self._objects = objects
        self._staging = staging
        self._turn = threading.Condition()
        self._busy: set[str] = set()

    def begin(
        self, bucket: str, key: str, properties: ObjectProperties, *, algorithm: str = "", checksum_type: str = ""
    ) -> Upload:
        """Begin an upload. Raises `BucketNotFound`."""
        self._objects.bucket_made_at(bucket)
        upload = Upload(
            upload_id=secrets.token_hex(24),
            bucket=bucket,
            key=key,
            begun_at=time.time(),
            properties=properties,
            algorithm=algorithm,
            checksum_type=checksum_type,
        )
        self._staging.create_bucket(upload.upload_id)
        self._staging.write(upload.upload_id, _RECORD, iter([msgspec.json.encode(upload)]))
        return upload

    def get(self, bucket: str, key: str, upload_id: str) -> Upload | None:
        """Give the upload of that id, if it is one of this object."""
        upload = self._read(upload_id)
        return upload if upload is not None and (upload.bucket, upload.key) == (bucket, key) else None

    def all(self, bucket: str) -> Sequence[Upload]:
        """Give the uploads to a bucket, by key, and for one key in the order in which they were begun."""
        found = [self._read(each) for each in self._staging.buckets()]
        mine = [each for each in found if each is not None and each.bucket == bucket]
        return sorted(mine, key=lambda each: (each.key, each.begun_at, each.upload_id))

    def stage(self, upload: Upload) -> ObjectStage:
        """Begin a part, to be committed under its key. Raises `BucketNotFound`: the upload is gone."""
        return self._staging.stage(upload.upload_id)

    def parts(self, upload: Upload) -> Sequence[ObjectInfo]:
        """Give the parts that are there, by number. Raises `BucketNotFound`: the upload is gone."""
        return [each for each in self._staging.list(upload.upload_id) if each.key != _RECORD]

    def complete(
        self,
        upload: Upload,
        parts: Sequence[ObjectInfo],
        *,
        properties: ObjectProperties,
        etag: str,
        check: ObjectCheck | None = None,
    ) -> ObjectInfo:
        """Put an object together from parts. Raises `ObjectNotFound` for a part or an upload that is not there now."""
        with self._alone(upload.upload_id):
            with self._objects.stage(upload.bucket) as stage:
                for part in parts:
                    with self._staging.open(upload.upload_id, part.key) as reader:
                        if reader.info.etag != part.etag:
                            raise ObjectNotFound(f"Part {part.key} has been replaced.")
                        stage.append(reader)
                info = stage.commit(upload.key, properties=properties, etag=etag, check=check)
            self._remove(upload.upload_id)
        return info

    def abort(self, upload: Upload) -> None:
        """Forget an upload and its parts; no error when it is gone."""
        with self._alone(upload.upload_id):
            self._remove(upload.upload_id)

    def abort_all(self, bucket: str) -> None:
        """Forget the uploads to a bucket."""
        for upload in self.all(bucket):
            self.abort(upload)

    def _read(self, upload_id: str) -> Upload | None:
        if not _ID.fullmatch(upload_id):
            return None
        try:
            return msgspec.json.decode(b"".join(self._staging.read(upload_id, _RECORD)), type=Upload)
        except ObjectNotFound:
            return None

    def _remove(self, upload_id: str) -> None:
        with contextlib.suppress(BucketNotFound):
            self._staging.delete(upload_id, _RECORD)  # from here on there is no such upload
            while True:
                for each in list(self._staging.list(upload_id)):
                    self._staging.delete(upload_id, each.key)
                # A part may have come meanwhile; the next one finds no bucket.
                with contextlib.suppress(BucketNotEmpty):
                    self._staging.delete_bucket(upload_id)

    @contextlib.contextmanager
    def _alone(self, upload_id: str) -> Iterator[None]:
        """Let one thread at a time end an upload."""
        with self._turn:
            self._turn.wait_for(lambda: upload_id not in self._busy)
            self._busy.add(upload_id)
        try:
            yield
        finally:
            with self._turn:
                self._busy.discard(upload_id)
                self._turn.notify_all()
