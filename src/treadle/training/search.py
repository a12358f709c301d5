"""Search over training jobs: which match an expression, sorted by any property, in pages.

A resource is what DescribeTrainingJob shows of a job, with its tags. A property is a path into it: `TrainingJobStatus`,
`ResourceConfig.InstanceType`, `HyperParameters.<name>`, `Tags.<key>`, `Metrics.<name>`. A path that goes through a list
has one value per item, and a filter holds when it holds for one of them; a nested filter holds when all of its filters
hold for the same item.

Source: the documentation of `Filter`, `NestedFilters` and `SearchExpression` in the service model. Texts of refusals
are ours [guess], but for the one about Contains, which stands there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from treadle.errors import ServiceError
from treadle.seams import Json
from treadle.training import tags
from treadle.training.describe import describe
from treadle.training.job import Job
from treadle.training.paging import Place, read_token, token

__all__ = ["resource", "search"]

_PAGE: Final = 10
_MOST_CONDITIONS: Final = 50

_PROPERTIES: Final = frozenset(
    {
        *("TrainingJobName", "TrainingJobArn", "TuningJobArn", "LabelingJobArn", "AutoMLJobArn", "ModelArtifacts"),
        *("TrainingJobStatus", "SecondaryStatus", "FailureReason", "HyperParameters", "AlgorithmSpecification"),
        *("RoleArn", "InputDataConfig", "OutputDataConfig", "ResourceConfig", "WarmPoolStatus", "VpcConfig"),
        *("StoppingCondition", "CreationTime", "TrainingStartTime", "TrainingEndTime", "LastModifiedTime"),
        *("SecondaryStatusTransitions", "FinalMetricDataList", "EnableNetworkIsolation", "CheckpointConfig"),
        *("EnableInterContainerTrafficEncryption", "EnableManagedSpotTraining", "TrainingTimeInSeconds"),
        *("BillableTimeInSeconds", "DebugHookConfig", "ExperimentConfig", "DebugRuleConfigurations"),
        *("TensorBoardOutputConfig", "DebugRuleEvaluationStatuses", "OutputModelPackageArn", "ModelPackageConfig"),
        *("ProfilerConfig", "Environment", "RetryStrategy", "Tags", "Metrics"),
    }
)
"""The members of the model's `TrainingJob`, and the two short forms."""

_TIMES: Final = frozenset(
    {"CreationTime", "LastModifiedTime", "TrainingStartTime", "TrainingEndTime", "StartTime", "EndTime", "Timestamp"}
)
# What follows these is one name, dots included.
_BY_NAME: Final = frozenset({"HyperParameters", "Environment", "Tags", "Metrics"})


def resource(job: Job) -> dict[str, Any]:
    """Give a job as Search shows it."""
    found = describe(job)
    if job.tags:
        found["Tags"] = tags.as_list(job.tags)
    return found


def search(jobs: Iterable[Job], values: Mapping[str, Any]) -> dict[str, Any]:
    """Give a page of the jobs that match. Raises `ServiceError`."""
    if values["Resource"] != "TrainingJob":
        # There is nothing else here, and that is what AWS answers where there is none.
        return {"Results": [], "TotalHits": {"Value": 0, "Relation": "EqualTo"}}
    by, order = values.get("SortBy", "LastModifiedTime"), values.get("SortOrder", "Descending")
    _known(by)
    wanted = _expression(values.get("SearchExpression"))
    if values.get("CrossAccountFilterOption") == "CrossAccount":
        jobs = ()
    visible = [_visible(each) for each in values.get("VisibilityConditions") or ()]
    matching = [
        (_place(each, by), each)
        for each in map(resource, jobs)
        if wanted(each) and (not visible or any(condition(each) for condition in visible))
    ]
    return _page(matching, f"search {by} {order}", values, descending=order == "Descending")


# ---------------------------------------------------------------------------------------------------------------------
# Expressions
# ---------------------------------------------------------------------------------------------------------------------

_Test = Callable[[Mapping[str, Any]], bool]


def _expression(expression: Mapping[str, Any] | None) -> _Test:
    if expression is None:
        return lambda _: True
    conditions = list(_conditions(expression))
    if len(conditions) > _MOST_CONDITIONS:
        raise _invalid(f"A SearchExpression can have at most {_MOST_CONDITIONS} conditions, not {len(conditions)}.")
    if sum(each.get("Operator") == "Contains" for each in conditions) > 1:
        raise _invalid("'CONTAINS' operator usage limit of 1 exceeded.")
    return _compiled(expression)


def _conditions(expression: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from expression.get("Filters") or ()
    for nested in expression.get("NestedFilters") or ():
        yield from nested["Filters"]
    for inner in expression.get("SubExpressions") or ():
        yield from _conditions(inner)


def _compiled(expression: Mapping[str, Any]) -> _Test:
    tests = [
        *(_filter(each) for each in expression.get("Filters") or ()),
        *(_nested(each) for each in expression.get("NestedFilters") or ()),
        *(_compiled(each) for each in expression.get("SubExpressions") or ()),
    ]
    if not tests:
        raise _invalid("A SearchExpression must have at least one Filter, NestedFilter or SubExpression.")
    together = any if expression.get("Operator") == "Or" else all
    return lambda each: together(test(each) for test in tests)


def _filter(condition: Mapping[str, Any], *, below: str = "") -> _Test:
    name = condition["Name"]
    _known(name)
    operator, value = condition.get("Operator", "Equals"), condition.get("Value")
    path = name.removeprefix(f"{below}.") if below else name
    if operator == "Exists":
        return lambda each: bool(_values(each, path))
    if operator == "NotExists":
        return lambda each: not _values(each, path)
    if value is None:
        raise _invalid(f"The filter on {name} has the operator {operator} and no Value.")
    compare = _comparison(name, operator, value)
    if operator == "NotEquals":
        return lambda each: not any(compare(found) for found in _values(each, path))
    return lambda each: any(compare(found) for found in _values(each, path))


def _nested(nested: Mapping[str, Any]) -> _Test:
    name = nested["NestedPropertyName"]
    _known(name)
    tests = [_filter(each, below=name) for each in nested["Filters"]]
    for each in nested["Filters"]:
        if not each["Name"].startswith(f"{name}."):
            raise _invalid(f"The nested filter on {name} has a filter on {each['Name']}, which is not below it.")
    return lambda each: any(isinstance(item, dict) and all(t(item) for t in tests) for item in _values(each, name))


def _visible(condition: Mapping[str, Any]) -> _Test:
    return _filter({"Name": condition.get("Key", "Tags"), "Operator": "Equals", "Value": condition.get("Value", "")})


def _known(name: str) -> None:
    if name.partition(".")[0] not in _PROPERTIES:
        raise _invalid(f"Unknown property name: {name}")


# ---------------------------------------------------------------------------------------------------------------------
# Properties
# ---------------------------------------------------------------------------------------------------------------------


def _values(document: Mapping[str, Any], path: str) -> list[Json]:
    """Give what stands at a path, one value per item of each list on the way."""
    name, _, rest = path.partition(".")
    if name in _BY_NAME and rest:
        return [value for key, value in _named(document, name) if key == rest]
    found = document.get(name)
    items = found if isinstance(found, list) else [] if found is None else [found]
    if not rest:
        return items
    return [value for item in items if isinstance(item, dict) for value in _values(item, rest)]


def _named(document: Mapping[str, Any], name: str) -> list[tuple[str, Json]]:
    if name == "Tags":
        return [(each["Key"], each["Value"]) for each in document.get("Tags") or ()]
    if name == "Metrics":
        return [(each["MetricName"], each["Value"]) for each in document.get("FinalMetricDataList") or ()]
    return list((document.get(name) or {}).items())


# ---------------------------------------------------------------------------------------------------------------------
# Operators
# ---------------------------------------------------------------------------------------------------------------------

_ORDERINGS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "GreaterThan": lambda found, wanted: found > wanted,
    "GreaterThanOrEqualTo": lambda found, wanted: found >= wanted,
    "LessThan": lambda found, wanted: found < wanted,
    "LessThanOrEqualTo": lambda found, wanted: found <= wanted,
}


def _comparison(name: str, operator: str, value: str) -> Callable[[Json], bool]:
    """Give what compares a value of the property with the text of a filter."""
    if operator == "Contains":
        return lambda found: isinstance(found, str) and value in found
    if operator == "In":
        choices = {each.strip() for each in value.split(",")}
        return lambda found: isinstance(found, str) and found in choices
    moment = _moment(name, value) if name.rpartition(".")[2] in _TIMES else None
    number = moment if moment is not None else _number(value)
    if ordering := _ORDERINGS.get(operator):
        if number is None:
            raise _invalid(f"The operator {operator} on {name} needs a number, not '{value}'.")
        return lambda found: (its := _comparable(name, found, value)) is not None and ordering(its, number)
    return lambda found: _equal(name, found, value, number)


def _equal(name: str, found: Json, value: str, number: float | None) -> bool:
    if isinstance(found, bool):
        return value.lower() == str(found).lower()
    if isinstance(found, str) and found == value:
        return True
    its = _comparable(name, found, value)
    return its is not None and number is not None and its == number


def _comparable(name: str, found: Json, value: str) -> float | None:
    """Give a value as a number, None for one that is none.

    Hyperparameters are texts, and numbers where they can be: whole ones when the filter's value is whole.
    """
    if isinstance(found, bool):
        return None
    if isinstance(found, int | float):
        return float(found)
    if isinstance(found, str) and name.startswith("HyperParameters.") and (its := _number(found)) is not None:
        whole = value.strip().lstrip("+-").isdigit()
        return float(math.trunc(its)) if whole and math.isfinite(its) else its
    return None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _moment(name: str, text: str) -> float:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise _invalid(f"The value of {name} must be a time such as 2024-12-31T23:59:59, not '{text}'.") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


# ---------------------------------------------------------------------------------------------------------------------
# Pages
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _At:
    """Where a resource stands in an order: who has no value comes last, equals are sorted by name."""

    number: float | None
    text: str | None
    name: str

    @property
    def known(self) -> bool:
        return self.number is not None or self.text is not None

    @property
    def value(self) -> tuple[bool, float, str, str]:
        return self.text is not None, self.number or 0.0, self.text or "", self.name

    @property
    def place(self) -> Place:
        return (self.known, *self.value)


def _place(found: Mapping[str, Any], by: str) -> _At:
    value = next(iter(_values(found, by)), None)
    name = found["TrainingJobName"]
    if isinstance(value, str) and by.startswith("HyperParameters.") and (number := _number(value)) is not None:
        return _At(number, None, name)
    if isinstance(value, int | float):
        return _At(float(value), None, name)
    return _At(None, value if isinstance(value, str) else None, name)


def _page(
    matching: list[tuple[_At, dict[str, Any]]], kind: str, values: Mapping[str, Any], *, descending: bool
) -> dict[str, Any]:
    after = read_token(values.get("NextToken"), kind, (bool, bool, float, str, str))
    total = len(matching)
    known = sorted((each for each in matching if each[0].known), key=lambda each: each[0].value, reverse=descending)
    unknown = sorted((each for each in matching if not each[0].known), key=lambda each: each[0].name)
    ordered = [*known, *unknown]
    if after is not None:
        ordered = [each for each in ordered if _follows(each[0], after, descending=descending)]
    size = values.get("MaxResults", _PAGE)
    answer: dict[str, Any] = {
        "Results": [{"TrainingJob": each} for _, each in ordered[:size]],
        "TotalHits": {"Value": total, "Relation": "EqualTo"},
    }
    if len(ordered) > size:
        answer["NextToken"] = token(kind, ordered[size - 1][0].place)
    return answer


def _follows(at: _At, after: Place, *, descending: bool) -> bool:
    known, *rest = after
    if at.known != known:
        return not at.known
    value = tuple(rest)
    return at.value < value if descending and known else at.value > value


def _invalid(message: str) -> ServiceError:
    return ServiceError("ValidationException", message)
