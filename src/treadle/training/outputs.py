"""Outputs leave staging for their places. Several hosts' outputs of one name become one (§1.7).

An archive that only one host put something in is moved, whatever its size. Where several did, their members go into one
new archive, through the memory piece by piece; of members with one name the last host's is kept, and a line in the log
says so.

Everything may be done again from its beginning, because the service may be killed at any point of it: a piece in
staging is removed only after the whole is in its place, so a piece that is missing says that the whole is there.
"""

from __future__ import annotations

import contextlib
import posixpath
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias

from treadle.errors import ObjectError, ObjectNotFound
from treadle.seams import Objects, StagedOutput
from treadle.training.archives import members, packed
from treadle.training.job import INTERNAL_ERROR

__all__ = ["commit"]

_PIECE: Final = 1 << 20

Say: TypeAlias = Callable[[str], None]


def commit(objects: Objects, outputs: Sequence[StagedOutput], say: Say) -> str:
    """Put outputs in their places; "" or why that was not possible, as a failure reason. `say` gets what was lost."""
    places: dict[tuple[str, str], list[StagedOutput]] = {}
    for each in sorted(outputs, key=_by_host):
        places.setdefault((each.bucket, each.target), []).append(each)
    for parts in places.values():
        try:
            left = _put(objects, parts, say)
        except ObjectNotFound as error:
            # Done already, by a service that was killed before it could say so, or before it had tidied up.
            if not _there(objects, parts[-1]):
                return f"{INTERNAL_ERROR} An output is lost: {error.message}"
            left = parts
        except (ObjectError, tarfile.TarError, zlib.error, EOFError) as error:
            reason = error.message if isinstance(error, ObjectError) else str(error)
            where = " and ".join(f"s3://{each.bucket}/{each.staged}" for each in parts)
            return f"{INTERNAL_ERROR} An output stays at {where}, because it cannot be moved: {reason}"
        for each in left:
            with contextlib.suppress(ObjectError):  # the output is where it belongs; this is only tidying up
                objects.delete(each.bucket, each.staged)
    return ""


def _by_host(output: StagedOutput) -> tuple[int, str]:
    """Sort `…/algo-2/…` before `…/algo-10/…`: the rest of the keys of one output is the same."""
    return len(output.staged), output.staged


def _there(objects: Objects, output: StagedOutput) -> bool:
    try:
        objects.head(output.bucket, output.target)
    except ObjectError:
        return False
    return True


def _put(objects: Objects, parts: Sequence[StagedOutput], say: Say) -> Sequence[StagedOutput]:
    """Make one object of the parts at their common target; give what is left of them."""
    last = parts[-1]
    if len(parts) > 1 and last.target.endswith(".tar.gz"):
        full = [each for each in parts if _has_members(objects, each)]
        if len(full) > 1:
            objects.write(last.bucket, last.target, packed(_tar(objects, full, say)))
            return parts
        last = full[0] if full else last
    elif len(parts) > 1:
        say(f"{_name(last.target)}: {len(parts)} hosts have written it; the last one's is kept")
    objects.move(last.bucket, last.staged, last.target)
    return [each for each in parts if each is not last]


def _name(target: str) -> str:
    return target.rpartition("/output/")[2]


def _has_members(objects: Objects, output: StagedOutput) -> bool:
    return next(members(objects.read(output.bucket, output.staged)), None) is not None


# ---------------------------------------------------------------------------------------------------------------------
# Archives
# ---------------------------------------------------------------------------------------------------------------------


def _tar(objects: Objects, parts: Sequence[StagedOutput], say: Say) -> Iterator[bytes]:
    """Give the archive: the last host first, so that what is there already is what is to be kept."""
    kept: dict[str, bool] = {}  # name → whether it is a directory
    for part in reversed(parts):
        own: dict[str, bool] = {}
        for archive, member in members(objects.read(part.bucket, part.staged)):
            before = kept.get(member.name)
            if before is not None or _below_a_file(member.name, kept):
                if not (before and member.isdir()):
                    say(f"{member.name} in {_name(part.target)}: several hosts have written it; the last one's is kept")
                continue
            own[member.name] = member.isdir()
            yield member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
            if member.isreg():
                content = archive.extractfile(member)
                while content is not None and (piece := content.read(_PIECE)):
                    yield piece
                yield bytes(-member.size % tarfile.BLOCKSIZE)
        kept |= own
    yield bytes(2 * tarfile.BLOCKSIZE)


def _below_a_file(name: str, kept: dict[str, bool]) -> bool:
    while name := posixpath.dirname(name):
        if kept.get(name) is False:
            return True
    return False
