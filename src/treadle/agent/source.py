"""Script mode: `sourcedir.tar.gz`, where `sagemaker_submit_directory` says that it is, becomes `/opt/ml/code`.

The archive is anybody's. Nothing is written outside the directory, no device is made, no owner or set-user-ID bit kept,
and no more is unpacked than the volume has room for.
"""

from __future__ import annotations

import json
import tarfile
import zlib
from pathlib import Path

from treadle.agent.channels import split_uri
from treadle.agent.faults import DataError
from treadle.agent.files import Pieces
from treadle.errors import ObjectError
from treadle.seams import HostObjects, HostSpec

__all__ = ["unpack"]

_SOURCE = "sagemaker_submit_directory"
_PIECE = 1 << 20


def unpack(spec: HostSpec, objects: HostObjects, ml: Path) -> None:
    """Unpack the source; there may be none, when the image has it. Raises `DataError`."""
    code = ml / "code"
    code.mkdir(parents=True, exist_ok=True)
    uri = _uri(spec)
    if not uri.startswith("s3://"):  # a directory of the image, or none
        return
    bucket, key = split_uri(uri)
    try:
        with tarfile.open(fileobj=Pieces(objects.read(bucket, key)), mode="r|*") as archive:
            _extract(archive, code, spec.volume_bytes, uri)
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


def _extract(archive: tarfile.TarFile, code: Path, room: int, uri: str) -> None:
    for member in archive:
        room -= member.size
        if room < 0:
            raise DataError(f'The source "{uri}" needs more than ResourceConfig.VolumeSizeInGB when it is unpacked.')
        archive.extract(member, code, set_attrs=True, filter="data")
        archive.members = []  # type: ignore[attr-defined]  # it is for going back, which a stream does not
