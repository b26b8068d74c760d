"""How many round trips a far server costs, beside the copy itself: a proxy counts them, as no clock could on a busy
machine. The proxy accepts connections itself, so connecting is not seen here. Leftovers of earlier jobs on a far target
are removed without waiting for it."""
from __future__ import annotations

from typing import Dict

import pytest

from conftest import Deployments
from harness import data, oracle
from harness.large import TEMPORARY, temporary_keys
from harness.run import EQUAL, replicate, start_replicate
from harness.servers import Fleet, Server
from harness.turns import Turns
from harness.wire import slot_of

LIBRARY = "#!lua name=far\nredis.register_function('far', function() return 1 end)"


# HELLO and its kin; INFO, as the kind of server decides about further questions; INFO of every primary, as both sides must
# not be of one replication group, which has to be known before anything is written.
HANDSHAKE = 3


def turns(source: Server, target: Server, far: str, *options: object) -> int:
    """Round trips to the far side of a copy: "source" or "target"."""
    away, near = (source, target) if far == "source" else (target, source)
    with Turns(away, [near]) as proxy:
        ends = (proxy.endpoint, target) if far == "source" else (source, proxy.endpoint)
        with start_replicate(*ends, "--compare", "none", "--timeout", "300s", *options) as copy:
            proxy.watch(copy.pid)
            copy.wait().expect(EQUAL)
    return proxy.turns


def plant(side: Server) -> int:
    """Temporary keys as killed jobs leave them, in a few thousand slots: most numbers are the smallest of their slot."""
    met = set()
    for number in range(4000):
        if slot_of(b"%d" % number) not in met:
            met.add(slot_of(b"%d" % number))
            side.command("SET", TEMPORARY + b"{%d}" % number, "x")
    return len(met)


def test_a_far_target_is_waited_for_twice(source: Server, target: Server) -> None:
    """Handshake and questions are under way together; then the values, with the commands that clean the target before them."""
    data.load(source, data.mixed(1, 300))
    assert turns(source, target, "target") <= HANDSHAKE + 2
    oracle.assert_equal(source, target, at_least=300)


def test_functions_and_databases_cost_a_far_target_two_more(fleet: Fleet) -> None:
    source, target = fleet.server(), fleet.server()
    for db in (0, 3, 7):
        data.load(source, data.plain(db, 20), db)
    for i in range(3):
        source.command("FUNCTION", "LOAD", LIBRARY.replace("far", f"far{i}"))
    # Whether it has the databases and which values it takes are questions of their own, before anything is written.
    assert turns(source, target, "target", "--databases", "all") <= HANDSHAKE + 4
    assert len(target.command("FUNCTION", "LIST")) == 3  # type: ignore[arg-type]
    assert [target.admin(db).dbsize() for db in (0, 3, 7)] == [20, 20, 20]


def test_a_far_source_is_asked_in_few_round_trips(source: Server, target: Server) -> None:
    """Questions, functions, the scan's handshake and its page, sizes, values (large ones by themselves), and that the scan was of
    one process."""
    data.load(source, data.mixed(2, 300))
    assert turns(source, target, "source") <= HANDSHAKE + 9


def test_a_far_target_fills_the_window_at_once(source: Server, target: Server) -> None:
    """Windows that grow from their base, 3,000 keys, fourfold from one round trip to the next would need four for these."""
    data.load(source, data.plain(3, 60_000))
    assert turns(source, target, "target") <= HANDSHAKE + 3


def test_leftovers_of_every_slot_are_removed(source: Server, target: Server) -> None:
    """Also where a lane has no key to copy, and not by a dry run."""
    planted = plant(target)
    data.load(source, data.plain(4, 3))
    replicate(source, target, "--threads", 3, "--dry-run").expect(EQUAL)
    assert len(temporary_keys(target)) == planted > 3000
    target.command("CONFIG", "RESETSTAT")
    replicate(source, target, "--threads", 3).expect(EQUAL)
    assert temporary_keys(target) == []
    oracle.assert_equal(source, target, at_least=3)
    assert target.admin().info("commandstats")["cmdstat_unlink"]["calls"] < 100


def test_leftovers_on_every_node_are_removed(deployments: Deployments, source: Server) -> None:
    target = deployments.get("target", "cluster")
    for number in range(30):
        name = TEMPORARY + b"{%d}" % number
        target.owner(slot_of(name)).command("SET", name, "x")  # type: ignore[union-attr]
    data.load(source, data.plain(5, 2))
    replicate(source, target, "--threads", 2).expect(EQUAL)
    assert sum(len(temporary_keys(node)) for node in target.primaries()) == 0
    oracle.assert_equal(source, target, at_least=2)


@pytest.mark.matrix
@pytest.mark.parametrize("name", ["redis-6.0", "redis-8.0", "valkey-8.0", "valkey-8.1", "valkey-9.1", "installed"])
def test_the_version_that_restore_takes_is_guessed(matrix: Dict[str, Server], source: Server, name: str) -> None:
    """127 versions and 21 encodings are tried, and one payload that is none; were the guess wrong, 21 more."""
    target = matrix[name]
    target.flush()
    data.load(source, data.plain(6, 10, expiring=0))
    target.command("CONFIG", "RESETSTAT")
    replicate(source, target).expect(EQUAL)
    assert target.admin().info("commandstats")["cmdstat_restore"]["calls"] < 160
