"""The home: who owns it, where its service listens, whose key opens it."""

from __future__ import annotations

import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from treadle.errors import UsageError
from treadle.home import Endpoint, Home, Lock, write_whole

ENDPOINT = Endpoint(url="http://127.0.0.1:4566", pid=1, version="0")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def test_treadle_home_names_the_home() -> None:
    """`TREADLE_HOME` decides; without it the user's data directory is used."""
    assert Home.find({"TREADLE_HOME": "/srv/t"}).root == Path("/srv/t")
    assert Home.find({}).root.name == "treadle"


def test_prepare_makes_a_private_directory(home: Home) -> None:
    """Only the user can look into a home that Treadle made."""
    home.prepare()
    home.prepare()
    assert stat.S_IMODE(home.root.stat().st_mode) == 0o700


def test_a_home_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    """A file in the way is a usage error that names the place."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="file/home cannot be made"):
        Home(tmp_path / "file" / "home").prepare()


def test_a_home_that_is_a_file_says_so(tmp_path: Path) -> None:
    """Whoever only looks would be told that one of its files is missing or spoilt."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="file, which is a file"):
        Home.find({"TREADLE_HOME": str(tmp_path / "file")})


def test_a_run_has_one_driver_at_a_time(home: Home) -> None:
    """Who drives a run keeps others away until the context ends, and leaves nothing behind."""
    with home.driving("r-1"):
        assert home.driven("r-1")
        with pytest.raises(UsageError, match="The run r-1 goes on in another process"), home.driving("r-1"):
            pass
        with home.driving("r-2"):
            pass
    assert not home.driven("r-1")
    with home.driving("r-1"):
        pass
    assert list((home.root / "runs").iterdir()) == []


def test_credentials_are_made_once_and_private(home: Home) -> None:
    """The first use makes the key, every later one reads it."""
    first = home.credentials()
    assert home.credentials() == first
    assert first[0].startswith("AKIA")
    assert len(first[0]) == 20
    assert len(first[1]) == 40
    assert stat.S_IMODE(home.credentials_file.stat().st_mode) == 0o600
    assert [each.name for each in home.root.iterdir()] == ["credentials"]


def test_credentials_made_at_once_are_the_same(home: Home) -> None:
    """Whoever comes second reads what the first one made."""
    found: list[tuple[str, str]] = []
    threads = [threading.Thread(target=lambda: found.append(home.credentials())) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_spoilt_credentials_say_so(home: Home) -> None:
    """A file that is no credentials file names itself."""
    home.prepare()
    home.credentials_file.write_text("nonsense")
    with pytest.raises(UsageError, match="is not a credentials file"):
        home.credentials()


def test_an_endpoint_counts_only_while_the_home_is_owned(home: Home) -> None:
    """What a dead service left behind is not believed."""
    assert home.endpoint() is None
    lock = home.own()
    assert lock is not None
    assert home.endpoint() is None
    home.publish(ENDPOINT)
    assert home.endpoint() == ENDPOINT
    assert stat.S_IMODE(home.endpoint_file.stat().st_mode) == 0o600
    lock.release()
    assert home.endpoint() is None


def test_a_home_has_one_owner(home: Home) -> None:
    """The second one is told; after the first is gone it may."""
    first = home.own()
    assert first is not None
    assert home.own() is None
    first.release()
    second = home.own()
    assert second is not None
    second.release()


def test_looking_is_never_in_the_way_of_owning(home: Home) -> None:
    """Somebody who asks all the time for the endpoint does not keep a service from starting."""
    home.prepare()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            home.endpoint()

    threads = [threading.Thread(target=look) for _ in range(2)]
    for each in threads:
        each.start()
    try:
        for _ in range(50):
            lock = home.own()
            assert lock is not None
            lock.release()
    finally:
        done.set()
        for each in threads:
            each.join()


def test_the_lock_of_a_killed_owner_is_free(home: Home) -> None:
    """The kernel lets go of the lock, whatever ended its holder."""
    code = (
        "import sys, time, pathlib; from treadle.home import Home\n"
        "lock = Home(pathlib.Path(sys.argv[1])).own(); print(lock is not None, flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(home.root)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "True\n"
        assert home.own() is None
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    lock = home.own()
    assert lock is not None
    lock.release()


def test_a_shared_lock_keeps_others_from_being_alone(home: Home) -> None:
    """`alone` is refused by any holder; shared holders do not mind each other."""
    home.prepare()
    first = Lock.wait(home.clients_lock, shared=True)
    second = Lock.wait(home.clients_lock, shared=True)
    assert Lock.alone(home.clients_lock) is None
    first.release()
    first.release()
    assert Lock.alone(home.clients_lock) is None
    second.release()
    alone = Lock.alone(home.clients_lock)
    assert alone is not None
    alone.release()


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    """The content is replaced in one step and nothing else is left in the directory."""
    path = tmp_path / "file"
    write_whole(path, b"one")
    write_whole(path, b"two")
    assert path.read_bytes() == b"two"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
