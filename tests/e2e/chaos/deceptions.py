"""Faults that make evidence false, and mistakes of operators: clocks that step, replicas that are resynchronised, counters
that are reset, leases that are lost, other writers on the target."""
from __future__ import annotations

import random
import time
from contextlib import contextmanager
from typing import Iterator, List

from harness import server_faults, wait
from harness.cluster import Cluster
from harness.live import jobs
from harness.run import Running, start_replicate
from harness.sentinel import Sentinels
from harness.servers import ADMIN_PASSWORD, Options, Server
from harness.wire import WireError

from .faults import Stage, burst, fault
from .job import OWN_STEPS
from .plan import Fault
from .sides import Router, Side
from .writes import TAGS, tag_of

STEPS = (-20.0, -5.0, -1.5, 1.5, 5.0, 20.0, 100.0)  # seconds; keys expire within 2 s or after 600
SMALL_BACKLOG = 1 << 14  # bytes: a replica that missed a burst must load everything anew
UNUSED = 9  # a database


@contextmanager
def perhaps_away(stage: Stage, rng: random.Random) -> Iterator[None]:
    """Half of these faults happen while longhaul does not run."""
    away = rng.random() < 0.5
    if away:
        stage.job.kill()
    try:
        yield
    finally:
        if away:
            stage.job.start()


def some(side: Side, rng: random.Random) -> List[Server]:
    """All servers, or one."""
    servers = side.servers()
    return servers if rng.random() < 0.5 else [rng.choice(servers)]


# Clocks

@fault("clock steps")
def _clock_steps(stage: Stage, side: Side, fault: Fault, rng: random.Random) -> None:
    """The wall clock of one server or of all; back at the end, so that keys expire at the same time everywhere."""
    clocks = [stage.fleet.clocks[server] for server in some(side, rng)]  # type: ignore[attr-defined]
    seconds = rng.choice(STEPS)
    with perhaps_away(stage, rng):
        time.sleep(rng.uniform(0, 1))
        for clock in clocks:
            clock.step(seconds)
    try:
        time.sleep(fault.seconds)
    finally:
        for clock in clocks:
            clock.step(-seconds)
    side.wait_whole()


@fault("clock of longhaul steps")
def _own_clock_steps(stage: Stage, side: Side, fault: Fault, rng: random.Random) -> None:
    seconds = rng.choice(OWN_STEPS)
    with perhaps_away(stage, rng):
        stage.job.clock.step(seconds)
    time.sleep(fault.seconds)
    stage.job.clock.step(-seconds)


@fault("machine of longhaul is suspended")
def _suspended(stage: Stage, side: Side, fault: Fault, rng: random.Random) -> None:
    """Its monotonic clock stands still meanwhile."""
    stage.job.pause()
    try:
        time.sleep(fault.seconds)
        stage.job.monotonic.step(-0.9 * fault.seconds)
    finally:
        stage.job.resume()


@fault("pause")
def _pause(stage: Stage, side: Side, fault: Fault, rng: random.Random) -> None:
    """A server that gets no processor for a while; its replica may take over."""
    server = rng.choice(side.servers())
    server.pause()
    try:
        time.sleep(fault.seconds)
    finally:
        server.resume()
    wait_followed(side)


def wait_followed(side: Side) -> None:
    side.wait_whole()
    if isinstance(side.made, Sentinels):
        made = side.made
        wait.until(lambda: all(server is made.primary() or server.admin().info("replication").get("master_link_status") == "up"
                               for server in made.servers()), "the replica to follow", 40, 0.1)


# Replicas

@fault("replica resynchronised")
def _resynchronised(stage: Stage, side: Side, fault: Fault, rng: random.Random) -> None:
    """By a replication id that is new, or since it missed more than the backlog holds."""
    primary = rng.choice(wait.until(side.fail_over_candidates, "a primary with a replica in step", 30))
    replica = side.replica_of(primary)
    small = side.role == "source" and rng.random() < 0.7
    if small:
        primary.command("CONFIG SET", "repl-backlog-size", SMALL_BACKLOG)
    try:
        with server_faults.replica_cut_off(replica, not small, primary):
            time.sleep(rng.uniform(0, 1))
            if small:
                burst(side, rng, 1000, 100)
    finally:
        primary.command("CONFIG SET", "repl-backlog-size", 1 << 20)
    side.wait_whole()


@fault("replica promoted that was cut off")
def _promoted(stage: Stage, side: Side, fault: Fault, rng: random.Random) -> None:
    """It lacks the newest writes of its primary, though the primary had acknowledged them."""
    primary = rng.choice(wait.until(side.fail_over_candidates, "a primary with a replica in step", 30))
    replica = side.replica_of(primary)
    replica.command("CONFIG SET", "masterauth", "wrong")
    replica.command("CLIENT", "KILL", "TYPE", "master")
    time.sleep(fault.seconds)
    primary.kill9()
    replica.command("CONFIG SET", "masterauth", ADMIN_PASSWORD)
    wait.until(lambda: replica.admin().info("replication")["role"] == "master", "the replica to be promoted", 40, 0.1)
    primary.revive()
    if isinstance(side.made, Sentinels):
        wait.until(lambda: primary.command("REPLICAOF", "127.0.0.1", replica.port), "the old primary to follow", 20)
    else:
        assert isinstance(side.made, Cluster)
    wait_followed(side)


# Evidence

@fault("policy for a moment")
def _policy(stage: Stage, side: Side, fault: Fault, rng: random.Random) -> None:
    servers = some(side, rng)
    with perhaps_away(stage, rng):
        for server in servers:
            server.command("CONFIG SET", "maxmemory-policy", "allkeys-lfu")
        time.sleep(fault.seconds)
        for server in servers:
            server.command("CONFIG SET", "maxmemory-policy", server.options.config["maxmemory-policy"])


@fault("statistics reset")
def _reset(stage: Stage, side: Side, fault: Fault, rng: random.Random) -> None:
    servers = some(side, rng)
    with perhaps_away(stage, rng):
        for server in servers:
            server_faults.reset_statistics(server)


@fault("notifications off")
def _notifications(stage: Stage, side: Side, fault: Fault, rng: random.Random) -> None:
    """They are on where the capture is by notifications."""
    servers = some(side, rng)
    before = [server_faults.set_notifications(server, "") for server in servers]
    time.sleep(fault.seconds)
    for server, flags in zip(servers, before):
        server_faults.set_notifications(server, flags)


# Others on the target

@fault("foreign writer")
def _foreign(stage: Stage, side: Side, fault: Fault, rng: random.Random) -> None:
    """Keys that the job never copied; nobody asks it to delete them."""
    router = Router(side)
    ends = time.monotonic() + fault.seconds
    try:
        while time.monotonic() < ends:
            number = rng.getrandbits(32)
            key, value = b"theirs:%b:%d" % (tag_of(number % TAGS), number % 1000), b"%d" % number
            replies = router.send([(0, [("SET", key, value)])])[0]
            if replies and not isinstance(replies[0], WireError):
                stage.foreign[key] = value
            else:
                stage.foreign.pop(key, None)
            time.sleep(0.005)
    finally:
        router.close()


def refused(stage: Stage, source: object, target: object, name: str, watched: object) -> None:
    """That job ends by itself, with an error, before it is known on its target."""
    wait.until(lambda: stage.job.status().get("phase") == "live", "the job to be live", 40, 0.1)
    with start_replicate(source, target, "--mode", "live", "--job", name, "--max-delete", "100") as other:
        wait.until(lambda: not other.alive or is_known(watched, name), f"job {name} to be refused", 60, 0.1)
        assert not other.alive, f"job {name} was not refused\n{other.stderr_so_far()}"
        said = other.wait()
        assert said.status != 0, said


def is_known(target: object, name: str) -> bool:
    return any(job["job"] == name for job in jobs(target, "--job", name))


@fault("second job")
def _second_job(stage: Stage, side: Side, fault: Fault, rng: random.Random) -> None:
    """Of another source, for the same database and keys."""
    other = stage.fleet.server(Options())
    other.command("SET", "second", "1")
    try:
        refused(stage, other.endpoint, side.direct, "second", side.direct)
        assert not any(primary.command("EXISTS", "second") for primary in side.primaries() if not side.made.is_cluster)
    finally:
        other.kill9()


@fault("job in the other direction")
def _back(stage: Stage, side: Side, fault: Fault, rng: random.Random) -> None:
    source = stage.sides["source"].direct
    refused(stage, side.direct, source, "back", source)


# The lease

@fault("lease lost")
def _lease_lost(stage: Stage, side: Side, fault: Fault, rng: random.Random) -> None:
    server_faults.lose_lease(side.made, stage.job.name)
    time.sleep(fault.seconds)


@fault("lease lost beside a standby")
def _lease_lost_beside(stage: Stage, side: Side, fault: Fault, rng: random.Random) -> None:
    """Two processes want to write; then the first is killed."""
    def lose(first: Running) -> None:
        server_faults.lose_lease(side.made, stage.job.name)
        time.sleep(rng.uniform(0, 8))
    stage.job.hand_over(lose)


@fault("flush of an unused database")
def _flush_unused(stage: Stage, side: Side, fault: Fault, rng: random.Random) -> None:
    for primary in side.primaries():
        server_faults.flush_database(primary, UNUSED)
