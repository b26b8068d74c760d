"""Values at the edge of the servers' bounds: arrive by payloads, by commands, in pieces and by short commands alike."""
from __future__ import annotations

from typing import Any, List

import pytest

from harness import oracle
from harness.large import stream_facts, temporary_keys
from harness.run import EQUAL, longhaul, replicate
from harness.servers import Server

LAST = "18446744073709551615-18446744073709551615"
BEFORE_LAST = "18446744073709551615-18446744073709551614"
WAYS = {"payload": [], "struct": ["--struct"], "pieces": ["--big-key", "1"], "struct-pieces": ["--struct", "--big-key", "1"],
        "short": ["--struct", "--max-args", "16"], "short-pieces": ["--big-key", "1", "--max-args", "16"]}


def assert_arrives(source: Server, target: Server, way: str) -> None:
    """As the oracle reads both sides, as XINFO shows streams, and as compare sees it."""
    replicate(source, target, "--compare", "none", *WAYS[way]).expect(EQUAL)
    found = [each for each in oracle.differences(source, target) if each.kind != "group"]
    assert found == []
    for key in source.admin().scan_iter(_type="stream"):
        assert without_times(source, key) == without_times(target, key), key
    assert temporary_keys(target) == []
    longhaul("compare", source.endpoint, target.endpoint).expect(EQUAL)


def without_times(server: Server, key: bytes) -> Any:
    facts = stream_facts(server, key)
    for group in facts["groups"]:
        group.pop("times")
    return facts


def scores(server: Server, key: str) -> List[Any]:
    return server.command("ZRANGE", key, 0, -1, "WITHSCORES")  # type: ignore[return-value]


@pytest.mark.sanitize
@pytest.mark.parametrize("way", WAYS)
def test_scores(source: Server, target: Server, way: str) -> None:
    """Infinities, subnormals, numbers of 17 digits; -0 in skiplists of all lengths (a listpack of servers before 8 has none)."""
    edge = ["inf", "-inf", "5e-324", "-5e-324", "1.7976931348623157e308", "2.2250738585072014e-308", "9007199254740993", "1e22",
            "0.1", "0.30000000000000004", "123456789012345680", "-1e-5", "0", "-0.0"]
    words = [word for index, score in enumerate(edge) for word in (score, f"edge{index}")]
    source.command("ZADD", "short", *words)
    source.command("ZADD", "long", *[word for index in range(400) for word in (index, f"member{index}")])
    source.command("ZADD", "long", *words, "-0.0", "another")
    # A skiplist that became short: RESTORE would make a listpack of it.
    source.command("ZADD", "was-long", 0, "x" * 100)
    source.command("ZADD", "was-long", *words)
    source.command("ZREM", "was-long", "x" * 100)
    source.command("ZADD", "only", 0, "x" * 100)
    source.command("ZADD", "only", "-0.0", "m")
    source.command("ZREM", "only", "x" * 100)
    source.command("ZADD", "no-name", 1, "")
    assert_arrives(source, target, way)
    for key in ("short", "long", "was-long", "only", "no-name"):
        assert scores(source, key) == scores(target, key), key
    assert target.command("ZSCORE", "was-long", "edge13") == b"-0"


@pytest.mark.sanitize
@pytest.mark.parametrize("way", WAYS)
def test_stream_ids(source: Server, target: Server, way: str) -> None:
    """The first and the last possible ID, as entries, as ends, as deleted and as pending ones."""
    source.command("XADD", "first", "0-1", "f", "v")
    source.command("XADD", "no-seq", "5-0", "f", "v")
    source.command("XADD", "last", LAST, "f", "v")
    for identity in ("0-1", BEFORE_LAST, LAST):
        source.command("XADD", "both", identity, "f", "v")
    for key, entries in (("last-deleted", ["1-1", LAST]), ("all-deleted", [LAST])):
        for identity in entries:
            source.command("XADD", key, identity, "f", "v")
    for key in ("both", "last-deleted", "all-deleted"):
        source.command("XGROUP", "CREATE", key, "readers", "0")
        source.command("XREADGROUP", "GROUP", "readers", "one", "STREAMS", key, ">")
        if key != "both":
            source.command("XDEL", key, LAST)
    source.command("XADD", "set", "1-1", "f", "v")
    source.command("XSETID", "set", LAST, "ENTRIESADDED", 2 ** 63 - 1, "MAXDELETEDID", BEFORE_LAST)
    source.command("XADD", "emptied", "5-5", "f", "v")
    source.command("XDEL", "emptied", "5-5")
    assert_arrives(source, target, way)
    assert target.command("XLEN", "both") == 3


@pytest.mark.sanitize
def test_last_id_behind_many_pages(source: Server, target: Server) -> None:
    """The reading must not begin again behind the last possible ID."""
    with source.wire() as wire:
        wire.batch([("XADD", "s", f"{index + 1}-1", "f", "v" * 100) for index in range(3000)] + [("XADD", "s", LAST, "f", "v")])
    source.command("XGROUP", "CREATE", "s", "readers", "0")
    source.command("XREADGROUP", "GROUP", "readers", "one", "STREAMS", "s", ">")
    source.command("XDEL", "s", "7-1")
    for way in ("struct", "pieces"):
        assert_arrives(source, target, way)


@pytest.mark.sanitize
@pytest.mark.parametrize("way", WAYS)
def test_names_without_a_byte(source: Server, target: Server, way: str) -> None:
    """Keys, fields, members, elements, groups and consumers whose name or value is empty."""
    source.command("SET", "", "the key without a name")
    source.command("SET", "string", "")
    source.command("RPUSH", "list", "", "", "a", "")
    source.command("RPUSH", "list-of-one", "")
    source.command("SADD", "set", "", "1", "-1", 2 ** 63 - 1, -2 ** 63, 2 ** 63)
    source.command("SADD", "set-of-one", "")
    source.command("HSET", "hash", "", "", "f", "", "g", "v")
    source.command("HSET", "hash-of-one", "", "")
    source.command("XADD", "entry", "1-1", "", "", "f", "")
    source.command("XADD", "groups", "0-1", "f", "v")
    source.command("XADD", "groups", "0-2", "f", "v")
    source.command("XGROUP", "CREATE", "groups", "", "0")
    source.command("XREADGROUP", "GROUP", "", "", "STREAMS", "groups", ">")
    source.command("XGROUP", "CREATE", "groups", "idle", LAST)
    source.command("XGROUP", "CREATECONSUMER", "groups", "idle", "")
    source.command("XDEL", "groups", "0-1")
    source.command("XGROUP", "CREATE", "no-entries", "", "$", "MKSTREAM")
    assert_arrives(source, target, way)


@pytest.mark.parametrize("options", [[], ["--big-key", "1"]], ids=" ".join)
def test_negative_zero_beside_merged_members(source: Server, target: Server, options: List[str]) -> None:
    """--merge adds to the members that are there, and leaves no trace of how the sign is kept."""
    source.command("ZADD", "z", 0, "x" * 100)
    source.command("ZADD", "z", "-0.0", "m")
    source.command("ZREM", "z", "x" * 100)
    target.command("ZADD", "z", 7, "there")
    replicate(source, target, "--struct", "--merge", "--compare", "none", *options).expect(EQUAL)
    assert scores(target, "z") == [b"m", b"-0", b"there", b"7"]
