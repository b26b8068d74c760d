"""The proof of a barrier: by the order in which a server may answer, by changes of a replica that is read, and by changes
of the flags of notifications."""
from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import Iterator

import pytest

from harness import cluster, elasticache, oracle, wait
from harness.late_names import LateNames
from harness.live import Live, now_us
from harness.proxy import Proxy
from harness.run import EQUAL, TROUBLE, longhaul
from harness.servers import Fleet, Options, Server

NOTIFYING = {"notify-keyspace-events": "AE"}
FLAGS = "notify-keyspace-events"
KEYS = 1000


TRACKING, NOTIFICATIONS = "tracking", "notifications"
CAPTURES = [TRACKING, NOTIFICATIONS]


def set_notifications(server: Server, flags: str) -> None:
    server.command("CONFIG SET", FLAGS, flags)


def load(server: Server, value: str) -> None:
    server.admin().mset({f"{{t}}:{i}": value for i in range(KEYS)})


def wait_gap(live: Live, *words: str) -> None:
    """Until a gap is open whose reason has these words, in status and log."""
    live.wait_status(lambda job: any(all(word in gap["why"] for word in words) for gap in job["gaps"]),
                     f"a gap because of {words}")
    assert all(word in live.stderr() for word in words)


# Order

def test_the_name_of_a_write_may_come_behind_the_reply_to_a_barrier(source: Server, target: Server) -> None:
    """As on Valkey 8 and newer with I/O threads. The watermark does not pass a write that is not on the target."""
    source.admin().set("k", "old")
    with LateNames(source.port) as proxy, Live(proxy.endpoint, target) as live:
        live.wait_live()
        for turn in range(3):
            live.catch_up()
            proxy.stop_questions()
            source.admin().set("k", turn)
            acknowledged_us = now_us()
            proxy.answer_one()
            before = live.status()["updated_us"]
            said = live.wait_status(lambda job: job["updated_us"] > before + 1_000_000, "the record to be written again")
            assert said["watermark_us"] <= acknowledged_us or target.admin().get("k") == str(turn).encode()
            proxy.go_on()
        live.catch_up()
        oracle.assert_equal(source, target)


# A replica that is read

@dataclass
class Pair:
    """A primary and its replica, whose link can be cut."""
    primary: Server
    replica: Server
    link: Proxy

    @contextmanager
    def cut_off(self, resync: bool) -> Iterator[None]:
        """Afterwards the replica goes on from its offset, or, with more written than the backlog holds, loads all."""
        self.link.refuse()
        wait.until(lambda: b"master_link_status:down" in self.replica.command("INFO", "replication"), "the cut")
        full = self.primary.admin().info("stats")["sync_full"]
        yield
        if resync:
            self.primary.admin().set("filler", b"x" * 100_000)
        self.link.refuse(False)
        wait.until(lambda: b"master_link_status:up" in self.replica.command("INFO", "replication"), "the link", 30)
        assert (self.primary.admin().info("stats")["sync_full"] > full) == resync


@pytest.fixture
def pair(fleet: Fleet) -> Iterator[Pair]:
    config = {**NOTIFYING, "repl-backlog-size": "16kb"}
    primary, replica = (fleet.server(Options(config=config)) for _ in range(2))
    load(primary, "old")
    with Proxy.before(primary) as link:
        replica.command("REPLICAOF", "127.0.0.1", link.port)
        wait.until(lambda: b"state=online" in primary.command("INFO", "replication"), "the replica to follow")
        wait.until(lambda: replica.admin().dbsize() == KEYS, "the replica to have all keys")
        yield Pair(primary, replica, link)


def reading(pair: Pair, target: Server, capture: str, *args: object) -> Live:
    return Live(pair.primary, target, "--source-read-from", "replica", "--capture", capture, *args)


@pytest.mark.parametrize("capture", CAPTURES)
def test_a_replica_is_resynchronised(pair: Pair, target: Server, capture: str) -> None:
    """The dataset that it loads is not announced: a gap opens, and nothing of it is an order to delete."""
    with reading(pair, target, capture) as live:
        live.wait_live()
        with pair.cut_off(resync=True):
            load(pair.primary, "new")
            pair.primary.admin().delete("{t}:1")
        live.catch_up()
        oracle.assert_equal(pair.primary, target, at_least=KEYS)
        assert "resynchronised" in live.stderr()
        assert live.terminate().json["live"]["gaps"] == 1


@pytest.mark.parametrize("capture", CAPTURES)
def test_a_function_that_a_replica_loads_with_its_data(pair: Pair, fleet: Fleet, capture: str) -> None:
    """No command of the replica counts it."""
    target = fleet.server()
    library = "#!lua name=lib\nredis.register_function('f', function() return 1 end)"
    with reading(pair, target, capture, "--poll", "1s") as live:
        live.wait_live()
        with pair.cut_off(resync=True):
            pair.primary.command("FUNCTION", "LOAD", library)
        wait.until(lambda: target.command("FUNCTION", "LIST"), "the library to arrive", 30)
        live.catch_up()


@pytest.mark.parametrize("capture", CAPTURES)
def test_a_replica_that_goes_on_from_its_offset_is_no_gap(pair: Pair, target: Server, capture: str) -> None:
    with reading(pair, target, capture) as live:
        live.wait_live()
        with pair.cut_off(resync=False):
            pair.primary.admin().set("{t}:1", "new")
            cut_us = now_us()
            wait.until(lambda: live.status()["updated_us"] > cut_us + 1_000_000, "the record to be written again")
            assert live.watermark_us() <= cut_us, "nothing is known of what the primary acknowledges meanwhile"
        live.catch_up()
        oracle.assert_equal(pair.primary, target, at_least=KEYS)
        assert live.terminate().json["live"]["gaps"] == 0


@pytest.mark.parametrize("capture", CAPTURES)
def test_a_job_starts_while_the_replica_is_cut_off(pair: Pair, target: Server, capture: str) -> None:
    """As right after a failover: the first contact waits for the replica's link as for a side that is down."""
    with Live(pair.replica, target, "--capture", capture, "--timeout", "1s", start=False) as live:
        with pair.cut_off(resync=False):
            pair.primary.admin().set("{t}:1", "new")
            live.start()
            wait.until(lambda: "not connected to its primary" in live.stderr(), "the wait to be said")
            assert live.alive, live.stderr()
        live.catch_up()
        oracle.assert_equal(pair.primary, target, at_least=KEYS)
        live.terminate().expect(EQUAL)


def test_a_replica_that_stays_cut_off_is_given_up(pair: Pair, target: Server) -> None:
    with pair.cut_off(resync=False):
        result = longhaul("replicate", "--mode", "live", pair.replica.endpoint, target.endpoint, "--capture", NOTIFICATIONS,
                          "--timeout", "1s", "--connect-timeout", "1s", "--outage-timeout", "4s", timeout=60).expect(TROUBLE)
        assert "not connected to its primary" in result.error_line and "waiting" in result.stderr


@pytest.mark.parametrize("capture", CAPTURES)
def test_a_replica_follows_a_primary_that_came_back_empty(pair: Pair, target: Server, capture: str) -> None:
    with reading(pair, target, capture) as live:
        live.wait_live()
        pair.primary.restart()
        wait.until(lambda: pair.replica.admin().dbsize() == 0, "the replica to be emptied")
        live.wait_status(lambda job: job["holds"], "the deletions to be held")
        assert len(target.admin().keys("{t}:*")) == KEYS


# Flags

@pytest.mark.parametrize("flags", ["", "Ex", "KA"])
def test_flags_are_taken_away(fleet: Fleet, target: Server, flags: str) -> None:
    source = fleet.server(Options(config=dict(NOTIFYING)))
    load(source, "old")
    with Live(source, target, "--capture", NOTIFICATIONS) as live:
        live.wait_live()
        set_notifications(source, flags)
        lost_us = now_us()
        load(source, "new")
        source.admin().delete("{t}:1")
        wait_gap(live, FLAGS)
        assert live.watermark_us() <= lost_us
        set_notifications(source, "AE")
        live.catch_up()
        oracle.assert_equal(source, target, at_least=KEYS - 1)


def test_flags_are_taken_away_for_a_moment(fleet: Fleet, target: Server) -> None:
    """Off and on again by one pipeline: CONFIG SET was counted."""
    source = fleet.server(Options(config=dict(NOTIFYING)))
    load(source, "old")
    with Live(source, target, "--capture", NOTIFICATIONS) as live:
        live.wait_live()
        with source.wire() as wire:
            wire.batch([("CONFIG", "SET", FLAGS, ""), ("SET", "{t}:1", "new"), ("CONFIG", "SET", FLAGS, "AE")])
        live.catch_up()
        assert FLAGS in live.stderr()
        oracle.assert_equal(source, target, at_least=KEYS)


def test_flags_are_lost_by_a_restart(fleet: Fleet, target: Server) -> None:
    source = fleet.server()
    set_notifications(source, "AE")
    load(source, "old")
    with Live(source, target, "--capture", NOTIFICATIONS) as live:
        live.wait_live()
        source.restart(keep=True)
        lost_us = now_us()
        load(source, "new")
        wait_gap(live, FLAGS)
        assert live.watermark_us() <= lost_us
        set_notifications(source, "AE")
        live.catch_up()
        oracle.assert_equal(source, target, at_least=KEYS)


def test_flags_that_the_promoted_replica_does_not_have(fleet: Fleet, target: Server) -> None:
    source = cluster.build(fleet, 1, 1, Options(config=dict(NOTIFYING)))
    primary, replica = source.primaries()[0], source.replicas()[0]
    set_notifications(replica, "")
    load(primary, "old")
    with Live(source, target, "--capture", NOTIFICATIONS) as live:
        live.wait_live()
        source.wait_replicated(primary)
        source.fail_over(primary)
        lost_us = now_us()
        load(replica, "new")
        wait_gap(live, FLAGS)
        assert live.watermark_us() <= lost_us
        set_notifications(replica, "AE")
        live.catch_up()
        oracle.assert_equal(source, target, at_least=KEYS)


@pytest.mark.parametrize("flags", ["", "Ex", "E$g"])
def test_flags_that_may_not_be_asked_for_are_tried(fleet: Fleet, target: Server, flags: str) -> None:
    """CONFIG is refused, as by ElastiCache: a key of longhaul's own shows whether events come."""
    source = fleet.server(elasticache.options(Options(config=dict(NOTIFYING))))
    load(source, "old")
    with Live(source, target, "--capture", NOTIFICATIONS) as live:
        live.wait_live()
        live.catch_up()
        set_notifications(source, flags)
        lost_us = now_us()
        load(source, "new")
        source.admin().sadd("set", "member")
        wait_gap(live, FLAGS)
        assert live.watermark_us() <= lost_us
        set_notifications(source, "AE")
        live.catch_up()
        oracle.assert_equal(source, target, at_least=KEYS)
        assert not source.admin().keys("longhaul:*")


def test_flags_that_can_be_neither_asked_for_nor_tried(fleet: Fleet, target: Server) -> None:
    rules = "on nopass ~* &* +@all -client|tracking -config -@write"
    source = fleet.server(Options(config=dict(NOTIFYING), default_user=rules))
    with Live(source, target, "--capture", NOTIFICATIONS) as live:
        said = live.wait_end().expect(TROUBLE).error_line
    assert FLAGS in said and "CONFIG GET" in said
