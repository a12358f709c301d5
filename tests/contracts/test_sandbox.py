"""What every sandbox promises: exit codes, output, signals that reach everybody, and nobody left behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.containers.service import BUSYBOX, Service
from tests.waiting import until

from treadle.agent.sandbox import enter
from treadle.agent.sandbox.choice import choose
from treadle.agent.sandbox.container import ContainerSandbox
from treadle.agent.sandbox.entrance import TRIAL, Entrance
from treadle.agent.sandbox.namespace import NamespaceSandbox
from treadle.agent.sandbox.plain import PlainSandbox
from treadle.errors import LaunchError
from treadle.launchers import containers, processes
from treadle.seams import Sandbox, SandboxCommand, SandboxProcess, Unlayered

SANDBOXES: list[Sandbox] = [PlainSandbox(), NamespaceSandbox()]
NAMES = ["plain", "namespace", pytest.param("container", marks=pytest.mark.container)]


@pytest.fixture(scope="module")
def problems() -> dict[str, str]:
    """Say which sandboxes do not work here, and why."""
    return {each.name: each.probe() for each in SANDBOXES}


@pytest.fixture(params=NAMES)
def sandbox(request: pytest.FixtureRequest, problems: dict[str, str], tmp_path: Path) -> Iterator[Sandbox]:
    """Give each sandbox that works on this machine; nothing of a container is left after a test."""
    if request.param == "container":
        service: Service = request.getfixturevalue("container_engine")
        yield contained(service, tmp_path / "host")
        assert service.left() == []
        return
    if problems[request.param]:
        pytest.skip(f"{request.param} does not work here: {problems[request.param]}")
    yield next(each for each in SANDBOXES if each.name == request.param)


def contained(service: Service, directory: Path, **changes: Any) -> ContainerSandbox:
    """Give the sandbox of a container of busybox."""
    directory.mkdir(exist_ok=True)
    record = containers.record_of(service.engine.address, directory, "job", 1, "algo-1")
    members: dict[str, Any] = {"labels": containers.labels(directory, "job", 1, "algo-1")}
    return ContainerSandbox(service.engine, BUSYBOX, directory, record, **members | changes)


@pytest.fixture
def namespace(problems: dict[str, str]) -> NamespaceSandbox:
    """Give the namespace sandbox."""
    if problems["namespace"]:
        pytest.skip(f"namespace does not work here: {problems['namespace']}")
    return NamespaceSandbox()


def command(place: Path, script: str, **changes: Any) -> SandboxCommand:
    (ml := place / "host/ml").mkdir(parents=True, exist_ok=True)
    members: dict[str, Any] = {
        "argv": ("/bin/sh", "-c", script),
        "environment": {"PATH": "/usr/bin:/bin", "WORD": "w"},
        "directory": "/",
        "ml": ml,
        "host": "algo-1",
        "hosts": {"algo-1": "127.0.0.1", "algo-2": "127.0.0.2"},
    }
    return SandboxCommand(**members | changes)


async def outcome(process: SandboxProcess) -> tuple[int, str]:
    """Read a program's output to its end; its exit code and what it wrote."""
    text = await asyncio.to_thread(_read, process.output)
    return await process.wait(), text


def _read(output: int) -> str:
    with os.fdopen(output, "rb") as file:
        return file.read().decode()


@pytest.mark.parametrize(
    ("script", "code"),
    [
        pytest.param("exit 0", 0, id="success"),
        pytest.param("exit 7", 7, id="failure"),
        pytest.param("kill -9 $$", 137, id="killed"),
        pytest.param("kill -TERM $$", 143, id="terminated"),
    ],
)
async def test_exit_code(sandbox: Sandbox, tmp_path: Path, script: str, code: int) -> None:
    """The exit code is the program's, 128 + n for signal n.

    Process 1 of a container does not hear what it sends to itself and has no handler for: there a child does it.
    """
    if sandbox.name == "container" and "$$" in script:
        script = f"exec 2>/dev/null; (sh -c '{script}'); exit $?"
    assert await outcome(await sandbox.start(command(tmp_path, script))) == (code, "")


async def test_output_and_surroundings(sandbox: Sandbox, tmp_path: Path) -> None:
    """Both streams arrive; the environment is the command's alone; standard input is empty; the marker is no secret."""
    contained = sandbox.name == "container"
    home = "/" if contained else ""  # engines give one where the image does not
    script = f"cat; echo out; echo err >&2; echo $WORD ${{HOME#{home}}} .; pwd"
    started = await sandbox.start(command(tmp_path, script, directory=str(tmp_path)))
    code, said = await outcome(started)
    # The two streams of a container are two pipes: nobody knows what was written first.
    order = sorted if contained else list
    assert (code, order(said.splitlines())) == (0, order(["out", "err", "w .", str(tmp_path)]))


async def test_who_keeps_the_rest_of_the_output_waits_for_its_end(sandbox: Sandbox, tmp_path: Path) -> None:
    """A sandbox that saves what a dead agent has not read goes when all has been read; nothing is saved then."""
    if sandbox.name == "container":
        pytest.skip("the output of a container is its engine's, which sends it to the agent alone")
    rest = tmp_path / "rest"
    process = await sandbox.start(command(tmp_path, "echo words; exit 3", rest=rest))
    ended = asyncio.ensure_future(process.wait())
    await asyncio.sleep(0.3)
    assert not ended.done()
    assert _read(process.output) == "words\n"
    assert (await ended, rest.read_bytes()) == (3, b"")


async def test_program_that_is_not_there(sandbox: Sandbox, tmp_path: Path) -> None:
    """It says so in the output and ends with 127; a file that cannot be executed with 126."""
    code, said = await outcome(await sandbox.start(command(tmp_path, "", argv=("no-such-program",))))
    assert code == 127
    assert "cannot start 'no-such-program'" in said
    (tmp_path / "data").write_text("no program")
    file = "/etc" if sandbox.name == "container" else str(tmp_path / "data")
    code, said = await outcome(await sandbox.start(command(tmp_path, "", argv=(file,))))
    assert code == 126
    assert "permission denied" in said.lower()


async def test_large_environment(sandbox: Sandbox, tmp_path: Path) -> None:
    """A plan larger than a pipe holds is no obstacle."""
    large = {f"V{number}": "x" * 2000 for number in range(100)} | {"PATH": "/usr/bin:/bin"}
    code, said = await outcome(await sandbox.start(command(tmp_path, "env | wc -c", environment=large)))
    assert (code, int(said) > 200_000) == (0, True)


async def test_terminate_reaches_everybody(sandbox: Sandbox, tmp_path: Path) -> None:
    """SIGTERM comes to a follower in a session of its own, which may finish what it saves, though its parent is gone.

    In a container the parent is process 1, which does not die of a signal that it does not handle.
    """
    script = """
        setsid sh -c 'trap "sleep 0.1; echo saved; exit 0" TERM; echo ready; while :; do sleep 0.01; done' &
        wait
    """
    process = await sandbox.start(command(tmp_path, script))
    first = await asyncio.to_thread(os.read, process.output, 6)
    assert first == b"ready\n"
    process.terminate()
    code, said = await outcome(process)
    assert (code, said.splitlines()[-1]) == (0 if sandbox.name == "container" else 143, "saved")


async def test_kill_ends_everybody(sandbox: Sandbox, tmp_path: Path) -> None:
    """SIGKILL, too, comes to all, also to those that ignore everything else; then the output ends."""
    script = "setsid sh -c 'trap \"\" TERM HUP; echo ready; while :; do sleep 0.01; done' & trap '' TERM; wait; wait"
    process = await sandbox.start(command(tmp_path, script))
    assert await asyncio.to_thread(os.read, process.output, 6) == b"ready\n"
    process.terminate()
    process.kill()
    assert (await outcome(process))[0] == 137


async def test_followers_end_with_the_program(sandbox: Sandbox, tmp_path: Path) -> None:
    """An orphan that holds the output open does not outlive the program."""
    script = "(setsid sh -c 'echo $$; exec tail -f /dev/null' &) | head -n1; (setsid tail -f /dev/null &); exit 3"
    code, _ = await outcome(await sandbox.start(command(tmp_path, script)))
    assert code == 3


async def test_no_privileges_gained(sandbox: Sandbox, tmp_path: Path) -> None:
    """A set-user-ID program gives nobody anything."""
    _, said = await outcome(await sandbox.start(command(tmp_path, "grep NoNewPrivs /proc/self/status")))
    assert said.split() == ["NoNewPrivs:", "1"]


async def test_plain_says_where_ml_is(tmp_path: Path) -> None:
    """Paths below /opt/ml in arguments and variables become those of the job's directory."""
    sent = command(
        tmp_path, "", argv=("/bin/echo", "/opt/ml/model", "/opt/mlx"), environment={"D": "/opt/ml"}, directory="/opt/ml"
    )
    assert await outcome(await PlainSandbox().start(sent)) == (0, f"{sent.ml}/model /opt/mlx\n")
    sent = command(tmp_path, 'echo "$SAGEMAKER_BASE_DIR"; pwd', directory="/opt/ml")
    assert await outcome(await PlainSandbox().start(sent)) == (0, f"{sent.ml}\n{sent.ml}\n")


async def test_namespace_sees_its_own(namespace: NamespaceSandbox, tmp_path: Path) -> None:
    """Its /opt/ml is writable and the rest of /opt is as it was; host name, hosts and processes are its own."""
    others = sorted(each.name for each in Path("/opt").iterdir() if each.name != "ml")
    script = "echo m > /opt/ml/written; ls /opt; hostname; getent hosts algo-2; ps ax -o pid= | wc -l"
    code, said = await outcome(await namespace.start(command(tmp_path, script)))
    *opt, host, algo2, _count = said.splitlines()
    assert (code, opt, host, algo2.split()) == (0, sorted(["ml", *others]), "algo-1", ["127.0.0.2", "algo-2"])
    assert int(_count) < 9
    assert (tmp_path / "host/ml/written").read_text() == "m\n"
    assert not Path("/opt/ml/written").exists()


async def test_namespace_hides(namespace: NamespaceSandbox, tmp_path: Path) -> None:
    """Hidden files are empty, hidden directories too and sealed, save for what must be readable below them."""
    (tmp_path / "key").write_text("secret")
    (tmp_path / "home/image").mkdir(parents=True)
    (tmp_path / "home/image/train.py").write_text("train")
    (tmp_path / "home/token").write_text("secret")
    sent = command(
        tmp_path,
        "cat key; ls home; cat home/image/train.py; touch home/x home/image/x; cd /opt/ml && touch y",
        directory=str(tmp_path),
        hidden=(tmp_path / "key", tmp_path / "home", tmp_path / "host", tmp_path / "absent"),
        readable=(tmp_path / "home/image",),
    )
    code, said = await outcome(await namespace.start(sent))
    assert (code, said.startswith("image\ntrain")) == (0, True)
    assert said.count("Read-only file system") == 2
    assert (tmp_path / "host/ml/y").exists()


async def test_namespace_lets_a_program_change_its_image(namespace: NamespaceSandbox, place: Path) -> None:
    """It sees its changes, the directory stays as it is; what is hidden below it stays hidden."""
    image, changes = place / "image", place / "changes"
    (image / "home").mkdir(parents=True)
    changes.mkdir()
    for name in ("kept", "gone", "home/key"):
        (image / name).write_text(f"{name}\n")
    sent = command(
        place,
        "rm gone; echo more >> kept; mkdir new; echo x > new/x; cat kept; ls -A . home",
        directory=str(image),
        hidden=(image / "home",),
        readable=(image,),
        layers=((image, changes), (place / "absent", place / "nothing")),
    )
    code, said = await outcome(await namespace.start(sent))
    if "Read-only file system" in said:
        pytest.skip("the file system of the tests cannot be the upper layer of an overlay")
    assert (code, said.split()) == (0, ["kept", "more", ".:", "home", "kept", "new", "home:"])
    assert sorted(each.name for each in image.iterdir()) == ["gone", "home", "kept"]
    assert (image / "kept").read_text() == "kept\n"


async def test_what_there_is_instead_of_a_layer(sandbox: Sandbox, place: Path, tmp_path: Path) -> None:
    """Files and links are made, and the program is another, where the layer cannot be made; else nothing of that."""
    if sandbox.name == "container":
        pytest.skip("a container is changed as it is")
    ml = place / "host/ml"
    shown = "/opt/ml" if sandbox.name == "namespace" else str(ml)
    sent = command(place, "echo as it was")
    instead = Unlayered(
        argv=("sh", "-c", 'cat "$WHERE/own/bin/link"'),
        environment={**sent.environment, "WHERE": shown},
        files={f"{shown}/own/bin/text": "another"},
        links={f"{shown}/own/bin/link": "text"},
        layer=place / "absent",
    )
    layers = ((place / "absent", tmp_path),)
    code, said = await outcome(await sandbox.start(replace(sent, layers=layers, unlayered=instead)))
    assert (code, said) == (0, "another")


async def test_namespace_without_network(namespace: NamespaceSandbox, tmp_path: Path) -> None:
    """Without a network there is the loopback device and nothing else."""
    sent = command(tmp_path, "tail -n +3 /proc/net/dev | cut -d: -f1", network=False)
    code, said = await outcome(await namespace.start(sent))
    assert (code, said.split()) == (0, ["lo"])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has something to lose")
async def test_namespace_drops_capabilities(namespace: NamespaceSandbox, tmp_path: Path) -> None:
    """Root in the sandbox cannot take the covers off."""
    (tmp_path / "home").mkdir()
    sent = command(tmp_path, f"umount {tmp_path}/home && echo bare", hidden=(tmp_path / "home",))
    code, said = await outcome(await namespace.start(sent))
    assert code != 0
    assert "bare" not in said


async def test_start_that_fails(namespace: NamespaceSandbox, tmp_path: Path) -> None:
    """What cannot be set up is a `LaunchError` that names it; no descriptor is left open."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    sent = command(tmp_path, "exit 0")
    with contextlib.suppress(OSError):
        sent.ml.rmdir()
    with pytest.raises(LaunchError, match="No such file"):
        await namespace.start(sent)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize(
    ("hidden", "over"),
    [("home", "home"), ("home", "link"), ("short/key", "home"), ("short", "a"), ("home", "home/within")],
)
async def test_no_layer_shows_what_is_hidden(
    namespace: NamespaceSandbox, tmp_path: Path, hidden: str, over: str
) -> None:
    """What a request calls a Python may lie in what is hidden, or that in its directory, by whatever name."""
    home = tmp_path / "a/b/home"
    (home / "within").mkdir(parents=True)
    (tmp_path / "changes").mkdir()
    for each in ("key", "within/key"):
        (home / each).write_text("secret")
    places = {"home": home, "link": tmp_path / "c/d/link", "short": tmp_path / "h", "short/key": tmp_path / "h/key"}
    places |= {"a": tmp_path / "a", "home/within": home / "within"}
    places["link"].parent.mkdir(parents=True)
    for each in ("link", "short"):
        places[each].symlink_to(home)
    keys = f"{home}/key" if hidden == "short/key" else f"{home}/key {home}/within/key"
    sent = command(tmp_path, f"cat {keys}; exit 0", hidden=(places[hidden],))
    sent = replace(sent, layers=((places[over], tmp_path / "changes"),))
    code, said = await outcome(await namespace.start(sent))
    assert (code, "secret" in said) == (0, False)


async def test_output_that_could_not_be_kept(tmp_path: Path) -> None:
    """Where there is no file for its rest the program is not started, which is no failure of the program's."""
    with pytest.raises(LaunchError, match=r"No such file or directory \(.*/none/rest\)"):
        await PlainSandbox().start(command(tmp_path, "exit 0", rest=tmp_path / "none/rest"))


async def test_an_entrance_that_is_up(problems: dict[str, str], tmp_path: Path) -> None:
    """What it tries says whether namespaces work; then it runs a program in whatever sandbox, like one of its own."""
    for kind in (PlainSandbox, NamespaceSandbox):
        entrance = Entrance({}, TRIAL)
        assert entrance.problem() == problems["namespace"]
        if problems[kind.name]:
            entrance.close()
            continue
        process = await kind(entrance).start(command(tmp_path, "cat; echo $PPID; exit 4"))
        assert process.pid == entrance.popen.pid
        code, said = await outcome(process)
        assert (code, said.strip().isdigit()) == (4, True)


@pytest.mark.parametrize(
    ("trial", "problem"),
    [
        pytest.param({"argv": ("/bin/sh", "-c", "exit 1")}, "a trial program ended with exit code 1", id="exit code"),
        pytest.param({"argv": ("/bin/sh", "-c", "echo no")}, "", id="success"),
        pytest.param({"argv": ("/bin/sh", "-c", "echo no; exit 1")}, "no", id="what it says"),
        pytest.param({"ml": "/no/directory"}, "No such file or directory (/no/directory)", id="set-up"),
        pytest.param({"argv": ("no-such-program",)}, "treadle: cannot start 'no-such-program' in '/': ", id="program"),
    ],
)
@pytest.mark.usefixtures("namespace")
async def test_what_a_trial_finds(tmp_path: Path, trial: dict[str, Any], problem: str) -> None:
    """It is said, and takes nothing from the program that comes after it."""
    entrance = Entrance({}, {**TRIAL, **trial})
    assert NamespaceSandbox(entrance).probe().startswith(problem)
    assert bool(entrance.problem()) == bool(problem)
    assert await outcome(await PlainSandbox(entrance).start(command(tmp_path, "echo on"))) == (0, "on\n")


async def test_an_entrance_that_was_killed(tmp_path: Path) -> None:
    """Its program is not said to have started."""
    entrance = Entrance({}, TRIAL)
    entrance.popen.kill()
    until(lambda: processes.identify(entrance.popen.pid) is None)
    assert entrance.problem()
    with pytest.raises(LaunchError, match="has ended"):
        await PlainSandbox(entrance).start(command(tmp_path, "exit 0"))


def test_an_entrance_that_is_not_used() -> None:
    """It ends with who has started it, however that ends, and leaves no descriptor open when it is closed."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    Entrance({}, TRIAL).close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    script = (
        "from treadle.agent.sandbox.entrance import TRIAL, Entrance; import os;"
        "e = Entrance({}, TRIAL); e.problem(); print(e.popen.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False).stdout
    until(lambda: processes.identify(int(said)) is None)


@pytest.mark.parametrize("name", ["", "container", "docker"])
def test_choice_of_nothing(name: str) -> None:
    """A sandbox that is not there is not replaced by another."""
    with pytest.raises(LaunchError, match="has no sandbox"):
        choose(name)


def test_choice(problems: dict[str, str]) -> None:
    """`auto` is the namespace where it works, else plain with a warning."""
    chosen = choose("auto")
    expected = ("plain", True) if problems["namespace"] else ("namespace", False)
    assert (chosen.sandbox.name, bool(chosen.warning)) == expected
    chosen = choose("plain")
    assert (chosen.sandbox.name, "nothing is hidden" in chosen.warning) == ("plain", True)


_UNPRIVILEGED = """
import json, marshal, os, subprocess, sys
status, end = os.pipe()
output, _ = os.pipe()
plan = json.loads(sys.argv[2]) | {"parent": os.getpid()}
argv = [sys.executable, "-I", "-S", sys.argv[1], str(end), str(output)]
with subprocess.Popen(argv, stdin=subprocess.PIPE, pass_fds=(end, output)) as process:
    os.close(end)
    process.communicate(marshal.dumps(plan))
print(os.read(status, 1000).decode(), process.returncode)
"""


_LOOK = "id -u; hostname; ls /opt/ml; ls $D/hidden; grep CapEff /proc/self/status"


@pytest.mark.skipif(os.geteuid() != 0, reason="everything here is tried without privileges already")
def test_namespace_without_privileges(namespace: NamespaceSandbox) -> None:
    """Where the kernel allows user namespaces, nobody in particular gets the same surroundings, and no capability."""
    python = "/usr/bin/python3"
    if not Path(python).exists() or not Path("/proc/sys/user/max_user_namespaces").exists():
        pytest.skip("no interpreter that everybody may run, or no user namespaces")
    assert namespace.name == "namespace"
    nobody = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory(prefix="treadle-") as name:
        directory = Path(name)
        (directory / "ml/mine").mkdir(parents=True)
        (directory / "hidden").mkdir()
        (directory / "hidden/secret").touch()
        (directory / "etc-hosts").write_text("127.0.0.1 algo-1")
        shutil.copy(enter.__file__, directory / "enter.py")
        (directory / "image").mkdir()
        (directory / "changes").mkdir()
        for each in (directory, *(directory / part for part in ("ml", "hidden", "image", "changes"))):
            os.chown(each, nobody.pw_uid, nobody.pw_gid)
        plan = {
            "kind": "namespace",
            "argv": ["sh", "-c", f"{_LOOK}; echo x > $D/image/new && cat $D/image/new; exit 5"],
            "environment": {"PATH": "/usr/bin:/bin", "D": name},
            "directory": "/",
            "ml": f"{name}/ml",
            "host": "algo-1",
            "etc_hosts": f"{name}/etc-hosts",
            "hidden": [f"{name}/hidden"],
            "readable": [],
            "mounts": [],
            "layers": [[f"{name}/image", f"{name}/changes"]],
            "unlayered": None,
            "network": False,
            "network_namespace": None,
            "rest": "",
        }
        done = subprocess.run(
            [python, "-I", "-c", _UNPRIVILEGED, str(directory / "enter.py"), json.dumps(plan)],
            user=nobody.pw_uid,
            group=nobody.pw_gid,
            extra_groups=(),
            cwd="/",
            capture_output=True,
            text=True,
            check=True,
        )
        if "user namespace" in done.stdout:
            pytest.skip(f"the kernel does not allow it: {done.stdout.strip()}")
        # Who may make overlays by himself writes above the image, others into it: it is his.
        left = [*(directory / "image").iterdir(), *(directory / "changes").glob("written/*")]
        assert [each.name for each in left] == ["new"]
    *seen, ended = done.stdout.splitlines()
    assert seen == [str(nobody.pw_uid), "algo-1", "mine", "CapEff:\t0000000000000000", "x"]
    assert ended.split() == ["5"]
