"""What stands between a client and the service, and can keep the service's answers to itself."""

from __future__ import annotations

import socket
import threading
from types import TracebackType
from typing import Self

from tests.end_to_end.world import World

__all__ = ["Relay", "keys"]


def keys(world: World) -> dict[str, str]:
    """Give the environment in which a client signs for a service that it does not know to be the local one."""
    key, secret = world.home.credentials()
    return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_REGION": "us-east-1"}


class Relay:
    """Passes everything on to the service that listens now; answers only while `passing` is set."""

    def __init__(self, world: World) -> None:
        endpoint = world.home.endpoint()
        assert endpoint is not None
        self._port = int(endpoint.url.rpartition(":")[2])
        self.passing = threading.Event()
        self.passing.set()
        self.held = threading.Event()
        """An answer has come and is held."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._sockets = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._port))
            self._sockets += [client, server]
            threading.Thread(target=self._pass, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, True), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket, answers: bool) -> None:
        try:
            while data := one.recv(65536):
                if answers and not self.passing.is_set():
                    self.held.set()
                    self.passing.wait()
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # one of the two has gone: that is what this is for

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Let go of everything."""
        self.passing.set()
        for each in self._sockets:
            each.close()
