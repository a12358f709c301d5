"""Script mode: the user's own program, unpacked safely and run as SageMaker's training toolkit runs it."""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
import threading
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.agent.conftest import MakePlane, RunAgent
from tests.agent.plane import BUCKET, Plane
from treadle.agent.faults import CancelledStagingError
from treadle.agent.host import Host
from treadle.agent.main import open_objects
from treadle.agent.sandbox.choice import choose
from treadle.agent.source import unpack
from treadle.agent.work import Tools
from treadle.errors import LaunchError
from treadle.launchers.engine import Engine
from treadle.training.algorithms import distribution
from treadle.training.algorithms.catalogue import framework
from treadle.training.algorithms.script import Job, arguments, variables
from treadle.training.images import Containers, ImageRegistry

SOURCE = f"s3://{BUCKET}/job-1/source/sourcedir.tar.gz"


def packed(*members: tarfile.TarInfo | tuple[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for each in members:
            if isinstance(each, tarfile.TarInfo):
                archive.addfile(each)
            else:
                member = tarfile.TarInfo(each[0])
                member.size = len(each[1].encode())
                archive.addfile(member, io.BytesIO(each[1].encode()))
    return buffer.getvalue()


async def scripted(
    make_plane: MakePlane,
    source: bytes | None,
    program: str = "train.py",
    sandbox: str = "plain",
    channels: Sequence[dict[str, Any]] = (),
    **hyperparameters: str,
) -> Plane:
    """Start a control plane for a job of an image with script_mode, with hyperparameters as the SDK writes them."""
    plane = await make_plane(
        "",
        sandbox=sandbox,
        request={
            "HyperParameters": {
                "sagemaker_program": json.dumps(program),
                "sagemaker_submit_directory": json.dumps(SOURCE),
                "sagemaker_job_name": '"job-1"',
                "sagemaker_region": '"us-east-1"',
                "sagemaker_container_log_level": "20",
                **hyperparameters,
            },
            **({"InputDataConfig": [*channels]} if channels else {}),
        },
    )
    (plane.directory / "image/image.toml").write_text('name = "framework"\nscript_mode = true\n')
    registry = ImageRegistry(plane.directory / "images.json")
    registry.add(plane.directory / "image")
    image, command = registry.resolve("framework")
    plane.spec = type(plane.spec)(
        **{name: getattr(plane.spec, name) for name in plane.spec.__struct_fields__}
        | {"image": image, "command": command}
    )
    if source is not None:
        plane.objects.write(BUCKET, "job-1/source/sourcedir.tar.gz", iter([source]))
    return plane


async def test_script(make_plane: MakePlane, run_agent: RunAgent, sandbox: str) -> None:
    """It is run in its directory with its hyperparameters as arguments and the toolkit's variables; modules are found."""
    script = """
import argparse, json, os, pathlib, helpers.own
parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int)
parser.add_argument("--name")
parser.add_argument("--model-dir", default=os.environ["SM_MODEL_DIR"])
arguments = parser.parse_args()
print(json.dumps([arguments.epochs, arguments.name, helpers.own.WORD, os.getcwd().rpartition("/")[2]]))
print(json.dumps({name: value for name, value in os.environ.items() if name.startswith("SM_")}))
(pathlib.Path(arguments.model_dir) / "m").write_text("model")
print(sorted(each.name for each in pathlib.Path(os.environ["SM_CHANNEL_TRAIN"]).iterdir()))
"""
    source = packed(("train.py", script), ("helpers/__init__.py", ""), ("helpers/own.py", "WORD = 'found'"))
    plane = await scripted(make_plane, source, sandbox=sandbox, epochs="2", name='"text"')
    await run_agent(plane)
    assert (plane.events[-1].outcome, plane.events[-1].failure_reason) == ("completed", "")
    lines = [each for each in plane.program if each.startswith(("[", "{")) and not each.startswith("[20")]
    told = json.loads(lines[1])
    assert json.loads(lines[0]) == [2, "text", "found", "code"]
    assert lines[2] == "['1.csv', 'part']"
    base = "/opt/ml" if sandbox == "namespace" else str(plane.directory / "host/ml")
    assert {name: told[name] for name in (*VARIABLES, "SM_MODULE_DIR")} == {
        **{name: value.replace("/opt/ml", base) for name, value in VARIABLES.items()},
        "SM_MODULE_DIR": SOURCE,
    }
    assert set(told) == {
        *VARIABLES,
        "SM_MODULE_DIR",
        "SM_TRAINING_ENV",
        "SM_NUM_CPUS",
        "SM_RESOURCE_CONFIG",
        "SM_INPUT_DATA_CONFIG",
        "SM_INSTANCE_GROUPS_DICT",
    }
    assert json.loads(told["SM_TRAINING_ENV"])["job_name"] == "job-1"
    assert int(told["SM_NUM_CPUS"]) == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("key", "mode", "where"),
    [
        pytest.param("code/sourcedir.tar.gz", "File", "code/sourcedir.tar.gz", id="the SDK's, without a network"),
        pytest.param("code/sourcedir.tar.gz", "FastFile", "code/sourcedir.tar.gz", id="the same, not copied"),
        pytest.param("code/train.py", "FastFile", "code", id="a directory"),
        pytest.param("code/train.py", "File", "code/train.py", id="a program"),
    ],
)
async def test_source_in_a_channel(
    make_plane: MakePlane, run_agent: RunAgent, sandbox: str, key: str, mode: str, where: str
) -> None:
    """The source may be on the host already: with `enable_network_isolation` the SDK sends it as a channel."""
    script = "import os; print(sorted(os.listdir()), os.environ['SM_MODULE_DIR'])"
    named = f"/opt/ml/input/data/{where}"
    channel = {
        "ChannelName": "code",
        "InputMode": mode,
        "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/{key.rpartition('/')[0]}/"}},
    }
    plane = await scripted(
        make_plane, None, sandbox=sandbox, sagemaker_submit_directory=json.dumps(named), channels=[channel]
    )
    content = packed(("train.py", script)) if key.endswith(".gz") else script.encode()
    plane.objects.write(BUCKET, key, iter([content]))
    await run_agent(plane)
    assert (plane.events[-1].outcome, plane.events[-1].failure_reason) == ("completed", "")
    assert plane.program[-1] == f"['train.py'] {named}"


@pytest.mark.parametrize(("where", "why"), [("nowhere", "No such file"), ("train/1.csv/x", "Not a directory")])
async def test_source_that_is_not_in_a_channel(
    make_plane: MakePlane, run_agent: RunAgent, where: str, why: str
) -> None:
    named = f"/opt/ml/input/data/{where}"
    plane = await scripted(make_plane, None, sagemaker_submit_directory=named)
    await run_agent(plane)
    assert plane.events[-1].failure_reason.startswith(
        f"AlgorithmError: Customer Error: The source {named} cannot be used: "
    )
    assert why in plane.events[-1].failure_reason


async def test_what_a_script_prints_is_seen_at_once(make_plane: MakePlane, run_agent: RunAgent) -> None:
    """It need not flush, as in AWS's images for frameworks."""
    script = """
import os, pathlib, time
print("begun")
while not pathlib.Path(os.environ["SM_OUTPUT_DIR"], "go").exists():
    time.sleep(0.02)
"""
    plane = await scripted(make_plane, packed(("train.py", script)))
    agent = run_agent(plane)
    await plane.line("begun")
    (plane.directory / "host/ml/output/go").touch()
    await agent
    assert plane.events[-1].outcome == "completed"


VARIABLES = {
    "SM_CHANNELS": '["train"]',
    "SM_CHANNEL_TRAIN": "/opt/ml/input/data/train",
    "SM_CURRENT_HOST": "algo-1",
    "SM_CURRENT_INSTANCE_GROUP": "homogeneousCluster",
    "SM_CURRENT_INSTANCE_GROUP_HOSTS": '["algo-1"]',
    "SM_CURRENT_INSTANCE_TYPE": "ml.m5.large",
    "SM_DISTRIBUTION_INSTANCE_GROUPS": "[]",
    "SM_FRAMEWORK_MODULE": "",
    "SM_FRAMEWORK_PARAMS": "{}",
    "SM_HOSTS": '["algo-1"]',
    "SM_HPS": '{"epochs":2,"name":"text"}',
    "SM_HP_EPOCHS": "2",
    "SM_HP_NAME": "text",
    "SM_INPUT_CONFIG_DIR": "/opt/ml/input/config",
    "SM_INPUT_DIR": "/opt/ml/input",
    "SM_INSTANCE_GROUPS": '["homogeneousCluster"]',
    "SM_IS_HETERO": "false",
    "SM_LOG_LEVEL": "20",
    "SM_MODEL_DIR": "/opt/ml/model",
    "SM_MODULE_NAME": "train",
    "SM_NETWORK_INTERFACE_NAME": "eth0",
    "SM_NUM_GPUS": "0",
    "SM_NUM_NEURONS": "0",
    "SM_OUTPUT_DATA_DIR": "/opt/ml/output/data",
    "SM_OUTPUT_DIR": "/opt/ml/output",
    "SM_OUTPUT_INTERMEDIATE_DIR": "/opt/ml/output/intermediate",
    "SM_USER_ARGS": '["--epochs","2","--name","text"]',
    "SM_USER_ENTRY_POINT": "train.py",
}


def test_distributed(tmp_path: Path) -> None:
    """What the SDK says of distribution is the framework's, and says which groups are meant; GPUs are counted."""
    groups = [
        {"instance_group_name": each, "instance_type": "ml.p3.2xlarge", "hosts": [f"algo-{number}"]}
        for number, each in enumerate("ab", 1)
    ]
    job = Job(
        tmp_path,
        {
            "sagemaker_program": "t.py",
            "sagemaker_mpi_enabled": True,
            "sagemaker_distribution_instance_groups": ["b"],
            "x": 1,
        },
        {"current_host": "algo-1", "current_group_name": "a", "hosts": ["algo-1", "algo-2"], "instance_groups": groups},
        {},
    )
    told = variables(job, {"NVIDIA_VISIBLE_DEVICES": "GPU-1,GPU-2"})
    assert (
        told["SM_FRAMEWORK_PARAMS"] == '{"sagemaker_distribution_instance_groups":["b"],"sagemaker_mpi_enabled":true}'
    )
    assert (told["SM_DISTRIBUTION_INSTANCE_GROUPS"], told["SM_IS_HETERO"], told["SM_NUM_GPUS"]) == (
        '["b"]',
        "true",
        "2",
    )
    facts = json.loads(told["SM_TRAINING_ENV"])
    assert (facts["master_hostname"], facts["is_master"]) == ("algo-2", False)
    assert arguments(job.own) == ["-x", "1"]


LAUNCHER = """
import os, sys
print("launched", *sys.argv[1:-1], os.environ.get("NCCL_PROTO"))
os.execv(sys.executable, [sys.executable, sys.argv[-1]])
"""


async def test_torch_distributed(make_plane: MakePlane, run_agent: RunAgent) -> None:
    """PyTorch's launcher starts the program; here one that says how it was started stands for it."""
    source = packed(("train.py", "print('trained')"), ("torch/__init__.py", ""), ("torch/distributed/run.py", LAUNCHER))
    plane = await scripted(make_plane, source, sagemaker_torch_distributed_enabled="true")
    await run_agent(plane)
    assert plane.program[-2:] == ["launched --nnodes 1 --nproc_per_node 1 simple", "trained"]


@pytest.mark.parametrize(
    ("framework", "facts", "want"),
    [
        ({"sagemaker_pytorch_ddp_enabled": True}, {"num_gpus": 2}, "--nnodes 2 --nproc_per_node 2 {} --node_rank 1"),
        ({"sagemaker_torch_distributed_enabled": True}, {}, "--nnodes 2 --nproc_per_node 1 {} --node_rank 1"),
        (
            {"sagemaker_torch_distributed_enabled": True, "sagemaker_mpi_num_of_processes_per_host": 3},
            {"current_host": "algo-1"},
            "--nnodes 2 --nproc_per_node 3 {} --node_rank 0",
        ),
        ({"sagemaker_torch_distributed_enabled": True}, {"current_host": "algo-9"}, ""),
        ({"sagemaker_torch_distributed_enabled": False}, {}, ""),
    ],
)
def test_launcher(framework: dict[str, Any], facts: dict[str, Any], want: str) -> None:
    """On several hosts each has its rank, and the first is the master; a host of another group runs the script alone."""
    its: dict[str, Any] = {"distribution_hosts": ["algo-1", "algo-2"], "current_host": "algo-2", "num_gpus": 0}
    found = distribution.launcher(framework, its | {"master_hostname": "algo-1"} | facts)
    assert " ".join(found[2:]) == want.format("--master_addr algo-1 --master_port 7777")


async def test_script_that_fails(make_plane: MakePlane, run_agent: RunAgent) -> None:
    """The reason is in the toolkit's words; the exit code is 1, not the script's (§1.12)."""
    plane = await scripted(
        make_plane, packed(("train.py", "import sys; print('why', file=sys.stderr); sys.exit(3)")), e="1"
    )
    await run_agent(plane)
    assert re.fullmatch(
        r'AlgorithmError: ExecuteUserScriptError:\nExitCode 3\nErrorMessage "why"\n'
        r'Command "\S+/python[0-9.]* train.py -e 1", exit code: 1',
        plane.events[-1].failure_reason,
    )
    assert "why" in plane.program


async def test_the_reason_has_the_end_of_what_was_said(make_plane: MakePlane, run_agent: RunAgent) -> None:
    """Warnings and progress bars come first on standard error, and the exception last."""
    script = "import sys\nprint('warning ' * 300, file=sys.stderr)\nraise ValueError('no column label')"
    plane = await scripted(make_plane, packed(("train.py", script)))
    await run_agent(plane)
    reason = plane.events[-1].failure_reason
    assert reason.startswith('AlgorithmError: ExecuteUserScriptError:\nExitCode 1\nErrorMessage "')
    assert 'ValueError: no column label"\nCommand "' in reason
    assert reason.endswith(' train.py", exit code: 1')


async def test_shell_program(make_plane: MakePlane, run_agent: RunAgent) -> None:
    """What is no Python program is a command."""
    plane = await scripted(make_plane, packed(("run.sh", "#!/bin/sh\necho shell $@")), "run.sh", n="1")
    await run_agent(plane)
    assert (plane.events[-1].outcome, plane.program[-1]) == ("completed", "shell -n 1")


async def test_stop(make_plane: MakePlane, run_agent: RunAgent, sandbox: str) -> None:
    """The script's own handler runs, and what it saves is kept."""
    script = """
import os, pathlib, signal, sys, time
def save(number, frame):
    (pathlib.Path(os.environ["SM_MODEL_DIR"]) / "m").write_text("saved")
    print("saved", file=sys.stderr)
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
while True:
    time.sleep(0.01)
"""
    plane = await scripted(make_plane, packed(("train.py", script)), sandbox=sandbox)
    agent = run_agent(plane)
    await plane.line("ready")
    await plane.command("stop")
    await agent
    ended = plane.events[-1]
    assert (ended.outcome, ended.exit_code, plane.program[-1]) == ("stopped", 0, "saved")


async def test_requirements(make_plane: MakePlane, run_agent: RunAgent) -> None:
    """What requirements.txt names is there for the job, and for nobody else."""
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("treadle_demo.py", "WORD = 'installed'")
        archive.writestr(
            "treadle_demo-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: treadle-demo\nVersion: 1.0\n"
        )
        archive.writestr(
            "treadle_demo-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("treadle_demo-1.0.dist-info/RECORD", "")
    name = "treadle_demo-1.0-py3-none-any.whl"
    member = tarfile.TarInfo(name)
    member.size = len(wheel.getvalue())
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.addfile(member, io.BytesIO(wheel.getvalue()))
        for path, text in (
            ("requirements.txt", f"./{name}\n"),
            ("train.py", "import treadle_demo; print(treadle_demo.WORD)"),
        ):
            info = tarfile.TarInfo(path)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    plane = await scripted(make_plane, buffer.getvalue())
    await run_agent(plane)
    assert (plane.events[-1].failure_reason, plane.program[-1]) == ("", "installed")
    with pytest.raises(ImportError):
        __import__("treadle_demo")


def _link(name: str, target: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, target
    return member


def _device(name: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = tarfile.CHRTYPE
    return member


@pytest.mark.parametrize(
    ("source", "said"),
    [
        pytest.param(packed(("../../evil", "x")), "outside", id="dots"),
        pytest.param(packed(_link("l", "/etc"), ("l/evil", "x")), "absolute|outside", id="link"),
        pytest.param(packed(_link("l", ".."), ("l/evil", "x")), "outside", id="link with dots"),
        pytest.param(packed(_device("null")), "special file", id="device"),
        pytest.param(b"no archive", "cannot be unpacked", id="no archive"),
        pytest.param(packed(("train.py", "x" * 5000))[:-30], "cannot be unpacked", id="cut off"),
        pytest.param(None, "There is no object", id="absent"),
    ],
)
async def test_sources_that_are_refused(
    make_plane: MakePlane, run_agent: RunAgent, tmp_path: Path, source: bytes | None, said: str
) -> None:
    """Nothing leaves the directory; the job fails before its program starts."""
    plane = await scripted(make_plane, source)
    await run_agent(plane)
    reason = plane.events[-1].failure_reason
    assert reason.startswith("ClientError: Data download failed:")
    assert re.search(said, reason), reason
    assert not list(tmp_path.rglob("evil"))
    assert plane.program == []


async def test_source_larger_than_the_volume(make_plane: MakePlane, run_agent: RunAgent) -> None:
    """A small archive may be large inside."""
    plane = await scripted(make_plane, packed(("train.py", "#" * (1 << 20))))
    plane.spec = type(plane.spec)(
        **{name: getattr(plane.spec, name) for name in plane.spec.__struct_fields__} | {"volume_bytes": 500_000}
    )
    await run_agent(plane)
    assert "needs more than ResourceConfig.VolumeSizeInGB when it is unpacked" in plane.events[-1].failure_reason


SCIKIT = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"


@pytest.mark.parametrize(
    ("installed", "said"),
    [
        pytest.param(True, "", id="installed"),
        pytest.param(False, "which the Python that runs Treadle does not have. Nobody listens", id="not-installed"),
    ],
)
async def test_an_image_of_a_framework_on_a_node_without_an_engine(
    make_plane: MakePlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: bool, said: str
) -> None:
    """The service left it to the node, which does as a single machine does."""
    if installed:
        (tmp_path / "sklearn").mkdir()
        (tmp_path / "sklearn/__init__.py").touch()
        monkeypatch.syspath_prepend(tmp_path)
    elif framework(SCIKIT).found:  # type: ignore[union-attr]
        pytest.skip("scikit-learn is installed here")

    def none() -> Engine:
        raise LaunchError("Nobody listens.")

    plane = await scripted(make_plane, packed(("train.py", "print('trained')")))
    image, command = ImageRegistry(tmp_path / "none.json", Containers(lambda: "")).resolve(
        SCIKIT, hyperparameters=plane.spec.request["HyperParameters"]
    )
    assert image["kind"] == "container"
    plane.spec = msgspec.structs.replace(plane.spec, image=image, command=command, sandbox="auto")
    await Host(plane.launch(), Tools(open_objects, choose, engine=none)).run()
    assert ("trained" in plane.program) == installed
    assert any("There is no container engine for " in each for each in plane.log) == installed
    assert said in plane.events[-1].failure_reason


async def test_unpacking_can_be_given_up(make_plane: MakePlane, tmp_path: Path) -> None:
    """A stop is heard between two files."""
    plane = await scripted(make_plane, packed(("train.py", "pass")))
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(CancelledStagingError):
        unpack(plane.spec, plane.objects, tmp_path / "ml", cancelled)
    assert list((tmp_path / "ml/code").iterdir()) == []


@pytest.mark.parametrize(
    ("program", "hyperparameters", "reason"),
    [
        ("other.py", {}, "Customer Error: The program other.py is not in the source"),
        ("", {}, "Customer Error: The hyperparameter sagemaker_program is missing"),
        ("train.py", {"sagemaker_mpi_enabled": "true"}, "Customer Error: distribution: mpi needs a launcher of AWS's"),
        (
            "t.sh",
            {"sagemaker_torch_distributed_enabled": "true"},
            "Customer Error: distribution: t.sh must be a Python",
        ),
    ],
)
async def test_programs_that_are_not_there(
    make_plane: MakePlane, run_agent: RunAgent, program: str, hyperparameters: dict[str, Any], reason: str
) -> None:
    plane = await scripted(make_plane, packed(("train.py", "")), program, **hyperparameters)
    await run_agent(plane)
    assert plane.events[-1].failure_reason.startswith(f"AlgorithmError: {reason}")
