"""`longhaul compare`: equal sides are found equal, and each planted difference is found, that one and no other."""
from __future__ import annotations

import json
import signal
from typing import Any, Dict, List, Tuple

import pytest
from conftest import Deployments
from harness import data, large, reading, run, wait
from harness.faults import Killer
from harness.plants import HOURS_AWAY
from harness.run import DIFFERENT, EQUAL, TROUBLE, Result, Running, longhaul, replicate
from harness.servers import Fleet, Server
from harness.wire import slot_of

Command = Tuple[Any, ...]
COUNTS = ("missing", "extra", "type", "ttl", "value")


def compare_args(source: object, target: object, *args: object) -> List[str]:
    soon = () if "--interval" in args else ("--interval", "50ms")
    words = run.replicate_args(source, target, *soon, *args)
    return ["compare", *words[1:]]


def compare(source: object, target: object, *args: object, timeout: float = 60) -> Result:
    return longhaul(*compare_args(source, target, *args), timeout=timeout)


def found(result: Result) -> List[Tuple[str, str]]:
    return [(one["kind"], one["key"]) for one in result.json["compare"]["differences"]]


def owner_of(side: Any, key: bytes) -> Server:
    return side.owner(slot_of(key))


def copy(source: Any, target: Any) -> int:
    """Every key by DUMP and RESTORE, as the servers themselves would carry it."""
    copied = 0
    for server in source.primaries():
        with server.wire() as wire:
            keys: List[bytes] = wire.call("KEYS", "*")  # type: ignore[assignment]
            payloads = wire.batch([("DUMP", key) for key in keys], window=50)
            expiries = reading.expiries(server, wire, keys)
        data.load(target, [data.Item(key, [("RESTORE", key, max(expiry, 0), payload, "REPLACE", "ABSTTL")])
                           for key, payload, expiry in zip(keys, payloads, expiries)])
        copied += len(keys)
    return copied


def assert_equal(result: Result, keys: int) -> None:
    result.expect(EQUAL)
    counts = result.json["compare"]
    assert counts["keys"] == counts["equal"] == keys
    assert all(counts[kind] == 0 for kind in COUNTS) and not counts["differences"]


# One key per type, small and large.
def fill(server: Server) -> None:
    one = server.command
    one("SET", "string", "value", "PXAT", HOURS_AWAY)
    one("SET", "string:large", "x" * 300_000)
    one("SET", "empty", "")
    for size in ("small", "large"):
        n = 3 if size == "small" else 3000
        one("RPUSH", f"list:{size}", *[f"element {i}" for i in range(n)])
        one("SADD", f"set:{size}", *[f"member {i}" for i in range(n)])
        one("HSET", f"hash:{size}", *[word for i in range(n) for word in (f"field {i}", f"value {i}")])
        one("ZADD", f"zset:{size}", *[word for i in range(n) for word in (i + 0.1, f"member {i}")])
        for i in range(n):
            one("XADD", f"stream:{size}", f"{i + 1}-1", "field", f"value {i}")
    one("PFADD", "hyperloglog", *[f"element {i}" for i in range(100)])
    one("XGROUP", "CREATE", "stream:small", "readers", "0")
    one("XREADGROUP", "GROUP", "readers", "one", "COUNT", "2", "STREAMS", "stream:small", ">")


SHAPES = [("standalone", "standalone"), ("standalone", "cluster"), ("cluster", "standalone"), ("cluster", "cluster")]


# By default each shape once in each profile that it differs in; the rest with the marker `long`.
PAIRINGS = [("plain", shapes) for shapes in SHAPES] + [("tls", SHAPES[1]), ("elasticache", SHAPES[3])]
PAIRINGS += [pytest.param(profile, shapes, marks=pytest.mark.long) for profile in ("tls", "elasticache")
             for shapes in SHAPES if (profile, shapes) not in PAIRINGS]


@pytest.mark.parametrize("profile, shapes", PAIRINGS)
def test_pairings(deployments: Deployments, profile: str, shapes: Tuple[str, str]) -> None:
    source, target = (deployments.get(role, shape, profile) for role, shape in zip(("source", "target"), shapes))
    data.load(source, data.mixed(3, 1000))
    keys = copy(source, target)
    for mode in ((), ("--quick",), ("--digest",)):
        assert_equal(compare(source, target, *mode), keys)
    for i in range(3):
        owner_of(target, b"nobody:%d" % i).command("SET", b"nobody:%d" % i, "x")
        owner_of(source, b"only:%d" % i).command("SET", b"only:%d" % i, "x")
    both = compare(source, target).expect(DIFFERENT)
    assert sorted(found(both)) == [(kind, key % i) for kind, key in (("extra", "nobody:%d"), ("missing", "only:%d"))
                                   for i in range(3)]
    assert both.json["source"]["topology"] == shapes[0] and both.json["target"]["topology"] == shapes[1]


@pytest.mark.matrix
@pytest.mark.parametrize("older, newer", [("redis-6.0", "redis-8.0"), ("redis-6.0", "valkey-9.1"),
                                          ("valkey-8.0", "valkey-9.1"), ("redis-6.0", "valkey-8.1")])
def test_versions_do_not_matter(matrix: Dict[str, Server], older: str, newer: str) -> None:
    """Encodings, and the output format of a version, differ; the values that a client reads do not."""
    source, target = matrix[older], matrix[newer]
    source.flush()
    target.flush()
    data.load(source, data.mixed(4, 600, kinds=data.kinds_of(source.binary)))
    keys = copy(source, target)
    assert_equal(compare(source, target), keys)
    target.command("SADD", "new", "1")
    assert found(compare(source, target)) == [("extra", "new")]


@pytest.mark.matrix
def test_vector_sets(matrix: Dict[str, Server]) -> None:
    """Their graph is made by chance; members, vectors and attributes count."""
    server = matrix["redis-8.0"]
    server.flush()
    for i in range(500):
        server.command("VADD", "vectors", "VALUES", 3, i, i % 7, 1, f"member {i}")
    server.command("VSETATTR", "vectors", "member 1", '{"year": 1}')
    server.command("RESTORE", "vectors", 0, server.command("DUMP", "vectors"), db=1)
    assert server.command("DUMP", "vectors") != server.command("DUMP", "vectors", db=1)
    assert_equal(compare(server.url(db=0), server.url(db=1)), 1)
    server.command("VSETATTR", "vectors", "member 1", '{"year": 2}', db=1)
    assert found(compare(server.url(db=0), server.url(db=1))) == [("value", "vectors")]
    server.command("VSETATTR", "vectors", "member 1", '{"year": 1}', db=1)
    server.command("VADD", "vectors", "VALUES", 3, 7, 7, 7, "member 499", db=1)
    assert found(compare(server.url(db=0), server.url(db=1))) == [("value", "vectors")]


def test_filters(source: Server, target: Server) -> None:
    fill(source)
    target.command("SET", "stray", "1")
    assert compare(source, target, "--key-pattern", "list:*").json["compare"]["missing"] == 2
    assert compare(source, target, "--key-type", "hash").json["compare"]["missing"] == 2
    both = compare(source, target, "--key-type", "string", "--key-type", "set")
    assert both.json["compare"]["missing"] == 6 and both.json["compare"]["extra"] == 1
    assert found(compare(source, target, "--key-include", "empty", "--key-include", "stray")) == [
        ("missing", "empty"), ("extra", "stray")]
    small = compare(source, target, "--mem-limit", "1KB").json["compare"]
    assert small["skipped"] > 0 and small["missing"] + small["skipped"] == source.command("DBSIZE")


def test_expiry_options(source: Server, target: Server) -> None:
    source.command("SET", "key", "1", "PXAT", HOURS_AWAY)
    target.command("SET", "key", "1", "PXAT", HOURS_AWAY + 500)
    assert found(compare(source, target)) == [("ttl", "key")]
    assert_equal(compare(source, target, "--ttl-tolerance", "500ms"), 1)
    target.command("PERSIST", "key")
    assert found(compare(source, target, "--ttl-tolerance", "1d")) == [("ttl", "key")]
    assert_equal(compare(source, target, "--no-ttl"), 1)


def test_text_names_the_differences(source: Server, target: Server) -> None:
    source.command("SET", b"odd \x00\xff\n\"key\"", "1")
    shown = longhaul("compare", "--interval", "10ms", "--show-diffs", source.endpoint, target.endpoint).expect(DIFFERENT)
    assert "missing on the target" in shown.stdout
    assert r'"odd \x00\xff\n\"key\""' in shown.stdout
    hidden = longhaul("compare", "--interval", "10ms", source.endpoint, target.endpoint).expect(DIFFERENT)
    assert "odd" not in hidden.stdout


def test_cached_cardinality_is_no_difference(source: Server, target: Server) -> None:
    for side in (source, target):
        side.command("PFADD", "visitors", "a", "b", "c")
    target.command("PFCOUNT", "visitors")
    assert source.command("GET", "visitors") != target.command("GET", "visitors")
    assert_equal(compare(source, target), 1)


def test_connections_that_break(deployments: Deployments) -> None:
    source, target = deployments.get("source", "cluster"), deployments.get("target", "cluster")
    data.load(source, data.mixed(6, 2000))
    keys = copy(source, target)
    owner_of(target, b"nobody").command("SET", "nobody", "1")
    with Killer([source, target], every=0.02, seed=1) as killer:
        for _ in range(2):
            result = compare(source, target, "--scan-count", "50", "--sleep", "5ms").expect(DIFFERENT)
            assert found(result) == [("extra", "nobody")] and result.json["compare"]["equal"] == keys
    assert killer.kills > 0


@pytest.mark.parametrize("options", [(), ("--digest",)], ids=["full", "digest"])
def test_slots_that_move(deployments: Deployments, options: Tuple[str, ...]) -> None:
    """A scan can miss keys that move to a node it has passed: they are looked for again, and counted once."""
    source, target = deployments.get("source", "cluster"), deployments.get("target", "standalone")
    data.load(source, data.mixed(7, 2000))
    keys = copy(source, target)
    with Running(compare_args(source, target, "--scan-count", "20", "--sleep", "20ms", *options)) as running:
        for slot in range(0, 1000, 20):
            source.migrate(slot, source.primaries()[1])
        result = running.wait(60)
    for slot in range(0, 1000, 20):
        source.migrate(slot, source.primaries()[0])
    assert_equal(result, keys)
    assert "without scripts" not in result.stderr  # a batch was refused, not scripts


def test_an_outage_ends_it(fleet: Fleet) -> None:
    source, target = fleet.server(), fleet.server()
    data.load(source, data.plain(9, 20000))
    with Running(compare_args(source, target, "--sleep", "200ms", "--outage-timeout", "1s")) as running:
        wait.until(lambda: b"longhaul" in str(target.command("CLIENT", "LIST")).encode(), "the comparison to begin", 10)
        target.kill9()
        result = running.wait(30).expect(TROUBLE)
    assert result.json["error"]["code"] == "outage" and result.json["result"] == "failed"


def test_interrupted(source: Server, target: Server) -> None:
    data.load(source, data.plain(10, 20000))
    with Running(compare_args(source, target, "--sleep", "500ms")) as running:
        wait.until(lambda: "longhaul" in str(source.command("CLIENT", "LIST")), "the comparison to begin", 10)
        running.signal(signal.SIGTERM)
        result = running.wait(10).expect(TROUBLE)
    assert result.json["result"] == "interrupted"


def test_large_values_take_no_memory(source: Server, target: Server) -> None:
    for side in (source, target):
        side.command("SET", "string", b"x" * 50_000_000)
        for i in range(20):
            side.command("RPUSH", "list", *[b"%d" % i * 50_000] * 20)
            side.command("HSET", "hash", *[word for k in range(20) for word in (f"{i} {k}", b"y" * 50_000)])
    result = compare(source, target)
    assert_equal(result, 3)
    assert run.is_sanitized() or result.peak_kib < 64 * 1024, f"{result.peak_kib} KiB"


def test_rare_large_strings(source: Server, target: Server) -> None:
    """A few huge strings among many small ones: they are compared in parts. longhaul holds none
    whole; test_copy_bounded.c tells how much a server holds."""
    data.load(source, data.plain(97, 30_000))
    for index in range(6):
        large.fill(source, "string", b"huge:%d" % index, 40_000)
    replicate(source, target, "--compare", "none").expect(EQUAL)
    for side in (source, target):
        side.command("CONFIG", "RESETSTAT")
    result = compare(source, target)
    assert_equal(result, 30_006)
    assert run.is_sanitized() or result.peak_kib < 32 * 1024, f"{result.peak_kib} KiB"
    for side in (source, target):
        used = side.admin().info("commandstats")
        assert used["cmdstat_getrange"]["calls"] > 5_000 and "cmdstat_get" not in used
    target.command("SETRANGE", "huge:3", 39_999_990, "L")
    assert found(compare(source, target)) == [("value", "huge:3")]


def test_document(source: Server, target: Server) -> None:
    source.command("SET", "key", "1")
    result = compare(source, target).expect(DIFFERENT)
    document = json.loads(result.stdout)
    assert document["command"] == "compare" and document["result"] == "done" and document["error"] is None
    assert set(document["compare"]) >= {"mode", "keys", "equal", *COUNTS, "skipped", "rechecked", "differences"}
    assert document["compare"]["differences"] == [{"key": "key", "db": 0, "kind": "missing", "detail": "source string"}]
    assert document["source"]["server"] in ("redis", "valkey") and document["source"]["primaries"] == 1
