"""ListTrainingJobs (§2.5): which jobs, in which order, in pages. Members are the API's, times Unix seconds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from treadle.seams import JobRecord
from treadle.training import describe
from treadle.training.job import decode
from treadle.training.paging import Place, read_token, token

__all__ = ["list_jobs"]

_PAGE: Final = 10


@dataclass(frozen=True, slots=True)
class _Order:
    """How a list is sorted; equals are sorted by name."""

    by: str
    order: str

    @property
    def kind(self) -> str:
        return f"jobs {self.by} {self.order}"

    @property
    def like(self) -> tuple[type, ...]:
        return (float if self.by == "CreationTime" else str), str

    def key(self, record: JobRecord) -> Place:
        values: Mapping[str, float | str] = {"Name": record.name, "Status": record.status}
        return values.get(self.by, record.created_at), record.name

    def sorted(self, records: Iterable[JobRecord]) -> list[JobRecord]:
        return sorted(records, key=self.key, reverse=self.order == "Descending")

    def follows(self, record: JobRecord, after: Place) -> bool:
        """Tell whether a record comes behind a place in the list; who had the place may be gone or elsewhere."""
        return self.key(record) < after if self.order == "Descending" else self.key(record) > after


def list_jobs(records: Iterable[JobRecord], values: Mapping[str, Any]) -> dict[str, Any]:
    """Give a page. Filters come before paging, so that only the last page is short. Raises `ServiceError`.

    Newest first unless asked otherwise [guess]: the documentation says both "Ascending" and "most current first".
    """
    order = _Order(values.get("SortBy", "CreationTime"), values.get("SortOrder", "Descending"))
    after = read_token(values.get("NextToken"), order.kind, order.like)
    found = order.sorted(each for each in records if _wanted(each, values))
    if after is not None:
        found = [each for each in found if order.follows(each, after)]
    size = values.get("MaxResults", _PAGE)
    page = found[:size]
    answer: dict[str, Any] = {"TrainingJobSummaries": [describe.summary(decode(each)) for each in page]}
    if len(found) > size:
        answer["NextToken"] = token(order.kind, order.key(page[-1]))
    return answer


def _wanted(record: JobRecord, values: Mapping[str, Any]) -> bool:
    return (
        record.created_at > values.get("CreationTimeAfter", float("-inf"))
        and record.created_at < values.get("CreationTimeBefore", float("inf"))
        and record.modified_at > values.get("LastModifiedTimeAfter", float("-inf"))
        and record.modified_at < values.get("LastModifiedTimeBefore", float("inf"))
        and values.get("NameContains", "") in record.name
        and values.get("StatusEquals", record.status) == record.status
        and _in_pool(record, values.get("WarmPoolStatusEquals"))
        # There are no training plans here, so no job belongs to one.
        and "TrainingPlanArnEquals" not in values
    )


def _in_pool(record: JobRecord, wanted: str | None) -> bool:
    return wanted is None or (describe.warm_pool(decode(record)) or {}).get("Status") == wanted
