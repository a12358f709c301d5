"""Script mode: `sourcedir.tar.gz`, where `sagemaker_submit_directory` says that it is, becomes `/opt/ml/code`.

The archive is anybody's. Nothing is written outside the directory, no device is made, no owner or set-user-ID bit kept,
and no more is unpacked than the volume has room for.
"""

from __future__ import annotations

import json
import tarfile
import threading
import zlib
from pathlib import Path

from treadle.agent.channels import split_uri
from treadle.agent.faults import CancelledStagingError, DataError
from treadle.errors import ObjectError
from treadle.seams import HostObjects, HostSpec
from treadle.training import archives

__all__ = ["unpack"]

_SOURCE = "sagemaker_submit_directory"


def unpack(spec: HostSpec, objects: HostObjects, ml: Path, cancelled: threading.Event) -> None:
    """Unpack the source; there may be none, when the image has it. Raises `DataError`, `CancelledStagingError`."""
    code = ml / "code"
    code.mkdir(parents=True, exist_ok=True)
    uri = _uri(spec)
    if not uri.startswith("s3://"):  # a directory of the image, or none
        return
    bucket, key = split_uri(uri)
    try:
        room = spec.volume_bytes
        for archive, member in archives.members(objects.read(bucket, key)):
            room -= member.size
            if room < 0:
                raise DataError(
                    f'The source "{uri}" needs more than ResourceConfig.VolumeSizeInGB when it is unpacked.'
                )
            if cancelled.is_set():
                raise CancelledStagingError
            archive.extract(member, code, filter="data")
    except ObjectError as error:
        raise DataError(error.message) from error
    except (tarfile.TarError, zlib.error, EOFError) as error:
        raise DataError(f'The source "{uri}" cannot be unpacked: {error}.') from error
    except OSError as error:
        raise DataError(f'The source "{uri}" cannot be unpacked: {error.strerror or error}.') from error


def _uri(spec: HostSpec) -> str:
    text = (spec.request.get("HyperParameters") or {}).get(_SOURCE, "")
    try:
        return str(json.loads(text))  # the SDKs write it as JSON
    except ValueError:
        return str(text)
