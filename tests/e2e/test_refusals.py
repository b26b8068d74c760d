"""Sides that may not be source and target of a job: refused by a sentence that names the remedy, before anything is
written to either. doctor says the same."""
from __future__ import annotations

import json
from typing import List

import pytest

from harness import cluster, wait
from harness.live import Live
from harness.run import EQUAL, TROUBLE, Result, replicate
from harness.servers import Fleet, Server
from harness.wire import slot_of

MODES = ["scan", "live"]


def refused(source: object, target: object, mode: str, *words: str) -> Result:
    result = replicate(source, target, "--mode", mode, timeout=30).expect(TROUBLE)
    assert all(word in result.error_line for word in words), result.error_line
    return result


def written(*servers: Server) -> List[bytes]:
    """Keys of longhaul's own, and commands that write."""
    commands = b" ".join(server.command("INFO", "commandstats") for server in servers)  # type: ignore[misc]
    keys = [key for server in servers for key in server.admin().keys("longhaul:*")]
    return keys + [name for name in (b"cmdstat_set:", b"cmdstat_restore:", b"cmdstat_eval:", b"cmdstat_hset:")
                   if name in commands]


def follow(replica: Server, primary: Server, linked: bool = True) -> None:
    replica.command("REPLICAOF", "127.0.0.1", primary.port)
    if linked:
        wait.until(lambda: b"master_link_status:up" in replica.command("INFO", "replication"), "the replica to follow")


def replica_of(fleet: Fleet, primary: Server) -> Server:
    replica = fleet.server()
    follow(replica, primary)
    return replica


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("linked", [True, False], ids=["linked", "not-linked"])
def test_source_and_target_replicate(fleet: Fleet, mode: str, linked: bool) -> None:
    """Either way round; also before the replica has come to its primary, whose history it then does not have yet."""
    primary, replica = fleet.server(), fleet.server()
    if not linked:
        replica.command("CONFIG SET", "masterauth", "wrong")
    follow(replica, primary, linked)
    for source, target in [(replica, primary), (primary, replica)]:
        refused(source, target, mode, "REPLICAOF NO ONE")
    assert not written(primary, replica)


@pytest.mark.parametrize("mode", MODES)
def test_two_replicas_of_one_primary(fleet: Fleet, mode: str) -> None:
    primary = fleet.server()
    one, other = replica_of(fleet, primary), replica_of(fleet, primary)
    refused(one, other, mode, "replication group")
    assert not written(one, other, primary)


@pytest.mark.parametrize("mode", MODES)
def test_two_nodes_of_one_cluster(fleet: Fleet, mode: str) -> None:
    nodes = cluster.build(fleet, 3).servers()
    refused(nodes[0], nodes[1], mode, "the same cluster")
    assert not written(*nodes)


@pytest.mark.parametrize("mode", MODES)
def test_one_server_by_two_names(source: Server, mode: str) -> None:
    refused(f"127.0.0.1:{source.port}", f"localhost:{source.port}", mode, "the same server")


@pytest.mark.parametrize("mode", MODES)
def test_a_replica_as_the_target(fleet: Fleet, source: Server, mode: str) -> None:
    primary = fleet.server()
    replica = replica_of(fleet, primary)
    refused(source, replica, mode, "is a replica", f":{primary.port}")
    assert not written(replica, primary)


def test_an_active_side_as_the_target(source: Server, target: Server) -> None:
    source.command("SET", "key", "1")
    key = next(b"longhaul:{%d}:state" % n for n in range(1 << 20) if slot_of(b"%d" % n) == 0)
    role = {"role": "active", "by": "an operator", "epoch": 3, "since_us": 1}
    target.command("HSET", key, "@role", json.dumps(role))
    refused(source, target, "live", "was made the active side by an operator")
    assert not target.command("EXISTS", "key")


def test_a_replica_that_was_detached_may_be_a_target(fleet: Fleet) -> None:
    """Filled by replication, then of its own: longhaul tells the operator to make sure that nothing joins them again."""
    primary = fleet.server()
    primary.admin().set("k", "v")
    replica = replica_of(fleet, primary)
    replica.command("REPLICAOF", "NO", "ONE")
    said = replicate(primary, replica).expect(EQUAL)
    assert "until one of them was promoted" in said.stderr


def test_a_job_back_after_the_source_restarted(fleet: Fleet) -> None:
    """The record names the servers as they are now, so that they are known under any address."""
    source, target = fleet.server(), fleet.server()
    with Live(f"localhost:{source.port}", f"localhost:{target.port}", "--job", "forth") as live:
        live.wait_live()
        source.restart()
        live.catch_up()
        refused(target, source, "live", "is itself the target of job forth")
        assert not written(source)
        live.terminate().expect(EQUAL)


def test_a_source_that_becomes_a_replica_of_the_target_ends_the_job(fleet: Fleet) -> None:
    """An operator has switched the roles: what the source holds is older than what the target's clients write."""
    source, target = fleet.server(), fleet.server()
    for i in range(50):
        source.command("SET", f"key:{i}", 0)
    with Live(source, target, "--lease", "2s") as live:
        live.wait_live()
        live.catch_up()
        source.command("REPLICAOF", "127.0.0.1", target.port)

        def write() -> None:
            for i in range(50):
                target.command("INCR", f"key:{i}")

        def ended() -> bool:
            write()
            return not live.alive
        wait.until(ended, "the end of the job", 30)
        assert "has become a replica of the target" in live.wait_end().expect(TROUBLE).error_line
        values = [int(target.command("GET", f"key:{i}")) for i in range(50)]  # type: ignore[call-overload]
        for _ in range(20):
            write()
    assert [int(target.command("GET", f"key:{i}")) for i in range(50)] == [value + 20 for value in values]  # type: ignore
