"""Training programs that behave as programs do: each gets a clear end, keeps what is worth keeping, and leaves nobody."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.end_to_end.world import World
from tests.waiting import until

IN_ONE = pytest.mark.parametrize("boxed", ["auto"], indirect=True)
IN_NAMESPACE = pytest.mark.parametrize("boxed", ["namespace"], indirect=True)

MEGABYTE = 1024**2


@dataclass(frozen=True)
class Case:
    """A program, and what becomes of its job: the reason that it failed ("" for Completed), its log, its model."""

    program: str
    reason: str = ""
    log: list[str] | None = None
    model: dict[str, bytes] | None = field(default_factory=dict)
    remark: str = ""
    """What the agent says about it in the log."""
    changes: dict[str, Any] = field(default_factory=dict)


CASES = {
    "exit-3": Case(
        "say('loading'); print('no label column', file=sys.stderr); sys.exit(3)",
        reason="AlgorithmError: , exit code: 3\nloading\nno label column",
        model=None,
    ),
    "exit-3-with-a-failure-file": Case(
        "(ML / 'output/failure').write_text('the label column is missing'); say('said'); sys.exit(3)",
        reason="AlgorithmError: the label column is missing, exit code: 3",
        model=None,
    ),
    "a-failure-file-of-megabytes": Case(
        "(ML / 'output/failure').write_text('é' * 2_000_000); sys.exit(1)",
        reason="AlgorithmError: " + "é" * (1024 - len("AlgorithmError: , exit code: 1")) + ", exit code: 1",
        model=None,
    ),
    "a-failure-file-that-is-a-pipe": Case(
        "os.mkfifo(ML / 'output/failure'); sys.exit(1)", reason="AlgorithmError: , exit code: 1", model=None
    ),
    "raises": Case(
        "say('a'); raise ValueError('no such column: x')", reason="ValueError: no such column: x", model=None
    ),
    "cannot-be-started": Case(
        "",
        reason="AlgorithmError: , exit code: 127\ntreadle: cannot start 'no-such-program'",
        model=None,
        changes={
            "AlgorithmSpecification": {
                "TrainingImage": "program",
                "TrainingInputMode": "File",
                "ContainerEntrypoint": ["no-such-program"],
            }
        },
    ),
    "binary-output": Case(
        r"os.write(1, b'\xff\xfe\0 \x1b[31mred\r\n\xc3'); os.write(1, b'\xa9t\xc3\xa9 ' + bytes([9]) + b'no end')",
        log=["\ufffd\ufffd\ufffd \x1b[31mred", "été #011no end"],
    ),
    "deletes-its-model-directory": Case("MODEL.rmdir()", remark="/opt/ml/model is not a directory any more"),
    "its-model-directory-becomes-a-link": Case(
        "MODEL.rmdir(); MODEL.symlink_to('/etc')", remark="/opt/ml/model is not a directory any more"
    ),
    "links-out-of-its-model": Case(
        "(MODEL / 'good').write_text('good'); (MODEL / 'inside').symlink_to('good')\n"
        "(MODEL / 'passwd').symlink_to('/etc/passwd'); (MODEL / 'up').symlink_to('../../../credentials')\n"
        "(MODEL / 'etc').symlink_to('/etc')",
        model={"good": b"good"},
        remark="passwd: a link that leads out of /opt/ml/model; it is left out",
    ),
    "a-pipe-and-a-socket-in-its-model": Case(
        "import socket\n(MODEL / 'good').write_text('good'); os.mkfifo(MODEL / 'pipe')\n"
        "os.chdir(MODEL); socket.socket(socket.AF_UNIX).bind('socket')",
        model={"good": b"good"},
        remark="pipe: neither a file nor a directory; it is left out",
    ),
    "makes-its-model-unreadable": Case(
        "(MODEL / 'sub').mkdir(); (MODEL / 'sub' / 'file').write_text('x')\n"
        "(MODEL / 'sub' / 'file').chmod(0); (MODEL / 'sub').chmod(0)",
        model={"sub/file": b"x"},
    ),
    "strange-names-in-its-model": Case(
        r"(MODEL / ('n' * 255)).write_text('long'); open(bytes(MODEL) + b'/\xff\n', 'w').close()",
        model={"n" * 255: b"long", "\udcff\n": b""},
    ),
    "removes-everything": Case(
        "import shutil\nfor each in ML.iterdir():\n    shutil.rmtree(each, ignore_errors=True)",
        remark="/opt/ml/model is not a directory any more",
    ),
    "closes-its-output": Case(
        "say('begun'); os.close(1); os.close(2); (MODEL / 'm').write_text('m')", model={"m": b"m"}
    ),
    "tells-its-keeper-to-stop": Case(
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "os.kill(os.getppid(), signal.SIGTERM); (MODEL / 'm').write_text('m')",
        model={"m": b"m"},
    ),
}


@IN_ONE
def test_every_program_gets_a_clear_end(boxed: World) -> None:
    """All of them at once, on one service, which is still up afterwards; nothing of them is left."""
    boxed.serve()
    for name, case in CASES.items():
        boxed.image(name, case.program)
        algorithm = {"TrainingImage": name, "TrainingInputMode": "File", **_entry_point(case)}
        boxed.create(name, name, AlgorithmSpecification=algorithm)
    for name, case in CASES.items():
        job = boxed.ended(name)
        assert job["TrainingJobStatus"] == ("Failed" if case.reason else "Completed"), (name, job.get("FailureReason"))
        reason = job.get("FailureReason", "")
        assert case.reason in reason, name
        assert len(reason) <= 1024
        assert boxed.model(name) == case.model, name
        if case.log is not None:
            assert boxed.log(name) == case.log, name
        assert any(case.remark in line for line in boxed.log(name, own=True)), name
    for name in CASES:
        boxed.clean(name)


def _entry_point(case: Case) -> dict[str, Any]:
    found: dict[str, Any] = case.changes.get("AlgorithmSpecification", {})
    return {name: value for name, value in found.items() if name.startswith("Container")}


def test_whoever_a_program_leaves_behind_ends_with_it(boxed: World) -> None:
    """Children that hold its output, daemons in sessions of their own, without marker and without open files."""
    boxed.image(
        "forks",
        """
wait_for_ever = [sys.executable, "-c", "import signal; signal.pause()"]
subprocess.Popen([*wait_for_ever, f"{os.environ['E2E_ROOT']} holds the output"])
subprocess.Popen([*wait_for_ever, f"{os.environ['E2E_ROOT']} session"], start_new_session=True)
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    os.closerange(0, 100)
    os.execve(sys.executable, [*wait_for_ever, f"{os.environ['E2E_ROOT']} daemon"], {})
(MODEL / "m").write_text("m")
say("done")
""",
    )
    boxed.serve()
    boxed.create("forks", "forks")
    job = boxed.ended("forks", 10)
    assert job["TrainingJobStatus"] == "Completed", job
    assert boxed.model("forks") == {"m": b"m"}
    assert boxed.log("forks") == ["done"]
    assert not boxed.processes("import signal; signal.pause()")
    boxed.clean("forks")


@pytest.mark.parametrize("boxed", ["plain"], indirect=True)
def test_a_program_that_kills_its_keeper_does_not_live_on(boxed: World) -> None:
    """It has lost who answers for it: the job fails, and the program is ended."""
    boxed.gate()
    boxed.image("kills", "os.kill(os.getppid(), signal.SIGKILL)\nwait()")
    boxed.serve()
    boxed.create("kills", "kills")
    job = boxed.ended("kills")
    assert job["FailureReason"].startswith("AlgorithmError: , exit code: 137\nkilled by signal 9")
    boxed.clean("kills")


@IN_ONE
def test_lines_of_ten_megabytes(boxed: World) -> None:
    """Not a byte is lost; they are cut where a log cuts lines."""
    boxed.image("long", "for each in 'ab': print(each * 10_000_000, flush=True)\nsay('é' * 100_000)")
    boxed.serve()
    boxed.create("long", "long")
    assert boxed.ended("long")["TrainingJobStatus"] == "Completed"
    lines = boxed.log("long")
    assert "".join(lines) == "a" * 10_000_000 + "b" * 10_000_000 + "é" * 100_000
    assert max(len(line.encode()) for line in lines) <= 64 * 1024
    assert boxed.treadle("jobs", "logs", "long").out.replace("\n", "").endswith("é" * 100_000)
    boxed.clean("long")


@IN_ONE
def test_a_log_without_end_is_bounded(boxed: World) -> None:
    """Up to the limit every line, then the last ones; the metric after all of them is seen."""
    boxed.image(
        "chatty",
        "for _ in range(100):\n    os.write(1, (b'x' * 99 + b'\\n') * 1000)\nsay('loss=0.5')\nsay('last')",
    )
    boxed.serve("--max-log", "1MB")
    algorithm = {
        "TrainingImage": "chatty",
        "TrainingInputMode": "File",
        "MetricDefinitions": [{"Name": "loss", "Regex": "loss=([0-9.]+)"}],
    }
    boxed.create("chatty", "chatty", AlgorithmSpecification=algorithm)
    job = boxed.ended("chatty")
    assert job["TrainingJobStatus"] == "Completed"
    assert [each["Value"] for each in job["FinalMetricDataList"]] == [0.5]
    size = sum(path.stat().st_size for path in (boxed.home.logs / "chatty").iterdir())
    assert 0.8 * MEGABYTE < size < 1.3 * MEGABYTE
    lines = boxed.log("chatty")
    assert lines[-2:] == ["loss=0.5", "last"]
    assert any("the log has its limit of 1 MB" in line for line in boxed.log("chatty", own=True))
    boxed.clean("chatty")


@IN_ONE
def test_a_job_that_outgrows_its_volume_is_ended(boxed: World) -> None:
    """It says how much is too much; the service's disk is not filled; the next job has its room."""
    fills = """
say("filling")
with (ML / "output" / "data" / "big").open("wb") as file:
    for _ in range(400):
        file.write(bytes(1024**2))
        file.flush()
wait()
"""
    boxed.gate()
    boxed.image("fills", fills)
    boxed.image("good", "(MODEL / 'm').write_text('m')")
    boxed.serve("--max-volume", "20MB")
    boxed.create("fills", "fills")
    boxed.create("good", "good")
    job = boxed.ended("fills")
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("AlgorithmError: the job's files take ")
    assert "VolumeSizeInGB (20.0 MB); the program was ended, exit code: 137" in job["FailureReason"]
    assert boxed.model("fills") is None
    assert boxed.ended("good")["TrainingJobStatus"] == "Completed"
    boxed.clean("fills")


@IN_ONE
def test_data_that_is_larger_than_the_volume_is_not_brought(boxed: World) -> None:
    """A ClientError before the program starts."""
    boxed.image("good", "(MODEL / 'm').write_text('m')")
    boxed.put("big/one", bytes(21 * MEGABYTE))
    boxed.serve("--max-volume", "20MB")
    boxed.create("large", "good", InputDataConfig=[boxed.channel("big/")])
    job = boxed.ended("large")
    assert job["FailureReason"].startswith(
        "ClientError: Data download failed:With the input data the job's files take 21.0 MB"
    )
    assert boxed.log("large") == []
    boxed.clean("large", logs=False)


SPIES = """
home = pathlib.Path(os.environ["E2E_ROOT"]) / "home"
def tried(what):
    try:
        return what()
    except OSError as error:
        return type(error).__name__
say(f"keys {tried(lambda: (home / 'credentials').read_text())!r}")
say(f"home {tried(lambda: sorted(os.listdir(home)))}")
say(f"write {tried(lambda: (home / 'images.json').write_text('{}'))}")
say(f"processes {sum(each.name.isdigit() for each in pathlib.Path('/proc').iterdir()) < 6}")
say("begun")
wait()
say(f"home {tried(lambda: sorted(os.listdir(home)))}")
say(f"keys {tried(lambda: (home / 'credentials').read_text())!r}")
say(f"unmount {subprocess.run(['umount', str(home)], capture_output=True).returncode != 0}")
say(f"mine {sorted(each.name for each in ML.iterdir())}")
"""


@IN_NAMESPACE
def test_a_program_cannot_read_the_home(boxed: World) -> None:
    """Neither the keys nor the databases nor other jobs' data, not even what appears while it runs."""
    gate = boxed.gate()
    boxed.image("spies", SPIES)
    boxed.put("secret/one", b"somebody else's")
    service = boxed.serve()
    boxed.create("spies", "spies")
    until(lambda: "begun" in boxed.log("spies"), what="the program has begun")
    service.kill()
    boxed.serve()
    assert boxed.treadle("runs", "ls").code == 0  # makes a database of runs
    gate.open()
    assert boxed.ended("spies")["TrainingJobStatus"] == "Completed"
    assert boxed.log("spies") == [
        "keys 'FileNotFoundError'",
        "home []",
        "write OSError",
        "processes True",
        "begun",
        "home []",
        "keys 'FileNotFoundError'",
        "unmount True",
        "mine ['input', 'model', 'output']",
    ]
    boxed.clean("spies")


@IN_ONE
def test_an_image_or_a_home_in_odd_places(boxed: World, tmp_path_factory: pytest.TempPathFactory) -> None:
    """An image inside the home can be read by its own program; one that is gone when the job starts says so."""
    odd = World(tmp_path_factory.mktemp("odd") / "a home with ünicode and 'quotes'", sandbox=boxed.sandbox)
    odd.home.prepare()
    inside = odd.home.root / "my image"
    odd.image("inside", "(MODEL / 'm').write_text(pathlib.Path('extra').read_text())")
    (odd.root / "images" / "inside").rename(inside)
    (inside / "extra").write_text("read")
    from treadle.objects.filesystem import FilesystemObjects
    from treadle.training.images import ImageRegistry

    ImageRegistry(odd.home.images_file).add(inside)
    FilesystemObjects(odd.home.s3).create_bucket("data")
    try:
        odd.serve()
        odd.create("inside", "inside")
        assert odd.ended("inside")["TrainingJobStatus"] == "Completed", odd.log("inside")
        assert odd.model("inside") == {"m": b"read"}
        odd.clean("inside")
    finally:
        odd.close()


@IN_ONE
def test_names_that_differ_only_in_case_and_names_as_long_as_can_be(boxed: World) -> None:
    """Each is a job of its own, with its own log, directory and model."""
    names = ["Case", "case", "n" * 63]
    boxed.image(
        "named", "(MODEL / 'm').write_text(os.environ['TRAINING_JOB_NAME']); say(os.environ['TRAINING_JOB_NAME'])"
    )
    boxed.serve()
    for name in names:
        boxed.create(name, "named")
    for name in names:
        assert boxed.ended(name)["TrainingJobStatus"] == "Completed"
        assert boxed.model(name) == {"m": name.encode()}
        assert boxed.log(name) == [name]
        boxed.clean(name)


@IN_ONE
def test_keys_that_lead_nowhere_good(boxed: World) -> None:
    """Keys are anybody's: a segment that a directory does not have, or that is too long, is a ClientError."""
    boxed.image("good", "(MODEL / 'm').write_text('m')")
    boxed.serve()
    keys = {
        "up": ("up/../../../../escaped", 'it has the segment ".."'),
        "empty": ("empty//two", 'it has the segment ""'),
        "long": ("long/" + "x" * 256, "it has a segment of more than 255 bytes"),
        "both": ("both/a", "would be both a file and a directory"),
    }
    boxed.put("both/a/b", b"x")
    for name, (key, _) in keys.items():
        boxed.put(key, b"x")
        boxed.create(name, "good", InputDataConfig=[boxed.channel(f"{name}/")])
    for name, (_, why) in keys.items():
        job = boxed.ended(name)
        assert job["FailureReason"].startswith("ClientError: Data download failed:"), name
        assert why in job["FailureReason"], name
        boxed.clean(name, logs=False)
    assert not [path for path in boxed.root.rglob("escaped") if boxed.home.s3 not in path.parents]


@IN_ONE
def test_dead_children_do_not_pile_up(boxed: World) -> None:
    """Many short jobs, one after the other and at once: the service reaps its agents, and keeps no open files of them."""
    boxed.image("good", "(MODEL / 'm').write_text('m')")
    service = boxed.serve()
    boxed.create("first", "good")
    boxed.ended("first")
    boxed.clean("first")
    before = len(os.listdir(f"/proc/{service.pid}/fd"))  # noqa: PTH208  (entries of /proc)
    for number in range(5):
        boxed.create(f"many-{number}", "good")
    for number in range(5):
        assert boxed.ended(f"many-{number}")["TrainingJobStatus"] == "Completed"
        boxed.clean(f"many-{number}")
    until(lambda: not boxed.zombies(), what="no dead children")
    after = len(os.listdir(f"/proc/{service.pid}/fd"))  # noqa: PTH208
    assert after <= before + 6  # connections that agents have just left
