"""The process between the agent and the training program: it isolates, starts, watches and ends.

It is run by `python -I -S`, and imports little: every program waits for it. With pathlib, contextlib, socket, json and
typing it would take twice as long to start. And what happens between `fork` and `exec` happens in a process that has
one thread and no event loop.

It reads its plan (marshalled by the same interpreter, see `treadle.agent.sandbox.process`) from standard input. Its
first argument is the number of a file descriptor to which it writes why it could not start. End of file there means:
the program has been started. The second one is that of the pipe that the agent reads the output from. Before its plan
it can be given another one as a trial: that runs to its end in a child, and what is written ends with a zero byte, and
is nothing else when the program succeeded.

Two shapes::

    plain       agent ── keeper ── program           the keeper is a "subreaper": who loses its parent becomes its child
    namespace   agent ── outside ── init ── program  init is process 1 of its namespace: when it ends, all in it end

and two rules:

* When the program ends, everything that it started ends before this process does; the exit code is the program's,
  128 + n when signal n ended it.
* When the agent dies, everything dies. The kernel tells this process (`PR_SET_PDEATHSIG`), and init likewise. What the
  agent had not read of the output then goes to the file `rest` of the plan: the last lines are those that matter most.

Signals: SIGTERM is passed on to every process of the job; SIGUSR1 ends every process of the job at once.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import marshal
import os
import stat
import struct
import sys

TYPE_CHECKING = False  # importing it from typing would be to import typing
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Container, Iterable
    from typing import Any, NoReturn
else:
    import _signal as signal  # which `signal` wraps in enumerations: their import alone is a quarter of the start

KILL_ALL = signal.SIGUSR1
SET_UP_FAILED = 125
CANNOT_EXECUTE = 126
NOT_FOUND = 127

_WATCHED = {signal.SIGTERM, signal.SIGCHLD, KILL_ALL}
_BLOCKED = _WATCHED | {signal.SIGINT, signal.SIGHUP}

# linux/prctl.h
_PR_SET_PDEATHSIG = 1
_PR_CAPBSET_DROP = 24
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38

# linux/sched.h
_CLONE_NEWNS = 0x00020000
_CLONE_NEWUTS = 0x04000000
_CLONE_NEWIPC = 0x08000000
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWPID = 0x20000000
_CLONE_NEWNET = 0x40000000

# linux/nsfs.h
_NS_GET_USERNS = 0xB701

# linux/mount.h
_MS_RDONLY = 0x1
_MS_NOSUID = 0x2
_MS_NODEV = 0x4
_MS_NOEXEC = 0x8
_MS_REMOUNT = 0x20
_MS_BIND = 0x1000
_MS_REC = 0x4000
_MS_PRIVATE = 0x40000
# What a remount must repeat, or a user namespace refuses it: the flags that the mount has already.
_KEPT_FLAGS = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC | 0x400 | 0x800 | 0x200000  # …, noatime, nodiratime, relatime

# linux/capability.h: what Docker leaves a container, less MKNOD, because here no device cgroup limits the nodes made.
_KEPT_CAPABILITIES = frozenset({0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 29, 31})
_LAST_CAPABILITY = 63

_AF_INET = 2
_SOCK_DGRAM = 2
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1

_FIONREAD = 0x541B  # asm-generic/ioctls.h: how many bytes there are to read
_PIECE = 64 * 1024
_LOOK, _LONGEST_LOOK = 0.0005, 0.1

OWN: tuple[str, ...] = ("/tmp", "/dev/shm")
"""What every program has for itself, as in a container: `/tmp` among its mounts, `/dev/shm` as memory."""

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> int:
    """Read the plan and carry it out; the exit code of the program."""
    status, output = int(sys.argv[1]), int(sys.argv[2])
    for each in (status, output):
        os.set_inheritable(each, False)  # noqa: FBT003  (it takes no keyword)
    signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)
    try:
        plan = _told()
        if "trial" in plan:
            os.write(status, _tried(plan["trial"]) + b"\0")
            plan = _told()
    except EOFError:  # nothing is to be run
        return 0
    if not plan["rest"]:
        return _carry_out(plan, status)
    try:
        rest = os.open(plan["rest"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)  # before mounts hide it
    except OSError as error:
        return _refuse(status, error)
    code = _carry_out({**plan, "ours": (output, rest)}, status)
    _hand_over(output, rest, plan["parent"])
    return code


def _told() -> dict[str, Any]:
    plan: dict[str, Any] = marshal.load(sys.stdin.buffer)  # noqa: S302  (the agent wrote it)
    return plan


def _tried(plan: dict[str, Any]) -> bytes:
    """Carry a plan out in a child; b"" when its program has succeeded, else what was said."""
    said, end = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(end, 1)
        os.dup2(end, 2)
        _leave(_carry_out, plan, end)
    os.close(end)
    with open(said, "rb") as file:
        text = file.read().strip()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return b"" if code == 0 else text or b"a trial program ended with exit code %d" % code


def _carry_out(plan: dict[str, Any], status: int) -> int:
    try:
        _quiet(0)
        return _namespace(plan, status) if plan["kind"] == "namespace" else _plain(plan, status)
    except OSError as error:
        return _refuse(status, error)


def _hand_over(output: int, rest: int, agent: int) -> None:
    """Stay until the agent has read all of the output; what one that dies meanwhile has not, save."""
    wait = _LOOK
    while struct.unpack("i", fcntl.ioctl(output, _FIONREAD, bytes(4)))[0]:
        if os.getppid() == agent:
            signal.sigtimedwait(_WATCHED, wait)
            wait = min(2 * wait, _LONGEST_LOOK)
            continue
        os.set_blocking(output, False)
        try:
            while data := os.read(output, _PIECE):
                os.write(rest, data)
        except OSError:  # that was all, or there is no room for it
            return


# ---------------------------------------------------------------------------------------------------------------------
# plain
# ---------------------------------------------------------------------------------------------------------------------


def _plain(plan: dict[str, Any], status: int) -> int:
    _die_with_parent(plan["parent"], KILL_ALL)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    _do_without(plan, ())
    program = _spawn(plan, status)
    _let_go(status)
    code = _watch(program, _signal_descendants)
    while True:
        _signal_descendants(signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return code


def _signal_descendants(number: int) -> None:
    for pid in _descendants(os.getpid()):
        _kill(pid, number)


def _kill(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):  # it has ended, or become somebody whom we may not end
        pass


def _descendants(root: int) -> list[int]:
    """Give the process numbers of all that descend from `root` now, itself not included."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (fields := _stat(name)):
            children.setdefault(int(fields[1]), []).append(int(name))
    found: list[int] = []
    ahead = [root]
    while ahead:
        ahead += (born := children.pop(ahead.pop(), []))
        found += born
    return found


def _stat(pid: str) -> list[bytes]:
    """Give the fields of /proc/PID/stat from the third on; none when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name in parentheses may hold anything, so what follows it is found from the right.
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return []


# ---------------------------------------------------------------------------------------------------------------------
# namespace
# ---------------------------------------------------------------------------------------------------------------------


def _namespace(plan: dict[str, Any], status: int) -> int:
    _die_with_parent(plan["parent"], KILL_ALL)
    _unshare(plan["network"], plan["network_namespace"])
    alive, held = os.pipe()
    init = os.fork()
    if init == 0:
        os.close(held)
        _leave(_init, plan, status, alive)
    os.close(alive)
    _let_go(status)
    code = _watch(init, lambda number: _kill(init, number))
    os.close(held)
    return code


def _unshare(network: bool, network_namespace: str | None) -> None:
    wanted = _CLONE_NEWNS | _CLONE_NEWUTS | _CLONE_NEWPID | _CLONE_NEWIPC
    if network_namespace is not None:
        joined = os.open(network_namespace, os.O_RDONLY)
        if not is_ours(joined):
            join_owner(joined)
        _checked(_libc.setns(joined, _CLONE_NEWNET), "setns")
        os.close(joined)
    elif not network:
        wanted |= _CLONE_NEWNET
    try:
        _checked(_libc.unshare(wanted), "unshare")
    except PermissionError:
        # Without the right to make namespaces, a user namespace gives it, within itself, where the kernel allows.
        own_user_namespace(wanted)


def own_user_namespace(wanted: int = 0) -> None:
    """Make namespaces in a new user namespace, in which this process may do everything, as the same user as outside."""
    user, group = os.geteuid(), os.getegid()
    _checked(_libc.unshare(wanted | _CLONE_NEWUSER), "unshare with a user namespace")
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{user} {user} 1")
    _write("/proc/self/gid_map", f"{group} {group} 1")


def is_ours(namespace: int) -> bool:
    """Tell whether a network namespace belongs to the user namespace that this process is in."""
    owner = _owner(namespace)
    try:
        return os.path.samestat(os.fstat(owner), os.stat("/proc/self/ns/user"))
    finally:
        os.close(owner)


def join_owner(namespace: int) -> None:
    """Enter the user namespace that a network namespace belongs to; its owner may, from a process of one thread."""
    owner = _owner(namespace)
    try:
        _checked(_libc.setns(owner, _CLONE_NEWUSER), "setns to a user namespace")
    finally:
        os.close(owner)


def _owner(namespace: int) -> int:
    return fcntl.ioctl(namespace, _NS_GET_USERNS)


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def _init(plan: dict[str, Any], status: int, alive: int) -> int:
    """Be process 1: furnish the namespaces, start the program, reap, and end with the program's exit code."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    for each in plan.get("ours", ()):
        os.close(each)
    os.set_blocking(alive, False)
    try:
        if not os.read(alive, 1):  # the process outside died before the kernel could be told to watch it
            return SET_UP_FAILED
    except BlockingIOError:
        pass
    try:
        _furnish(plan)
    except OSError as error:
        return _refuse(status, error)
    program = _spawn(plan, status)
    _let_go(status)
    return _watch(program, lambda number: _kill(-1, number))


def _furnish(plan: dict[str, Any]) -> None:
    """Make the file system, names and network that the program sees. What mounts will cover is opened beforehand."""
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE)
    ml = _opened(plan["ml"])
    readable = {path: _opened(path) for path in plan["readable"] if os.path.exists(path)}
    etc_hosts = _opened(plan["etc_hosts"])
    mounts = [(_opened(source), target, writable) for source, target, writable in plan["mounts"]]
    layers = _layers(plan)
    _furnish_opt(ml)
    if os.path.isdir("/dev/shm"):
        _mount("tmpfs", "/dev/shm", "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=1777")
    for opened, target, writable in mounts:
        (_bind if writable else _bind_read_only)(opened, target)
    covers, laid = [], set()
    # The outer first: what must be readable may lie in what is hidden, and what is hidden in what is readable.
    for path in sorted({*plan["hidden"], *readable, *layers}, key=lambda path: os.path.realpath(path).count("/")):
        if path in plan["hidden"]:
            covers.append(_cover(path))
        if path in readable:
            _bind_read_only(readable[path], path)
        if path in layers and _lay_over(*layers[path]):
            laid.add(path)
    _do_without(plan, laid)
    for cover in filter(None, covers):
        _mount(None, cover, None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _MS_NOSUID | _MS_NODEV)
    if os.path.exists("/etc/hosts"):
        _bind(etc_hosts, "/etc/hosts")
    _mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    host = plan["host"].encode()
    _checked(_libc.sethostname(host, len(host)), "sethostname")
    if not plan["network"] or plan["network_namespace"] is not None:
        _show_own_devices()
        _loopback_up()


def _furnish_opt(ml: int) -> None:
    """Put a tmpfs on /opt with every other entry of /opt bound back, and the job's directory as /opt/ml."""
    entries = [f"/opt/{name}" for name in os.listdir("/opt") if name != "ml"]
    links = {entry: os.readlink(entry) for entry in entries if os.path.islink(entry)}
    opened = {entry: _opened(entry) for entry in entries if entry not in links}
    _mount("tmpfs", "/opt", "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=755,size=16m")
    for link, points_to in links.items():
        os.symlink(points_to, link)
    for path, source in opened.items():
        _bind(source, path)
    _bind(ml, "/opt/ml")


def _cover(path: str) -> str:
    """Hide a path: a file behind /dev/null, a directory behind an empty tmpfs, whose path is given to be sealed."""
    real = os.path.realpath(path)
    if not os.path.lexists(real):
        return ""
    if not os.path.isdir(real):
        _mount("/dev/null", real, None, _MS_BIND)
        return ""
    _mount("tmpfs", real, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=755,size=1m")
    return real


def _opened(path: str) -> int:
    return os.open(path, os.O_PATH)


def _bind(opened: int, target: str) -> None:
    """Bind what was opened to a path, which is made where it is missing."""
    if not os.path.lexists(target):
        if stat.S_ISDIR(os.fstat(opened).st_mode):
            os.makedirs(target)
        else:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    _mount(f"/proc/self/fd/{opened}", target, None, _MS_BIND | _MS_REC)


def _bind_read_only(opened: int, target: str) -> None:
    _bind(opened, target)
    kept = os.statvfs(target).f_flag & _KEPT_FLAGS
    _mount(None, target, None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | kept)


def _layers(plan: dict[str, Any]) -> dict[str, tuple[str, int, int, int]]:
    """Open what changes of a directory need, by its name: itself, where they go, and room for the kernel.

    An overlay does not show what is mounted below its lower layer: where something is, there is none. Nor is there over
    what is hidden, which it would show: requests, and what programs leave on the machine, say where a Python is.
    """
    if not plan["layers"]:
        return {}
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        mounted = [_plainly(line.split(" ", 5)[4]) for line in file]
    layers = {}
    for directory, changes in plan["layers"]:
        real = os.path.realpath(directory)
        shown = _depth(real, plan["readable"]) >= _depth(real, plan["hidden"])
        if shown and os.path.isdir(real) and not any(each.startswith(f"{real}/") for each in mounted):
            above = [f"{changes}/written", f"{changes}/work"]
            for each in above:
                os.makedirs(each, exist_ok=True)
            layers[directory] = (real, _opened(real), _opened(above[0]), _opened(above[1]))
    return layers


def _depth(real: str, places: Iterable[str]) -> int:
    """Give how far down the innermost of some places is that a path is in."""
    its = (os.path.realpath(each) for each in places)
    return max((each.count("/") for each in its if real == each or real.startswith(f"{each}/")), default=0)


def _plainly(path: str) -> str:
    """Give a path of mountinfo as it is: spaces and the like are written as octal numbers, proc(5)."""
    for written, meant in ((r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")):
        path = path.replace(written, meant)
    return path


def _lay_over(directory: str, lower: int, upper: int, work: int) -> bool:
    """Let the program change a directory as it may change a container: for itself, and not for longer than it lives.

    Not every file system can be the upper layer, and kernels before 5.11 want root for it; then nothing is changed.
    """
    lower_, upper_, work_ = (f"/proc/self/fd/{each}" for each in (lower, upper, work))
    options = f"lowerdir={lower_},upperdir={upper_},workdir={work_},userxattr"
    try:
        _mount("overlay", directory, "overlay", _MS_NOSUID | _MS_NODEV, options)
    except OSError:
        return False
    return True


def _do_without(plan: dict[str, Any], laid: Container[str]) -> None:
    """Make what a program has instead of a layer that could not be made."""
    told = plan["unlayered"]
    if told is None or told["layer"] in laid:
        return
    for path, text in told["files"]:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
        os.chmod(path, 0o755)  # noqa: S103  (some are programs)
    for path, target in told["links"]:
        os.symlink(target, path)
    plan.update(told["instead"])


def _show_own_devices() -> None:
    """Put a new /sys in the place of the machine's, whose /sys/class/net has the machine's devices."""
    groups = _opened("/sys/fs/cgroup") if os.path.isdir("/sys/fs/cgroup") else -1
    try:
        _mount("sysfs", "/sys", "sysfs", _MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
        if groups >= 0:
            _bind(groups, "/sys/fs/cgroup")
    except OSError:
        pass  # where a user namespace may not: programs see devices that they do not have, and can train all the same


def _loopback_up() -> None:
    control = _libc.socket(_AF_INET, _SOCK_DGRAM, 0)
    _checked(min(control, 0), "socket")
    request = struct.pack("16sh14x", b"lo", 0)
    flags = struct.unpack("16sh14x", fcntl.ioctl(control, _SIOCGIFFLAGS, request))[1]
    fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))
    os.close(control)


# ---------------------------------------------------------------------------------------------------------------------
# both
# ---------------------------------------------------------------------------------------------------------------------


def _spawn(plan: dict[str, Any], status: int) -> int:
    pid = os.fork()
    if pid == 0:
        _leave(_become, plan, status)
    return pid


def _leave(what: Callable[..., int], *arguments: Any) -> NoReturn:
    """Do it in a forked process and end there, whatever happens: nothing of the caller may run twice."""
    code = SET_UP_FAILED
    try:
        code = what(*arguments)
    finally:
        os._exit(code)


def _become(plan: dict[str, Any], _status: int) -> int:
    """Become the program. The status descriptor closes when `exec` succeeds; failing here is the program's failing."""
    os.setsid()
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):  # Python's own choices are not the program's
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if plan["kind"] == "namespace":
        _drop_capabilities()
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    argv: list[str] = plan["argv"]
    environment: dict[str, str] = plan["environment"]
    try:
        os.chdir(plan["directory"])
        if not argv[0]:  # to the system that is a value of the wrong kind, and no program that is not there
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        os.execvpe(argv[0], argv, environment)  # noqa: S606  (no shell is meant to stand between)
    except OSError as error:
        missing = error.errno in {errno.ENOENT, errno.ENOTDIR}
        where = f" (PATH is {environment.get('PATH', '')})" if missing and "/" not in argv[0] else ""
        os.write(2, f"treadle: cannot start {argv[0]!r} in {plan['directory']!r}: {error.strerror}{where}\n".encode())
        return NOT_FOUND if missing else CANNOT_EXECUTE


def _watch(program: int, signal_all: Callable[[int], None]) -> int:
    """Pass signals on and reap until the program has ended; its exit code.

    After a SIGTERM the followers, too, may use their time to save what they have: then it is waited for all of them.
    """
    code: int | None = None
    terminated = False
    while True:
        number = signal.sigwait(_WATCHED)
        if number == signal.SIGTERM:
            terminated = True
            signal_all(signal.SIGTERM)
        elif number == KILL_ALL:
            terminated = False
            signal_all(signal.SIGKILL)
        ended, left = _reap()
        code = ended.get(program, code)
        if code is not None and not (terminated and left):
            return code


def _reap() -> tuple[dict[int, int], bool]:
    """Reap whoever has ended: process number → exit code, and whether anybody is left."""
    codes: dict[int, int] = {}
    try:
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            result = os.waitstatus_to_exitcode(ended[1])
            codes[ended[0]] = result if result >= 0 else 128 - result
    except ChildProcessError:
        return codes, False
    return codes, True


def _drop_capabilities() -> None:
    for capability in range(_LAST_CAPABILITY + 1):
        # EINVAL: the kernel does not know so many. EPERM: there are none to lose.
        if capability not in _KEPT_CAPABILITIES:
            _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)


def _die_with_parent(parent: int, number: int) -> None:
    _prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:  # it died before the kernel could be told
        os._exit(SET_UP_FAILED)


def _refuse(status: int, error: OSError) -> int:
    os.write(status, f"{error.strerror} ({error.filename or 'system call'})".encode())
    return SET_UP_FAILED


def _let_go(status: int) -> None:
    """Close what only the program and its starter may hold: the status, and the output whose end is waited for."""
    os.close(status)
    _quiet(1)
    _quiet(2)


def _quiet(descriptor: int) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, descriptor)
    os.close(nothing)


def _prctl(option: int, value: int) -> None:
    _checked(_libc.prctl(option, value, 0, 0, 0), f"prctl {option}")


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    raw = [None if text is None else text.encode() for text in (source, target, kind, data)]
    result = _libc.mount(raw[0], raw[1], raw[2], ctypes.c_ulong(flags), raw[3])
    _checked(result, f"mount {source or ''} on {target}")


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


if __name__ == "__main__":
    sys.exit(main())
