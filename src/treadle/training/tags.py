"""Tags of training jobs: AddTags, ListTags, DeleteTags, and those given at the creation (§2.6).

The texts of the refusals are ours [guess]: AWS's have not been found.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from treadle.errors import ServiceError
from treadle.training.paging import read_token, token

__all__ = ["added", "as_list", "check", "job_name", "page", "removed"]

_MOST: Final = 50
_PAGE: Final = 50


def job_name(arn: str) -> str:
    """Give the name of the training job that an ARN names, "" for an ARN of anything else."""
    kind, _, name = arn.split(":", 5)[-1].partition("/")
    return name if kind == "training-job" else ""


def check(tags: Sequence[Mapping[str, str]]) -> None:
    """Refuse tags that no resource can have. Raises `ServiceError`."""
    keys = [each["Key"] for each in tags]
    for key in keys:
        if keys.count(key) > 1:
            raise _invalid(f"Tag keys must be unique, and '{key}' is given more than once.")
        if key.lower().startswith("aws:"):
            raise _invalid(f"The tag key '{key}' begins with aws:, which is reserved.")
    if len(keys) > _MOST:
        raise _invalid(f"A resource can have at most {_MOST} tags.")


def added(tags: Mapping[str, str], more: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Give the tags with others added; a key that is there gets its new value. Raises `ServiceError`."""
    check(more)
    now = {**tags, **{each["Key"]: each["Value"] for each in more}}
    if len(now) > _MOST:
        raise _invalid(f"A resource can have at most {_MOST} tags; with these it would have {len(now)}.")
    return now


def removed(tags: Mapping[str, str], keys: Iterable[str]) -> dict[str, str]:
    """Give the tags without those of the keys; a key that is not there is no error."""
    unwanted = set(keys)
    return {key: value for key, value in tags.items() if key not in unwanted}


def as_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Give tags as the API writes them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def page(tags: Mapping[str, str], values: Mapping[str, Any]) -> dict[str, Any]:
    """Give a page of ListTags, sorted by key. Raises `ServiceError`."""
    after = read_token(values.get("NextToken"), "tags", (str,))
    found = sorted((key, value) for key, value in tags.items() if after is None or (key,) > after)
    shown = found[: values.get("MaxResults", _PAGE)]
    answer: dict[str, Any] = {"Tags": as_list(dict(shown))}
    if len(found) > len(shown):
        answer["NextToken"] = token("tags", (shown[-1][0],))
    return answer


def _invalid(message: str) -> ServiceError:
    return ServiceError("ValidationException", message)
