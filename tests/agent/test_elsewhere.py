"""An agent on another machine than its service's: the image is carried, the hosts have machines, TLS is verified."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.agent.plane import BUCKET, Plane, make_spec
from tests.certificates import self_signed
from tests.training.world import World, world
from treadle.agent import contract, trust
from treadle.agent.carried import bring_image, gpu_numbers
from treadle.agent.control import ControlPlane, UnreachableError
from treadle.agent.faults import CancelledStagingError, DataError
from treadle.agent.host import Host
from treadle.agent.main import open_objects
from treadle.agent.sandbox.choice import choose
from treadle.agent.work import Tools
from treadle.errors import ImageError, LaunchError, ObjectError
from treadle.objects.filesystem import FilesystemObjects
from treadle.seams import Capacity, HostLaunch, HostSpec
from treadle.server import Tls
from treadle.training.images import carry


@pytest.fixture
def objects(tmp_path: Path) -> FilesystemObjects:
    made = FilesystemObjects(tmp_path / "s3")
    made.create_bucket(BUCKET)
    return made


# ---------------------------------------------------------------------------------------------------------------------
# The image
# ---------------------------------------------------------------------------------------------------------------------


def test_an_image_arrives_as_it_was(tmp_path: Path, objects: FilesystemObjects) -> None:
    """Files with their modes, empty directories, links with what they say; what is none of these stays."""
    image, there = tmp_path / "image", tmp_path / "there"
    (image / "bin").mkdir(parents=True)
    (image / "empty").mkdir()
    (image / "bin/run").write_bytes(os.urandom(3_000_000))
    (image / "bin/run").chmod(0o755)
    (image / "python").symlink_to("/usr/bin/python3")
    (image / "train").symlink_to("bin/run")
    os.link(image / "bin/run", image / "bin/same")
    os.mkfifo(image / "pipe")
    carry(str(image), objects, BUCKET, "image.tar")
    bring_image(f"s3://{BUCKET}/image.tar", objects, there, threading.Event())
    assert sorted(str(each.relative_to(there)) for each in there.rglob("*")) == [
        "bin", "bin/run", "bin/same", "empty", "python", "train",
    ]  # fmt: skip
    assert (there / "bin/run").read_bytes() == (image / "bin/run").read_bytes()
    assert (there / "bin/run").stat().st_mode & 0o777 == 0o755
    assert ((there / "python").readlink(), (there / "train").readlink()) == (Path("/usr/bin/python3"), Path("bin/run"))


def test_an_image_that_is_gone(tmp_path: Path, objects: FilesystemObjects) -> None:
    """Nothing is stored, and the directory is named."""
    with pytest.raises(ImageError, match="gone cannot be read"):
        carry(str(tmp_path / "gone"), objects, BUCKET, "image.tar")
    assert list(objects.list(BUCKET)) == []


def test_an_archive_that_is_none(tmp_path: Path, objects: FilesystemObjects) -> None:
    """Whatever happened to it on the way; and one that leads out of its directory writes nothing there."""
    objects.write(BUCKET, "image.tar", iter([b"no tar at all" * 100]))
    with pytest.raises(DataError, match="The image cannot be unpacked"):
        bring_image(f"s3://{BUCKET}/image.tar", objects, tmp_path / "there", threading.Event())
    with pytest.raises(DataError, match="The image cannot be brought"):
        bring_image(f"s3://{BUCKET}/none.tar", objects, tmp_path / "there", threading.Event())


def test_bringing_an_image_can_be_given_up(tmp_path: Path, objects: FilesystemObjects) -> None:
    """A stop must not wait for an image of many gigabytes."""
    (tmp_path / "image").mkdir()
    carry(str(tmp_path / "image"), objects, BUCKET, "image.tar")
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(CancelledStagingError):
        bring_image(f"s3://{BUCKET}/image.tar", objects, tmp_path / "there", cancelled)


async def run(plane: Plane, directory: Path, **launch: object) -> None:
    """Run an agent to its end, in this process."""
    (directory / "host").mkdir()
    await plane.start()
    await Host(plane.launch(**launch), Tools(open_objects, choose)).run()
    await plane.stop()


async def test_a_host_runs_a_carried_image(tmp_path: Path) -> None:
    """In its directory on this machine, told of its GPUs; afterwards the copy is gone with the host's directory."""
    spec = make_spec(tmp_path, 'cat who; pwd; echo "gpus $CUDA_VISIBLE_DEVICES"')
    (tmp_path / "image/who").write_text("carried\n")
    carry(str(tmp_path / "image"), FilesystemObjects(tmp_path / "s3"), BUCKET, "image.tar")
    image = {**spec.image, "directory": "", "archive": f"s3://{BUCKET}/image.tar"}
    plane = Plane(tmp_path, msgspec.structs.replace(spec, image=image))
    await run(plane, tmp_path, gpus=["1", "0"])
    assert plane.program == ["carried", str(tmp_path / "host/image"), "gpus 1,0"]
    assert plane.events[-1].outcome == "completed"


def test_a_gpu_that_is_not_there() -> None:
    """Ray was told of one that the driver does not show: nothing is trained on another."""
    with pytest.raises(LaunchError, match="This machine has no GPU MIG-12"):
        gpu_numbers(["0", "MIG-12"], [])


# ---------------------------------------------------------------------------------------------------------------------
# The hosts
# ---------------------------------------------------------------------------------------------------------------------

ELSEWHERE = {"algo-1": "127.0.0.1", "algo-2": "192.0.2.7"}


def two(directory: Path, script: str, **changes: object) -> HostSpec:
    return make_spec(directory, script, hosts=["algo-1", "algo-2"], addresses=ELSEWHERE, **changes)


def test_the_interface_is_the_one_with_the_hosts_address(tmp_path: Path) -> None:
    """Collectives bind to it by its name; on one machine it is the eth0 of the job's own network."""
    config = contract.config_files(two(tmp_path, ""))["resourceconfig.json"]
    assert config["network_interface_name"] == "lo"


def test_on_one_machine_there_is_an_eth0(tmp_path: Path) -> None:
    """Also on one machine of a cluster."""
    spec = make_spec(tmp_path, "", hosts=["algo-1", "algo-2"], addresses=dict.fromkeys(ELSEWHERE, "10.0.0.1"))
    assert contract.config_files(spec)["resourceconfig.json"]["network_interface_name"] == "eth0"


async def test_hosts_on_other_machines_have_their_machines_addresses(tmp_path: Path, sandbox: str) -> None:
    """In /etc/hosts where the sandbox has one of its own; the log says which they are, and what does not work."""
    script = "getent hosts algo-2 | tr -s ' '" if sandbox == "namespace" else "echo no names"
    spec = two(tmp_path, script, sandbox=sandbox, request={"EnableNetworkIsolation": True})
    plane = Plane(tmp_path, spec)
    plane.commands = ["start"]
    await run(plane, tmp_path)
    assert plane.events[-1].outcome == "completed", plane.log
    assert plane.program == (["192.0.2.7 algo-2"] if sandbox == "namespace" else ["no names"])
    assert "[treadle] hosts: algo-1 on 127.0.0.1, algo-2 on 192.0.2.7" in plane.log
    assert any("EnableNetworkIsolation has no effect" in each for each in plane.log)
    assert any("names do not resolve" in each for each in plane.log) == (sandbox == "plain")


# ---------------------------------------------------------------------------------------------------------------------
# TLS
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return self_signed(tmp_path_factory.mktemp("tls"), "IP:127.0.0.1")


@pytest.fixture
def service(tls: Tls, tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, machines=(Capacity(8, 64 << 30),), tls=tls, advertise="127.0.0.1") as made:
        yield made


async def test_a_certificate_that_no_authority_vouches_for(service: World, tls: Tls) -> None:
    """An agent that was sent it trusts it, and speaks to nobody else; so do its objects."""
    sagemaker = service.client()
    service.create(sagemaker, "long-tls")
    service.reached(sagemaker, "long-tls", "Training")
    (spec,) = service.specs["long-tls"]
    url = service.service.endpoint.public_url
    assert (spec.objects["endpoint"], spec.environment["AWS_ENDPOINT_URL"]) == (url, url)
    assert url.startswith("https://127.0.0.1:")
    certificate = tls.certificate.read_text()
    launch = HostLaunch(job="long-tls", attempt=1, host="algo-1", token="t", endpoint=url, directory="/nowhere")
    async with ControlPlane(launch, "agent") as control:
        with pytest.raises(UnreachableError, match="CERTIFICATE_VERIFY_FAILED"):
            await control.claim()
    async with ControlPlane(msgspec.structs.replace(launch, certificate=certificate), "agent") as control:
        with pytest.raises(UnreachableError, match="status 401"):  # it was understood, and the token is wrong
            await control.claim()
    assert open_objects(spec.objects, certificate).holds("data", f"{spec.staging.removeprefix('s3://data/')}image.tar")
    sagemaker.stop_training_job(TrainingJobName="long-tls")
    service.ended(sagemaker, "long-tls")


def test_a_bundle_for_programs_has_the_machines_authorities_too(tls: Tls) -> None:
    """`AWS_CA_BUNDLE` takes the place of all others."""
    certificate = tls.certificate.read_text()
    bundle = trust.bundle(certificate)
    assert bundle.endswith(certificate)
    machines = trust.bundle("").strip()
    assert bundle.startswith(machines)


def test_objects_of_another_kind(tmp_path: Path) -> None:
    """A newer service may know kinds that this agent does not."""
    with pytest.raises(ObjectError, match='cannot open objects of kind "tape"'):
        open_objects({"kind": "tape", "root": str(tmp_path)})
