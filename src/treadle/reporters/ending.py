"""How a run's end is told: the headline, the outputs, and on failure what the last answer said and what to do next.

Outputs are the result and go to standard output; everything else is talk about it and goes to standard error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from treadle.arazzo.events import RunFinished
from treadle.reporters.story import Tone
from treadle.reporters.text import duration, pairs, plain, shorten
from treadle.seams import Json

__all__ = ["Ending", "ending", "remarks", "unhappy"]

# What servers call the member in which they say what went wrong; compared without case, `_` and `-`.
_REMARKS: Final = (
    "failurereason",
    "statusmessage",
    "message",
    "error",
    "errormessage",
    "errordescription",
    "detail",
    "details",
    "title",
    "reason",
    "code",
    "type",
)
_UNHAPPY: Final = ("failed", "stopped", "failure", "error", "cancelled", "canceled", "aborted")


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of a run as text: `head` and `notes` for standard error, `outputs` for standard output."""

    head: str
    tone: Tone
    outputs: list[str]
    notes: list[str]


def ending(event: RunFinished, seconds: float) -> Ending:
    """Tell the end of a run that took `seconds`."""
    head, tone = _head(event, duration(seconds))
    notes = _reason(event) if event.status not in ("succeeded", "interrupted") else []
    if event.status in ("failed", "suspended"):
        notes += _last_answer(event.last_body, event.reason)
    return Ending(head, tone, pairs(event.outputs.items()), notes + _next(event))


def _head(event: RunFinished, took: str) -> tuple[str, Tone]:
    at = f" at {event.step_id}" if event.step_id else ""
    match event.status:
        case "succeeded":
            recovered = " (after a failure that an action recovered)" if event.recovered else ""
            return f"succeeded in {took}{recovered}", "good"
        case "failed":
            return f"failed{at} after {took}" + (" (an onFailure action ended it)" if event.handled else ""), "bad"
        case "suspended":
            return f"suspended{at} after {took}; nothing is lost", "warn"
        case "in-doubt":
            return f"in doubt{at}: it is not known whether the last request took effect, so it was not repeated", "warn"
        case "interrupted":
            return f"interrupted{at} after {took}; the state is saved", "warn"


def _reason(event: RunFinished) -> list[str]:
    return [f"  {plain(line)}" for line in event.reason.splitlines()]


def _last_answer(body: Json, reason: str) -> list[str]:
    said = list(remarks(body))
    if all(text in reason for _, text in said):
        return []
    return ["  the last answer says:", *pairs(said, indent="    ")] if said else []


def _next(event: RunFinished) -> list[str]:
    match event.status:
        case "suspended":
            return [f"  hint: go on with: treadle resume {event.run_id}"]
        case "in-doubt":
            how = f"treadle resume {event.run_id}"
            return [
                f"  hint: look whether it took effect; if it did not, send it again with: {how} --resend",
                f"  hint: if it did, go on behind it with: {how} --took-effect",
            ]
        case _:
            return []


def remarks(body: Json) -> Iterator[tuple[str, str]]:
    """Give the members of an answer in which a server says what went wrong, also nested ones; of a text its start."""
    if isinstance(body, str) and body.strip():
        yield "text", shorten(body, 300)
    elif isinstance(body, dict):
        for name, each in body.items():
            if _called(name) in _REMARKS:
                if isinstance(each, dict):
                    yield from remarks(each)
                elif isinstance(each, str | int | float) and each != "":
                    yield name, str(each)
            elif name.lower() == "errors" and isinstance(each, list):
                for one in each[:5]:
                    yield from remarks(one)


def _called(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def unhappy(*places: Json) -> str:
    """Give the first status that says that a job did not complete (`Failed`, `Stopped` …), or "".

    `places` are outputs and bodies; only their own members whose names end in `status` or `state` count.
    """
    for place in places:
        if isinstance(place, Mapping):
            for name, each in place.items():
                if name.lower().endswith(("status", "state")) and isinstance(each, str) and each.lower() in _UNHAPPY:
                    return each
    return ""
