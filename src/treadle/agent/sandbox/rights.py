"""The right to make networks: root has it everywhere, anybody else in a user namespace, where the kernel allows those.

`acquire` calls one of `switch`'s functions here if this process may do what it does. If not, a process of its own does
it, because one with threads cannot enter a user namespace, and hands the descriptor over. All networks of a job belong
to the user namespace of its switch; that lasts as long as they do, and whoever made it may enter it again.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any, Final

from treadle.agent.sandbox import enter, switch

__all__ = ["acquire"]

_MADE: Final = b"!"
_LONGEST = 65536


def acquire(what: Callable[..., int], *arguments: Any, namespace: int | None = None) -> int:
    """Give the descriptor that a function of `switch` makes; `namespace`, a network's, is its first argument.

    Raises OSError.
    """
    if namespace is not None and enter.is_ours(namespace):
        return what(namespace, *arguments)
    if namespace is None:
        with contextlib.suppress(PermissionError):
            return what(*arguments)
    return _asked(what.__name__, arguments, namespace)


def _asked(name: str, arguments: tuple[Any, ...], namespace: int | None) -> int:
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            command = [sys.executable, "-P", "-m", __name__, str(theirs.fileno())]
            helper = subprocess.Popen(command, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL)
        with helper:
            given = [] if namespace is None else [namespace]
            socket.send_fds(ours, [json.dumps([name, arguments]).encode()], given)
            answer, made, _, _ = socket.recv_fds(ours, _LONGEST, 1)
    if not made:
        number, text, where = json.loads(answer) if answer else (None, "the process that makes it has ended", name)
        raise OSError(number, text, where)
    os.set_inheritable(made[0], False)  # noqa: FBT003  (it takes no keyword)
    return made[0]


def main(descriptor: int) -> None:
    """Do what is asked on a socket, in a user namespace, and answer with a descriptor or with what went wrong."""
    with socket.socket(fileno=descriptor) as channel:
        asked, given, _, _ = socket.recv_fds(channel, _LONGEST, 1)
        name, arguments = json.loads(asked)
        try:
            if given:
                enter.join_owner(given[0])
            else:
                enter.own_user_namespace()
            made = getattr(switch, name)(*given, *arguments)
        except OSError as error:
            channel.sendall(json.dumps([error.errno, error.strerror, error.filename]).encode())
        else:
            socket.send_fds(channel, [_MADE], [made])


if __name__ == "__main__":
    main(int(sys.argv[1]))
