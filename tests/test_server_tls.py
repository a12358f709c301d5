"""TLS: needed beyond loopback, wanted nowhere else, and never without signatures."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from tests.certificates import self_signed
from tests.training.world import World, world
from treadle.errors import UsageError
from treadle.home import Home
from treadle.server import Settings, Tls, serve

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return self_signed(tmp_path_factory.mktemp("tls"), "DNS:localhost", "IP:127.0.0.1")


@pytest.fixture(scope="module")
def service(tls: Tls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("world"), host="0.0.0.0", tls=tls) as made:
        yield made


def test_other_machines_come_in_by_tls(service: World, tls: Tls) -> None:
    """With the certificate and a signature; agents, programs and commands of this machine go on without, on loopback."""
    endpoint = service.service.endpoint
    assert endpoint.url.startswith("http://127.0.0.1:")
    port = endpoint.public_url.rpartition(":")[2]
    assert endpoint.public_url == f"https://{socket.gethostname()}:{port}"
    key, secret = service.home.credentials()
    sagemaker = boto3.session.Session(
        aws_access_key_id=key, aws_secret_access_key=secret, region_name="us-east-1"
    ).client("sagemaker", endpoint_url=f"https://127.0.0.1:{port}", verify=str(tls.certificate))
    service.create(sagemaker, "quick-tls")
    assert service.ended(sagemaker, "quick-tls")["TrainingJobStatus"] == "Completed"
    assert service.ended(service.client(), "quick-tls")["TrainingJobStatus"] == "Completed"
    assert service.specs["quick-tls"][0].environment["AWS_ENDPOINT_URL"] == endpoint.url


def test_nothing_else_is_answered_there(service: World) -> None:
    """No plain HTTP, and no certificate that a client does not trust."""
    port = service.service.endpoint.public_url.rpartition(":")[2]
    config = Config(retries={"max_attempts": 0}, connect_timeout=5, read_timeout=5)
    for url in (f"http://127.0.0.1:{port}", f"https://127.0.0.1:{port}"):
        client = boto3.session.Session(
            aws_access_key_id="k", aws_secret_access_key="s", region_name="us-east-1"
        ).client("sagemaker", endpoint_url=url, config=config)
        with pytest.raises(BotoCoreError):
            client.list_training_jobs()


@pytest.mark.parametrize("damage", ["no file", "no certificate", "another key"])
def test_a_certificate_that_cannot_be_used(tls: Tls, tmp_path: Path, damage: str) -> None:
    """It is told before the home is taken."""
    broken = tmp_path / "broken.pem"
    if damage == "no certificate":
        broken.write_text("no PEM")
    if damage == "another key":
        subprocess.run(["openssl", "genrsa", "-out", broken, "2048"], check=True, capture_output=True)
    given = Tls(tls.certificate, broken) if damage == "another key" else Tls(broken, tls.key)
    home = Home(tmp_path / "home")
    with pytest.raises(UsageError, match="cannot be used with the key"):
        serve(home, Settings(host="0.0.0.0", tls=given))
    assert not os.path.lexists(home.root)


def test_beyond_loopback_signatures_are_asked_for(tls: Tls, tmp_path: Path) -> None:
    """Anybody on the network could run programs otherwise."""
    with pytest.raises(UsageError, match="Without signatures the service listens on loopback addresses only"):
        serve(Home(tmp_path / "home"), Settings(host="0.0.0.0", tls=tls, auth=False))
