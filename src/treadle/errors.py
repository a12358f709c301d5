"""Every error of Treadle, and the diagnostics that they carry.

The tree::

    TreadleError                     something a person can act on; `exit_code` says how the command line ends
    ├── UsageError            (2)    the command line or the configuration is wrong; nothing was sent
    ├── DescriptionError      (2)    documents, references, expressions or inputs are wrong; nothing was sent
    ├── CallError             (1)    one request cannot be built from the values that the run has
    ├── TransportError        (1)    no usable answer came back; says whether the request may have arrived
    ├── StoreError            (1)    a database cannot be read or written
    ├── ObjectError           (1)    an s3:// URI cannot be read or written
    │   ├── ObjectNotFound    (1)    there is nothing there
    │   │   └── BucketNotFound (1)   not even the bucket
    │   ├── BucketNotEmpty    (1)    the bucket has objects in it
    │   └── NoRoom            (1)    the disk is full, or the quota used up
    ├── ImageError            (2)    a training image cannot be registered or found
    ├── ServiceError          (1)    the training service refuses: an AWS error code and its message
    ├── LaunchError           (1)    a training host cannot be started
    ├── RunError              (1)    a run did not succeed, and was to (`library`)
    ├── ReplayError           (1)    a run does not do what was recorded (`http.replay`)
    ├── EvaluationError       (1)    an expression has no usable value in this run (`arazzo.expressions`)
    ├── ExpressionError       (2)    a text is no runtime expression (`arazzo.expressions`)
    ├── JsonPathError         (2)    a text is no JSONPath query (`arazzo.jsonpath`)
    ├── XPathError            (2)    a text is no XPath (`arazzo.expressions.xpath`)
    └── ConditionError        (1)    a condition can never be evaluated (`arazzo.criteria`)

Foreign exceptions are translated into these once, at the seam where they come in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

__all__ = [
    "BucketNotEmpty",
    "BucketNotFound",
    "CallError",
    "DescriptionError",
    "Diagnostic",
    "ImageError",
    "LaunchError",
    "NoRoom",
    "ObjectError",
    "ObjectNotFound",
    "Place",
    "Repair",
    "ServiceError",
    "Severity",
    "StoreError",
    "TransportError",
    "TransportFault",
    "TreadleError",
    "UsageError",
]

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands: a document, the JSON Pointer in it, and line and column, both counted from 1.

    `text` is the source line itself, without its line end, so that a caret can be drawn under the column;
    `width` is how many characters the caret covers. Line 0 means that the position is not known.
    """

    document: str
    pointer: str = ""
    line: int = 0
    column: int = 0
    text: str = ""
    width: int = 1

    def __str__(self) -> str:
        return f"{self.document}:{self.line}:{self.column}" if self.line else self.document


@dataclass(frozen=True, slots=True)
class Repair:
    """The one certain way to put a finding right, at its place.

    `value` and `key` are given a new `text`; a value becomes the member `text` of an object (`named`), or the only item
    of a list (`listed`); a list of objects becomes one (`joined`); the parameters of a list that are `in: body` become
    the payload of a request body, or its fields (`moved`, with the `text` `payload` or `fields`).
    """

    what: Literal["value", "key", "named", "listed", "joined", "moved"]
    text: str = ""


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding: what is wrong, where, and what to do about it. `rule` names the check, for switches and searches."""

    rule: str
    message: str
    place: Place | None = None
    severity: Severity = "error"
    hint: str = ""
    repair: Repair | None = None

    def render(self) -> str:
        """Give the finding as a person reads it, with the source line and a caret where the place is known."""
        head = f"{self.place}: " if self.place else ""
        lines = [f"{head}{self.severity}: {self.message} [{self.rule}]"]
        if self.place and self.place.text:
            lines += _pointed(self.place)
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)


# A minified document has one line of a megabyte: show the part around the column.
_WIDEST_EXCERPT = 100


def _pointed(place: Place) -> list[str]:
    start = max(0, place.column - 1 - _WIDEST_EXCERPT // 2)
    shown = place.text[start : start + _WIDEST_EXCERPT].replace("\t", " ")
    number = str(place.line)
    caret = " " * (place.column - 1 - start) + "^" * max(1, min(place.width, len(shown) - (place.column - 1 - start)))
    return [f"  {number} | {shown}", f"  {' ' * len(number)} | {caret}"]


class TreadleError(Exception):
    """The root. Its text is one or more plain sentences for the user; `hint` says what to do next."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(TreadleError):
    """The command line or the configuration is wrong; nothing was sent."""

    exit_code = 2


class DescriptionError(TreadleError):
    """Documents, references, expressions or inputs are wrong; nothing was sent. `diagnostics` holds every finding."""

    exit_code = 2

    def __init__(self, diagnostics: Iterable[Diagnostic], message: str = "") -> None:
        self.diagnostics: Sequence[Diagnostic] = tuple(diagnostics)
        errors = [each for each in self.diagnostics if each.severity == "error"]
        super().__init__(message or "\n".join(each.render() for each in errors))


class CallError(TreadleError):
    """A request cannot be built: a value that must be there is missing, or has a type that cannot be sent."""


TransportFault = Literal[
    "refused", "reset", "timeout", "tls", "dns", "too-large", "protocol", "redirect", "credentials"
]


@dataclass(eq=False)
class TransportError(TreadleError):
    """No usable answer came back.

    `sent` is False only when it is certain that the server did not get the request (a refused connection, a name
    that does not resolve), so that even a request with effects can safely be sent again.
    """

    fault: TransportFault
    message: str
    sent: bool
    url: str = ""
    hint: str = field(default="")

    def __post_init__(self) -> None:
        Exception.__init__(self, self.message)


class StoreError(TreadleError):
    """A database cannot be read or written."""


class ObjectError(TreadleError):
    """An s3:// URI cannot be read or written."""


class ObjectNotFound(ObjectError):  # noqa: N818  (S3 calls it NotFound)
    """There is no such bucket or object."""


class BucketNotFound(ObjectNotFound):
    """There is no such bucket."""


class BucketNotEmpty(ObjectError):  # noqa: N818  (S3 calls it so)
    """The bucket cannot be removed: there is something in it."""


class NoRoom(ObjectError):  # noqa: N818  (it says what there is none of)
    """There is no room left to write an object: the disk is full, or the quota used up."""


class ImageError(TreadleError):
    """A training image cannot be registered or found."""

    exit_code = 2


class ServiceError(TreadleError):
    """The training service refuses a request: an AWS error code and its message, HTTP status 400 unless given."""

    def __init__(self, code: str, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class LaunchError(TreadleError):
    """A training host cannot be started."""
