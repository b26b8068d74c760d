"""A key is read whole only when it cannot be large, whatever the server's estimate of its size."""
from __future__ import annotations

import os
from typing import Callable, Dict

import pytest

from harness.run import EQUAL, replicate
from harness.servers import Server

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
