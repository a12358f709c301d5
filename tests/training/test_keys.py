"""Who may do what: temporary credentials, those of training programs, STS and IAM as clients ask them."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from botocore.exceptions import ClientError
from tests.training.control import new_job
from tests.training.world import World, world

from treadle.agent.main import open_objects
from treadle.aws import sigv4
from treadle.errors import ObjectError, ServiceError
from treadle.seams import Capacity, HostSpec
from treadle.training import access
from treadle.training.job import Job
from treadle.training.keyring import Keyring, Session

ACCOUNT = "000000000000"
SECRET = "of the home"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/service-role/train"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("world")) as made:
        yield made


def code(error: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    return error.value.response["Error"]["Code"], error.value.response["ResponseMetadata"]["HTTPStatusCode"]


def as_client(credentials: dict[str, Any]) -> dict[str, str]:
    return {
        "aws_access_key_id": credentials["AccessKeyId"],
        "aws_secret_access_key": credentials["SecretAccessKey"],
        "aws_session_token": credentials["SessionToken"],
    }


# ---------------------------------------------------------------------------------------------------------------------
# STS and IAM
# ---------------------------------------------------------------------------------------------------------------------


def test_a_role_that_is_assumed_works(service: World) -> None:
    """Its credentials sign every API, it knows who it is, and it ends when it was said to."""
    sts = service.client("sts")
    before = datetime.now(UTC)
    answer = sts.assume_role(RoleArn=ROLE, RoleSessionName="me@home", DurationSeconds=900, SourceIdentity="me")
    assert answer["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/train/me@home"
    assert answer["SourceIdentity"] == "me"
    credentials = answer["Credentials"]
    assert credentials["AccessKeyId"].startswith("ASIA")
    assert timedelta(seconds=898) < credentials["Expiration"] - before <= timedelta(seconds=901)
    keys = as_client(credentials)
    identity = service.client("sts", **keys).get_caller_identity()
    assert (identity["UserId"], identity["Account"], identity["Arn"]) == (
        answer["AssumedRoleUser"]["AssumedRoleId"],
        ACCOUNT,
        answer["AssumedRoleUser"]["Arn"],
    )
    sagemaker = service.client(**keys)
    service.create(sagemaker, "quick-assumed")
    assert service.ended(sagemaker, "quick-assumed")["TrainingJobStatus"] == "Completed"


def test_a_session_of_the_owner(service: World) -> None:
    """GetSessionToken gives temporary credentials of the same identity."""
    sts = service.client("sts")
    again = service.client("sts", **as_client(sts.get_session_token()["Credentials"]))
    assert again.get_caller_identity()["Arn"] == sts.get_caller_identity()["Arn"]


@pytest.mark.parametrize(
    ("changes", "want"),
    [
        pytest.param({"aws_session_token": "x"}, "UnrecognizedClientException", id="token that is none"),
        pytest.param({"aws_session_token": None}, "UnrecognizedClientException", id="no token"),
        pytest.param({"aws_secret_access_key": "x"}, "InvalidSignatureException", id="secret"),
        pytest.param({"aws_access_key_id": "ASIA" + "A" * 16}, "InvalidSignatureException", id="another key"),
    ],
)
def test_credentials_that_do_not_belong_together(service: World, changes: dict[str, Any], want: str) -> None:
    """Nobody comes in."""
    sts = service.client("sts")
    keys = as_client(sts.assume_role(RoleArn=ROLE, RoleSessionName="me")["Credentials"])
    with pytest.raises(ClientError) as caught:
        service.client(**keys | changes).list_training_jobs()
    assert code(caught) == (want, 403)


def test_a_token_does_not_serve_another_key(service: World) -> None:
    """Neither another session's nor the owner's own, with AWS's words."""
    sts = service.client("sts")
    one, two = (as_client(sts.assume_role(RoleArn=ROLE, RoleSessionName="me")["Credentials"]) for _ in range(2))
    key, secret = service.home.credentials()
    owner = {"aws_access_key_id": key, "aws_secret_access_key": secret}
    for keys in (one, owner):
        with pytest.raises(ClientError, match=r"The security token included in the request is invalid\.") as caught:
            service.client(**keys | {"aws_session_token": two["aws_session_token"]}).list_training_jobs()
        assert code(caught) == ("UnrecognizedClientException", 403)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"RoleArn": f"arn:aws:iam::{ACCOUNT}:user/train"}, f"arn:aws:iam::{ACCOUNT}:user/train is invalid"),
        ({"DurationSeconds": 60}, "Value '60' at 'durationSeconds' failed to satisfy constraint"),
        ({"RoleSessionName": "a b"}, "Value 'a b' at 'roleSessionName' failed to satisfy constraint"),
        ({"Policy": "{}"}, "Session policies are not supported by Treadle"),
        ({"PolicyArns": [{"arn": f"arn:aws:iam::{ACCOUNT}:policy/x"}]}, "Session policies are not supported"),
    ],
)
def test_what_cannot_be_assumed(service: World, values: dict[str, Any], text: str) -> None:
    """The model's constraints, and nothing that would give more than was asked for."""
    with pytest.raises(ClientError, match=text) as caught:
        service.client("sts").assume_role(**{"RoleArn": ROLE, "RoleSessionName": "me"} | values)
    assert code(caught) == ("ValidationError", 400)


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1"])
def test_iam_answers_as_the_sdks_ask(service: World, region: str) -> None:
    """Every role is there, SageMaker may assume it, and it may do everything; IAM has no regions."""
    iam = service.client("iam", region_name=region)
    role = iam.get_role(RoleName="train")["Role"]
    assert role["Arn"] == f"arn:aws:iam::{ACCOUNT}:role/train"
    (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "sagemaker.amazonaws.com"}
    answer = iam.simulate_principal_policy(
        PolicySourceArn=ROLE,
        ActionNames=["s3:GetObject", "s3:PutObject"],
        ResourceArns=["arn:aws:s3:::data/*"],
        ContextEntries=[{"ContextKeyName": "aws:k", "ContextKeyValues": ["v"], "ContextKeyType": "string"}],
    )
    assert [(each["EvalActionName"], each["EvalDecision"]) for each in answer["EvaluationResults"]] == [
        ("s3:GetObject", "allowed"),
        ("s3:PutObject", "allowed"),
    ]
    assert answer["IsTruncated"] is False
    with pytest.raises(ClientError, match="'ListRoles' of iam is not implemented by Treadle"):
        iam.list_roles()


# ---------------------------------------------------------------------------------------------------------------------
# The training program's
# ---------------------------------------------------------------------------------------------------------------------


def of_program(service: World, name: str) -> dict[str, str]:
    environment = service.specs[name][-1].environment
    return {
        "aws_access_key_id": environment["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": environment["AWS_SECRET_ACCESS_KEY"],
        "aws_session_token": environment["AWS_SESSION_TOKEN"],
    }


def test_a_program_gets_its_own_credentials(service: World) -> None:
    """With the endpoint; they say whose they are, do no more than that here, and end with the job."""
    sagemaker = service.client()
    service.create(sagemaker, "long-program")
    service.reached(sagemaker, "long-program", "Training")
    environment = service.specs["long-program"][0].environment
    url = service.service.endpoint.url
    assert {name: environment[name] for name in ("AWS_REGION", "AWS_ENDPOINT_URL", "S3_ENDPOINT_URL")} == {
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": url,
        "S3_ENDPOINT_URL": url,
    }
    keys = of_program(service, "long-program")
    identity = service.client("sts", **keys).get_caller_identity()
    assert identity["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/training/SageMaker"
    with pytest.raises(ClientError, match="is not authorized to perform: sagemaker:ListTrainingJobs") as caught:
        service.client(**keys).list_training_jobs()
    assert code(caught) == ("AccessDeniedException", 400)
    with pytest.raises(ClientError, match="is not authorized to perform: sts:AssumeRole") as caught:
        service.client("sts", **keys).assume_role(RoleArn=ROLE, RoleSessionName="me")
    assert code(caught) == ("AccessDenied", 403)
    sagemaker.stop_training_job(TrainingJobName="long-program")
    service.ended(sagemaker, "long-program")
    with pytest.raises(ClientError, match="The security token included in the request is expired") as caught:
        service.client("sts", **keys).get_caller_identity()
    assert code(caught) == ("ExpiredToken", 403)


def test_an_isolated_program_gets_no_credentials(service: World) -> None:
    """It has no network to use them on."""
    sagemaker = service.client()
    service.create(sagemaker, "quick-isolated", EnableNetworkIsolation=True)
    service.ended(sagemaker, "quick-isolated")
    assert service.specs["quick-isolated"][0].environment == {"AWS_REGION": "us-east-1"}


def test_a_program_that_brings_credentials_gets_no_others(service: World) -> None:
    """A key of the user's beside a session token of the service would be refused by both."""
    sagemaker = service.client()
    service.create(sagemaker, "quick-own", Environment={"AWS_SECRET_ACCESS_KEY": "s", "AWS_ACCESS_KEY_ID": "k"})
    service.ended(sagemaker, "quick-own")
    url = service.service.endpoint.url
    given = service.specs["quick-own"][0].environment
    assert given == {"AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": url, "S3_ENDPOINT_URL": url}


def test_a_program_reaches_what_its_job_may(service: World) -> None:
    """S3 asks the same table: channels are read, outputs written, and all of it ends with the job."""
    owner = service.client("s3")
    owner.put_object(Bucket="data", Key="private/x", Body=b"secret")
    sagemaker = service.client()
    channel = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://data/train"}}
    service.create(sagemaker, "long-s3", InputDataConfig=[{"ChannelName": "train", "DataSource": channel}])
    service.reached(sagemaker, "long-s3", "Training")
    s3 = service.client("s3", **of_program(service, "long-s3"))
    assert s3.get_object(Bucket="data", Key="train/a.csv")["Body"].read() == b"1,2\n"
    assert [each["Key"] for each in s3.list_objects_v2(Bucket="data", Prefix="train/")["Contents"]] == ["train/a.csv"]
    s3.put_object(Bucket="data", Key="out/long-s3/output/intermediate/x", Body=b"x")
    refusals: tuple[Callable[[], Any], ...] = (
        lambda: s3.get_object(Bucket="data", Key="private/x"),
        lambda: s3.copy_object(Bucket="data", Key="out/long-s3/y", CopySource="data/private/x"),
        lambda: s3.put_object(Bucket="data", Key="train/a.csv", Body=b""),
        lambda: s3.delete_objects(Bucket="data", Delete={"Objects": [{"Key": "train/a.csv"}]})["Errors"][0]["Code"],
        lambda: s3.list_objects_v2(Bucket="data"),
        s3.list_buckets,
        lambda: s3.create_bucket(Bucket="another"),
    )
    for refused in refusals:
        try:
            assert refused() == "AccessDenied"
        except ClientError as error:
            assert error.response["Error"]["Code"] == "AccessDenied"  # noqa: PT017  (one call tells it in its answer)
            assert "for more, give the job an AWS_ACCESS_KEY_ID" in str(error)  # noqa: PT017
    assert owner.get_object(Bucket="data", Key="train/a.csv")["Body"].read() == b"1,2\n"
    sagemaker.stop_training_job(TrainingJobName="long-s3")
    service.ended(sagemaker, "long-s3")
    with pytest.raises(ClientError) as caught:
        s3.get_object(Bucket="data", Key="train/a.csv")
    assert caught.value.response["Error"]["Code"] == "ExpiredToken"


def test_agents_on_other_machines_reach_what_they_need(tmp_path: Path) -> None:
    """Their specification has credentials: to stage outputs, too, and for nothing that is not their job's."""
    with world(tmp_path, machines=(Capacity(8, 64 << 30),)) as service:
        sagemaker = service.client()
        channel = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://data/train"}}
        service.create(sagemaker, "long-far", InputDataConfig=[{"ChannelName": "train", "DataSource": channel}])
        service.reached(sagemaker, "long-far", "Training")
        (spec,) = service.specs["long-far"]
        assert spec.objects["kind"] == "s3"
        assert spec.image == {**spec.image, "directory": "", "archive": f"{spec.staging}image.tar"}
        agent = open_objects(spec.objects)
        assert b"".join(agent.read("data", "train/a.csv")) == b"1,2\n"
        with tarfile.open(fileobj=io.BytesIO(b"".join(agent.read("data", staged(spec, "image.tar"))))) as archive:
            assert "./image.toml" in archive.getnames()
        agent.write("data", staged(spec, "algo-1/model.tar.gz"), iter([b"model"]))
        for refused in (
            lambda: agent.write("data", ".treadle/staging/other/1/x", iter([b"x"])),
            lambda: agent.write("data", "train/a.csv", iter([b"x"])),
            lambda: agent.holds("data", ".treadle/"),
        ):
            with pytest.raises(ObjectError, match="AccessDenied"):
                refused()
        assert spec.environment["AWS_ACCESS_KEY_ID"] != spec.objects["access_key_id"]
        sagemaker.stop_training_job(TrainingJobName="long-far")
        service.ended(sagemaker, "long-far")
        with pytest.raises(ObjectError, match="ExpiredToken"):
            agent.read("data", "train/a.csv")


def staged(spec: HostSpec, name: str) -> str:
    return spec.staging.removeprefix("s3://data/") + name


def test_an_earlier_attempt_has_no_credentials(service: World) -> None:
    """A program that outlives its attempt can do no harm."""
    sagemaker = service.client()
    service.create(sagemaker, "failing-keys", RetryStrategy={"MaximumRetryAttempts": 1})
    service.ended(sagemaker, "failing-keys")
    first, second = service.specs["failing-keys"]
    assert first.environment["AWS_ACCESS_KEY_ID"] != second.environment["AWS_ACCESS_KEY_ID"]


REQUEST: dict[str, Any] = {
    "InputDataConfig": [
        {"ChannelName": "a", "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://data/train"}}},
        {"ChannelName": "b", "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://whole"}}},
    ],
    "HyperParameters": {"sagemaker_submit_directory": '"s3://code/j/source/sourcedir.tar.gz"', "odd": '"s3://no'},
    "Environment": {"VOCABULARY": "s3://shared/vocabulary.txt", "NOT": "see s3://data/private"},
    "CheckpointConfig": {"S3Uri": "s3://data/checkpoints/j"},
    "TensorBoardOutputConfig": {"S3OutputPath": "s3://boards/j/"},
    "DebugHookConfig": {"S3OutputPath": "s3://debug"},
}


@dataclass
class Case:
    action: str
    bucket: str
    key: str
    want: bool


@pytest.mark.parametrize(
    "case",
    [
        Case("s3:GetObject", "data", "train/a.csv", True),
        Case("s3:ListBucket", "data", "train/", True),
        Case("s3:ListBucket", "data", "", False),
        Case("s3:ListBucket", "data", "private/", False),
        Case("s3:GetObject", "data", "private/a.csv", False),
        Case("s3:PutObject", "data", "train/a.csv", False),
        Case("s3:DeleteObject", "data", "train/a.csv", False),
        Case("s3:GetObject", "whole", "anything", True),
        Case("s3:GetObject", "whole", ".treadle/staging/other/1/model.tar.gz", False),
        Case("s3:GetObject", "code", "j/source/sourcedir.tar.gz", True),
        Case("s3:GetObject", "code", "other/source/sourcedir.tar.gz", False),
        Case("s3:GetObject", "shared", "vocabulary.txt", True),
        Case("s3:PutObject", "data", "out/j/output/intermediate/x", True),
        Case("s3:PutObject", "data", "out/other/output/x", False),
        Case("s3:PutObject", "data", "out/jj/x", False),
        Case("s3:PutObject", "data", "checkpoints/j/1.pt", True),
        Case("s3:DeleteObject", "data", "checkpoints/j/1.pt", True),
        Case("s3:GetObject", "data", "checkpoints/j/1.pt", True),
        Case("s3:AbortMultipartUpload", "data", "checkpoints/j/1.pt", True),
        Case("s3:PutObject", "data", "checkpoints/other/1.pt", False),
        Case("s3:PutObject", "boards", "j/events", True),
        Case("s3:PutObject", "debug", "j/tensors", True),
        Case("s3:PutObject", "debug", "other/tensors", False),
        Case("s3:CreateBucket", "data", "", False),
        Case("s3:DeleteBucket", "data", "", False),
        Case("s3:ListAllMyBuckets", "", "", False),
        Case("s3:GetBucketLocation", "data", "", True),
        Case("sts:GetCallerIdentity", "", "", True),
        Case("sagemaker:StopTrainingJob", "", "", False),
    ],
    ids=lambda case: f"{case.action} {case.bucket}/{case.key}",
)
def test_what_a_program_may_do(case: Case) -> None:
    """Read its channels and what its request names, write its own outputs and checkpoints."""
    job = new_job(**REQUEST)
    program = access.Identity("ASIA", "arn", "id", access.grants(job))
    assert access.allows(program, case.action, case.bucket, case.key) is case.want
    assert access.allows(access.Identity("AKIA", "arn", "id"), case.action, case.bucket, case.key)


def test_what_a_remote_function_may_do() -> None:
    """The SDK's `@remote` names its place in the arguments, and writes its result beside, not below the job's name."""
    uri = "s3://data/functions/add-1"
    algorithm = {"TrainingImage": "demo", "TrainingInputMode": "File", "ContainerArguments": ["--s3_base_uri", uri]}
    job = new_job("add-1", AlgorithmSpecification=algorithm, OutputDataConfig={"S3OutputPath": uri})
    program = access.Identity("ASIA", "arn", "id", access.grants(job))
    assert access.allows(program, "s3:GetObject", "data", "functions/add-1/function/payload.pkl")
    assert access.allows(program, "s3:PutObject", "data", "functions/add-1/results/payload.pkl")
    assert not access.allows(program, "s3:PutObject", "data", "functions/add-10/results/payload.pkl")


@pytest.mark.parametrize(
    ("data_type", "key", "want"),
    [
        ("S3Prefix", "private/a.csv", False),
        ("ManifestFile", "private/a.csv", True),
        ("AugmentedManifestFile", "private/a.csv", True),
        ("ManifestFile", ".treadle/staging/other/1/x", False),
    ],
)
def test_agents_read_what_a_manifest_names(data_type: str, key: str, want: bool) -> None:
    """That is anywhere; but never what is the service's own."""
    source = {"S3DataType": data_type, "S3Uri": "s3://data/manifest"}
    job = new_job(InputDataConfig=[{"ChannelName": "a", "DataSource": {"S3DataSource": source}}])
    keys = keyring(running=msgspec.structs.replace(job, attempt=1))
    agent = keys.identity(signed(keys.of_agents(msgspec.structs.replace(job, attempt=1))))
    assert access.allows(agent, "s3:GetObject", "elsewhere", key) is want
    program = keys.identity(signed(keys.of_job(msgspec.structs.replace(job, attempt=1))))
    assert not access.allows(program, "s3:GetObject", "elsewhere", key)


# ---------------------------------------------------------------------------------------------------------------------
# The keyring
# ---------------------------------------------------------------------------------------------------------------------


class Clock:
    now = 1_000_000.5

    def __call__(self) -> float:
        return self.now


def keyring(running: Job | None = None, secret: str = SECRET, clock: Clock | None = None) -> Keyring:
    return Keyring("AKIA", secret, account=ACCOUNT, running=lambda *_: running, clock=clock or Clock())


def signed(session: Session, **changes: Any) -> sigv4.Identity:
    values = {
        "access_key_id": session.access_key_id,
        "region": "us-east-1",
        "service": "s3",
        "timestamp": "",
        "signature": "",
        "session_token": session.session_token,
    }
    return sigv4.Identity(**values | changes)


def test_a_session_ends() -> None:
    """At the second that its answer gives."""
    clock = Clock()
    keys = keyring(clock=clock)
    session = keys.assume(ROLE, "me", 900)
    assert session.expires_at == 1_000_900.0
    clock.now = 1_000_899.9
    assert keys.identity(signed(session)).arn.endswith("assumed-role/train/me")
    clock.now = 1_000_900.0
    with pytest.raises(ServiceError) as caught:
        keys.identity(signed(session))
    assert caught.value.code == "ExpiredTokenException"


def test_a_session_outlives_the_service() -> None:
    """Another keyring with the same secret knows it; one with another secret does not."""
    session = keyring().assume(ROLE, "me", 900)
    again = keyring()
    assert again.secret_for(session.access_key_id) == session.secret_access_key
    assert again.identity(signed(session)).access_key_id == session.access_key_id
    stranger = keyring(secret="other")
    assert stranger.secret_for(session.access_key_id) != session.secret_access_key
    with pytest.raises(ServiceError, match="is invalid"):
        stranger.identity(signed(session))


def test_credentials_of_a_job_are_the_same_on_all_hosts() -> None:
    """And others for another attempt, and for another job of the same name."""
    job = new_job()
    keys = keyring(running=job)
    session = keys.of_job(job)
    assert keys.of_job(job) == session
    assert keys.of_job(msgspec.structs.replace(job, attempt=2)) != session
    assert keys.of_job(msgspec.structs.replace(job, created_at=1.0)) != session
    assert keys.identity(signed(session)).grants == access.grants(job)
    with pytest.raises(ServiceError, match="is expired"):
        keyring(running=None).identity(signed(session))


@pytest.mark.parametrize("token", ["", "x", "!", "e30=", "W10=", "A" * 4000, "ünicode"])
def test_a_token_that_is_none(token: str) -> None:
    """Whatever it is, it is refused as AWS does."""
    keys = keyring()
    session = keys.assume(ROLE, "me", 900)
    with pytest.raises(ServiceError) as caught:
        keys.identity(signed(session, session_token=token))
    assert caught.value.code == "UnrecognizedClientException"
    assert caught.value.status == 403


def test_secrets_are_not_shown() -> None:
    """Neither in tracebacks nor in logs."""
    session = keyring().assume(ROLE, "me", 900)
    assert session.secret_access_key not in repr(session)
    assert session.session_token not in repr(session)
    assert len(session.secret_access_key) == 40
    assert json.dumps(session.session_token)
    assert keyring().secret_for("ASIAshort") is None
