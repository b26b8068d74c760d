"""Values arrive as they were: expiry to the millisecond, odd keys, large values, any batch."""
from __future__ import annotations

import random
import re
import threading
import time

import pytest

from conftest import Deployments
from harness import clock, data, oracle, wait
from harness.checks import assert_copies, assert_found_equal
from harness.run import EQUAL, is_sanitized, replicate
from harness.servers import Fleet, Server


def test_expiry_is_the_same_millisecond(source: Server, target: Server) -> None:
    """In every type; the oracle's tolerance is nought."""
    keys = data.load(source, data.mixed(61, 1100, expiring=1))
    assert_copies(source, target, keys, ttl_tolerance_ms=0)


def test_extreme_expiries(source: Server, target: Server) -> None:
    for index, moment in enumerate((int(time.time() * 1000) + 60_000, 2 ** 41, 2 ** 45, 2 ** 53 + 1)):
        source.command("SET", f"string{index}", "v", "PXAT", moment)
        source.command("RPUSH", f"list{index}", "v")
        source.command("PEXPIREAT", f"list{index}", moment)
    assert_copies(source, target, 8, ttl_tolerance_ms=0)


def test_no_ttl(source: Server, target: Server) -> None:
    data.load(source, data.mixed(62, 220, expiring=1))
    said = replicate(source, target, "--no-ttl").expect(EQUAL).json
    oracle.assert_equal(source, target, ttl=False, at_least=220)
    assert_found_equal(said, 220)


def test_expiry_of_the_target_is_replaced(source: Server, target: Server) -> None:
    """A key that expires on the target only must not do so after the copy."""
    for name in ("SET", "RPUSH"):
        source.command(name, name, "v")
        target.command(name, name, "old")
        target.command("PEXPIRE", name, 100000)
    assert_copies(source, target, 2)


@pytest.mark.parametrize("ahead", [600, -600])
def test_clocks_that_differ(fleet: Fleet, source: Server, ahead: int) -> None:
    """The expiry is a moment on the source's clock, not on the target's."""
    target = clock.server(fleet, ahead)
    keys = data.load(source, data.mixed(63, 220, expiring=1))
    result = replicate(source, target).expect(EQUAL)
    assert result.json["keys"]["copied"] == keys
    oracle.assert_equal(source, target, at_least=keys, ttl_tolerance_ms=0)


def test_keys_that_expire_during_the_copy(source: Server, target: Server) -> None:
    rng = random.Random(64)
    with source.wire() as wire:
        wire.batch([("SET", b"short:%d" % index, "v", "PX", rng.randint(1, 1500)) for index in range(4000)])
        wire.batch([cmd for index in range(500) for cmd in (
            ("RPUSH", b"short-list:%d" % index, "v"), ("PEXPIRE", b"short-list:%d" % index, rng.randint(1, 1500)))])
    keys = data.load(source, data.plain(65, 500, b"stays"))
    said = replicate(source, target, "--rate", 5000).expect(EQUAL).json
    assert said["keys"]["given_up"] == 0
    wait.until(lambda: not any(True for _ in source.admin().scan_iter("short*")) and oracle.count(source) == keys,
               "the short ones to expire")
    wait.until(lambda: not any(True for _ in target.admin().scan_iter("short*")), "the short ones to expire there")
    oracle.assert_equal(source, target, at_least=keys)


def test_keys_that_are_expired_but_still_there(fleet: Fleet, target: Server) -> None:
    source = fleet.server()
    source.command("DEBUG", "SET-ACTIVE-EXPIRE", 0)
    with source.wire() as wire:
        wire.batch([("SET", b"dead:%d" % index, "v", "PX", 1) for index in range(1000)])
    keys = data.load(source, data.plain(66, 100))
    wait.until(lambda: source.command("PTTL", "dead:999") == -2, "the last to be over")
    assert_copies(source, target, keys)


def test_odd_keys(deployments: Deployments) -> None:
    source, target = deployments.get("source", "cluster"), deployments.get("target", "standalone")
    keys = data.load(source, data.odd())
    assert_copies(source, target, keys, "--compare", "full")
    back = deployments.get("source", "standalone")
    assert_copies(target, back, keys)


def test_odd_keys_in_the_report(source: Server, target: Server) -> None:
    """JSON stays JSON and a terminal stays sane, with any bytes in a key."""
    data.load(source, data.odd())
    result = replicate(source, target, "--log-keys").expect(EQUAL)
    assert result.json
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", result.stderr)


@pytest.mark.parametrize("kind", ["string", "list", "hash"])
def test_value_of_50_megabytes(source: Server, target: Server, kind: str) -> None:
    value = random.Random(67).randbytes(50_000_000)
    command = {"string": ("SET", "big", value), "list": ("RPUSH", "big", value, "small"),
               "hash": ("HSET", "big", "field", value)}[kind]
    source.command(*command)
    data.load(source, data.plain(68, 1000))
    assert_copies(source, target, 1001)


def test_many_elements(source: Server, target: Server) -> None:
    """One key with a million members, between small ones."""
    with source.wire() as wire:
        for first in range(0, 1_000_000, 50_000):
            wire.call("SADD", "many", *range(first, first + 50_000))
    data.load(source, data.plain(69, 1000))
    assert_copies(source, target, 1001)


def test_values_that_together_are_more_than_the_buffers(source: Server, target: Server) -> None:
    """400 values of 1 MB: memory stays bounded."""
    value = random.Random(70).randbytes(1_000_000)
    with source.wire() as wire:
        for index in range(200):
            wire.call("SET", f"large:{index}", value)
            wire.call("RPUSH", f"list:{index}", value)
    result = assert_copies(source, target, 400)
    if not is_sanitized():
        assert result.peak_kib < 100 * 1024, f"{result.peak_kib} KiB"


@pytest.mark.sanitize
def test_keys_of_the_target_are_overwritten(source: Server, target: Server) -> None:
    """Another value, another type, another expiry: the source wins. Keys that only the target has stay."""
    data.load(source, data.mixed(71, 220))
    data.load(target, data.mixed(72, 220))
    for item in list(data.mixed(71, 220))[::3]:
        target.command("DEL", item.key)
        target.command("SADD", item.key, "another type")
    target.command("SET", "only here", "1")
    result = replicate(source, target).expect(EQUAL)
    assert result.json["keys"]["copied"] == 220
    assert [found.key for found in oracle.differences(source, target)] == [b"only here"]


def test_twice_is_as_once(source: Server, target: Server) -> None:
    keys = data.load(source, data.mixed(73, 440))
    assert_copies(source, target, keys)
    assert_copies(source, target, keys)


class Monitor:
    """Counts the arguments of the commands that longhaul sends to a server."""

    def __init__(self, server: Server) -> None:
        self._wire = server.wire()
        self._wire.call("MONITOR")
        self.most = 0
        self._names: set[str] = set()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._server = server

    def end(self) -> "Monitor":
        self._server.command("SET", "end-of-monitor", 1)
        self._server.command("DEL", "end-of-monitor")
        self._thread.join(30)
        self._wire.close()
        return self

    def _run(self) -> None:
        while True:
            line = self._wire.read_lines(1)[0]
            if b'"end-of-monitor"' in line:
                return
            self.most = max(self.most, line.count(b'" "') + 1)


@pytest.mark.parametrize("options", [["--batch", "20000", "--pipeline", "50000"], ["--max-args", "100"], []],
                         ids=lambda options: " ".join(options) or "default")
def test_batch_is_split_at_what_a_server_takes(source: Server, target: Server, options: list[str]) -> None:
    """Serverless ElastiCache takes 3,999 arguments."""
    keys = data.load(source, data.plain(74, 20000, size=10, expiring=0))
    monitors = [Monitor(source), Monitor(target)]
    replicate(source, target, *options, "--compare", "full").expect(EQUAL)
    most = 100 if "--max-args" in options else 3999
    assert all(monitor.end().most <= most for monitor in monitors), [monitor.most for monitor in monitors]
    oracle.assert_equal(source, target, at_least=keys)
