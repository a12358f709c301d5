"""A training image's reference becomes what is run: a local image, or a built-in algorithm.

A *local image* is a directory with an `image.toml`, registered by its name. The directory is kept by reference: what
is changed in it holds from the next job on. See `image_toml`.

A registered name comes first, so a whole ECR path can be registered and the same request works here and on AWS. Then
come the URIs by which AWS knows its own algorithms (`algorithms.catalogue`). Every other reference is an image for a
container engine, which pulls it when the job begins. Without an engine those of AWS's frameworks run the user's script
with the Python that runs Treadle, if that has the framework, and all others are refused. A service that runs nothing
but containers takes every reference for an image of its engine.
"""

from __future__ import annotations

import contextlib
import difflib
import io
import os
import platform
import re
import sys
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import msgspec

from treadle.errors import ImageError
from treadle.home import Lock, write_whole
from treadle.seams import Json, Objects, ObjectStage
from treadle.training.algorithms import catalogue
from treadle.training.algorithms.catalogue import BuiltIn, Framework
from treadle.training.image_toml import DESCRIPTION, NAME, PART, LocalImage, read_image

__all__ = ["Containers", "ImageRegistry", "ResolvedImage", "argv", "carry", "cmd"]

_Argv: TypeAlias = list[str]  # in `ImageRegistry`, `list` is a method

_LATEST: Final = ":latest"
# distribution/reference: the domain may be upper case and an address, the digest may follow a tag.
_REFERENCE: Final = re.compile(
    rf"(?:(?:[a-zA-Z0-9.-]+|\[[0-9a-fA-F:]+\])(?::[0-9]+)?/)?{PART}(?:/{PART})*"
    r"(?::[\w][\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?",
    re.ASCII,
)

_SOURCE: Final = "sagemaker_submit_directory"
_SCRIPT_COMMAND: Final = ("python", "-m", "treadle.training.algorithms.script")


class ResolvedImage(msgspec.Struct, frozen=True, kw_only=True):
    """How an image is run: `command` is its ENTRYPOINT, `directory` a local image's own, `environment` its ENV.

    A container brings these itself. Its `entrypoint`, if it is not None, is what the request has in place of its own.
    """

    kind: Literal["local", "builtin", "container"]
    name: str
    command: tuple[str, ...] = ()
    directory: str | None = None
    environment: dict[str, str] = {}
    script_mode: bool = False
    """Whether its program is the user's own: the agent unpacks it from `sagemaker_submit_directory`."""
    metric_definitions: tuple[dict[str, str], ...] = ()
    """What AWS's own algorithms always have; their jobs may name none of their own."""
    entrypoint: tuple[str, ...] | None = None
    hint: str = ""
    """What else may have been meant, for whoever finds that there is no such image."""
    note: str = ""
    """A line for the log of the job."""


def argv(image: ResolvedImage, entrypoint: Sequence[str] | None, arguments: Sequence[str] | None) -> list[str]:
    """Combine an image with the request's ContainerEntrypoint and ContainerArguments (§1.2).

    By default the word `train` takes the place of Docker's CMD; an entry point or arguments of the request replace it.
    """
    return [*(entrypoint or image.command), *cmd(entrypoint, arguments)]


def cmd(entrypoint: Sequence[str] | None, arguments: Sequence[str] | None) -> list[str]:
    """Give what takes the place of a container's CMD: the arguments; without an entry point of the request, `train`."""
    return list(arguments or (() if entrypoint else ("train",)))


def _plain(image: ResolvedImage) -> dict[str, Json]:
    members: dict[str, Json] = msgspec.json.decode(msgspec.json.encode(image))
    return members


@dataclass(frozen=True, slots=True)
class Containers:
    """Whether images are run in containers: `problem` gives why not now, "" when they can; `only`: no others are."""

    problem: Callable[[], str]
    only: bool = False


class ImageRegistry:
    """The local images, in one JSON file; threads and processes may share it."""

    def __init__(self, images_file: Path, containers: Containers | None = None) -> None:
        self._file = images_file
        self._containers = containers or Containers(lambda: "This service runs no containers.")

    def add(self, directory: Path) -> LocalImage:
        """Register the image in a directory, replacing one of the same name. Raises `ImageError`."""
        image = read_image(directory)
        with self._changing() as directories:
            directories[_full(image.name)] = image.directory
        return image

    def list(self) -> list[LocalImage]:
        """Give all registered images, sorted by name; what is wrong with one is its `problem`."""
        return [_look(name, directory) for name, directory in sorted(self._read().items())]

    def remove(self, name: str) -> None:
        """Forget an image; its directory stays. Raises `ImageError`."""
        with self._changing() as directories:
            if directories.pop(_full(name), None) is None:
                raise ImageError(f"There is no image {name!r}.", hint=_registered(name, directories))

    def find(
        self, reference: str, hyperparameters: Mapping[str, str] | None = None, *, started: bool = False
    ) -> ResolvedImage:
        """Give what a reference stands for; `started` says that the request brings its own entry point.

        Raises `ImageError`.
        """
        scripted = _SOURCE in (hyperparameters or {})
        directories = {} if self._containers.only else self._read()
        if here := self._here(reference, directories, scripted=scripted):
            return here
        if not _REFERENCE.fullmatch(reference):
            raise ImageError(
                f"{reference!r} is no reference of an image.",
                hint="Write it as [REGISTRY/]NAME[:TAG] or [REGISTRY/]NAME@sha256:…, in lower case but for the tag.",
            )
        if problem := self._containers.problem():
            its = None if self._containers.only else catalogue.framework(reference)
            if its is not None and (scripted or started):
                return _framework(reference, its, problem, scripted=scripted)
            raise ImageError(
                f"{reference!r} is neither a registered local image nor a built-in algorithm. {problem}",
                hint=_registered(reference, directories),
            )
        return ResolvedImage(kind="container", name=reference, hint=_similar(reference, directories))

    def resolve(
        self,
        reference: str,
        entrypoint: Sequence[str] = (),
        arguments: Sequence[str] = (),
        hyperparameters: Mapping[str, str] | None = None,
    ) -> tuple[dict[str, Json], _Argv]:
        """Give what runs a TrainingImage, as `HostSpec.image` has it, and the argv. Raises `ImageError`.

        By hyperparameters some of AWS's images run a program of the user's instead of their own.
        """
        image = self.find(reference, hyperparameters, started=bool(entrypoint))
        if image.kind != "container":
            return _plain(image), argv(image, entrypoint, arguments)
        image = msgspec.structs.replace(image, entrypoint=tuple(entrypoint) or None)
        return _plain(image), cmd(entrypoint, arguments)

    def at_hand(
        self,
        reference: str,
        entrypoint: Sequence[str] = (),
        arguments: Sequence[str] = (),
        hyperparameters: Mapping[str, str] | None = None,
    ) -> tuple[dict[str, Json], _Argv] | None:
        """`resolve` an image that is registered or built in; None for others, of which an engine has to be asked."""
        directories = {} if self._containers.only else self._read()
        image = self._here(reference, directories, scripted=_SOURCE in (hyperparameters or {}))
        return (_plain(image), argv(image, entrypoint, arguments)) if image else None

    def _here(self, reference: str, directories: Mapping[str, str], *, scripted: bool) -> ResolvedImage | None:
        if (full := _full(reference)) in directories:
            return _local(full, directories[full])
        found = None if self._containers.only else catalogue.find(reference)
        return _built_in(reference, *found, scripted=scripted) if found else None

    # -- the file -----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, str]]:
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = Lock.wait(self._file.with_name(self._file.name + ".lock"), shared=False)
        except OSError as error:
            raise ImageError(f"{self._file} cannot be written: {error.strerror or error}.") from error
        try:
            directories = dict(self._read())
            yield directories
            write_whole(self._file, msgspec.json.format(msgspec.json.encode({"images": directories})))
        except OSError as error:
            raise ImageError(f"{self._file} cannot be written: {error.strerror or error}.") from error
        finally:
            lock.release()

    def _read(self) -> Mapping[str, str]:
        try:
            return _directories(self._file, _stamp(self._file))
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ImageError(
                f"The list of images {self._file} cannot be read: {error}.",
                hint="Remove it, and register the images again with `treadle images add`.",
            ) from error


class _Images(msgspec.Struct, frozen=True):
    """The file. Full name → directory."""

    images: dict[str, str]


# The list and an image's description are needed for every job that is created, and change rarely: they are read again
# when their stamp is another one.


def _stamp(path: Path | str) -> tuple[int, ...]:
    found = os.stat(path)  # noqa: PTH116  (a Path takes three times as long to make and to ask)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


@lru_cache(maxsize=4)
def _directories(path: Path, _stamp: tuple[int, ...]) -> Mapping[str, str]:
    return msgspec.json.decode(path.read_bytes(), type=_Images).images


@lru_cache(maxsize=64)
def _described(directory: str, _stamp: tuple[int, ...]) -> LocalImage:
    return read_image(Path(directory))


# ---------------------------------------------------------------------------------------------------------------------
# References
# ---------------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def _full(name: str) -> str:
    match = NAME.fullmatch(name)
    return name if match is None or match["tag"] else name + _LATEST


def _short(name: str) -> str:
    return name.removesuffix(_LATEST)


def _registered(wanted: str, directories: Mapping[str, str]) -> str:
    names = [_short(name) for name in sorted(directories)]
    if not names:
        return "Register a local image with `treadle images add DIRECTORY`."
    if similar := _similar(wanted, directories):
        return similar
    return f"Registered: {', '.join(names)}. `treadle images add DIRECTORY` registers another one."


def _similar(wanted: str, directories: Mapping[str, str]) -> str:
    names = [_short(name) for name in sorted(directories)]
    close = difflib.get_close_matches(_short(wanted), names, n=1, cutoff=0.6)
    return f"Did you mean {close[0]!r}? `treadle images ls` shows what is registered." if close else ""


def _look(name: str, directory: str) -> LocalImage:
    try:
        image = _local(name, directory)
    except ImageError as error:
        return LocalImage(name=_short(name), directory=directory, problem=error.message)
    return LocalImage(
        name=_short(name),
        directory=directory,
        # As image.toml has it: of an image for scripts, the interpreter.
        command=image.command[len(_SCRIPT_COMMAND) :] if image.script_mode else image.command,
        environment=image.environment,
        script_mode=image.script_mode,
    )


def _local(name: str, directory: str) -> ResolvedImage:
    short = _short(name)
    try:
        image = _described(directory, _stamp(f"{directory}/{DESCRIPTION}"))
    except OSError as error:
        if Path(directory).is_dir():
            image = read_image(Path(directory))  # which says what is wrong
        else:
            raise ImageError(
                f"The image {short!r} was registered from {directory}, which is not there any more.",
                hint=f"Register it from where it is now with `treadle images add`, or `treadle images rm {short}`.",
            ) from error
    if _full(image.name) != name:
        raise ImageError(
            f"The image {short!r} was registered from {directory}, but {DESCRIPTION} there calls it {image.name!r}.",
            hint=f"Register it anew with `treadle images add {directory}`.",
        )
    return ResolvedImage(
        kind="local",
        name=short,
        command=(*_SCRIPT_COMMAND, *image.command) if image.script_mode else image.command,
        directory=directory,
        environment=image.environment,
        script_mode=image.script_mode,
    )


def _built_in(reference: str, algorithm: BuiltIn, repository: str, tag: str, *, scripted: bool) -> ResolvedImage:
    example = f"Use a version such as …/{algorithm.repository}:{algorithm.example}."
    if repository in algorithm.retired:
        raise ImageError(f"{reference!r} is a version of {algorithm.name} that AWS has retired.", hint=example)
    tag = tag or "latest"
    if not (re.fullmatch(algorithm.tags, tag, re.ASCII) or (not repository and tag == "latest")):
        raise ImageError(f"{reference!r} names no version of {algorithm.name} that AWS offers.", hint=example)
    if not algorithm.installed:
        raise ImageError(
            f"The built-in {algorithm.name} is not installed.",
            hint=f"Install it: {sys.executable} -m pip install 'treadle[algorithms]'.",
        )
    scripted = scripted and algorithm.scripts
    return ResolvedImage(
        kind="builtin",
        name=reference,
        command=_SCRIPT_COMMAND if scripted else algorithm.command,
        environment={"TREADLE_ALGORITHM_VERSION": tag} if tag != "latest" else {},
        script_mode=scripted,
        metric_definitions=tuple({"Name": name, "Regex": regex} for name, regex in algorithm.metrics.items()),
    )


def _framework(reference: str, its: Framework, problem: str, *, scripted: bool) -> ResolvedImage:
    if not (found := its.found):
        raise ImageError(
            f"{reference!r} is AWS's image for {its.name}, which the Python that runs Treadle does not have. {problem}",
            hint=f"To install {its.name}: {sys.executable} -m pip install {its.package}. Or register another Python "
            f'under that name: an {DESCRIPTION} with name = "{reference}", script_mode = true and '
            'command = ["/path/to/python"].',
        )
    ours = f"Python {platform.python_version()} and {found} of {sys.prefix}"
    return ResolvedImage(
        kind="builtin",
        name=reference,
        command=_SCRIPT_COMMAND,
        script_mode=scripted,
        note=f"There is no container engine for {reference}: the program runs with {ours}.",
    )


# ---------------------------------------------------------------------------------------------------------------------
# Carrying
# ---------------------------------------------------------------------------------------------------------------------


def carry(directory: str, objects: Objects, bucket: str, key: str) -> None:
    """Store an image's directory as a tar, for hosts on other machines. Links stay links. Blocks.

    Raises `ImageError`, `ObjectError`.
    """
    try:
        with objects.stage(bucket) as stage:
            with tarfile.open(fileobj=_Written(stage), mode="w|", format=tarfile.PAX_FORMAT) as archive:
                archive.add(directory, arcname=".", filter=_nobodys)
            stage.commit(key)
    except OSError as error:
        what = error.filename or directory
        raise ImageError(f"The image in {directory} cannot be read: {error.strerror or error}: {what}.") from error


class _Written(io.RawIOBase):
    """An object in the making as a file to write to."""

    def __init__(self, stage: ObjectStage) -> None:
        self._stage = stage

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._stage.write(bytes(data))
        return len(data)


def _nobodys(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leave out owners, who are others elsewhere, and what is neither file, directory nor link."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member if member.isreg() or member.isdir() or member.issym() or member.islnk() else None
