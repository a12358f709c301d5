"""What a run says about failures: reasons for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from treadle.errors import TreadleError
from treadle.seams import MISSING, Answer

__all__ = ["because", "refusal", "said_by", "sentence", "what_there_is"]


def sentence(error: TreadleError) -> str:
    """Give an error's message with its hint."""
    return f"{error.message} ({error.hint})" if error.hint else error.message


def because(step_id: str, reason: str, problems: Sequence[str] = ()) -> str:
    """Say that a step failed and why, and which criteria could not be evaluated."""
    return "; ".join([f"step {step_id!r} failed: {reason}", *problems])


def refusal(answer: Answer) -> str:
    """Say which status came, and what the server says about it."""
    return f"the server answered {answer.status}" + said_by(answer)


_MESSAGE_MEMBERS: Final = ("message", "Message", "detail", "error_description", "error", "title")
_LONGEST_SAYING: Final = 600


def said_by(answer: Answer | None) -> str:
    """Give what the server said about its refusal, for people: AWS, problem+json and OAuth have a member for it."""
    if answer is None or answer.status < 400:
        return ""
    if answer.problem:
        return f"; {answer.problem}"
    body = answer.body
    if isinstance(body, str):
        return f"; it says: {body[:_LONGEST_SAYING]}"
    if not isinstance(body, dict):
        return ""
    code = body.get("__type", "")
    said = next((body[name] for name in _MESSAGE_MEMBERS if isinstance(body.get(name), str)), "")
    text = ": ".join(each for each in (str(code), said) if each)
    return f"; it says: {text[:_LONGEST_SAYING]}" if text else ""


_KEYS_NAMED: Final = 12


def what_there_is(answer: Answer | None) -> str:
    """Say which members the answer has, so that a wrong path can be mended."""
    if answer is None:
        return ""
    if answer.problem:
        return f": {answer.problem}"
    if isinstance(answer.body, dict):
        keys = list(answer.body)[:_KEYS_NAMED]
        more = ", …" if len(answer.body) > _KEYS_NAMED else ""
        return f"; the answer ({answer.status}) has the members {', '.join(keys)}{more}" if keys else ""
    return f"; the answer ({answer.status}) has no body" if answer.body is MISSING else ""
