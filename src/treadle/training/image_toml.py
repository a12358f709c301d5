"""`image.toml`, which says what a local image is: read and checked, each fault with its line and column.

    name = "digits"                    # as in Docker: may have a registry path before it and a :tag after it
    command = ["python", "train.py"]   # the image's ENTRYPOINT, run in the directory; AWS's word `train` is appended
    [environment]                      # the image's ENV, optional
    OMP_NUM_THREADS = "2"

An image for scripts, as the frameworks' images are (the SDK's `Estimator(entry_point=…, source_dir=…)`), says instead

    name = "my-framework"
    script_mode = true
    command = ["/opt/venv/bin/python"] # the interpreter, optional
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any, Final

import msgspec

from treadle.errors import Diagnostic, ImageError, Place
from treadle.toml import NotToml, Toml

__all__ = ["DESCRIPTION", "NAME", "PART", "LocalImage", "read_image"]

DESCRIPTION: Final = "image.toml"

PART: Final = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
NAME: Final = re.compile(rf"(?:{PART}(?::[0-9]+)?/)?{PART}(?:/{PART})*(?::(?P<tag>[\w][\w.-]{{0,127}}))?", re.ASCII)
_LONGEST_NAME: Final = 255  # AlgorithmImage in the service model
_VARIABLE: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)


class LocalImage(msgspec.Struct, frozen=True, kw_only=True):
    """A registered image. `problem` says why it could not be used now; "" when it could."""

    name: str
    directory: str
    command: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    script_mode: bool = False
    problem: str = ""


_MEMBERS: Final = ("name", "command", "environment", "script_mode")


def read_image(directory: Path) -> LocalImage:
    """Read and check the `image.toml` of a directory. Raises `ImageError` with line and column."""
    directory = directory.expanduser().absolute().resolve()
    if not directory.is_dir():
        what = "is not a directory" if directory.exists() else "does not exist"
        raise ImageError(f"{directory} {what}.", hint=f"An image is a directory with an {DESCRIPTION} in it.")
    description = _Description.read(directory / DESCRIPTION)
    return LocalImage(
        name=description.name(),
        directory=str(directory),
        command=description.command(),
        environment=description.environment(),
        script_mode=description.script_mode(),
    )


class _Description:
    """An `image.toml` that has been read; its methods check the members and raise `ImageError` with their place."""

    def __init__(self, path: Path, text: str) -> None:
        self._toml = Toml(text, str(path))
        try:
            self._values = self._toml.parsed()
        except NotToml as error:
            raise _error(error.message, error.place) from error
        for member in self._values:
            if member not in _MEMBERS:
                close = difflib.get_close_matches(member, _MEMBERS, n=1)
                hint = f"Did you mean {close[0]}?" if close else f"The members are {', '.join(_MEMBERS)}."
                raise self._wrong(f"there is no member {member!r}", hint, member)

    @classmethod
    def read(cls, path: Path) -> _Description:
        try:
            return cls(path, path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise ImageError(
                f"There is no {DESCRIPTION} in {path.parent}.",
                hint='It needs two lines: name = "my-image" and command = ["python", "train.py"].',
            ) from error
        except UnicodeDecodeError as error:
            raise ImageError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}.") from error
        except OSError as error:
            raise ImageError(f"{path} cannot be read: {error.strerror}.") from error

    def name(self) -> str:
        name = self._required("name", 'name = "my-image"')
        if not isinstance(name, str) or not NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
            hint = "Lower-case letters and digits, separated by . _ - or /, and a :tag if wanted, as in Docker."
            raise self._wrong(f"{name!r} is no name for an image", hint, "name")
        return name

    def command(self) -> tuple[str, ...]:
        if self.script_mode() and "command" not in self._values:
            return ()
        example = 'command = ["python", "train.py"]'
        command = self._required("command", example)
        if not isinstance(command, list):
            raise self._wrong("command must be a list, one element for each argument", f"Write {example}.", "command")
        if not command or not command[0]:
            raise self._wrong("command must name a program", f"Write {example}.", "command")
        for argument in command:
            if not isinstance(argument, str) or "\0" in argument:
                raise self._wrong(f"{argument!r} in command is no text", f"Write it as {str(argument)!r}.", "command")
        return tuple(command)

    def script_mode(self) -> bool:
        value = self._values.get("script_mode", False)
        if not isinstance(value, bool):
            raise self._wrong(f"script_mode must be true or false, not {value!r}", "Write true.", "script_mode")
        return value

    def environment(self) -> dict[str, str]:
        environment = self._values.get("environment", {})
        if not isinstance(environment, dict):
            raise self._wrong("environment must be a table", "Write [environment] and lines below it.", "environment")
        for name, value in environment.items():
            if not _VARIABLE.fullmatch(name):
                raise self._wrong(
                    f"{name!r} is no name for a variable", "Letters, digits and _ only.", "environment", name
                )
            if not isinstance(value, str) or "\0" in value:
                hint = f'Write {name} = "{value}".'
                raise self._wrong(f"the variable {name} must be a text", hint, "environment", name)
        return environment

    def _required(self, member: str, example: str) -> Any:
        if member not in self._values:
            raise self._wrong(f"the member {member!r} is missing", f"Add {example}.")
        return self._values[member]

    def _wrong(self, what: str, hint: str, *at: str) -> ImageError:
        return _error(what, self._toml.place(at), hint)


def _error(what: str, place: Place, hint: str = "") -> ImageError:
    return ImageError(Diagnostic("image", what, place).render(), hint=hint)
