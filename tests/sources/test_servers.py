"""Where requests go, and for whom they are signed."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from treadle.errors import UsageError
from treadle.sources.servers import (
    LocalService,
    SigningScope,
    Target,
    aws_scope,
    base_url,
    described_server,
    origin,
    region_of,
    service_of_target,
    target_for,
)


@pytest.mark.parametrize(
    ("host", "want"),
    [
        ("api.sagemaker.us-east-1.amazonaws.com", ("sagemaker", "us-east-1")),
        ("runtime.sagemaker.eu-west-1.amazonaws.com", ("sagemaker", "eu-west-1")),
        ("api.sagemaker.cn-north-1.amazonaws.com.cn", ("sagemaker", "cn-north-1")),
        ("API.SageMaker.us-gov-west-1.amazonaws.com", ("sagemaker", "us-gov-west-1")),
        ("api-fips.sagemaker.us-east-1.amazonaws.com", ("sagemaker", "us-east-1")),
        ("vpce-1-2.api.sagemaker.us-east-1.vpce.amazonaws.com", ("sagemaker", "us-east-1")),
        ("logs.us-east-1.amazonaws.com", ("logs", "us-east-1")),
        ("logs.us-east-1.api.aws", ("logs", "us-east-1")),
        ("s3.us-east-2.amazonaws.com", ("s3", "us-east-2")),
        ("s3.dualstack.us-east-2.amazonaws.com", ("s3", "us-east-2")),
        ("my.bucket.s3.us-east-2.amazonaws.com", ("s3", "us-east-2")),
        ("bucket.s3.amazonaws.com", ("s3", "us-east-1")),
        ("iam.amazonaws.com", ("iam", "us-east-1")),
        ("sts-fips.us-east-1.amazonaws.com", ("sts", "us-east-1")),
        ("email.us-east-1.amazonaws.com", ("ses", "us-east-1")),
        ("bedrock-runtime.us-east-1.amazonaws.com", ("bedrock", "us-east-1")),
        ("entitlement.marketplace.us-east-1.amazonaws.com", ("aws-marketplace", "us-east-1")),
        ("abc123.execute-api.eu-central-1.amazonaws.com", ("execute-api", "eu-central-1")),
        ("dynamodb.us-iso-east-1.amazonaws.com", ("dynamodb", "us-iso-east-1")),
        ("us-east-1.queue.amazonaws.com", ("queue", "us-east-1")),
        ("amazonaws.com", None),
        ("us-east-1.amazonaws.com", None),
        ("evilamazonaws.com", None),
        ("api.sagemaker.us-east-1.amazonaws.com.evil.test", None),
        ("127.0.0.1:1234", None),
    ],
)
def test_hosts_of_aws(host: str, want: tuple[str, str] | None) -> None:
    """A host of AWS tells the service and region that it is signed for; a host that only looks like one does not."""
    assert aws_scope(f"https://{host}/") == (SigningScope(*want) if want else None)


@pytest.mark.parametrize(
    ("amz_target", "want"),
    [
        ("SageMaker.CreateTrainingJob", ("api.sagemaker", "sagemaker")),
        ("Logs_20140328.GetLogEvents", ("logs", "logs")),
        ("DynamoDB_20120810.Query", ("dynamodb", "dynamodb")),
        ("com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101.LookupEvents", ("cloudtrail", "cloudtrail")),
        ("Nobody.Op", None),
        ("SageMaker", None),
        ("", None),
    ],
)
def test_services_by_target(amz_target: str, want: tuple[str, str] | None) -> None:
    """The part of X-Amz-Target before the operation names the service."""
    found = service_of_target(amz_target)

    assert (found and (found.prefix, found.signing)) == want


AWS = "https://api.sagemaker.us-east-1.amazonaws.com"
LOCAL = LocalService("http://127.0.0.1:7777", "eu-west-1")
SAGEMAKER = SigningScope("sagemaker", "us-east-1")


@dataclass
class Case:
    description: str
    want: Target | None
    described: str | None = None
    on: str | None = None
    servers: dict[str, str] = field(default_factory=dict)
    region: str | None = None
    amz: list[str] = field(default_factory=list)


SPELLED = ["SageMaker.CreateTrainingJob"]
PETS = "https://pets.test/v1"
NAMED = {"api": "http://stub.test:8080/"}
TARGETS = [
    Case("AWS as described", Target("described", AWS, SAGEMAKER, must_sign=True), AWS),
    Case("another API as described", Target("described", PETS), PETS),
    Case("nobody names a server", None),
    Case("spelled out, but nobody names a server", None, amz=SPELLED),
    Case("on AWS", Target("aws", AWS, SAGEMAKER, must_sign=True), AWS, "aws"),
    Case("on AWS, spelled out", Target("aws", AWS, SAGEMAKER, must_sign=True), None, "aws", amz=SPELLED),
    Case(
        "on AWS, spelled out, in China",
        Target("aws", "https://logs.cn-north-1.amazonaws.com.cn", SigningScope("logs", "cn-north-1"), must_sign=True),
        on="aws",
        region="cn-north-1",
        amz=["Other.X", "Logs_20140328.GetLogEvents"],
    ),
    Case("on AWS, a target that nobody knows", None, on="aws", amz=["Nobody.Op"]),
    Case("on AWS, another API", Target("described", PETS), PETS, "aws"),
    Case("on this machine", Target("local", LOCAL.url, SigningScope("sagemaker", "eu-west-1"), must_sign=True), AWS, "local"),
    Case("on this machine, spelled out", Target("local", LOCAL.url, SigningScope("sagemaker", "eu-west-1"), must_sign=True), on="local", amz=SPELLED),
    Case("on this machine, another API", Target("described", PETS), PETS, "local"),
    Case("on a URL", Target("named", "http://stub.test:8080", SAGEMAKER), AWS, "http://stub.test:8080/"),
    Case("on a URL, spelled out", Target("named", "http://stub.test", SigningScope("sagemaker", "eu-west-2")), on="http://stub.test", region="eu-west-2", amz=SPELLED),
    Case("on a URL of AWS", Target("aws", "https://logs.eu-west-1.amazonaws.com", SigningScope("logs", "eu-west-1"), must_sign=True), AWS, "https://logs.eu-west-1.amazonaws.com"),
    Case("on the URL of this machine's service", Target("local", LOCAL.url, SigningScope("sagemaker", "eu-west-1"), must_sign=True), AWS, LOCAL.url),
    Case("on a URL, another API keeps its own server", Target("described", PETS), PETS, "http://stub.test"),
    Case("on a URL, nothing known of the source", Target("named", "http://stub.test"), on="http://stub.test"),
    Case("a server by name", Target("named", "http://stub.test:8080"), PETS, servers=NAMED),
    Case("a server by name for AWS", Target("named", "http://stub.test:8080", SAGEMAKER), AWS, servers=NAMED),
    Case("a server by name outranks --on", Target("named", "http://stub.test:8080", SAGEMAKER), AWS, "local", NAMED),
    Case("a server by name for another source", Target("described", PETS), PETS, servers={"other": "http://x.test"}),
]  # fmt: skip


@pytest.mark.parametrize("case", TARGETS, ids=lambda case: case.description)
def test_targets(case: Case) -> None:
    """What a person names outranks the description; only AWS and servers named for it are signed for."""
    found = target_for(
        "api",
        described=case.described,
        on=case.on,
        servers=case.servers,
        local=LOCAL,
        region=case.region,
        amz_targets=case.amz,
    )

    assert found == case.want


def test_on_local_needs_a_service() -> None:
    """Without a service of this machine `--on local` says what to do."""
    with pytest.raises(UsageError, match="no local training service"):
        target_for("api", described=AWS, on="local")


@pytest.mark.parametrize(
    "text",
    ["", "host:80", "//host", "ftp://h", "http://", "http://h:x", "http://h:99999", "http://[::1", "http://h/?a=1", "http://h/#a", "http://u:p@h/"],
)  # fmt: skip
def test_what_is_no_server(text: str) -> None:
    """A server that a person names is an absolute http URL without query, fragment or password."""
    with pytest.raises(UsageError) as caught:
        base_url(text)
    assert "p@" not in caught.value.message


@pytest.mark.parametrize(
    ("url", "want"),
    [
        ("https://Example.test/x", "https://example.test:443"),
        ("http://example.test", "http://example.test:80"),
        ("http://example.test:8080/?a", "http://example.test:8080"),
        ("http://[::1]:1/", "http://[::1]:1"),
    ],
)
def test_origin(url: str, want: str) -> None:
    """An origin is scheme, host and port, always all of them."""
    assert origin(url) == want


def test_region_of() -> None:
    """AWS_REGION before AWS_DEFAULT_REGION; an empty one is none."""
    assert region_of({"AWS_DEFAULT_REGION": "a", "AWS_REGION": "b"}) == "b"
    assert region_of({"AWS_DEFAULT_REGION": "a", "AWS_REGION": ""}) == "a"
    assert region_of({}) is None


def test_the_environment_fills_regions_of_aws_only() -> None:
    """Another API's variable named `region` is none of AWS_REGION's business."""
    servers = [{"url": "https://{region}.pets.test", "variables": {"region": {"default": "eu"}}}]

    assert described_server({"openapi": "3.1.0", "servers": servers}, "x", {"AWS_REGION": "us-west-2"}) == (
        "https://eu.pets.test"
    )
