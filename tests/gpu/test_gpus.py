"""Jobs on a real GPU, through the real service: who gets it, who waits for it, who does not see it, what is left on it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.test_main_job import DOCUMENTS
from tests.end_to_end.test_pip import wheel
from tests.end_to_end.world import BUCKET, World, steps
from tests.gpu import machine
from tests.gpu.conftest import Imaged
from tests.ray.nodes import RAY
from tests.ray.workstation import workstation
from tests.waiting import until
from treadle.errors import ServiceError
from treadle.launchers import gpus as ours
from treadle.launchers.gpus import Gpu
from treadle.objects.filesystem import FilesystemObjects

# PyTorch alone takes its time to come from a disk that has not been read yet.
pytestmark = [pytest.mark.gpu, pytest.mark.timeout(300)]

PATIENCE = 180.0
ONE_GPU = {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1}
MIB = 1 << 20
HELD = 512
"""MiB that the programs of jobs take of a GPU's memory. Besides, each has a CUDA context of some hundred."""
CLOSE = 64

# Takes memory of its GPU, and keeps it until the gate of its job is opened.
HOLDER = f"""
import driver, json
begun = time.time()
[gpu] = driver.uuids()
driver.take({HELD} << 20)
say(f"holds {{gpu}}")
wait(os.environ["TRAINING_JOB_NAME"])
(MODEL / "held.json").write_text(json.dumps({{"gpu": gpu, "begun": begun, "ended": time.time()}}))
"""


def held(world: World, job: str) -> dict[str, Any]:
    """Give what a holder has written down."""
    files = world.model(job)
    assert files is not None
    found: dict[str, Any] = json.loads(files["held.json"])
    return found


def holds(world: World, job: str) -> str:
    """Wait until a job's program holds a GPU; give which."""
    lines = until(lambda: [each for each in world.log(job) if each.startswith("holds ")], PATIENCE, what=f"{job} holds")
    return lines[-1].split()[1]


def given_back(before: int, seconds: float = 20.0) -> None:
    """Wait until the GPUs' memory is as it was."""
    until(lambda: machine.used() <= before + CLOSE, seconds, what=f"no more than {before} MiB are used")


# ---------------------------------------------------------------------------------------------------------------------
# The machine
# ---------------------------------------------------------------------------------------------------------------------


def test_the_gpus_are_those_that_nvidia_smi_lists(gpus: dict[int, str]) -> None:
    """By number and UUID, and the same where `nvidia-smi` has to be asked."""
    assert {each.number: each.uuid for each in ours.devices()} == gpus
    nodes = tuple(f"nvidia{number}" for number in gpus)
    assert list(ours._asked("nvidia-smi", nodes)) == [Gpu(number, uuid) for number, uuid in sorted(gpus.items())]


def test_what_is_not_there_is_refused(world: World, gpus: dict[int, str]) -> None:
    """More GPUs than there are, for one instance or for several together; AWS's code, and the truth."""
    count = len(gpus)
    has = f"and this machine has {count}"
    world.image("any", "")
    world.serve()
    if count < 8:
        with pytest.raises(ServiceError) as caught:
            world.create("eight", "any", ResourceConfig=ONE_GPU | {"InstanceType": "ml.p4d.24xlarge"})
        assert caught.value.code == "ResourceLimitExceeded"
        assert caught.value.message == (
            "The account-level service limit 'ml.p4d.24xlarge for training job usage' is 0 Instances, with current "
            f"utilization of 0 Instances and a request delta of 1 Instances. It needs 8 GPUs, {has}: ask for ml.local.gpu."
        )
    with pytest.raises(ServiceError) as caught:
        world.create("several", "any", ResourceConfig=ONE_GPU | {"InstanceCount": count + 1})
    assert caught.value.code == "ResourceLimitExceeded"
    assert caught.value.message.endswith(f"It needs {count + 1} GPUs for its {count + 1} instances, {has}.")


# ---------------------------------------------------------------------------------------------------------------------
# Training
# ---------------------------------------------------------------------------------------------------------------------

LEARNER = """
import json, torch
rows = [line.split(",") for line in (ML / "input/data/train/points.csv").read_text().split()]
points = torch.tensor([[float(x), float(y)] for x, y in rows], device="cuda")
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(1, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1)).to("cuda")
optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
for epoch in range(1, 401):
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(model(points[:, :1]), points[:, 1:])
    loss.backward()
    optimizer.step()
    if epoch % 100 == 0:
        say(f"epoch={epoch} loss={loss.item():.6f}")
torch.save(model.state_dict(), MODEL / "model.pt")
facts = {
    "count": torch.cuda.device_count(),
    "gpu": f"GPU-{torch.cuda.get_device_properties(0).uuid}",
    "visible": [os.environ["NVIDIA_VISIBLE_DEVICES"], os.environ["CUDA_VISIBLE_DEVICES"]],
    "told": os.environ.get("SM_NUM_GPUS"),
}
(MODEL / "facts.json").write_text(json.dumps(facts))
"""

PREDICTS = """
import io, sys, torch
model = torch.nn.Sequential(torch.nn.Linear(1, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1))
model.load_state_dict(torch.load(io.BytesIO(sys.stdin.buffer.read()), map_location="cpu", weights_only=True))
print(model(torch.tensor([[0.5]])).item())
"""

LOSS = [{"Name": "train:loss", "Regex": "loss=([0-9.]+)"}]


def put_points(world: World) -> dict[str, Any]:
    """Store points of a parabola; give the channel that brings them."""
    points = (number / 100 for number in range(-100, 101))
    world.put("points/points.csv", "".join(f"{x},{x * x}\n" for x in points).encode())
    return world.channel("points/")


def check_learnt(model: dict[str, bytes] | None, python: str, told: str | None, gpus: dict[int, str]) -> None:
    """The GPU was the one that the program was given, and what it learnt there predicts elsewhere."""
    assert model is not None
    facts = json.loads(model["facts.json"])
    assert facts["gpu"] in gpus.values()
    assert facts == {"count": 1, "gpu": facts["gpu"], "visible": [facts["gpu"]] * 2, "told": told}
    said = subprocess.run([python, "-c", PREDICTS], input=model["model.pt"], capture_output=True, check=True).stdout
    assert float(said) == pytest.approx(0.25, abs=0.05)


def test_pytorch_trains(boxed: World, imaged: Imaged, torch_python: str, gpus: dict[int, str]) -> None:
    """A type with one GPU: the program sees that one, trains on it, gives its metric, and leaves a model."""
    imaged("learner", LEARNER, torch_python)
    boxed.serve()
    boxed.create(
        "learnt",
        "learner",
        AlgorithmSpecification={
            "TrainingImage": "learner",
            "TrainingInputMode": "File",
            "MetricDefinitions": LOSS,
        },
        InputDataConfig=[put_points(boxed)],
        ResourceConfig=ONE_GPU,
    )
    job = boxed.ended("learnt", PATIENCE)
    assert (job["TrainingJobStatus"], job.get("FailureReason")) == ("Completed", None), boxed.log("learnt")
    [metric] = job["FinalMetricDataList"]
    assert metric["MetricName"] == "train:loss"
    assert metric["Value"] < 0.001
    check_learnt(boxed.model("learnt"), torch_python, None, gpus)


def test_script_mode(boxed: World, torch_python: str, gpus: dict[int, str]) -> None:
    """The SDK's way, on `ml.local.gpu`, which is all of the machine: SM_NUM_GPUS counts its GPUs."""
    directory = boxed.image("framework", "")
    path = f'[environment]\nPATH = "{Path(torch_python).parent}"\n'
    (directory / "image.toml").write_text(f'name = "framework"\nscript_mode = true\n{path}')
    program = (directory / "train.py").read_text() + LEARNER
    source = io.BytesIO()
    with tarfile.open(fileobj=source, mode="w:gz") as archive:
        member = tarfile.TarInfo("train.py")
        member.size = len(program.encode())
        archive.addfile(member, io.BytesIO(program.encode()))
    boxed.put("code/sourcedir.tar.gz", source.getvalue())
    boxed.serve()
    boxed.create(
        "scripted",
        "framework",
        HyperParameters={
            "sagemaker_program": '"train.py"',
            "sagemaker_submit_directory": '"s3://data/code/sourcedir.tar.gz"',
        },
        InputDataConfig=[put_points(boxed)],
        ResourceConfig=ONE_GPU | {"InstanceType": "ml.local.gpu"},
    )
    job = boxed.ended("scripted", PATIENCE)
    assert (job["TrainingJobStatus"], job.get("FailureReason")) == ("Completed", None), boxed.log("scripted")
    if len(gpus) == 1:
        check_learnt(boxed.model("scripted"), torch_python, "1", gpus)
    else:
        facts = json.loads((boxed.model("scripted") or {})["facts.json"])
        assert (facts["count"], facts["told"]) == (len(gpus), str(len(gpus)))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_main_job(world: World, torch_python: str, gpus: dict[int, str], document: Any) -> None:
    """The document, word for word, on the embedded service, with an instance type that has a GPU."""
    world.image("learner", LEARNER, PATH=str(Path(torch_python).parent))
    arguments = world.run_arguments(
        "main", "learner", "--json", instanceType="ml.g5.xlarge", inputDataConfig=[put_points(world)], document=document
    )
    done = world.start(*arguments).ended(PATIENCE)
    assert done.code == 0, done.err
    assert done.outputs["trainingJobStatus"] == "Completed"
    assert done.outputs["modelArtifacts"] == "s3://data/out/main/output/model.tar.gz"
    check_learnt(world.model("main"), torch_python, None, gpus)


INSTALLS = """
source = next((ML / "input/data/wheels").iterdir())
subprocess.run([sys.executable, "-m", "pip", "install", "--no-index", source], check=True)
import fresh
(ML / "sees.py").write_text("import fresh, torch; print(torch.ones(3, device='cuda').sum().item())")
for command in (["fresh"], ["torchrun", "--standalone", "--nproc_per_node=1", ML / "sees.py"]):
    with (MODEL / "found").open("ab") as found:
        subprocess.run(command, check=True, stdout=found)
"""


def test_pip_beside_pytorch(boxed: World, torch_python: str, tmp_path: Path) -> None:
    """What a program installs is its job's, and its launcher's; PyTorch's own environment stays as it is."""
    wheel(tmp_path, "fresh", "1.0", "def main():\n    print('fresh')\n", "fresh")
    [made] = tmp_path.glob("*.whl")
    boxed.put(f"wheels/{made.name}", made.read_bytes())
    boxed.image("installs", INSTALLS, PATH=f"{Path(torch_python).parent}:/usr/bin:/bin")
    boxed.serve()
    boxed.create("installs", "installs", InputDataConfig=[boxed.channel("wheels/", "wheels")], ResourceConfig=ONE_GPU)
    job = boxed.ended("installs", PATIENCE)
    assert (job["TrainingJobStatus"], job.get("FailureReason")) == ("Completed", None), boxed.log("installs")
    assert boxed.model("installs") == {"found": b"fresh\n3.0\n"}
    assert subprocess.run([torch_python, "-c", "import fresh"], capture_output=True, check=False).returncode == 1
    assert not Path(torch_python).with_name("fresh").exists()


KERNEL = r"""
#include <cstdio>
#include <cstdlib>
#include <string>

__global__ void squared(float *values, int count) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) values[i] *= values[i];
}

int main() {
    const char *given = getenv("SAGEMAKER_BASE_DIR");
    std::string ml = given ? given : "/opt/ml";
    float values[256], total = 0, *there;
    int count = 0;
    FILE *data = fopen((ml + "/input/data/train/numbers").c_str(), "r");
    while (data && count < 256 && fscanf(data, "%f", values + count) == 1) count++;
    cudaMalloc(&there, sizeof values);
    cudaMemcpy(there, values, sizeof values, cudaMemcpyHostToDevice);
    squared<<<1, 256>>>(there, count);
    cudaMemcpy(values, there, sizeof values, cudaMemcpyDeviceToHost);
    if (cudaError_t error = cudaGetLastError()) return fprintf(stderr, "%s\n", cudaGetErrorString(error)), 1;
    for (int i = 0; i < count; i++) total += values[i];
    printf("train:squares=%g\n", total);
    FILE *model = fopen((ml + "/model/squares").c_str(), "w");
    fprintf(model, "%g", total);
    return fclose(model);
}
"""


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Give a program in CUDA C++, compiled for this machine's GPU."""
    nvcc = shutil.which("nvcc", path=f"{os.environ['PATH']}:/usr/local/cuda/bin")
    if nvcc is None:
        pytest.skip("there is no nvcc here")
    directory = tmp_path_factory.mktemp("nvcc")
    (directory / "train.cu").write_text(KERNEL)
    subprocess.run([nvcc, "-arch=native", "-o", "train", "train.cu"], cwd=directory, check=True)
    return (directory / "train").read_bytes()


def test_a_program_in_cuda(boxed: World, compiled: bytes) -> None:
    """A compiled program is the image's command; no Python, no framework."""
    directory = boxed.image("kernel", "")
    (directory / "train").write_bytes(compiled)
    (directory / "train").chmod(0o755)
    (directory / "image.toml").write_text('name = "kernel"\ncommand = ["./train"]\n')
    boxed.put("numbers/numbers", b"1\n2\n3\n")
    boxed.serve()
    metric = [{"Name": "train:squares", "Regex": "train:squares=([0-9.]+)"}]
    algorithm = {"TrainingImage": "kernel", "TrainingInputMode": "File", "MetricDefinitions": metric}
    boxed.create(
        "compiled",
        "kernel",
        AlgorithmSpecification=algorithm,
        InputDataConfig=[boxed.channel("numbers/")],
        ResourceConfig=ONE_GPU,
    )
    job = boxed.ended("compiled", PATIENCE)
    assert (job["TrainingJobStatus"], job.get("FailureReason")) == ("Completed", None), boxed.log("compiled")
    assert [each["Value"] for each in job["FinalMetricDataList"]] == [14]
    assert boxed.model("compiled") == {"squares": b"14"}


# ---------------------------------------------------------------------------------------------------------------------
# Who has none
# ---------------------------------------------------------------------------------------------------------------------

BLIND = """
import driver, shutil
assert driver.uuids() == [], driver.uuids()
assert "SAGEMAKER_BASE_DIR" in os.environ or shutil.which("nvidia-smi") is None
(MODEL / "visible").write_text(os.environ["NVIDIA_VISIBLE_DEVICES"])
"""


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 6, reason="two jobs, of 4 and of 2 CPUs, do not run here together")
def test_a_job_without_gpus_sees_none(boxed: World, imaged: Imaged) -> None:
    """NVIDIA_VISIBLE_DEVICES as on AWS; CUDA sees nothing, and where paths can be hidden there is no `nvidia-smi`.

    It runs beside a job that has the GPU.
    """
    imaged("holder", HOLDER)
    imaged("blind", BLIND)
    gate = boxed.gate("holding")
    boxed.serve()
    boxed.create("holding", "holder", ResourceConfig=ONE_GPU)
    holds(boxed, "holding")
    boxed.create("blind", "blind")
    job = boxed.ended("blind", PATIENCE)
    assert (job["TrainingJobStatus"], job.get("FailureReason")) == ("Completed", None), boxed.log("blind")
    assert boxed.model("blind") == {"visible": b"void"}
    gate.open()
    assert boxed.ended("holding")["TrainingJobStatus"] == "Completed"


def test_pytorch_without_gpus(boxed: World, imaged: Imaged, torch_python: str) -> None:
    """What programs ask before they choose a device."""
    imaged("asks", "import torch\n(MODEL / 'there').write_text(str(torch.cuda.is_available()))", torch_python)
    boxed.serve()
    boxed.create("asks", "asks")
    assert boxed.ended("asks", PATIENCE)["TrainingJobStatus"] == "Completed", boxed.log("asks")
    assert boxed.model("asks") == {"there": b"False"}


# ---------------------------------------------------------------------------------------------------------------------
# Who waits
# ---------------------------------------------------------------------------------------------------------------------


def test_a_job_waits_for_a_gpu(boxed: World, imaged: Imaged, gpus: dict[int, str]) -> None:
    """Each job has one of its own; who finds none waits, and begins when another has ended."""
    imaged("holder", HOLDER)
    jobs = [f"job-{number}" for number in range(len(gpus) + 1)]
    gates = [boxed.gate(each) for each in jobs]
    boxed.serve()
    *running, late = jobs
    for each in running:
        boxed.create(each, "holder", ResourceConfig=ONE_GPU)
    assert {holds(boxed, each) for each in running} == set(gpus.values())
    boxed.create(late, "holder", ResourceConfig=ONE_GPU)
    waits = boxed.reached(late, "Pending")
    assert waits["SecondaryStatusTransitions"][-1]["StatusMessage"] == "Training job waiting for capacity"
    gates[0].open()
    first = boxed.ended(running[0])
    assert holds(boxed, late) in gpus.values()
    for gate in gates[1:]:
        gate.open()
    assert [boxed.ended(each)["TrainingJobStatus"] for each in jobs] == ["Completed"] * len(jobs)
    assert steps(boxed.describe(late))[:2] == ["Starting", "Pending"]
    earlier, later = held(boxed, running[0]), held(boxed, late)
    assert earlier["gpu"] == later["gpu"]
    assert earlier["begun"] < earlier["ended"] <= first["TrainingEndTime"] <= later["begun"] < later["ended"]


def ends_by_a_stop(world: World, job: str) -> None:
    world.stop(job)


def ends_by_a_kill(world: World, job: str) -> None:
    os.kill(world.agent(job), signal.SIGKILL)


@pytest.mark.parametrize(
    ("ends", "status"),
    [pytest.param(ends_by_a_stop, "Stopped", id="stopped"), pytest.param(ends_by_a_kill, "Failed", id="agent-killed")],
)
def test_a_job_that_is_ended_frees_its_gpu(
    boxed: World, imaged: Imaged, gpus: dict[int, str], ends: Any, status: str
) -> None:
    """For the job that waits, and of all memory that it held."""
    if len(gpus) > 1:
        pytest.skip("it is about the only GPU of a machine")
    before = machine.used()
    imaged("holder", HOLDER)
    boxed.gate("first")
    gate = boxed.gate("second")
    boxed.serve()
    boxed.create("first", "holder", ResourceConfig=ONE_GPU)
    holds(boxed, "first")
    one = machine.used()
    assert one >= before + HELD
    boxed.create("second", "holder", ResourceConfig=ONE_GPU)
    boxed.reached("second", "Pending")
    ends(boxed, "first")
    assert boxed.ended("first")["TrainingJobStatus"] == status
    holds(boxed, "second")
    assert machine.used() <= one + CLOSE
    gate.open()
    assert boxed.ended("second")["TrainingJobStatus"] == "Completed"
    given_back(before)


def test_an_interrupted_job_gets_a_gpu_again(boxed: World, imaged: Imaged) -> None:
    """A spot job comes before those that were made after it."""
    imaged("holder", HOLDER)
    spot, gate = boxed.gate("spot"), boxed.gate("behind")
    boxed.serve()
    stopping = {"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 600}
    resources = ONE_GPU | {"InstanceType": "ml.local.gpu"}
    boxed.create("spot", "holder", ResourceConfig=resources, EnableManagedSpotTraining=True, StoppingCondition=stopping)
    holds(boxed, "spot")
    boxed.create("behind", "holder", ResourceConfig=resources)
    boxed.reached("behind", "Pending")
    assert boxed.treadle("jobs", "interrupt", "spot").code == 0
    until(lambda: len(boxed.log("spot")) == 2, PATIENCE, what="its program holds a GPU again")
    spot.open()
    job = boxed.ended("spot")
    assert (job["TrainingJobStatus"], "Interrupted" in steps(job)) == ("Completed", True)
    gate.open()
    assert boxed.ended("behind")["TrainingJobStatus"] == "Completed"
    assert held(boxed, "spot")["ended"] <= held(boxed, "behind")["begun"]


def second(world: World, *options: str) -> World:
    """Give another home on the machine, with its service, and the image `holder`."""
    made = World(world.root / "second", sandbox=world.sandbox)
    made.home.prepare()
    FilesystemObjects(made.home.s3).create_bucket(BUCKET)
    shutil.copy(Path(__file__).with_name("driver.py"), made.image("holder", HOLDER))
    made.serve(*options)
    return made


def waits_for_another_service(world: World, job: str, gpus: dict[int, str]) -> None:
    """Wait until a job waits, and says who has the GPUs."""
    names = " and ".join(str(each) for each in gpus)
    whose = f"GPUs {names} are" if len(gpus) > 1 else f"GPU {names} is"
    said = f"Training job waiting for capacity: {whose} taken by another service"
    until(
        lambda: world.describe(job)["SecondaryStatusTransitions"][-1]["StatusMessage"] == said,
        PATIENCE,
        what=f"{job} says why it waits",
    )


def test_another_service_of_the_machine(boxed: World, imaged: Imaged, gpus: dict[int, str]) -> None:
    """Its jobs wait until the GPU is free, also when the agent that has it is killed."""
    imaged("holder", HOLDER)
    boxed.gate("first")
    boxed.serve()
    resources = ONE_GPU | {"InstanceType": "ml.local.gpu"}
    with contextlib.closing(second(boxed)) as other:
        gate = other.gate("late")
        boxed.create("first", "holder", ResourceConfig=resources)
        holds(boxed, "first")
        other.create("late", "holder", ResourceConfig=resources)
        waits_for_another_service(other, "late", gpus)
        os.kill(boxed.agent("first"), signal.SIGKILL)
        assert holds(other, "late") in gpus.values()
        gate.open()
        assert other.ended("late")["TrainingJobStatus"] == "Completed"


def test_a_service_that_has_been_left_none(boxed: World, imaged: Imaged, gpus: dict[int, str]) -> None:
    """By CUDA_VISIBLE_DEVICES; a UUID, as `nvidia-smi -L` prints it, leaves that one."""
    imaged("holder", HOLDER)
    gate = boxed.gate("given")
    boxed.more["CUDA_VISIBLE_DEVICES"] = "-1"
    service = boxed.serve()
    with pytest.raises(ServiceError, match="this service has none of this machine's: CUDA_VISIBLE_DEVICES is '-1'"):
        boxed.create("none", "holder", ResourceConfig=ONE_GPU)
    service.signal(signal.SIGTERM)
    service.ended()
    uuid = boxed.more["CUDA_VISIBLE_DEVICES"] = gpus[max(gpus)]
    boxed.serve()
    boxed.create("given", "holder", ResourceConfig=ONE_GPU)
    assert holds(boxed, "given") == uuid
    gate.open()
    assert boxed.ended("given")["TrainingJobStatus"] == "Completed"


def test_through_ray(world: World, gpus: dict[int, str]) -> None:
    """Ray finds the GPU and assigns it; CUDA sees that one, and a job beside Ray waits for it."""
    if not RAY.exists():
        pytest.skip("Ray is not installed here")
    shutil.copy(Path(__file__).with_name("driver.py"), world.image("holder", HOLDER))
    gate = world.gate("late")
    world.serve()
    every = ONE_GPU | {"InstanceCount": len(gpus)}
    with workstation(f"--memory={64 << 30}") as address:
        options = ("--launcher", "ray", "--ray-address", address)
        with contextlib.closing(second(world, *options)) as rays:
            rays.gate("first")
            rays.create("first", "holder", ResourceConfig=every)
            said = {f"holds {each}" for each in gpus.values()}
            until(lambda: set(rays.log("first")) == said, PATIENCE, what="Ray's job holds all GPUs")
            world.create("late", "holder", ResourceConfig=ONE_GPU)
            waits_for_another_service(world, "late", gpus)
            rays.stop("first")
            assert rays.ended("first", PATIENCE)["TrainingJobStatus"] == "Stopped"
            assert holds(world, "late") in gpus.values()
    gate.open()
    assert world.ended("late")["TrainingJobStatus"] == "Completed"


# Neither it nor what it has started ends by itself, or by SIGTERM.
STUBBORN = f"""
import driver
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if sys.argv[1] == "train":
    subprocess.Popen([sys.executable, __file__, "follower"], start_new_session=True)
driver.take({HELD} << 20)
say(f"holds {{sys.argv[1]}}")
time.sleep(3600)
"""


def test_nothing_is_left_on_the_gpu(boxed: World, imaged: Imaged) -> None:
    """A job that has to be killed, with a follower that has GPU memory, too."""
    before, others = machine.used(), machine.processes()
    imaged("stubborn", STUBBORN)
    boxed.serve("--stop-grace", "1")
    boxed.create("stubborn", "stubborn", ResourceConfig=ONE_GPU)
    until(lambda: set(boxed.log("stubborn")) == {"holds train", "holds follower"}, PATIENCE, what="both hold memory")
    assert machine.used() >= before + 2 * HELD
    boxed.stop("stubborn")
    assert boxed.ended("stubborn")["TrainingJobStatus"] == "Stopped"
    boxed.clean("stubborn")
    given_back(before)
    assert machine.processes() <= others


# ---------------------------------------------------------------------------------------------------------------------
# The built-in XGBoost
# ---------------------------------------------------------------------------------------------------------------------

XGBOOST = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
"""An image that has gpu_hist, which the XGBoost of today knows by another name."""


@pytest.fixture
def classified(boxed: World) -> World:
    """A world with data to classify; skip where XGBoost has been built without CUDA."""
    xgb = pytest.importorskip("xgboost")
    if not xgb.build_info().get("USE_CUDA"):
        pytest.skip("the XGBoost that is installed here has been built without CUDA")
    import numpy as np

    rows = np.random.default_rng(3).normal(size=(20_000, 8)).astype(np.float32)
    labels = (rows[:, 0] * rows[:, 1] > rows[:, 2]).astype(int)
    lines = (f"{label}," + ",".join(f"{each:.4f}" for each in row) for label, row in zip(labels, rows, strict=True))
    boxed.put("rows/0.csv", "\n".join(lines).encode())
    boxed.serve()
    return boxed


HYPERPARAMETERS = {
    "num_round": "300",
    "objective": "binary:logistic",
    "eval_metric": "error",
    "tree_method": "gpu_hist",
}


def create_xgboost(world: World, job: str, **changes: Any) -> None:
    channel = world.channel("rows/") | {"ContentType": "text/csv"}
    usual = {"HyperParameters": HYPERPARAMETERS, "InputDataConfig": [channel], "ResourceConfig": ONE_GPU}
    world.create(job, XGBOOST, **{**usual, **changes})


def test_xgboost_trains(classified: World) -> None:
    """`tree_method=gpu_hist`: GPU memory is taken while it trains, and the model is as good as any."""
    before, peak = machine.used(), 0
    create_xgboost(classified, "boosted")
    while (job := classified.describe("boosted"))["TrainingJobStatus"] == "InProgress":
        peak = max(peak, machine.used())
    assert (job["TrainingJobStatus"], job.get("FailureReason")) == ("Completed", None), classified.log("boosted")
    assert peak > before + CLOSE
    assert list(classified.model("boosted") or {}) == ["xgboost-model"]
    assert {each["MetricName"]: each["Value"] for each in job["FinalMetricDataList"]}["train:error"] < 0.02


@pytest.mark.parametrize("boxed", ["namespace"], indirect=True)
def test_xgboost_measures_classes_on_the_cpu(classified: World) -> None:
    """It fails on a machine with a GPU that it does not see, if `nvidia-smi` tells it of a driver."""
    several = {"num_round": "3", "objective": "multi:softprob", "num_class": "2", "eval_metric": "mlogloss"}
    resources = ONE_GPU | {"InstanceType": "ml.m5.large"}
    create_xgboost(classified, "classes", HyperParameters=several, ResourceConfig=resources)
    job = classified.ended("classes", PATIENCE)
    assert (job["TrainingJobStatus"], job.get("FailureReason")) == ("Completed", None), classified.log("classes")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"ResourceConfig": ONE_GPU | {"InstanceType": "ml.m5.large"}}, "need a GPU; there is none", id="cpu"),
        pytest.param({"Environment": {"CUDA_VISIBLE_DEVICES": ""}}, "XGBoost finds no GPU that it can use", id="hidden"),
    ],
)  # fmt: skip
def test_xgboost_does_not_train_without(classified: World, changes: dict[str, Any], reason: str) -> None:
    """Of itself it would, on the CPU, with a warning that nobody reads."""
    create_xgboost(classified, "without", **changes)
    job = classified.ended("without", PATIENCE)
    assert job["TrainingJobStatus"] == "Failed"
    assert reason in job["FailureReason"]
