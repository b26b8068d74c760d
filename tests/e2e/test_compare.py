"""`longhaul compare`: equal sides are found equal, and each planted difference is found, that one and no other."""
from __future__ import annotations

import json
import signal
import threading
from typing import Any, Dict, List, Tuple

import pytest
from conftest import Deployments
from harness import data, run, wait
from harness.faults import Killer
from harness.run import DIFFERENT, EQUAL, TROUBLE, Result, Running, longhaul
from harness.servers import Fleet, Server
from harness.wire import slot_of

Command = Tuple[Any, ...]
COUNTS = ("missing", "extra", "type", "ttl", "value")
HOURS_AWAY = 4102444800000


def compare_args(source: object, target: object, *args: object) -> List[str]:
    words = run.replicate_args(source, target, *args)
    return ["compare", *words[1:]]


def compare(source: object, target: object, *args: object, timeout: float = 60) -> Result:
    return longhaul(*compare_args(source, target, *args), timeout=timeout)


def found(result: Result) -> List[Tuple[str, str]]:
    return [(one["kind"], one["key"]) for one in result.json["compare"]["differences"]]


def owner_of(side: Any, key: bytes) -> Server:
    return side.owner(slot_of(key))


def copy(source: Any, target: Any, db: int = 0) -> int:
    """Every key by DUMP and RESTORE, as the servers themselves would carry it."""
    copied = 0
    for server in source.primaries():
        client = server.admin(db)
        for key in client.scan_iter(count=1000):
            ttl, payload = client.pttl(key), client.dump(key)
            expiry = 0 if ttl < 0 else client.execute_command("PEXPIRETIME", key) if server.binary.has_pexpiretime else None
            if expiry is None:
                seconds, micros = client.time()
                expiry = seconds * 1000 + micros // 1000 + client.pttl(key)
            owner_of(target, key).command("RESTORE", key, expiry, payload, "REPLACE", "ABSTTL", db=db)
            copied += 1
    return copied


def assert_equal(result: Result, keys: int) -> None:
    result.expect(EQUAL)
    counts = result.json["compare"]
    assert counts["keys"] == counts["equal"] == keys
    assert all(counts[kind] == 0 for kind in COUNTS) and not counts["differences"]


# One key per type, small and large; each plant changes the target and names what must be found.
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


PLANTS: Dict[str, Tuple[str, str, List[Command]]] = {
    "key missing": ("missing", "string", [("DEL", "string")]),
    "key extra": ("extra", "nobody", [("SET", "nobody", "1")]),
    "type": ("type", "string", [("DEL", "string"), ("RPUSH", "string", "value"), ("PEXPIREAT", "string", HOURS_AWAY)]),
    "expiry off by a second": ("ttl", "string", [("PEXPIREAT", "string", HOURS_AWAY + 1000)]),
    "expiry gone": ("ttl", "string", [("PERSIST", "string")]),
    "expiry new": ("ttl", "hash:small", [("PEXPIREAT", "hash:small", HOURS_AWAY)]),
    "byte": ("value", "string", [("SETRANGE", "string", 2, "L")]),
    "byte in a large string": ("value", "string:large", [("SETRANGE", "string:large", 290_000, "L")]),
    "length": ("value", "empty", [("APPEND", "empty", "x")]),
    "order of a list": ("value", "list:small", [("LMOVE", "list:small", "list:small", "LEFT", "RIGHT")]),
    "element of a large list": ("value", "list:large", [("LSET", "list:large", 2500, "other")]),
    "member of a set": ("value", "set:small", [("SREM", "set:small", "member 1"), ("SADD", "set:small", "other")]),
    "member of a large set": ("value", "set:large", [("SREM", "set:large", "member 7")]),
    "field": ("value", "hash:small", [("HSET", "hash:small", "field 1", "other")]),
    "field of a large hash": ("value", "hash:large", [("HDEL", "hash:large", "field 7"), ("HSET", "hash:large", "x", "y")]),
    "score": ("value", "zset:small", [("ZINCRBY", "zset:small", "0.000001", "member 1")]),
    "score in a large one": ("value", "zset:large", [("ZADD", "zset:large", 99999, "member 7")]),
    "hyperloglog": ("value", "hyperloglog", [("PFADD", "hyperloglog", *[f"more {i}" for i in range(100)])]),
    "stream entry": ("value", "stream:large", [("XDEL", "stream:large", "7-1")]),
    "last id": ("value", "stream:large", [("XSETID", "stream:large", "99999-1")]),
    "group": ("value", "stream:small", [("XGROUP", "CREATE", "stream:small", "more", "0")]),
    "position of a group": ("value", "stream:small", [("XGROUP", "SETID", "stream:small", "readers", "1-1")]),
    "consumer": ("value", "stream:small", [("XGROUP", "CREATECONSUMER", "stream:small", "readers", "two")]),
    "owner of a pending entry": ("value", "stream:small", [("XCLAIM", "stream:small", "readers", "two", 0, "1-1", "JUSTID")]),
    "acknowledged entry": ("value", "stream:small", [("XACK", "stream:small", "readers", "1-1")]),
}


@pytest.mark.parametrize("plant", list(PLANTS))
def test_finds_what_was_planted(source: Server, target: Server, plant: str) -> None:
    fill(source)
    keys = copy(source, target)
    assert_equal(compare(source, target), keys)
    kind, key, commands = PLANTS[plant]
    for command in commands:
        target.command(*command)
    full = compare(source, target).expect(DIFFERENT)
    assert found(full) == [(kind, key)]
    assert full.json["compare"][kind] == 1
    quick = compare(source, target, "--quick")
    assert found(quick) == ([] if kind == "value" else [(kind, key)])
    assert quick.status == (EQUAL if kind == "value" else DIFFERENT)


SHAPES = [("standalone", "standalone"), ("standalone", "cluster"), ("cluster", "standalone"), ("cluster", "cluster")]


@pytest.mark.parametrize("shapes", SHAPES, ids=["-".join(pair) for pair in SHAPES])
@pytest.mark.parametrize("profile", ["plain", "tls", "elasticache"])
def test_pairings(deployments: Deployments, shapes: Tuple[str, str], profile: str) -> None:
    source, target = (deployments.get(role, shape, profile) for role, shape in zip(("source", "target"), shapes))
    data.load(source, data.mixed(3, 1000))
    keys = copy(source, target)
    assert_equal(compare(source, target), keys)
    assert_equal(compare(source, target, "--quick"), keys)
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
    """Encodings, and what a version prints, differ; what a client reads does not."""
    source, target = matrix[older], matrix[newer]
    source.flush()
    target.flush()
    data.load(source, data.mixed(4, 600, kinds=data.kinds_of(source.binary)))
    keys = copy(source, target)
    assert_equal(compare(source, target), keys)
    target.command("SADD", "new", "1")
    assert found(compare(source, target)) == [("extra", "new")]


@pytest.mark.matrix
@pytest.mark.parametrize("name", ["redis-8.0", "valkey-9.1"])
def test_field_expiry(matrix: Dict[str, Server], source: Server, name: str) -> None:
    one = matrix[name]
    one.flush()
    for db in (0, 1):
        one.command("HSET", "hash", *[word for i in range(2000) for word in (f"field {i}", "x")], db=db)
        one.command("HPEXPIREAT", "hash", HOURS_AWAY, "FIELDS", 2, "field 1", "field 1999", db=db)
    assert_equal(compare(one.url(db=0), one.url(db=1)), 1)
    one.command("HPEXPIREAT", "hash", HOURS_AWAY + 1, "FIELDS", 1, "field 1999", db=1)
    assert found(compare(one.url(db=0), one.url(db=1))) == [("value", "hash")]
    # A server that knows no expiry of fields has none.
    source.command("HSET", "hash", *[word for i in range(2000) for word in (f"field {i}", "x")])
    assert found(compare(one, source)) == [("value", "hash")]
    one.command("HPERSIST", "hash", "FIELDS", 2, "field 1", "field 1999")
    assert_equal(compare(one, source), 1)


@pytest.mark.matrix
def test_vector_sets(matrix: Dict[str, Server]) -> None:
    """Their graph is made by chance; members, vectors and attributes are what counts."""
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


def test_databases(source: Server, target: Server) -> None:
    for db in (0, 3, 7):
        source.command("SET", f"in {db}", db, db=db)
        target.command("SET", f"in {db}", db, db=db)
    assert_equal(compare(source, target, "--databases", "all"), 3)
    target.command("SWAPDB", 3, 7)
    swapped = compare(source, target, "--databases", "all").expect(DIFFERENT)
    assert sorted((one["kind"], one["db"]) for one in swapped.json["compare"]["differences"]) == [
        ("extra", 3), ("extra", 7), ("missing", 3), ("missing", 7)]
    assert_equal(compare(source.url(db=3), target.url(db=7)), 1)
    target.command("SET", "lonely", 1, db=5)
    assert ("extra", "lonely") in found(compare(source, target, "--databases", "all"))


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
    shown = longhaul("compare", "--show-diffs", source.endpoint, target.endpoint).expect(DIFFERENT)
    assert "missing on the target" in shown.stdout
    assert r'"odd \x00\xff\n\"key\""' in shown.stdout
    hidden = longhaul("compare", source.endpoint, target.endpoint).expect(DIFFERENT)
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
        for _ in range(3):
            result = compare(source, target, "--scan-count", "50", "--sleep", "5ms").expect(DIFFERENT)
            assert found(result) == [("extra", "nobody")] and result.json["compare"]["equal"] == keys
    assert killer.kills > 0


def test_slots_that_move(deployments: Deployments) -> None:
    """A scan can miss keys that move to a node it has passed: they are looked for again, and counted once."""
    source, target = deployments.get("source", "cluster"), deployments.get("target", "standalone")
    data.load(source, data.mixed(7, 2000))
    keys = copy(source, target)
    with Running(compare_args(source, target, "--scan-count", "20", "--sleep", "20ms")) as running:
        for slot in range(0, 1000, 10):
            source.migrate(slot, source.primaries()[1])
        result = running.wait(60)
    for slot in range(0, 1000, 10):
        source.migrate(slot, source.primaries()[0])
    assert_equal(result, keys)


def test_writes_meanwhile_are_no_difference(source: Server, target: Server) -> None:
    """Keys that differ for a moment are looked at again."""
    for side in (source, target):
        data.load(side, data.plain(8, 3000))
    stop = threading.Event()

    def write() -> None:
        clients, i = (source.admin(), target.admin()), 0
        while not stop.is_set():
            for client in clients:
                client.set(f"hot:{i % 50}", i)
                stop.wait(0.002)
            i += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        wait.until(lambda: target.command("EXISTS", "hot:49") == 1, "all hot keys", 10)
        for _ in range(3):
            compare(source, target).expect(EQUAL)
    finally:
        stop.set()
        writer.join()


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


def test_document(source: Server, target: Server) -> None:
    source.command("SET", "key", "1")
    result = compare(source, target).expect(DIFFERENT)
    document = json.loads(result.stdout)
    assert document["command"] == "compare" and document["result"] == "done" and document["error"] is None
    assert set(document["compare"]) >= {"mode", "keys", "equal", *COUNTS, "skipped", "rechecked", "differences"}
    assert document["compare"]["differences"] == [{"key": "key", "db": 0, "kind": "missing", "detail": "source string"}]
    assert document["source"]["server"] in ("redis", "valkey") and document["source"]["primaries"] == 1
