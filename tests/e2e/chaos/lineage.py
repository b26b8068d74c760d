"""Which server holds the data, and since when, by the servers' own words.

A server that restarted, failed over or was resynchronised may have lost writes that it had acknowledged, so numbers on the
target may go back. It may do so without a fault of the plan: on a starved machine a primary that gets no processor for two
seconds is replaced by its replica. So the judge does not believe the plan: it asks every server all the time.
"""
from __future__ import annotations

import time
from typing import Callable, Dict, List, Tuple

import redis

from harness.servers import Server

from .sides import Side
from .worker import Worker

FIELDS = ("run_id", "role", "master_replid")


class Lineage(Worker):
    """Notes every change of a server's process, role or replication id."""

    def __init__(self, sides: List[Side], newest: Callable[[], int]) -> None:
        super().__init__("lineage")
        self._sides, self._newest = sides, newest
        self._known: Dict[Server, Tuple[float, Tuple[str, ...]]] = {}
        self.changes: List[Tuple[float, int, str]] = []  # last time it was as before, newest number when noticed, side

    def step(self) -> None:
        for side in self._sides:
            for server in side.everyone():
                self._look(side, server)
        self._stop.wait(0.05)

    def _look(self, side: Side, server: Server) -> None:
        asked = time.monotonic()
        try:
            info = server.admin().info()
        except (redis.RedisError, OSError):
            return  # it is down: its next answer will show a change
        now = tuple(str(info.get(name)) for name in FIELDS)
        since, before = self._known.get(server, (asked, now))
        if now != before:
            self.changes.append((since, self._newest(), side.role))
        self._known[server] = (asked, now)

    def explains(self, when: float, number: int) -> bool:
        """Whether a number, seen until that moment, may have been lost with the server that had it."""
        return any(since <= when and number <= newest for since, newest, _ in self.changes)

    def changed(self, role: str) -> bool:
        return any(side == role for _, _, side in self.changes)
