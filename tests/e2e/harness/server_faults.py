"""Mistakes of operators and mishaps of servers, one function each; each acts on one server and returns when it is done.

    resync_replica(primary, replica)        the replica loads everything anew, without a restart
    replica_cut_off(replica)                a block in which the replica hears nothing from its primary
    policy_for_a_moment(server, policy)     maxmemory-policy, and back
    reset_statistics(server)                CONFIG RESETSTAT
    call_unseen(server, *words)             a command, and CONFIG RESETSTAT with it
    set_notifications(server, flags)        notify-keyspace-events, lost at a restart as everything by CONFIG SET
    evict(server)                           some keys are evicted; how many
    lose_lease(side, job)                   the lease key of a live job is deleted
    flush_database(server, db)              FLUSHDB of that database
    SmallDisk(size)                         a directory that is a file system of its own, to be filled

Others: Server.pause() and Live.pause() stop a process; faults.Writer(server, seed, b"theirs:") is a foreign writer;
Live(other, target, "--job", "second") a second job; proxy.Proxy the network; clock.Clock wrong clocks.
"""
from __future__ import annotations

import os
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, List, Optional

import pytest
import redis

from . import wait
from .servers import ADMIN_PASSWORD, Server

SPACE = 1 << 16  # bytes that evict() asks a server to free


def _info(server: Server, section: str, name: str) -> int:
    return int(server.admin().info(section)[name])


def _setting(server: Server, name: str) -> str:
    return server.command("CONFIG GET", name)[1].decode()  # type: ignore[index]


# Replicas

def _is_linked(replica: Server) -> bool:
    return replica.admin().info("replication").get("master_link_status") == "up"


@contextmanager
def replica_cut_off(replica: Server, resync: bool = False, primary: Optional[Server] = None) -> Iterator[None]:
    """In the block the replica's login to its primary is refused, so it does not follow. Afterwards it does again:
    from its offset, or with `resync` (then name the primary) by loading everything anew."""
    replica.command("CONFIG SET", "masterauth", "wrong")
    replica.command("CLIENT", "KILL", "TYPE", "master")
    wait.until(lambda: not _is_linked(replica), "the replica to be cut off", 20)
    try:
        yield
        if resync:
            assert primary, "a full resynchronisation needs the primary"
            primary.command("DEBUG", "CHANGE-REPL-ID")
    finally:
        replica.command("CONFIG SET", "masterauth", ADMIN_PASSWORD)
        wait.until(lambda: _is_linked(replica), "the replica to follow again", 60)


def resync_replica(primary: Server, replica: Server) -> None:
    before = _info(primary, "stats", "sync_full")
    with replica_cut_off(replica, True, primary):
        pass
    wait.until(lambda: _info(primary, "stats", "sync_full") > before, "a full resynchronisation", 20)


# Settings and counters

@contextmanager
def policy_for_a_moment(server: Server, policy: str) -> Iterator[None]:
    """An LFU policy leaves its marks in the keys that are used in the block."""
    before = _setting(server, "maxmemory-policy")
    server.command("CONFIG SET", "maxmemory-policy", policy)
    try:
        yield
    finally:
        server.command("CONFIG SET", "maxmemory-policy", before)


def reset_statistics(server: Server) -> None:
    server.command("CONFIG", "RESETSTAT")


def call_unseen(server: Server, *words: object) -> None:
    """A command of which no counter tells: CONFIG RESETSTAT follows it in one transaction."""
    with server.admin().pipeline(transaction=True) as pipe:
        pipe.execute_command(*words)
        pipe.execute_command("CONFIG", "RESETSTAT")
        pipe.execute()


def set_notifications(server: Server, flags: str) -> str:
    """The flags of before."""
    before = _setting(server, "notify-keyspace-events")
    server.command("CONFIG SET", "notify-keyspace-events", flags)
    return before


# Data

def evict(server: Server, policy: str = "allkeys-random") -> int:
    """How many keys were evicted. Any key may be among them, also those of longhaul."""
    limit, before = _setting(server, "maxmemory"), _info(server, "stats", "evicted_keys")
    with policy_for_a_moment(server, policy):
        try:
            server.command("CONFIG SET", "maxmemory", max(1, _info(server, "memory", "used_memory") - SPACE))
            wait.until(lambda: _info(server, "stats", "evicted_keys") > before, "keys to be evicted", 20)
        finally:
            server.command("CONFIG SET", "maxmemory", limit)
    return _info(server, "stats", "evicted_keys") - before


def lose_lease(side: object, job: str) -> bool:
    """Whether there was one. `side` is a server or a deployment of several."""
    key = f"longhaul:{{{job}}}:lease"

    def delete_at(server: Server) -> int:
        try:
            return int(server.command("DEL", key))  # type: ignore[call-overload]
        except redis.ResponseError:  # the slot is another primary's
            return 0
    primaries: List[Server] = side.primaries()  # type: ignore[attr-defined]
    return sum(map(delete_at, primaries)) > 0


def flush_database(server: Server, db: int) -> None:
    server.command("FLUSHDB", db=db)


class SmallDisk:
    """A directory in memory of so many bytes. Needs root: elsewhere the test is skipped."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.path = Path()

    def __enter__(self) -> "SmallDisk":
        if os.geteuid() != 0:
            pytest.skip("a small file system can be mounted by root only")
        self.path = Path(tempfile.mkdtemp(prefix="longhaul-disk-"))
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={self._size}", "longhaul-test", str(self.path)],
                                 capture_output=True, text=True, check=False)
        if mounted.returncode != 0:
            self.path.rmdir()
            pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "-l", str(self.path)], check=True)
        self.path.rmdir()

    def fill(self, leave: int = 0) -> None:
        """Until not more than so many bytes are free."""
        free = os.statvfs(self.path)
        with open(self.path / "filler", "ab") as file:
            file.write(b"x" * max(0, free.f_bavail * free.f_frsize - leave))

    def relieve(self) -> None:
        (self.path / "filler").unlink(missing_ok=True)
