"""Faults that need no proxy: connections killed by the server itself, and listeners that are no servers."""
from __future__ import annotations

import random
import socket
import threading
import time
from typing import Sequence

import redis

from .oracle import Deployment
from .run import is_sanitized
from .servers import ADMIN_PASSWORD, ADMIN_USER, Server


class Killer:
    """Kills a random client connection of a random server every so often, by CLIENT KILL, while the block runs.
    The harness's own connections and links between servers are spared."""

    def __init__(self, sides: Sequence[Deployment], every: float, seed: int) -> None:
        self._sides = sides
        self._every = every
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.kills = 0

    def __enter__(self) -> "Killer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        servers = [server for side in self._sides for server in side.servers()]  # type: ignore[attr-defined]
        while not self._stop.wait(self._every * self._random.uniform(0.5, 1.5)):
            try:
                self.kills += self._kill_one(self._random.choice(servers))
            except (redis.RedisError, OSError):
                continue  # that server is just down: another fault has come first

    def _kill_one(self, server: Server) -> int:
        with redis.Redis(port=server.port, username=ADMIN_USER, password=ADMIN_PASSWORD, client_name="harness",
                         socket_timeout=5) as client:
            victims = [each for each in client.client_list(_type="normal") if each["name"] != "harness"]
            if not victims:
                return 0
            return int(client.execute_command("CLIENT", "KILL", "ID", self._random.choice(victims)["id"]) or 0)


class Stranger:
    """Listens on a port and answers everything with the same bytes (or with nothing): no Redis at all."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self.accepted = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.1)
        self.endpoint = "127.0.0.1:%d" % self._listener.getsockname()[1]
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Stranger":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(10)
        self._listener.close()

    def _run(self) -> None:
        clients = []
        while not self._done.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                continue
            clients.append(client)
            self.accepted += 1
            if self._answer:
                client.settimeout(1)
                try:
                    client.recv(4096)
                    client.sendall(self._answer)
                    client.shutdown(socket.SHUT_WR)
                except OSError:
                    pass
        for client in clients:
            client.close()


class Writer:
    """Goes on writing to the source while a copy runs: changes, new keys, deletions, over a set of keys of its own
    (`live:*`), so that a test knows which keys may differ."""

    def __init__(self, server: Server, seed: int, prefix: bytes = b"live:") -> None:
        self._server = server
        self._random = random.Random(seed)
        self._prefix = prefix
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.writes = 0

    def __enter__(self) -> "Writer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        wire = self._server.wire()
        # A sanitized program is ten to twenty times as slow: it is not asked to keep up with a server.
        pause = 0.01 if is_sanitized() else 0
        while not self._stop.wait(pause):
            keys = [self._prefix + b"%d" % self._random.randint(0, 2000) for _ in range(20)]
            wire.batch([("DEL", key) if self._random.random() < 0.3 else ("SET", key, time.time()) for key in keys])
            self.writes += len(keys)
        wire.close()
