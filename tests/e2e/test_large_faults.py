"""Targets that refuse writes or break off while a key is copied in pieces or by commands: the program lives, and the copy is whole."""
from __future__ import annotations

from typing import Callable, List

import pytest

from harness import data, large, oracle, wait
from harness.large import Background, assert_same_stream, temporary_keys
from harness.run import EQUAL, replicate
from harness.servers import Server, free_port

LOSE = """
if redis.call('EXISTS', KEYS[1]) == 0 or #redis.call('XINFO', 'GROUPS', KEYS[1]) == 0 then return 0 end
return redis.call('DEL', KEYS[1])
"""
SIZES = {"string": 3_000, "list": 40_000, "set": 30_000, "hash": 30_000, "zset": 20_000, "stream": 20_000}
WAYS = {"struct": ["--struct"], "pieces": ["--big-key", "100KB"], "both": ["--struct", "--big-key", "100KB", "--max-args", "100"]}


def load_all(source: Server) -> int:
    for kind, elements in SIZES.items():
        large.fill(source, kind, b"big:" + kind.encode(), elements)
    large.add_groups(source, b"big:stream", 2500)
    return len(SIZES) + data.load(source, data.mixed(91, 8_000, kinds=data.without_streams()))


def assert_same(source: Server, target: Server, keys: int) -> None:
    assert [each for each in oracle.differences(source, target) if each.kind != "group"] == []
    assert oracle.count(target) == keys
    assert_same_stream(source, target, b"big:stream")
    assert temporary_keys(target) == []


def refused(target: Server) -> int:
    """How many writes this server has refused because it is a replica."""
    found = target.admin().info("errorstats").get("errorstat_READONLY")
    return int(str(found).split("=")[1]) if found else 0


def run_with(source: Server, target: Server, options: List[str], fault: Callable[[], None]) -> None:
    """Copies while the fault happens, then until the end without it."""
    keys = load_all(source)
    with Background(fault):
        result = replicate(source, target, "--compare", "none", "--scan-count", "50", "--rate", "20000", *options, timeout=120)
    assert result.expect(EQUAL).json["keys"]["given_up"] == 0
    assert_same(source, target, keys)


@pytest.mark.sanitize
@pytest.mark.parametrize("way", WAYS)
def test_target_demoted_during_a_copy(source: Server, target: Server, way: str) -> None:
    """Each command under way is refused, and the connection is given up in the middle of the first refusal."""
    nowhere, demotions = free_port(), 0

    def demote() -> None:
        nonlocal demotions
        if demotions == 5 or oracle.count(target) < 50 * (demotions + 1):
            return
        before = refused(target)
        target.command("REPLICAOF", "127.0.0.1", nowhere)
        try:
            wait.until(lambda: refused(target) > before, "a write to be refused", 5)
            demotions += 1
        except TimeoutError:
            pass  # the copy was over
        finally:
            target.command("REPLICAOF", "NO", "ONE")

    run_with(source, target, WAYS[way], demote)
    assert demotions > 0


def test_a_temporary_stream_is_lost_between_its_groups(source: Server, target: Server) -> None:
    """As by an eviction, a flush or a failover: the key is copied from the beginning, not given up."""
    large.fill(source, "stream", b"many", 50)
    with source.wire() as wire:
        for number in range(200):
            wire.call("XGROUP", "CREATE", b"many", b"group:%d" % number, "0")
            wire.call("XREADGROUP", "GROUP", b"group:%d" % number, "reader", "COUNT", 1, "STREAMS", b"many", ">")
    name, lost = large.temporary_name(b"many"), 0

    def lose() -> None:
        nonlocal lost
        if lost < 2 and target.command("EVAL", LOSE, 1, name):
            lost += 1

    with Background(lose):
        result = replicate(source, target, "--struct", "--compare", "none", timeout=60)
    assert lost == 2
    assert result.expect(EQUAL).json["keys"]["given_up"] == 0
    assert_same_stream(source, target, b"many")
    assert temporary_keys(target) == []
