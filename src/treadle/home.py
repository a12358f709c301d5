"""The directory that holds all of Treadle's state, who owns it, and where its service listens.

Two locks decide who does what; the kernel lets go of both when their holder dies, however it dies:

* `service.lock` is held exclusively by the one service that owns the home. `endpoint.json` says where it listens, and
  is believed only while the lock is held: what a killed service left behind misleads nobody.
* `clients.lock` is held shared by every client that uses the embedded service. The service goes away only in a moment
  in which it can hold that lock exclusively, so a client that has the lock and sees an endpoint can rely on it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from treadle.errors import UsageError

if sys.platform != "win32":
    import fcntl

__all__ = ["DEFAULT_ACCOUNT", "DEFAULT_REGION", "Endpoint", "Home", "Lock", "remove_tree", "write_whole"]

DEFAULT_REGION = "us-east-1"
DEFAULT_ACCOUNT = "000000000000"


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where the service of a home listens, and what it answers for."""

    url: str
    pid: int
    region: str = DEFAULT_REGION
    account: str = DEFAULT_ACCOUNT
    version: str = ""
    public_url: str = ""
    """Where other machines reach it, with TLS; "" when they do not."""


@dataclass(frozen=True, slots=True)
class Home:
    """The home at `root`. Nothing is created until it is needed."""

    root: Path

    @classmethod
    def find(cls, environment: Mapping[str, str] | None = None) -> Home:
        """Give the home that `TREADLE_HOME` names, else the user's own data directory. Raises `UsageError`."""
        named = (os.environ if environment is None else environment).get("TREADLE_HOME", "")
        if named:
            root = Path(named).expanduser().absolute()
            if root.is_file():
                raise UsageError(f"TREADLE_HOME is {root}, which is a file.", hint="Set it to a directory.")
            return cls(root)
        import platformdirs  # it is needed only here, and only by those who did not choose

        return cls(platformdirs.user_data_path("treadle"))

    @property
    def s3(self) -> Path:
        """The objects: `<bucket>/<key>`."""
        return self.root / "s3"

    @property
    def jobs(self) -> Path:
        """The directories of the hosts that run or ran: `<job>/<attempt>/<host>`."""
        return self.root / "jobs"

    @property
    def logs(self) -> Path:
        """The logs of the jobs: `<job>/<host>-<epoch>.log`."""
        return self.root / "logs"

    @property
    def images_file(self) -> Path:
        """The local images that are registered."""
        return self.root / "images.json"

    @property
    def file_systems(self) -> Path:
        """The directories that stand for file systems, as links: `<FileSystemId>`."""
        return self.root / "file-systems"

    @property
    def credentials_file(self) -> Path:
        """The access key of the service, in the form of `~/.aws/credentials`."""
        return self.root / "credentials"

    @property
    def endpoint_file(self) -> Path:
        """Where the service listens; see `endpoint`."""
        return self.root / "endpoint.json"

    @property
    def service_lock(self) -> Path:
        """Held exclusively by the service that owns the home."""
        return self.root / "service.lock"

    @property
    def clients_lock(self) -> Path:
        """Held shared by the clients of an embedded service."""
        return self.root / "clients.lock"

    @property
    def start_lock(self) -> Path:
        """Held exclusively by the client that is starting the embedded service."""
        return self.root / "start.lock"

    @property
    def port_file(self) -> Path:
        """Holds the port of the last service: the next one takes it again, so clients and exports outlive a restart."""
        return self.root / "port"

    @property
    def region_file(self) -> Path:
        """Holds the region of the last service that was told one; see `region`."""
        return self.root / "region"

    def region(self) -> str:
        """Give the region that the service of this home answers for when it is not told one: that of the last time."""
        try:
            return self.region_file.read_text("ascii").strip() or DEFAULT_REGION
        except (OSError, UnicodeDecodeError):
            return DEFAULT_REGION

    @property
    def stay_file(self) -> Path:
        """Holds the process number of an embedded service that is to stay though nobody uses it now."""
        return self.root / "stay"

    @property
    def service_log(self) -> Path:
        """What an embedded service writes to its standard error."""
        return self.root / "service.log"

    @property
    def service_db(self) -> Path:
        """The database of the training jobs."""
        return self.root / "service.db"

    @property
    def runs_db(self) -> Path:
        """The database of the workflow runs."""
        return self.root / "runs.db"

    @contextlib.contextmanager
    def driving(self, run_id: str) -> Iterator[None]:
        """Be the one process that drives a run, as long as the context lasts. Raises `UsageError` where another is.

        Two that go on with the same run would send its requests twice. On Windows, where there are no such locks,
        nothing keeps them apart.
        """
        if sys.platform == "win32":
            return (yield)
        self.prepare()
        path = self._run_lock(run_id)
        _make(path.parent)
        lock = Lock.exclusive(path)
        while lock is not None and not lock.stands():  # its last holder has removed it just now
            lock.release()
            lock = Lock.exclusive(path)
        if lock is None:
            raise UsageError(
                f"The run {run_id} goes on in another process.", hint="Wait for its end, or end it with Ctrl-C there."
            )
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            lock.release()

    def driven(self, run_id: str) -> bool:
        """Tell whether a process drives the run at this moment."""
        return Lock.held(self._run_lock(run_id))

    def _run_lock(self, run_id: str) -> Path:
        return self.root / "runs" / f"{run_id}.lock"

    def prepare(self) -> None:
        """Make the directory, for its user alone. Raises `UsageError` where that is not possible.

        A directory that is there already keeps its mode: somebody chose it, and every file in it has its own.
        """
        _make(self.root)

    def credentials(self) -> tuple[str, str]:
        """Give the access key id and the secret of this home's service; they are made at first use."""
        with contextlib.suppress(FileNotFoundError):
            return self._read_credentials()
        self.prepare()
        self._make_credentials()
        return self._read_credentials()

    def _read_credentials(self) -> tuple[str, str]:
        import configparser

        parser = configparser.RawConfigParser()
        try:
            parser.read_string(self.credentials_file.read_text("utf-8"))
            return parser.get("default", "aws_access_key_id"), parser.get("default", "aws_secret_access_key")
        except (configparser.Error, UnicodeDecodeError) as error:
            raise UsageError(
                f"{self.credentials_file} is not a credentials file: {error}.",
                hint="Remove it; new credentials are made at the next start of the service.",
            ) from error
        except FileNotFoundError:
            raise
        except OSError as error:
            raise UsageError(f"{self.credentials_file} cannot be read: {error.strerror or error}.") from error

    def _make_credentials(self) -> None:
        import secrets  # once per home: every other start need not pay for its hashes
        import string

        letters = string.ascii_uppercase + "234567"
        key = "AKIA" + "".join(secrets.choice(letters) for _ in range(16))
        text = f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secrets.token_urlsafe(30)}\n"
        # Two processes may get here at once: the link of the second one fails, and both read what the first one made.
        with _whole_file(self.credentials_file, text.encode()) as temporary, contextlib.suppress(FileExistsError):
            os.link(temporary, self.credentials_file)

    def endpoint(self) -> Endpoint | None:
        """Give where the service listens, or None when no service owns the home, or it does not listen yet."""
        if not Lock.held(self.service_lock):
            return None
        try:
            return msgspec.json.decode(self.endpoint_file.read_bytes(), type=Endpoint)
        except FileNotFoundError:
            return None
        except (msgspec.MsgspecError, OSError) as error:
            raise UsageError(
                f"{self.endpoint_file} cannot be read: {error}.", hint="Restart the service that owns this home."
            ) from error

    def publish(self, endpoint: Endpoint) -> None:
        """Say where the service listens. Only the owner of the home calls this."""
        write_whole(self.endpoint_file, msgspec.json.encode(endpoint))

    def withdraw(self) -> None:
        """Take the endpoint back. Only the owner of the home calls this."""
        self.endpoint_file.unlink(missing_ok=True)

    def own(self) -> Lock | None:
        """Become the owner of the home: its lock, or None when another process owns it."""
        self.prepare()
        lock = Lock.exclusive(self.service_lock)
        if lock is not None:
            # What a killed owner said must not be believed until this one listens.
            self.withdraw()
        return lock


def _make(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"Treadle's home {directory} cannot be made: {error.strerror or error}.",
            hint="Set TREADLE_HOME to a directory that you can write to.",
        ) from error


class Lock:
    """A lock on a file, held by this process until `release` or its end; children do not inherit it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @staticmethod
    def exclusive(path: Path) -> Lock | None:
        """Take the lock for this process alone, or give None when another one has it exclusively.

        Somebody who only looks (`held`) has the lock shared for some microseconds. That is not a holder, so a lock that
        is refused exclusively but granted shared is asked for again.
        """
        descriptor = _open(path)
        while not _take(descriptor, shared=False):
            if not _take(descriptor, shared=True):
                os.close(descriptor)
                return None
            _let_go(descriptor)
            os.sched_yield()
        return Lock(descriptor)

    @staticmethod
    def alone(path: Path) -> Lock | None:
        """Take the lock exclusively, or give None when anybody has it in any way."""
        descriptor = _open(path)
        if _take(descriptor, shared=False):
            return Lock(descriptor)
        os.close(descriptor)
        return None

    @staticmethod
    def wait(path: Path, *, shared: bool) -> Lock:
        """Take the lock, waiting as long as others stand in the way."""
        descriptor = _open(path)
        _take(descriptor, shared=shared, wait=True)
        return Lock(descriptor)

    @staticmethod
    def held(path: Path) -> bool:
        """Tell whether a process has the lock exclusively."""
        if sys.platform == "win32" or not path.exists():
            return False
        descriptor = _open(path)
        try:
            return not _take(descriptor, shared=True)
        finally:
            os.close(descriptor)

    def stands(self) -> bool:
        """Tell whether the file that is locked is still there under its name."""
        return os.fstat(self._descriptor).st_nlink > 0

    def release(self) -> None:
        """Let go; a second time changes nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(
            f"The lock {path} cannot be opened: {error.strerror or error}.",
            hint="Set TREADLE_HOME to a directory that you can write to.",
        ) from error


def _take(descriptor: int, *, shared: bool, wait: bool = False) -> bool:
    if sys.platform == "win32":
        raise UsageError("The training service does not run on Windows.", hint="Use the Linux subsystem (WSL).")
    how = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    try:
        fcntl.flock(descriptor, how)
    except BlockingIOError:
        return False
    return True


def _let_go(descriptor: int) -> None:
    if sys.platform != "win32":
        fcntl.flock(descriptor, fcntl.LOCK_UN)


@contextlib.contextmanager
def _whole_file(path: Path, data: bytes) -> Iterator[Path]:
    """Give a temporary file beside `path` that holds `data`, is on the disk, and is readable by its user alone."""
    import tempfile  # only who writes pays for it

    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file, mode 0600; readers, and those who come after a crash, see the old content or the new one."""
    with _whole_file(path, data) as temporary:
        temporary.replace(path)
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_tree(directory: Path) -> None:
    """Remove what a training program left, directories included that it made unreadable."""

    def again(_function: object, path: str, _error: object) -> None:
        with contextlib.suppress(OSError):
            parent = Path(path).parent
            parent.chmod(stat.S_IRWXU)
            if Path(path).is_dir() and not Path(path).is_symlink():
                Path(path).chmod(stat.S_IRWXU)
                shutil.rmtree(path, ignore_errors=True)
            else:
                Path(path).unlink()

    # A failed scan is reported once, with the directory as its path; what then stays is found by the next sweep.
    shutil.rmtree(directory, onerror=again)
    shutil.rmtree(directory, ignore_errors=True)
