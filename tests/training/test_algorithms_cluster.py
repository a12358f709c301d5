"""The hosts of a job find each other, whoever else is there, and hear of each other's failures."""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from treadle.training.algorithms.cluster import Cluster
from treadle.training.algorithms.program import AlgorithmError, UserError

Work = Callable[[Cluster], Any]


def environment() -> dict[str, str]:
    """That of a job whose hosts have loopback addresses."""
    return {"SAGEMAKER_BASE_DIR": "/nowhere", "AWS_SECRET_ACCESS_KEY": secrets.token_hex()}


def leader() -> str:
    """Give the name of a leader whose ports nobody else on this machine uses: a loopback address is its own name."""
    return f"127.1{secrets.randbelow(10)}.{secrets.randbelow(256)}.{secrets.randbelow(254) + 1}"


def cluster_of(works: dict[str, Work], job: dict[str, str] | None = None) -> dict[str, Future[Any]]:
    """Run what each host does in a thread of its own; give how each ended."""
    job = job or environment()

    def member(host: str, work: Work) -> Any:
        with Cluster.joined({"hosts": list(works), "current_host": host}, job) as joined:
            return work(joined)

    with ThreadPoolExecutor(len(works)) as threads:
        return {host: threads.submit(member, host, work) for host, work in works.items()}


def same(work: Work, count: int = 3) -> dict[str, Work]:
    return {f"algo-{number}": work for number in range(count, 0, -1)}


def test_what_is_decided_together() -> None:
    """Every host gets the leader's answer, which has been given the bytes of all, in the order of their names."""

    def work(cluster: Cluster) -> Any:
        told = cluster.gather({"host": cluster.host, "rank": cluster.rank})
        return told, cluster.together(cluster.host.encode(), b"+".join), cluster.leads

    ended = {host: each.result() for host, each in cluster_of(same(work)).items()}
    told = [{"host": f"algo-{number}", "rank": number - 1} for number in (1, 2, 3)]
    assert ended == {f"algo-{n}": (told, b"algo-1+algo-2+algo-3", n == 1) for n in (1, 2, 3)}


def test_alone() -> None:
    """Nobody has to be met, and nothing listens."""
    with Cluster.joined({}, {}) as cluster:
        assert (cluster.leads, cluster.hosts, cluster.address) == (True, ("algo-1",), "")
        assert cluster.gather(5) == [5]


@pytest.mark.parametrize("error", [UserError("row 3 is wrong"), AlgorithmError("broken")])
@pytest.mark.parametrize("failing", ["algo-1", "algo-2"])
def test_the_failure_of_one_is_that_of_all(error: Exception, failing: str) -> None:
    def work(cluster: Cluster) -> Any:
        if cluster.host == failing:
            raise error
        return cluster.gather(1)

    for each in cluster_of(same(work, 2)).values():
        with pytest.raises(type(error), match=str(error)):
            each.result()


def test_who_is_gone_is_missed() -> None:
    def work(cluster: Cluster) -> Any:
        return cluster.gather(1) if cluster.leads else None

    ended = cluster_of(same(work, 2))
    assert ended["algo-2"].result() is None
    with pytest.raises(AlgorithmError, match="The connection to algo-2 was lost"):
        ended["algo-1"].result()


def test_more_than_can_be_told_is_refused() -> None:
    """What is too long for the others to take is not sent."""

    class Long(bytes):
        def __len__(self) -> int:
            return 2**31

        def __radd__(self, other: bytes) -> bytes:
            return Long(other)

    def work(cluster: Cluster) -> Any:
        return cluster.together(b"", lambda _: Long())

    ended = cluster_of(same(work, 2))
    with pytest.raises(AlgorithmError, match="2147483648 bytes are too much"):
        ended["algo-1"].result()
    with pytest.raises(AlgorithmError, match="are too much"):
        ended["algo-2"].result()


@contextlib.contextmanager
def impostors(leader: str) -> Iterator[list[bytes]]:
    """Strangers listen at the first ports of the leader, and greet whoever comes with something of their own."""
    listeners = [socket.create_server((leader, port)) for port in (9099, 9100)]
    met: list[bytes] = []
    greetings = [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\0\0\x10" + bytes(16)]

    def greet(listener: socket.socket, greeting: bytes) -> None:
        while True:
            try:
                came = listener.accept()[0]
            except OSError:
                return
            with came, contextlib.suppress(OSError):  # whoever has seen enough may be gone
                came.sendall(greeting)
                came.settimeout(5)
                met.append(came.recv(4096))

    for listener, greeting in zip(listeners, greetings, strict=True):
        threading.Thread(target=greet, args=(listener, greeting), daemon=True).start()
    yield met
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def test_strangers_at_the_leaders_ports_are_passed_over() -> None:
    """What a host says to them is worth nothing: a challenge's answer, for which they would need the secret."""
    names = [leader(), "127.20.0.1"]
    job = {"AWS_SECRET_ACCESS_KEY": secrets.token_hex()}
    with impostors(names[0]) as met:
        ended = cluster_of(dict.fromkeys(names, lambda cluster: cluster.gather(cluster.host)), job)
    assert [each.result() for each in ended.values()] == [names, names]
    assert met
    assert not any(job["AWS_SECRET_ACCESS_KEY"].encode() in each for each in met)


def test_strangers_who_come_are_sent_away() -> None:
    """Rubbish, nothing, and an answer without the secret, before the hosts come."""
    names = [leader(), "127.20.0.1"]
    job = {"AWS_SECRET_ACCESS_KEY": secrets.token_hex()}
    proof = b"\0\0\0\x10" + bytes(16)

    def lead() -> Any:
        with Cluster.joined({"hosts": names, "current_host": names[0]}, job) as cluster:
            return cluster.gather("leader")

    with ThreadPoolExecutor(1) as threads:
        leading = threads.submit(lead)
        for said in (b"GET / HTTP/1.1\r\n\r\n", b"", proof * 2 + b"\0\0\0\x0a127.20.0.1"):
            _come(names[0], said)
        with Cluster.joined({"hosts": names, "current_host": names[1]}, job) as cluster:
            assert cluster.gather("follower") == ["leader", "follower"]
        assert leading.result() == ["leader", "follower"]


def _come(address: str, said: bytes) -> None:
    """Come to the leader, say something, and see that only a challenge is answered."""
    while not (listening := [port for port in range(9099, 9115) if _answer(address, port, b"") is not None]):
        pass
    for port in listening:
        assert len(_answer(address, port, said) or b"") in {0, 20}


def _answer(address: str, port: int, said: bytes) -> bytes | None:
    """What is answered there; None when nobody listens."""
    answer = b""
    try:
        with socket.create_connection((address, port), timeout=5) as came:
            with contextlib.suppress(OSError):
                came.sendall(said)
                came.shutdown(socket.SHUT_WR)
                while more := came.recv(4096):
                    answer += more
            return answer
    except OSError:
        return None
