"""Strings of unknown size are read many at a time only where that can do no harm: while all of them have been small, on a
connection that the source bounds, and while the source has room for values larger than expected."""
from __future__ import annotations

import pytest

from harness import data, oracle, wait
from harness.live import Live
from harness.run import EQUAL, is_sanitized, replicate
from harness.servers import Fleet, Options, Server

KEYS = 30_000
MIB = 1 << 20


def calls(server: Server, command: str) -> int:
    return int(server.admin().info("commandstats").get(f"cmdstat_{command}", {}).get("calls", 0))


def copy(source: Server, target: Server, *options: str) -> None:
    source.command("CONFIG", "RESETSTAT")
    result = replicate(source, target, "--compare", "none", *options).expect(EQUAL)
    assert result.json["keys"]["copied"] == KEYS
    oracle.assert_equal(source, target, at_least=KEYS)


@pytest.mark.sanitize
def test_small_strings_are_read_many_at_a_time(source: Server, target: Server) -> None:
    data.load(source, data.plain(31, KEYS))
    copy(source, target)
    assert calls(source, "mget") > 100
    assert calls(source, "getrange") < KEYS / 2


def test_not_where_the_source_has_no_room(fleet: Fleet, target: Server) -> None:
    """A value of unknown size could not be larger than all data; there is room for less than that."""
    source = fleet.server()
    data.load(source, data.plain(32, KEYS))
    used = int(source.admin().info("memory")["used_memory"])
    source.command("CONFIG SET", "maxmemory-policy", "allkeys-lru")
    source.command("CONFIG SET", "maxmemory", used + 33 * MIB)
    copy(source, target)
    assert calls(source, "mget") < 10  # of those whose size was asked for
    assert int(source.admin().info("stats")["evicted_keys"]) == 0


def test_not_where_the_channel_is_refused(fleet: Fleet, target: Server) -> None:
    source = fleet.server(Options(users={"app": "on >secret ~* resetchannels +@all"}))
    data.load(source, data.plain(33, KEYS))
    copy(source, target, "--source-user", "app", "--source-pass", "secret")
    assert calls(source, "mget") < 10


def small_ones(source: Server, target: Server, seed: int) -> int:
    """Some more small strings, until they are on the target; returns for how many the size was asked before."""
    before, count = calls(source, "memory|usage"), 3000
    data.load(source, data.plain(seed, count, prefix=b"more:%d" % seed))
    wait.until(lambda: target.admin().exists(f"more:{seed}:{count - 1}") and
               target.admin().dbsize() >= source.admin().dbsize(), "small strings to arrive", 30)
    return calls(source, "memory|usage") - before


@pytest.mark.parametrize("count, size", [(1, MIB), (1, 40 * MIB), (12, 20 * MIB)], ids=["1MB", "40MB", "12 of 20MB"])
def test_one_surprise_and_never_again(fleet: Fleet, target: Server, count: int, size: int) -> None:
    """The first large strings come while they are read many at a time. They arrive, longhaul does not hold very large ones
    whole, the source does not hold several for it, and from then on every size is known before."""
    source = fleet.server()  # of its own: a server remembers the most memory it ever used
    data.load(source, data.plain(34, KEYS))
    with Live(source, target) as job:
        job.wait_live()
        assert small_ones(source, target, 35) == 0
        assert calls(source, "mget") > 100
        source.command("EVAL", "for i = 1, ARGV[1] do redis.call('set', 'large:' .. i, string.rep('x', ARGV[2])) end", 0,
                       count, size)
        wait.until(lambda: all(target.admin().strlen(f"large:{i + 1}") == size for i in range(count)), "the large ones", 60)
        memory = source.admin().info("memory")
        assert int(memory["used_memory_peak"]) - int(memory["used_memory"]) < (32 + 20 + 40) * MIB
        assert small_ones(source, target, 36) >= 3000
        job.catch_up()
        oracle.assert_equal(source, target, at_least=KEYS)
        ended = job.terminate().expect(EQUAL)
    if not is_sanitized():
        assert ended.peak_kib < 64 * 1024, f"{ended.peak_kib} KiB"
