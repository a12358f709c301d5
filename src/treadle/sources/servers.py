"""Which server a source's requests go to, and whether they are signed.

A description names servers, with variables; a person can name another (`--server NAME=URL`) or a target for everything
that is AWS's (`--on local`, `--on aws`, `--on URL`). All of this is decided here by pure functions, before the first
request, and the answer is a `Target`: a base URL, and the scope to sign for where requests to it are to be signed.

Two rules hold. A request is signed only for hosts of AWS or for a server that a person named for a source of AWS, never
merely because a step has an `X-Amz-Target`. And what a person names outranks what a description says, whole: a base
path of the description does not survive `--server`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

from treadle.errors import DescriptionError, UsageError
from treadle.seams import Json
from treadle.sources.walk import Node

__all__ = [
    "DEFAULT_REGION",
    "AwsService",
    "LocalService",
    "SigningScope",
    "Target",
    "aws_scope",
    "base_url",
    "described_server",
    "origin",
    "region_of",
    "root_server",
    "server_of",
    "service_of_target",
    "target_for",
]

DEFAULT_REGION: Final = "us-east-1"


@dataclass(frozen=True, slots=True)
class SigningScope:
    """The service and the region in a SigV4 credential scope: `sagemaker`, `us-east-1`."""

    service: str
    region: str


@dataclass(frozen=True, slots=True)
class Target:
    """Where a source's requests go.

    `name` is `local`, `aws`, `named` (a URL that a person gave) or `described` (the description's own server); `url`
    has no trailing slash. `signing` is None where nothing is signed. Hosts of AWS and the local service refuse unsigned
    requests, so there `must_sign` holds; another server that a person named is signed for when there are credentials.
    """

    name: str
    url: str
    signing: SigningScope | None = None
    must_sign: bool = False


@dataclass(frozen=True, slots=True)
class LocalService:
    """The training service that owns the home, as `--on local` needs it."""

    url: str
    region: str = DEFAULT_REGION


@dataclass(frozen=True, slots=True)
class AwsService:
    """A service of AWS: the part of its host name before the region, and the name that it is signed for."""

    prefix: str
    signing: str


# ---------------------------------------------------------------------------------------------------------------------
# What AWS calls its services
# ---------------------------------------------------------------------------------------------------------------------

# Host name prefixes whose last label is not the signing name; from botocore's service models (endpointPrefix,
# signingName). Every other prefix is signed for its last label: `api.sagemaker` for `sagemaker`.
_SIGNING_NAMES: Final[Mapping[str, str]] = {
    "bedrock-agent": "bedrock",
    "bedrock-agent-runtime": "bedrock",
    "bedrock-runtime": "bedrock",
    "data-ats.iot": "iotdata",
    "email": "ses",
    "entitlement.marketplace": "aws-marketplace",
    "metering.marketplace": "aws-marketplace",
    "memory-db": "memorydb",
    "models-v2-lex": "lex",
    "oidc": "sso-oauth",
    "personalize-events": "personalize",
    "personalize-runtime": "personalize",
    "pinpoint": "mobiletargeting",
    "portal.sso": "awsssoportal",
    "runtime-v2-lex": "lex",
    "s3-accelerate": "s3",
    "s3-control": "s3",
}

# The part of X-Amz-Target before the operation, for the services that speak AWS JSON and are met in workflows; from
# botocore's service models (targetPrefix, endpointPrefix, signingName).
_TARGET_PREFIXES: Final[Mapping[str, AwsService]] = {
    "AWSEvents": AwsService("events", "events"),
    "AWSGlue": AwsService("glue", "glue"),
    "AWSKendraFrontendService": AwsService("kendra", "kendra"),
    "AWSOrganizationsV20161128": AwsService("organizations", "organizations"),
    "AWSStepFunctions": AwsService("states", "states"),
    "AmazonAthena": AwsService("athena", "athena"),
    "AmazonEC2ContainerRegistry_V20150921": AwsService("api.ecr", "ecr"),
    "AmazonEC2ContainerServiceV20141113": AwsService("ecs", "ecs"),
    "AmazonForecast": AwsService("forecast", "forecast"),
    "AmazonPersonalize": AwsService("personalize", "personalize"),
    "AmazonSQS": AwsService("sqs", "sqs"),
    "AmazonSSM": AwsService("ssm", "ssm"),
    "CertificateManager": AwsService("acm", "acm"),
    "CodeBuild_20161006": AwsService("codebuild", "codebuild"),
    "CodePipeline_20150709": AwsService("codepipeline", "codepipeline"),
    "Comprehend_20171127": AwsService("comprehend", "comprehend"),
    "DynamoDBStreams_20120810": AwsService("streams.dynamodb", "dynamodb"),
    "DynamoDB_20120810": AwsService("dynamodb", "dynamodb"),
    "ElasticMapReduce": AwsService("elasticmapreduce", "elasticmapreduce"),
    "Firehose_20150804": AwsService("firehose", "firehose"),
    "GraniteServiceVersion20100801": AwsService("monitoring", "monitoring"),
    "Kinesis_20131202": AwsService("kinesis", "kinesis"),
    "Logs_20140328": AwsService("logs", "logs"),
    "RedshiftData": AwsService("redshift-data", "redshift-data"),
    "RekognitionService": AwsService("rekognition", "rekognition"),
    "ResourceGroupsTaggingAPI_20170126": AwsService("tagging", "tagging"),
    "SageMaker": AwsService("api.sagemaker", "sagemaker"),
    "ServiceQuotasV20190624": AwsService("servicequotas", "servicequotas"),
    "StarlingDoveService": AwsService("config", "config"),
    "Textract": AwsService("textract", "textract"),
    "Transcribe": AwsService("transcribe", "transcribe"),
    "TrentService": AwsService("kms", "kms"),
    "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101": AwsService("cloudtrail", "cloudtrail"),
    "secretsmanager": AwsService("secretsmanager", "secretsmanager"),
}


def service_of_target(amz_target: str) -> AwsService | None:
    """Give the service of an X-Amz-Target such as `SageMaker.CreateTrainingJob`, or None where it is not known."""
    return _TARGET_PREFIXES.get(amz_target.rpartition(".")[0])


_AWS_SUFFIXES: Final = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".amazonaws.eu")
_REGION: Final = re.compile(r"[a-z]{2,4}(?:-[a-z]+)+-\d{1,2}")
# Labels that say how a service is reached, not which one it is.
_WAYS: Final = frozenset({"dualstack", "vpce"})


def aws_scope(url: str) -> SigningScope | None:
    """Give the service and region that a host of AWS is signed for, or None for every other host."""
    host = (urlsplit(url).hostname or "").lower()
    suffix = next((each for each in _AWS_SUFFIXES if host.endswith(each)), None)
    if suffix is None:
        return None
    labels = [label for label in host.removesuffix(suffix).split(".") if label not in _WAYS]
    place = next((index for index, label in enumerate(labels) if _REGION.fullmatch(label)), None)
    # Global services have no region in their name and are signed for us-east-1: iam.amazonaws.com.
    region = DEFAULT_REGION if place is None else labels[place]
    before = labels if place is None else labels[:place] or labels[place + 1 :]
    if not before:
        return None
    return SigningScope(_signing_name([label.removesuffix("-fips") for label in before]), region)


def _signing_name(labels: list[str]) -> str:
    for prefix in (".".join(labels[-2:]), labels[-1]):
        if prefix in _SIGNING_NAMES:
            return _SIGNING_NAMES[prefix]
    return labels[-1]


# ---------------------------------------------------------------------------------------------------------------------
# What a description says
# ---------------------------------------------------------------------------------------------------------------------

_VARIABLE: Final = re.compile(r"\{([^{}]+)\}")
_REGION_VARIABLES: Final = ("AWS_REGION", "AWS_DEFAULT_REGION")


def region_of(environment: Mapping[str, str] | None = None) -> str | None:
    """Give the region that the environment names, or None."""
    environment = os.environ if environment is None else environment
    return next((environment[name] for name in _REGION_VARIABLES if environment.get(name)), None)


def server_of(
    node: Node,
    uri: str,
    environment: Mapping[str, str] | None = None,
) -> str | None:
    """Give the URL of the first server of an object that has `servers`, or None where it has none.

    A variable has its default; `region` of a host of AWS has the environment's. A relative URL is resolved against the
    description's own. Raises `DescriptionError`.
    """
    servers = node.get("servers")
    if servers is None or not servers.value:
        return None
    server = next(servers.elements()).followed()
    template = server.text("url", "/")
    described = server.get("variables")
    region = region_of(environment)
    values = {"region": region} if region and "amazonaws.com" in template else {}
    filled = _VARIABLE.sub(lambda found: _variable(found[1], described, values, server), template)
    try:
        url = urljoin(_retrieval_base(uri), filled)
    except ValueError:  # brackets that do not match
        url = filled
    return _callable(url, filled, server)


def _callable(url: str, written: str, server: Node) -> str | None:
    """Give a URL that can be called, None for one of another kind. Raises `DescriptionError` for one that is broken."""
    if _http(url) is None and url.startswith(("http:", "https:")):
        raise server.error("server-url", f"the server's URL {written!r} cannot be called")
    return url.rstrip("/") if _http(url) else None


def _variable(name: str, described: Node | None, values: Mapping[str, str], server: Node) -> str:
    if name in values:
        return values[name]
    variable = described.get(name) if described else None
    default = variable.members().get("default") if variable else None
    if default is None:
        raise server.error(
            "server-variable",
            f"the server's URL has the variable {{{name}}}, which has no default",
            hint=f"name the server with --server NAME=URL, or give the variable {name!r} a default",
        )
    return str(default)


def _retrieval_base(uri: str) -> str:
    return uri if urlsplit(uri).scheme in {"http", "https"} else ""


def described_server(
    document: Json,
    uri: str,
    environment: Mapping[str, str] | None = None,
) -> str | None:
    """Give the first server of a whole description, or None where it names none that can be called.

    Raises nothing: a person may still name the server, and where nobody does `root_server` says what is wrong.
    """
    try:
        return root_server(document, uri, environment)
    except DescriptionError:
        return None


def root_server(
    document: Json,
    uri: str,
    environment: Mapping[str, str] | None = None,
) -> str | None:
    """Give the first server of a whole description, or None. Raises `DescriptionError` where what it says is broken.

    An OpenAPI description without servers means `/` where it was read from.
    """
    node = Node.whole(document, uri)
    if "swagger" in node.members():
        return _swagger_server(node, uri)
    if not node.members().get("servers"):
        return urljoin(_retrieval_base(uri), "/").rstrip("/") or None
    return server_of(node, uri, environment)


def _swagger_server(node: Node, uri: str) -> str | None:
    """Swagger 2.0: `schemes`, `host` and `basePath`; what is left out is that of the description's own URL."""
    retrieved = urlsplit(_retrieval_base(uri))
    listed = node.get("schemes")
    schemes = [str(each.value) for each in listed.elements()] if listed else []
    schemes = schemes or [retrieved.scheme or "https"]
    scheme = "https" if "https" in schemes else schemes[0]
    host = node.text("host") or retrieved.netloc
    url = f"{scheme}://{host}{node.text('basePath')}"
    return _callable(url, url, node) if host else None


# ---------------------------------------------------------------------------------------------------------------------
# What a person says
# ---------------------------------------------------------------------------------------------------------------------


def base_url(text: str) -> str:
    """Give a URL that a person named as a base URL. Raises `UsageError`."""
    parts = _http(text)
    if parts is None:
        raise UsageError(
            f"{_without_userinfo(text)!r} is no server", hint="write it as http://HOST:PORT or https://HOST"
        )
    if parts.query or parts.fragment or parts.username or parts.password:
        raise UsageError(f"{_without_userinfo(text)!r}: a server has no query, fragment, user name or password")
    return text.rstrip("/")


def _http(url: str) -> SplitResult | None:
    """Give the parts of an absolute http URL, or None for every other text."""
    try:
        parts = urlsplit(url)
        fits = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 0) >= 0
    except ValueError:  # brackets that do not match, a port that is none
        return None
    return parts if fits else None


def _without_userinfo(text: str) -> str:
    return re.sub(r"//[^/@]*@", "//…@", text)


@lru_cache(maxsize=256)
def origin(url: str) -> str:
    """Give scheme, host and port of a URL, the port always written: `https://example.com:443`."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    host = (parts.hostname or "").lower()
    port = parts.port or {"http": 80, "https": 443}.get(scheme, 0)
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def target_for(
    source: str,
    *,
    described: str | None,
    on: str | None = None,
    servers: Mapping[str, str] | None = None,
    local: LocalService | None = None,
    region: str | None = None,
    amz_targets: Iterable[str] = (),
) -> Target | None:
    """Decide where the requests of a source go; None where nobody names a server.

    `described` is the description's own server (None also when it could not be read); `on` is `local`, `aws` or a URL;
    `servers` are the `--server NAME=URL`; `local` is the service of the home, which `--on local` needs; `region` is the
    one to use where no description says one; `amz_targets` are the X-Amz-Target values of the source's steps.
    `--on` concerns sources of AWS; another source of the same document keeps its own server. Raises `UsageError`.
    """
    service = _aws_service(described, amz_targets)
    scope = _scope(described, service, region)
    named = (servers or {}).get(source)
    if named is not None:
        return _named(base_url(named), scope, local)
    if on is None or scope is None:
        return _described(described) if on in {None, "aws", "local"} or described else _named(base_url(on), None, local)
    if on == "aws":
        return _on_aws(described, service, scope)
    if on == "local":
        return _on_local(scope, local)
    return _named(base_url(on), scope, local)


def _aws_service(described: str | None, amz_targets: Iterable[str]) -> AwsService | None:
    if described is not None:
        return None
    return next(filter(None, map(service_of_target, amz_targets)), None)


def _scope(described: str | None, service: AwsService | None, region: str | None) -> SigningScope | None:
    if described is not None:
        return aws_scope(described)
    return SigningScope(service.signing, region or DEFAULT_REGION) if service else None


def _described(described: str | None) -> Target | None:
    if described is None:
        return None
    scope = aws_scope(described)
    return Target("described", described, scope, must_sign=scope is not None)


def _on_aws(described: str | None, service: AwsService | None, scope: SigningScope) -> Target:
    if described is not None:
        return Target("aws", described, scope, must_sign=True)
    prefix = service.prefix if service else scope.service
    suffix = "amazonaws.com.cn" if scope.region.startswith("cn-") else "amazonaws.com"
    return Target("aws", f"https://{prefix}.{scope.region}.{suffix}", scope, must_sign=True)


def _on_local(scope: SigningScope, local: LocalService | None) -> Target:
    if local is None:
        raise UsageError("there is no local training service", hint="start one with `treadle serve`")
    return Target("local", local.url.rstrip("/"), SigningScope(scope.service, local.region), must_sign=True)


def _named(url: str, scope: SigningScope | None, local: LocalService | None) -> Target:
    if (own := aws_scope(url)) is not None:
        return Target("aws", url, own, must_sign=True)
    if scope is not None and local is not None and origin(url) == origin(local.url):
        return _on_local(scope, LocalService(url, local.region))
    return Target("named", url, scope)
