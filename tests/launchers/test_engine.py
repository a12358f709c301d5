"""Where container engines are looked for, and what is said when none can be used."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from treadle.errors import LaunchError
from treadle.launchers.engine import Engine, addresses, problem


def listening(path: Path) -> socket.socket:
    path.parent.mkdir(parents=True, exist_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    return listener


def test_order(tmp_path: Path) -> None:
    """Docker's socket comes before Podman's, root's before the user's own; who names one means no other."""
    sockets = ["var/run/docker.sock", "run/podman/podman.sock", "run/user/1/podman/podman.sock"]
    environment = {"XDG_RUNTIME_DIR": "/run/user/1"}
    assert addresses(environment, tmp_path) == []
    opened = [listening(tmp_path / each) for each in sockets]
    try:
        assert addresses(environment, tmp_path) == [f"unix://{tmp_path}/{each}" for each in sockets]
        assert addresses({}, tmp_path) == [f"unix://{tmp_path}/{each}" for each in sockets[:2]]
        assert addresses(environment | {"DOCKER_HOST": "unix:///x"}, tmp_path) == ["unix:///x"]
    finally:
        for each in opened:
            each.close()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        pytest.param("tcp://engine.example:2375", "is not on a socket of this machine", id="another-machine"),
        pytest.param("ssh://somebody@engine.example", "is not on a socket of this machine", id="ssh"),
        pytest.param("unix:///no/such/socket", "does not answer: No such file", id="nobody"),
    ],
)
def test_engines_that_cannot_be_used(address: str, said: str) -> None:
    """The reason names the address, and is followed by what to start."""
    told = problem({"DOCKER_HOST": address})
    assert address in told
    assert said in told
    assert "systemctl" in told


def test_what_is_no_engine(tmp_path: Path) -> None:
    """Nobody behind a file, and somebody behind a socket who is something else."""
    (tmp_path / "closed").touch()
    with pytest.raises(LaunchError, match="Connection refused"):
        Engine.connect(f"unix://{tmp_path}/closed")

    def answer(listener: socket.socket) -> None:
        listener.accept()[0].close()  # to see that somebody listens
        asked, _ = listener.accept()
        with asked:
            asked.recv(1000)
            asked.sendall(b"HTTP/1.1 200 OK\r\nServer: other/1\r\nContent-Length: 2\r\n\r\nOK")

    with listening(tmp_path / "s") as listener:
        answering = threading.Thread(target=answer, args=(listener,))
        answering.start()
        with pytest.raises(LaunchError, match="what listens there is no engine"):
            Engine.connect(f"unix://{tmp_path}/s")
        answering.join()
