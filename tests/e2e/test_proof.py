"""The proof that `compare` promises: equal data of every type, one planted difference at a time, found as exactly that
one in every mode that promises it; repaired, nothing is found. Several pairs of versions; all with the marker `long`."""
from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest
from conftest import Deployments
from harness import data, run, wait
from harness.run import DIFFERENT, EQUAL, TROUBLE, Result
from harness.servers import Fleet, Options, Server
from test_compare import HOURS_AWAY, PLANTS, assert_equal, compare, copy, fill, found, owner_of

MODES = {"full": (), "quick": ("--quick",), "digest": ("--digest",)}
SOON = ("--interval", "50ms")


def modes_that_find(kind: str) -> List[str]:
    return ["full", "digest"] if kind == "value" else list(MODES)


def find_and_repair(source: Any, target: Any, kind: str, key: str) -> None:
    """Every mode finds that difference and no other, or nothing where it does not look; a repair removes it."""
    for mode, options in MODES.items():
        expected = [(kind, key)] if mode in modes_that_find(kind) else []
        assert found(compare(source, target, *options, *SOON)) == expected, mode
    dry = compare(source, target, "--repair", "--delete-extra", "--max-delete", 100, "--dry-run", *SOON).expect(DIFFERENT)
    done = "deleted" if kind == "extra" else "copied"
    assert dry.json["repair"]["dry_run"] and dry.json["repair"][done] == 1
    assert found(compare(source, target, *SOON)) == [(kind, key)]
    repaired = compare(source, target, "--repair", "--delete-extra", "--max-delete", 100, *SOON).expect(EQUAL).json["repair"]
    assert repaired[done] == 1 and repaired["copied"] + repaired["deleted"] == 1 and repaired["given_up"] == 0
    assert not repaired["compare"]["differences"]
    for options in MODES.values():
        compare(source, target, *options, *SOON).expect(EQUAL)


@pytest.mark.parametrize("plant", list(PLANTS))
def test_found_and_repaired(source: Server, target: Server, plant: str) -> None:
    fill(source)
    keys = copy(source, target)
    for options in MODES.values():
        assert_equal(compare(source, target, *options), keys)
    kind, key, commands = PLANTS[plant]
    for command in commands:
        target.command(*command)
    find_and_repair(source, target, kind, key)


UPWARDS = {"redis-6.0": ["redis-6.0", "redis-8.0", "valkey-8.0", "valkey-8.1", "valkey-9.1"], "redis-8.0": ["redis-8.0"],
           "valkey-8.0": ["valkey-8.0", "valkey-8.1", "valkey-9.1"], "valkey-8.1": ["valkey-8.1", "valkey-9.1"],
           "valkey-9.1": ["valkey-9.1"]}
PAIRS = [(older, newer) for older, newers in UPWARDS.items() for newer in newers]
SOME = [("redis-6.0", "valkey-9.1"), ("valkey-8.0", "valkey-9.1")]


def fill_for(server: Server) -> None:
    """As fill(), for versions that lack its commands."""
    one = server.command
    one("SET", "string", "value")
    one("PEXPIREAT", "string", HOURS_AWAY)
    one("SET", "empty", "")
    for n, size in ((3, "small"), (700, "large")):
        one("RPUSH", f"list:{size}", *[f"element {i}" for i in range(n)])
        one("SADD", f"set:{size}", *[f"member {i}" for i in range(n)])
        one("HSET", f"hash:{size}", *[word for i in range(n) for word in (f"field {i}", f"value {i}")])
        one("ZADD", f"zset:{size}", *[word for i in range(n) for word in (i + 0.1, f"member {i}")])
        for i in range(n):
            one("XADD", f"stream:{size}", f"{i + 1}-1", "field", f"value {i}")
    one("XGROUP", "CREATE", "stream:small", "readers", "0")
    one("XREADGROUP", "GROUP", "readers", "one", "COUNT", "2", "STREAMS", "stream:small", ">")


FOR_ALL_VERSIONS = ["key missing", "key extra", "type", "expiry off by a second", "byte", "element of a large list",
                    "member of a set", "field", "score", "owner of a pending entry"]


def prove_pair(source: Server, target: Server, plants: List[str]) -> None:
    for plant in plants:
        source.flush()
        target.flush()
        fill_for(source)
        keys = copy(source, target)
        for options in MODES.values():
            assert_equal(compare(source, target, *options), keys)
        kind, key, commands = PLANTS[plant]
        if plant == "element of a large list":
            commands = [("LSET", "list:large", 650, "other")]
        for command in commands:
            target.command(*command)
        find_and_repair(source, target, kind, key)


@pytest.mark.matrix
@pytest.mark.parametrize("pair", SOME, ids=["-to-".join(pair) for pair in SOME])
def test_pair_of_versions(matrix: Dict[str, Server], pair: Tuple[str, str]) -> None:
    prove_pair(matrix[pair[0]], matrix[pair[1]], FOR_ALL_VERSIONS[::3])


@pytest.mark.matrix
@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("pair", PAIRS, ids=["-to-".join(pair) for pair in PAIRS])
def test_every_pair_of_versions(matrix: Dict[str, Server], fleet: Fleet, pair: Tuple[str, str]) -> None:
    source = matrix[pair[0]]
    target = fleet.server(binary=source.binary) if pair[0] == pair[1] else matrix[pair[1]]
    prove_pair(source, target, FOR_ALL_VERSIONS)


@pytest.mark.matrix
@pytest.mark.parametrize("name", ["redis-8.0", "valkey-9.1"])
@pytest.mark.parametrize("fields", [3, 2000])
def test_expiry_of_a_field(matrix: Dict[str, Server], name: str, fields: int) -> None:
    one = matrix[name]
    one.flush()
    words = [word for i in range(fields) for word in (f"field {i}", "x")]
    for db in (0, 1):
        one.command("HSET", "hash", *words, db=db)
        one.command("HPEXPIREAT", "hash", HOURS_AWAY, "FIELDS", 1, "field 1", db=db)
    one.command("HPEXPIREAT", "hash", HOURS_AWAY + 1000, "FIELDS", 1, "field 1", db=1)
    find_and_repair(one.url(db=0), one.url(db=1), "value", "hash")


@pytest.mark.parametrize("shapes", [("standalone", "cluster"), ("cluster", "standalone"), ("cluster", "cluster")], ids="-".join)
def test_clusters(deployments: Deployments, shapes: Tuple[str, str]) -> None:
    source, target = (deployments.get(role, shape) for role, shape in zip(("source", "target"), shapes))
    data.load(source, data.mixed(31, 1500))
    source_keys = copy(source, target)
    assert_equal(compare(source, target, "--digest"), source_keys)
    assert_equal(compare(source, target), source_keys)
    for i in range(40):
        owner_of(target, b"extra:%d" % i).command("SET", f"extra:{i}", "x")
        owner_of(source, b"missing:%d" % i).command("HSET", f"missing:{i}", "f", "x")
    for options in MODES.values():
        counts = compare(source, target, *options, *SOON).expect(DIFFERENT).json["compare"]
        assert (counts["missing"], counts["extra"], counts["value"]) == (40, 40, 0)
    repaired = compare(source, target, "--repair", "--delete-extra", *SOON).expect(EQUAL).json["repair"]
    assert (repaired["copied"], repaired["deleted"]) == (40, 40)
    assert_equal(compare(source, target, "--digest"), source_keys + 40)


def test_swapped_databases(source: Server, target: Server) -> None:
    for db in (0, 3, 7):
        for side in (source, target):
            side.command("SET", f"in {db}", db, db=db)
    assert_equal(compare(source, target, "--databases", "all", "--digest"), 3)
    target.command("SWAPDB", 3, 7)
    for options in MODES.values():
        swapped = compare(source, target, "--databases", "all", *options, *SOON).expect(DIFFERENT)
        assert sorted((one["kind"], one["db"]) for one in swapped.json["compare"]["differences"]) == [
            ("extra", 3), ("extra", 7), ("missing", 3), ("missing", 7)]
    compare(source, target, "--databases", "all", "--repair", "--delete-extra", "--max-delete", 100, *SOON).expect(EQUAL)
    assert target.command("GET", "in 3", db=3) in (b"3", "3") and target.command("DBSIZE", db=7) == 1


# ---- what a repair must not do ----


def test_extra_keys_stay_without_being_asked(source: Server, target: Server) -> None:
    fill(source)
    copy(source, target)
    target.command("SET", "nobody", "1")
    kept = compare(source, target, "--repair", *SOON).expect(DIFFERENT)
    assert kept.json["repair"]["deleted"] == 0 and target.command("EXISTS", "nobody") == 1


def test_an_emptied_source_does_not_empty_the_target(source: Server, target: Server) -> None:
    data.load(target, data.plain(32, 500))
    source.command("SET", "only", "1")
    keys = target.command("DBSIZE")
    held = compare(source, target, "--repair", "--delete-extra", *SOON).expect(DIFFERENT)
    assert held.json["repair"]["deletions_held"] == keys and held.json["repair"]["deleted"] == 0
    assert "--max-delete" in held.stderr and target.command("DBSIZE") == keys + 1
    compare(source, target, "--repair", "--delete-extra", "--max-delete", 100, *SOON).expect(EQUAL)
    assert target.command("DBSIZE") == 1


# ---- moving data, samples, lists, reports ----


@pytest.mark.parametrize("mode", ["full", "digest"])
def test_constant_writes(source: Server, target: Server, mode: str) -> None:
    """Keys that are written on both sides one after the other differ for a moment, and are looked at again."""
    for side in (source, target):
        data.load(side, data.plain(33, 3000))
    stop = threading.Event()

    def write() -> None:
        clients, i = (source.admin(), target.admin()), 0
        while not stop.is_set():
            for client in clients:
                client.set(f"hot:{i % 40}", i)
                client.hset(f"warm:{i % 40}", "field", i)
                stop.wait(0.001)
            i += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        wait.until(lambda: target.command("EXISTS", "warm:39") == 1, "all hot keys", 20)
        for _ in range(3):
            compare(source, target, *MODES[mode], "--interval", "300ms").expect(EQUAL)
    finally:
        stop.set()
        writer.join()


def test_key_file(source: Server, target: Server, tmp_path: Path) -> None:
    for key in (b"same", b"other", b"odd \x00\n\\", b"missing", b"unlisted"):
        source.command("SET", key, "1")
    for key in (b"same", b"extra", b"unlisted too"):
        target.command("SET", key, "1")
    target.command("SET", "other", "2")
    names = tmp_path / "names"
    names.write_text("same\nother\nmissing\nextra\nnowhere\n\nodd \\x00\\n\\\\\n")
    result = compare(source, target, "--key-file", names, *SOON).expect(DIFFERENT)
    odd = "odd \x00\n\\"
    assert sorted(found(result)) == [("extra", "extra"), ("missing", "missing"), ("missing", odd), ("value", "other")]
    names.write_text("bad \\q\n")
    assert "line 1" in compare(source, target, "--key-file", names).expect(TROUBLE).error_line
    assert "names-that-are-not" in compare(source, target, "--key-file", "names-that-are-not").expect(TROUBLE).error_line


def test_sample(source: Server, target: Server) -> None:
    keys = data.load(source, data.plain(34, 4000)) or source.command("DBSIZE")
    copy(source, target)
    result = compare(source, target, "--sample", 1000, "--seed", 7).expect(EQUAL)
    counts = result.json["compare"]
    assert 800 < counts["keys"] < 1200 and counts["sample"]["of_keys"] == source.command("DBSIZE"), keys
    assert 0.002 < counts["sample"]["different_at_most"] < 0.004 and counts["sample"]["different_at_least"] == 0
    assert compare(source, target, "--sample", 1000, "--seed", 7).json["compare"]["keys"] == counts["keys"]
    whole = compare(source, target, "--sample", 100000).json["compare"]
    assert whole["keys"] == source.command("DBSIZE") and whole["sample"]["different_at_most"] == 0


def test_report(source: Server, target: Server, tmp_path: Path) -> None:
    for i in range(1500):
        source.command("SET", f"key {i}", "1")
    file = tmp_path / "report.jsonl"
    compare(source, target, "--report", file, *SOON).expect(DIFFERENT)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert {line["key"] for line in lines[:-1]} == {f"key {i}" for i in range(1500)}
    assert all(line["record"] == "difference" and line["kind"] == "missing" for line in lines[:-1])
    assert lines[-1]["record"] == "summary" and lines[-1]["compare"]["missing"] == 1500
    assert lines[-1]["exit_status"] == DIFFERENT and not Path(f"{file}.part").exists()
    compare(source, target, "--report", tmp_path / "no" / "such", *SOON).expect(TROUBLE)


PARTS = {
    "byte": ('from byte 2', '"vaLue"'), "byte in a large string": ("from byte 290000",),
    "order of a list": ("element 0", '"element 0"', '"element 1"'), "element of a large list": ("element 2500", '"other"'),
    "member of a set": ('"member 1" only on the source', '"other" only on the target'),
    "field": ('field "field 1"', '"value 1"', '"other"'), "score": ('member "member 1"', "1.1"),
    "stream entry": ('"7-1"',), "group": ('group "more" only on the target',),
    "consumer": ('consumer "two" only on the target',),
    "owner of a pending entry": ('"1-1" is pending for "one" on the source, for "two" on the target',),
}


@pytest.mark.parametrize("plant", list(PARTS))
def test_says_which_parts_differ(source: Server, target: Server, plant: str) -> None:
    fill(source)
    copy(source, target)
    _, _, commands = PLANTS[plant]
    for command in commands:
        target.command(*command)
    [one] = compare(source, target, "--show-diffs", *SOON).expect(DIFFERENT).json["compare"]["differences"]
    assert all(word in one["parts"] for word in PARTS[plant]), one["parts"]


def test_keys_that_the_user_may_not_read(fleet: Fleet, source: Server) -> None:
    """They are counted once, and the rest is compared."""
    target = fleet.server(Options(users={"app": "on >pass-of-app ~allowed:* &* +@all"}))
    for side in (source, target):
        side.command("MSET", "allowed:1", "x", "denied:1", "x", "denied:2", "y")
    for pair in ((source, target, "--target-user", "app", "--target-pass", "pass-of-app"),
                 (target, source, "--source-user", "app", "--source-pass", "pass-of-app")):
        for options in MODES.values():
            counts = compare(*pair, *options, *SOON).expect(DIFFERENT).json["compare"]
            assert (counts["equal"], counts["unreadable"], counts["keys"]) == (1, 2, 3)


def test_without_scripts_it_says_so(fleet: Fleet, source: Server) -> None:
    target = fleet.server(Options(users={"app": "on >pass-of-app ~* &* +@all -@scripting"}))
    fill(source)
    keys = copy(source, target)
    user = ("--target-user", "app", "--target-pass", "pass-of-app", "--digest")
    plain = compare(source, target, *user)
    assert_equal(plain, keys)
    assert "without scripts" in plain.stderr
    target.command("HSET", "hash:small", "field 1", "other")
    assert found(compare(source, target, *user, *SOON)) == [("value", "hash:small")]


# ---- how many bytes --digest moves ----


def net_bytes(server: Server) -> int:
    stats = server.admin().info("stats")
    return stats["total_net_input_bytes"] + stats["total_net_output_bytes"]


def digest_bytes(source: Server, target: Server, count: int) -> Tuple[Result, float]:
    """The share of the values' bytes that a comparison by digest moves over the target's connections."""
    size = 1024
    for side in (source, target):
        client = side.admin()
        for first in range(0, count, 2000):
            pipe = client.pipeline(transaction=False)
            for i in range(first, min(first + 2000, count)):
                value = (b"%010d" % i) * (size // 10) + b"abcd"
                pipe.execute_command("SET", "record:%012d" % i, value, *(("PXAT", HOURS_AWAY + i) if i % 2 else ()))
            pipe.execute()
    before = net_bytes(target)
    result = compare(source, target, "--digest", timeout=300).expect(EQUAL)
    return result, (net_bytes(target) - before) / (count * size)


def test_digest_moves_few_bytes(source: Server, target: Server) -> None:
    result, share = digest_bytes(source, target, 20_000)
    assert result.json["compare"]["equal"] == 20_000
    assert share <= 0.05, f"{share:.2%} of the values"


@pytest.mark.million
@pytest.mark.long
@pytest.mark.timeout(900)
def test_digest_of_a_million_keys(fleet: Fleet) -> None:
    result, share = digest_bytes(fleet.server(), fleet.server(), 1_000_000)
    assert result.json["compare"]["equal"] == 1_000_000
    assert share <= 0.05, f"{share:.2%} of the values"
    assert run.is_sanitized() or result.peak_kib < 64 * 1024
