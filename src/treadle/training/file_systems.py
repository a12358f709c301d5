"""File systems of AWS (EFS, FSx for Lustre) that directories of this machine stand for: `fs-0123… → /mnt/datasets`.

Each is a symbolic link in the home, by the name of its FileSystemId, so that a person can see them and change them.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from treadle.errors import ServiceError, UsageError
from treadle.seams import Json

__all__ = ["FileSystems"]

# FileSystemId in the service model.
_ID: Final = re.compile(r"fs-[0-9a-f]{8,18}")


class FileSystems:
    """Those of one home; threads and processes may share them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def add(self, file_system_id: str, directory: Path) -> Path:
        """Let a directory stand for a file system, in the place of another one; give it. Raises `UsageError`."""
        if not _ID.fullmatch(file_system_id):
            raise UsageError(
                f"{file_system_id!r} is no FileSystemId.", hint="It is fs- and 8 to 18 digits or letters from a to f."
            )
        target = directory.absolute()
        if not target.is_dir():
            raise UsageError(f"{target} is no directory.")
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = self._directory / f".{file_system_id}.{os.getpid()}"
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()
        fresh.symlink_to(target)
        fresh.replace(self._directory / file_system_id)
        return target

    def all(self) -> dict[str, str]:
        """Give the directories by FileSystemId, sorted."""
        if not self._directory.is_dir():
            return {}
        names = sorted(each.name for each in self._directory.iterdir() if _ID.fullmatch(each.name))
        return {name: str((self._directory / name).resolve()) for name in names}

    def remove(self, file_system_id: str) -> None:
        """Forget one; its directory stays. Raises `UsageError`."""
        if not _ID.fullmatch(file_system_id) or not (self._directory / file_system_id).is_symlink():
            raise UsageError(f"There is no file system {file_system_id!r}.", hint="See `treadle file-systems ls`.")
        (self._directory / file_system_id).unlink()

    def check(self, request: Mapping[str, Json]) -> None:
        """Refuse a job whose file systems are not there. Raises `ServiceError`; AWS's own texts have not been found."""
        for number, channel in enumerate(request.get("InputDataConfig") or (), 1):
            source = channel["DataSource"].get("FileSystemDataSource")
            if source and (problem := _problem(self.all(), source)):
                member = f"inputDataConfig.{number}.member.dataSource.fileSystemDataSource"
                raise ServiceError("ValidationException", f"{member}: {problem}")


def _problem(known: Mapping[str, str], source: Mapping[str, Json]) -> str:
    its, path = source["FileSystemId"], source["DirectoryPath"]
    if its not in known:
        return (
            f"the file system '{its}' is not known here. Let a directory of this machine stand for it: "
            f"treadle file-systems add {its} DIRECTORY"
        )
    root = Path(known[its])
    directory = (root / path.lstrip("/")).resolve()
    if not directory.is_relative_to(root):
        return f"the DirectoryPath '{path}' leads out of the file system '{its}'."
    if not directory.is_dir():
        return f"there is no directory '{path}' in the file system '{its}', which is {root} here."
    return ""
