"""Shapes: values of SageMaker's own operations read, checked and written."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from treadle.aws.shapes import Fault, ListShape, MapShape, ServiceModel, Shape, Structure, UnfitError, load_service
from treadle.errors import ServiceError, UsageError

SAGEMAKER = load_service("sagemaker", (("TrainingInstanceType", r"ml\.local\.[a-z0-9.]+"),))
CREATE = SAGEMAKER.operation("CreateTrainingJob").input
WRONG = object()

JOB: dict[str, Any] = {
    "TrainingJobName": "job-1",
    "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
    "RoleArn": "arn:aws:iam::000000000000:role/train",
    "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"},
    "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
    "StoppingCondition": {"MaxRuntimeInSeconds": 60},
}


def _refusal(values: Any, operation: str = "CreateTrainingJob") -> str:
    with pytest.raises(ServiceError) as caught:
        SAGEMAKER.operation(operation).input.accept(values)
    assert caught.value.status == 400
    return f"{caught.value.code}: {caught.value.message}"


def test_a_correct_request_is_taken_as_it_is() -> None:
    """What the model allows comes through unchanged."""
    assert CREATE.accept(JOB) == JOB


def test_unknown_members_and_nulls_are_dropped() -> None:
    """AWS ignores members that it does not know, at any depth, and treats null as absent."""
    values = JOB | {"Foo": 1, "Tags": None, "VpcConfig": {"Subnets": ["s"], "SecurityGroupIds": ["g", None], "X": []}}
    assert CREATE.accept(values) == JOB | {"VpcConfig": {"Subnets": ["s"], "SecurityGroupIds": ["g"]}}


@dataclass(frozen=True)
class Broken:
    description: str
    given: dict[str, Any]
    want: str


BROKEN = [
    Broken(
        "pattern",
        {"TrainingJobName": "a_b"},
        "Value 'a_b' at 'trainingJobName' failed to satisfy constraint: Member must satisfy regular expression "
        "pattern: ^[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}",
    ),
    Broken(
        "a pattern matches the whole text",
        {"TrainingJobName": "a-b\n"},
        "Value 'a-b\n' at 'trainingJobName' failed to satisfy constraint: Member must satisfy regular expression "
        "pattern: ^[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}",
    ),
    Broken(
        "length",
        {"InputDataConfig": [{"ChannelName": "c" * 65, "DataSource": {}}]},
        f"Value '{'c' * 65}' at 'inputDataConfig.1.member.channelName' failed to satisfy constraint: Member must have "
        "length less than or equal to 64",
    ),
    Broken(
        "value",
        {"StoppingCondition": {"MaxRuntimeInSeconds": 0}},
        "Value '0' at 'stoppingCondition.maxRuntimeInSeconds' failed to satisfy constraint: Member must have value "
        "greater than or equal to 1",
    ),
    Broken(
        "enum",
        {"AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "Fast"}},
        "Value 'Fast' at 'algorithmSpecification.trainingInputMode' failed to satisfy constraint: Member must satisfy "
        "enum value set: [Pipe, File, FastFile]",
    ),
    Broken(
        "a list that is too short",
        {"InputDataConfig": []},
        "Value '[]' at 'inputDataConfig' failed to satisfy constraint: Member must have length greater than or equal "
        "to 1",
    ),
    Broken(
        "a member of a structure in a list",
        {"InputDataConfig": [{"ChannelName": "a b", "DataSource": {}}]},
        "Value 'a b' at 'inputDataConfig.1.member.channelName' failed to satisfy constraint: Member must satisfy "
        "regular expression pattern: ^[A-Za-z0-9\\.\\-_]+",
    ),
    Broken(
        "a required member deep inside",
        {"InputDataConfig": [{"ChannelName": "a"}]},
        "Value null at 'inputDataConfig.1.member.dataSource' failed to satisfy constraint: Member must not be null",
    ),
    Broken(
        "items of a list of texts",
        {"VpcConfig": {"Subnets": ["s", "a b"], "SecurityGroupIds": ["g"]}},
        "Value '[s, a b]' at 'vpcConfig.subnets' failed to satisfy constraint: Member must satisfy constraint: [Member "
        "must have length less than or equal to 32, Member must have length greater than or equal to 0, Member must "
        "satisfy regular expression pattern: ^[-0-9a-zA-Z]+]",
    ),
    Broken(
        "values of a map",
        {"HyperParameters": {"a": "1", "b": "line\nline"}},
        "Value '{a=1, b=line\nline}' at 'hyperParameters' failed to satisfy constraint: Map value must satisfy "
        "constraint: [Member must have length less than or equal to 2500, Member must have length greater than or "
        "equal to 0, Member must satisfy regular expression pattern: .*]",
    ),
    Broken(
        "keys of a map",
        {"Environment": {"1A": "x"}},
        "Value '{1A=x}' at 'environment' failed to satisfy constraint: Map keys must satisfy constraint: [Member must "
        "have length less than or equal to 512, Member must have length greater than or equal to 0, Member must "
        "satisfy regular expression pattern: ^[a-zA-Z_][a-zA-Z0-9_]*]",
    ),
    Broken(
        "too many entries of a map",
        {"HyperParameters": {str(number): "" for number in range(101)}},
        "at 'hyperParameters' failed to satisfy constraint: Member must have length less than or equal to 100",
    ),
]


@pytest.mark.parametrize("case", BROKEN, ids=[case.description for case in BROKEN])
def test_a_broken_constraint_has_the_wording_of_aws(case: Broken) -> None:
    """Each constraint is told as AWS tells it: the value, the path, the rule."""
    message = _refusal(JOB | case.given)
    assert message.startswith("ValidationException: 1 validation error detected: Value ")
    assert message.endswith(case.want)


def test_all_errors_stand_in_one_message() -> None:
    """A request with several faults is told all of them; one value can have two."""
    message = _refusal({"TrainingJobName": "_" * 64})
    head, *rest = message.split("; ")
    assert head.startswith("ValidationException: 4 validation errors detected: Value null at 'roleArn'")
    rules = ["Member must have length less than or equal to 63", "Member must satisfy regular expression pattern: ^"]
    assert [rule in text for rule, text in zip(rules, rest[-2:], strict=True)] == [True, True]


def test_a_missing_member_is_null() -> None:
    """What is required and absent is named with the value null."""
    assert _refusal({}, "StopTrainingJob") == (
        "ValidationException: 1 validation error detected: Value null at 'trainingJobName' failed to satisfy "
        "constraint: Member must not be null"
    )


def test_a_long_value_is_cut_in_the_message() -> None:
    """A message stays readable when the value is not."""
    assert len(_refusal(JOB | {"RoleArn": "r" * 1_000_000})) < 3000


@pytest.mark.parametrize(
    ("instance_type", "taken"),
    [
        ("ml.m5.large", True),
        ("ml.local.cpu", True),
        ("ml.local.4x.gpu", True),
        ("ml.local.", False),
        ("ml.local.CPU", False),
        ("local", False),
    ],
)
def test_local_instance_types_are_allowed_beside_those_of_aws(instance_type: str, taken: bool) -> None:
    """An enum can be given further values by a pattern; all others stay refused."""
    values = JOB | {"ResourceConfig": {"InstanceType": instance_type, "InstanceCount": 1, "VolumeSizeInGB": 1}}
    if taken:
        assert CREATE.accept(values) == values
    else:
        assert "Member must satisfy enum value set: [ml.m4.xlarge" in _refusal(values)


@pytest.mark.parametrize(
    ("given", "want"),
    [
        ({"HyperParameters": {"a": 1}}, "NUMBER_VALUE can not be converted to a String (at 'hyperParameters.a')"),
        ({"HyperParameters": {"a": True}}, "TRUE_VALUE can not be converted to a String (at 'hyperParameters.a')"),
        ({"TrainingJobName": []}, "Start of list found where not expected (at 'trainingJobName')"),
        ({"TrainingJobName": {}}, "Start of structure or map found where not expected. (at 'trainingJobName')"),
        ({"InputDataConfig": "x"}, "Expected list or null (at 'inputDataConfig')"),
        ({"InputDataConfig": {}}, "Start of structure or map found where not expected. (at 'inputDataConfig')"),
        ({"ResourceConfig": 1}, "Expected null (at 'resourceConfig')"),
        ({"HyperParameters": []}, "Start of list found where not expected (at 'hyperParameters')"),
        ({"HyperParameters": "x"}, "Expected null (at 'hyperParameters')"),
        (
            {"ResourceConfig": {"InstanceCount": "1"}},
            "STRING_VALUE can not be converted to an Integer (at 'resourceConfig.instanceCount')",
        ),
        (
            {"ResourceConfig": {"InstanceCount": 1 << 31}},
            "NUMBER_VALUE can not be converted to an Integer (at 'resourceConfig.instanceCount')",
        ),
        ({"EnableNetworkIsolation": 0}, "NUMBER_VALUE can not be converted to a Boolean (at 'enableNetworkIsolation')"),
        (
            {"InputDataConfig": [{}, {"ShuffleConfig": {"Seed": False}}]},
            "FALSE_VALUE can not be converted to a Long (at 'inputDataConfig.2.member.shuffleConfig.seed')",
        ),
        ([], "Start of list found where not expected"),
        ("x", "Expected null"),
        (None, "Expected null"),
    ],
)
def test_a_wrong_json_type_is_a_serialisation_error(given: Any, want: str) -> None:
    """Types are told in the words of AWS's deserialiser, with the place; constraints are not even looked at."""
    assert _refusal(given) == f"SerializationException: {want}"


def test_decimals_are_cut_off_integers() -> None:
    """As AWS's deserialiser does."""
    values = JOB | {"StoppingCondition": {"MaxRuntimeInSeconds": 60.9}}
    assert CREATE.accept(values)["StoppingCondition"] == {"MaxRuntimeInSeconds": 60}


@pytest.mark.parametrize(
    ("given", "want"),
    [
        (1747393850, 1747393850.0),
        (1747393850.603, 1747393850.603),
        ("2025-05-16T11:10:50Z", 1747393850.0),
        ("2025-05-16T13:10:50.5+02:00", 1747393850.5),
        ("2025-05-16T11:10:50", 1747393850.0),
        ("1747393850", 1747393850.0),
        ("Fri, 16 May 2025 11:10:50 GMT", 1747393850.0),
    ],
)
def test_timestamps_are_read_in_every_form(given: Any, want: float) -> None:
    """Numbers, ISO 8601 and HTTP dates become Unix seconds."""
    read = SAGEMAKER.operation("ListTrainingJobs").input.accept({"CreationTimeAfter": given})
    assert read == {"CreationTimeAfter": want}


@pytest.mark.parametrize("given", ["soon", 1e300, -1e12, 10**400, True, "inf"])
def test_what_is_no_time_is_refused(given: Any) -> None:
    """Times beyond the calendar and other texts have AWS's message."""
    message = _refusal({"CreationTimeAfter": given}, "ListTrainingJobs")
    assert "can not be converted to milliseconds since epoch (at 'creationTimeAfter')" in message


def test_output_has_declared_members_only() -> None:
    """Timestamps go out as seconds with milliseconds; None and what the model does not know stay inside."""
    output = SAGEMAKER.operation("DescribeTrainingJob").output
    assert output is not None
    written = output.write(
        {
            "TrainingJobName": "job",
            "CreationTime": 1747393850.60349,
            "FailureReason": None,
            "Tags": [],
            "SecondaryStatusTransitions": [{"Status": "Starting", "StartTime": 1747393850, "Version": 3}],
        }
    )
    assert written == {
        "TrainingJobName": "job",
        "CreationTime": 1747393850.603,
        "SecondaryStatusTransitions": [{"Status": "Starting", "StartTime": 1747393850.0}],
    }


def test_output_of_the_wrong_type_is_our_fault() -> None:
    """A handler that gives a number for a text is told where."""
    output = SAGEMAKER.operation("DescribeTrainingJob").output
    assert output is not None
    with pytest.raises(TypeError, match="ModelArtifacts: S3ModelArtifacts: a string is needed, not int"):
        output.write({"ModelArtifacts": {"S3ModelArtifacts": 1}})
    with pytest.raises(ValueError, match="finite"):
        output.write({"CreationTime": math.nan})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*CREATE.members, "x"]), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(json_values)
def test_no_json_is_too_strange_for_an_input(value: Any) -> None:
    """Any JSON value is taken or refused with one of the two codes."""
    try:
        CREATE.accept(value)
    except ServiceError as error:
        assert error.code in {"SerializationException", "ValidationException"}  # noqa: PT017  (both are right)


TEXTS = [
    "File",
    "ml.m5.large",
    "ml.local.cpu",
    "s3://bucket/key",
    "arn:aws:iam::000000000000:role/train",
    "",
    "ä b",
    "x" * 300,
]


def of_shape(shape: Shape) -> st.SearchStrategy[Any]:
    """JSON values, most of their parts within the limits of a shape, some beyond, and a few that it cannot read."""
    match shape:
        case Structure():
            members = {name: of_shape(each) for name, each in shape.members.items()}
            own = [name for name in members if name in shape.required] or list(members)[:1]
            return st.fixed_dictionaries(
                {name: members[name] for name in own}, optional={n: m for n, m in members.items() if n not in own}
            ) | st.just({})
        case ListShape():
            return st.lists(of_shape(shape.member), max_size=2)
        case MapShape():
            return st.dictionaries(st.sampled_from(TEXTS), of_shape(shape.value), max_size=2)
    kinds: dict[str, st.SearchStrategy[Any]] = {
        "integer": st.sampled_from([-1, 0, 1, 30, 10**7]), "long": st.sampled_from([0, 1, 10**12]), "boolean": st.booleans(),
        "double": st.floats(allow_nan=False), "float": st.floats(allow_nan=False), "timestamp": st.just(1.5), "blob": st.just(""),
    }  # fmt: skip
    strange: st.SearchStrategy[Any] = st.sampled_from([None, [], {}, [None], {"x": 1}, "NaN", 1.0, True])
    return st.integers(0, 19).flatmap(lambda n: strange if n == 0 else kinds.get(shape.kind, st.sampled_from(TEXTS)))


@given(of_shape(CREATE))
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
def test_what_is_taken_is_what_breaks_nothing(value: dict[str, Any]) -> None:
    """The quick way and the thorough one agree, about the whole and about every part of it."""
    parts: list[tuple[Any, Any]] = [(CREATE, value)]
    for shape, each in parts:
        assert taken(shape, each) == found(shape, each)
        assert taken(shape, each) == found(shape, each), "the second time, too"
        match shape, each:
            case Structure(), dict():
                parts += [(shape.members[name], item) for name, item in each.items() if name in shape.members]
            case ListShape(), list():
                parts += [(shape.member, item) for item in each]
            case MapShape(), dict():
                parts += [(shape.value, item) for item in each.values()]


def taken(shape: Any, value: Any) -> Any:
    """Give what `take` gives; `WRONG` where it refuses."""
    try:
        return shape.take(value)
    except UnfitError:
        return WRONG


def found(shape: Any, value: Any) -> Any:
    """Give what `read` gives; `WRONG` where it refuses, or `check` finds something."""
    faults: list[Fault] = []
    try:
        plain = shape.read(value)
    except UnfitError:
        return WRONG
    shape.check(plain, "", faults)
    return WRONG if faults else plain


def test_what_fitted_once_is_not_kept_for_ever() -> None:
    """A service that runs for months sees names without end; and what is secret is not kept at all."""
    name: Any = CREATE.members["TrainingJobName"]
    assert all(name.take(f"job-{number}") for number in range(5000))
    assert len(name.fitting) <= 256


def test_every_pattern_of_the_model_can_be_used() -> None:
    """Whatever engine a pattern needs, it compiles and is matched in bounded time."""
    for name in SAGEMAKER.operation_names:
        SAGEMAKER.operation(name)
    for shape in list(SAGEMAKER._shapes.values()):
        if getattr(shape, "pattern", None):
            shape.broken("a" * 40 + "!")


def test_surrogate_ranges_mean_characters_beyond_the_basic_plane() -> None:
    """A range of surrogate pairs, as Java has it, takes an emoji."""
    pattern = r"[\u0020-\uD7FF\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF\t]*"
    document = {
        "metadata": {"protocol": "json"},
        "operations": {},
        "shapes": {"T": {"type": "string", "pattern": pattern}},
    }
    shape = ServiceModel("t", json.dumps(document).encode()).shape("T")
    assert shape.broken("é 🧵") == []
    assert shape.broken("\n") != []


def test_a_sensitive_value_is_not_shown() -> None:
    """A message about a secret names its place only."""
    shapes = {
        "In": {"type": "structure", "members": {"Password": {"shape": "Secret"}}},
        "Secret": {"type": "string", "min": 8, "sensitive": True},
    }
    document = {"metadata": {"protocol": "json"}, "operations": {"Op": {"input": {"shape": "In"}}}, "shapes": shapes}
    with pytest.raises(ServiceError, match=r"^1 validation error detected: Value at 'password' failed"):
        ServiceModel("t", json.dumps(document).encode()).operation("Op").input.accept({"Password": "hunter2"})


def test_a_service_that_is_not_installed_is_named() -> None:
    """The name of a service cannot leave botocore's folder, and an unknown one is said."""
    for name in ("nosuchservice", "../data/sts"):
        with pytest.raises(UsageError, match="has no service"):
            load_service(name)


def test_reading_a_model_does_not_import_botocore() -> None:
    """A quarter of a second of imports is saved; the file is only data."""
    code = "import sys; from treadle.aws.shapes import load_service; load_service('sts').operation('AssumeRole');"
    code += "print([name for name in ('botocore', 're2', 'regex') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
