"""Bounds: a key is read whole only when it cannot be large, for any estimate of its size by the server; and a key or a
database that the target does not bear holds nobody else up."""
from __future__ import annotations

import os
from typing import Callable, Dict

import pytest

from harness import wait
from harness.faults import Killer
from harness.live import Live
from harness.run import DIFFERENT, EQUAL, replicate
from harness.servers import Fleet, Options, Server

SMALL, HUGE, HUGE_BYTES = 20_000, 12, 5 << 20


def fill(source: Server, key: str, command: str, words: Callable[[int], list]) -> None:
    """Many small elements first, which MEMORY USAGE samples, then a few huge ones."""
    for at in range(0, SMALL, 500):
        source.command(command, key, *[word for i in range(at, at + 500) for word in words(i)])


def hash_of(source: Server, key: str) -> None:
    fill(source, key, "HSET", lambda i: [f"field:{i}", "v"])
    for i in range(HUGE):
        source.command("HSET", key, f"huge:{i}", os.urandom(HUGE_BYTES))


def set_of(source: Server, key: str) -> None:
    fill(source, key, "SADD", lambda i: [f"member:{i}"])
    for _ in range(HUGE):
        source.command("SADD", key, os.urandom(HUGE_BYTES))


def zset_of(source: Server, key: str) -> None:
    fill(source, key, "ZADD", lambda i: [i, f"member:{i}"])
    for i in range(HUGE):
        source.command("ZADD", key, SMALL + i, os.urandom(HUGE_BYTES))


def list_of(source: Server, key: str) -> None:
    fill(source, key, "RPUSH", lambda i: [f"element:{i}" * 20])
    for i in range(HUGE):  # a thousand small ones between two, as a page of a list is known only when it is there
        source.command("LSET", key, 5000 + 1000 * i, os.urandom(HUGE_BYTES))


KINDS: Dict[str, Callable[[Server, str], None]] = {"hash": hash_of, "set": set_of, "zset": zset_of, "list": list_of}


LENGTH = {"hash": "HLEN", "set": "SCARD", "zset": "ZCARD", "list": "LLEN"}


@pytest.mark.parametrize("others", [0, 3000], ids=["alone", "after many small ones"])
@pytest.mark.parametrize("kind", KINDS)
def test_huge_elements_among_small_ones(source: Server, target: Server, kind: str, others: int) -> None:
    for i in range(others):
        source.command("HSET", f"small:{i}", "f", "v")
    KINDS[kind](source, "big")
    estimate, real = (int(source.command("MEMORY USAGE", "big", *more)) for more in ([], ["SAMPLES", 0]))
    assert real > HUGE * HUGE_BYTES and (kind == "list" or estimate < real / 10)
    said = replicate(source, target, "--compare", "none").expect(EQUAL).json
    assert said["keys"]["copied"] == others + 1
    assert int(target.command("MEMORY USAGE", "big", "SAMPLES", 0)) > HUGE * HUGE_BYTES
    length = LENGTH[kind]
    assert target.command(length, "big") == source.command(length, "big")
    assert said["peak_memory_bytes"] < 64 << 20
    slow = [entry["command"].upper() for entry in source.admin().slowlog_get(128)]  # a DUMP of it takes longer than 10 ms
    assert not any(command.startswith(b"DUMP BIG") for command in slow), slow


# A value that the target does not bear

def limited_target(fleet: Fleet) -> Server:
    return fleet.server(Options(config={"client-query-buffer-limit": "1mb"}))


def test_a_value_over_which_the_target_ends_the_connection_is_given_up(source: Server, fleet: Fleet) -> None:
    """In a snapshot: all other keys are copied, this one is named, and the status says so."""
    limited = limited_target(fleet)
    for i in range(3000):
        source.command("SET", f"k{i}", "v")
    source.command("SET", "too large", "x" * 2_500_000)
    said = replicate(source, limited, "--compare", "none").expect(DIFFERENT).json
    assert said["keys"]["copied"] == 3000 and [lost["key"] for lost in said["given_up"]] == ["too large"]
    assert "ends the connection at this value" in said["given_up"][0]["reason"]
    assert int(limited.command("DBSIZE")) == 3000


def test_other_keys_go_on_beside_a_value_that_ends_the_connection(source: Server, fleet: Fleet) -> None:
    """Live, with the large value written again and again."""
    limited = limited_target(fleet)
    for i in range(100):
        source.command("SET", f"k{i}", "old")
    with Live(source, limited, "--poll", "250ms") as live:
        live.wait_live()
        source.command("SET", "too large", "x" * 2_500_000)
        for i in range(100):
            source.command("SET", f"k{i}", "new")
            wait.until(lambda: limited.command("GET", f"k{i}") == b"new", "another key to come", 5)
            if i == 50:
                wait.until(lambda: "given up" in live.stderr(), "the key to be given up", 30)
                source.command("SET", "too large", "y" * 2_500_000)
        assert live.stderr().count("too large") > 0
        source.command("SET", "too large", "small enough now")
        wait.until(lambda: limited.command("GET", "too large") == b"small enough now", "the key to come", 15)


def test_connections_that_break_by_themselves_blame_no_key(source: Server, target: Server) -> None:
    """A network that cuts the target's connections every now and then, also idle ones."""
    for i in range(300):
        source.command("SET", f"k{i}", os.urandom(200_000))
    with Killer([target], 0.05, 17):
        said = replicate(source, target, "--compare", "none", timeout=120)
    assert said.expect(EQUAL).json["keys"]["copied"] == 300 and not said.json["given_up"]


# A database that the target lacks

def test_a_database_that_the_target_lacks_gives_its_keys_up(fleet: Fleet) -> None:
    source, few = fleet.server(Options(config={"databases": "64"})), fleet.server(Options(config={"databases": "4"}))
    with Live(source, few, "--databases", "all", "--poll", "250ms") as live:
        live.wait_live()
        source.command("SET", "x", "1")
        source.command("SET", "stray", "1", db=50)
        wait.until(lambda: "stray" in live.stderr(), "the key to be named", 20)
        source.command("SET", "x", "2")
        wait.until(lambda: few.command("GET", "x") == b"2", "the other databases to go on", 20)
        assert live.alive
        live.terminate().expect(DIFFERENT)
