"""The S3 endpoint of the whole service: the AWS CLI, boto3, `treadle data` and a training job on the same objects."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest

from treadle.home import Endpoint, Home
from treadle.objects.filesystem import FilesystemObjects
from treadle.server import Settings, running

AWS = Path(sys.executable).with_name("aws")

pytestmark = pytest.mark.skipif(not AWS.exists(), reason="the AWS CLI is not installed beside this Python")


@dataclass(frozen=True)
class Service:
    home: Home
    endpoint: Endpoint

    @property
    def objects(self) -> FilesystemObjects:
        return FilesystemObjects(self.home.s3)

    def aws(self, *arguments: str, fails: bool = False) -> str:
        """Run the CLI with what `treadle env` prints, and give what it prints."""
        key, secret = self.home.credentials()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environment |= {
            "AWS_ENDPOINT_URL": self.endpoint.url,
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_REGION": self.endpoint.region,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }
        done = subprocess.run(
            [AWS, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode != 0) == fails, done.stderr
        return done.stderr if fails else done.stdout


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home = Home(tmp_path_factory.mktemp("home") / "home")
    ready, over = threading.Event(), threading.Event()
    found: list[Endpoint] = []

    async def serve() -> None:
        owned = home.own()
        assert owned
        async with running(home, Settings()) as service:
            found.append(service.endpoint)
            ready.set()
            await asyncio.to_thread(over.wait)
        owned.release()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert ready.wait(20)
    yield Service(home, found[0])
    over.set()
    thread.join()


def test_the_cli_copies_lists_and_removes(service: Service, tmp_path: Path) -> None:
    """mb, sync, ls, cp in all directions, rm and rb: what goes up comes down."""
    source, target = tmp_path / "source", tmp_path / "target"
    for name in ("train/a.csv", "train/deep/b c+ü.csv", "validation/c.csv"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    (source / "large.bin").write_bytes(os.urandom(1 << 20) * 9)
    service.aws("s3", "mb", "s3://digits")
    service.aws("s3", "sync", str(source), "s3://digits/data", "--quiet")
    assert sorted(each.key for each in service.objects.list("digits")) == sorted(
        f"data/{path.relative_to(source)}" for path in source.rglob("*") if path.is_file()
    )
    assert service.objects.head("digits", "data/large.bin").etag.endswith("-2")
    assert service.objects.head("digits", "data/train/a.csv").properties.headers == (("content-type", "text/csv"),)
    assert (service.home.s3 / "digits/data/train/deep/b c+ü.csv").read_text() == "train/deep/b c+ü.csv"
    listed = service.aws("s3", "ls", "s3://digits/data/")
    assert [line.split()[-1] for line in listed.splitlines()] == ["train/", "validation/", "large.bin"]
    assert "Total Objects: 4" in service.aws("s3", "ls", "s3://digits", "--recursive", "--summarize")
    (service.home.s3 / "digits/data/by hand.csv").write_text("by hand")
    service.aws("s3", "sync", "s3://digits/data", str(target), "--quiet")
    assert (target / "by hand.csv").read_text() == "by hand"
    assert (target / "large.bin").read_bytes() == (source / "large.bin").read_bytes()
    service.aws("s3", "mv", "s3://digits/data/large.bin", "s3://digits/moved.bin", "--quiet")
    assert b"".join(service.objects.read("digits", "moved.bin")) == (source / "large.bin").read_bytes()
    assert "BucketNotEmpty" in service.aws("s3", "rb", "s3://digits", fails=True)
    service.aws("s3", "rb", "s3://digits", "--force")
    assert service.objects.buckets() == []


def test_boto3_finds_what_was_put_there_otherwise(service: Service, tmp_path: Path) -> None:
    """One endpoint for all: S3 at the address of the training API, on the files that `treadle data` shows."""
    key, secret = service.home.credentials()
    session = boto3.Session(aws_access_key_id=key, aws_secret_access_key=secret, region_name="us-east-1")
    s3, sts, sagemaker = [
        session.client(name, endpoint_url=service.endpoint.url) for name in ("s3", "sts", "sagemaker")
    ]
    assert sts.get_caller_identity()["Account"] == service.endpoint.account
    assert sagemaker.list_training_jobs()["TrainingJobSummaries"] == []
    service.objects.create_bucket("shared")
    (tmp_path / "a").write_bytes(b"put by upload")
    service.objects.upload(tmp_path / "a", "shared", "a")
    assert s3.get_object(Bucket="shared", Key="a")["Body"].read() == b"put by upload"
    s3.put_object(Bucket="shared", Key="b", Body=b"put by S3", Metadata={"a": "b"})
    service.objects.download("shared", "b", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"put by S3"
    service.objects.move("shared", "b", "c")
    assert s3.head_object(Bucket="shared", Key="c")["Metadata"] == {"a": "b"}
    assert [each["Name"] for each in s3.list_buckets()["Buckets"]] == ["shared"]
