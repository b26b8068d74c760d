"""The proof that `compare` promises: equal data of every type; each kind of difference, found as exactly that one in every
mode that promises it; repaired, and nothing is found. One difference at a time on one pair of servers; all of them at
once, each in a key of its own, on every pair of versions and shapes."""
from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any, Dict, Iterator, List, Sequence, Set, Tuple

import pytest
from conftest import Deployments
from harness import cluster, data, plants, run, wait
from harness.plants import HOURS_AWAY, PLANTS
from harness.run import DIFFERENT, EQUAL, TROUBLE, Result
from harness.servers import Fleet, Options, Server
from harness.wire import encode, slot_of
from test_compare import assert_equal, compare, copy, fill, found, owner_of

MODES = {"full": (), "quick": ("--quick",), "digest": ("--digest",)}
ONE_ROUND = ("--rounds", 1, "--interval", "10ms")
REPAIR = ("--repair", "--delete-extra", "--max-delete", 100)
SHAPES = [("standalone", "cluster"), ("cluster", "standalone"), ("cluster", "cluster")]


def expected(names: Sequence[str], mode: str) -> Set[Tuple[str, str]]:
    return {(PLANTS[name].kind, name) for name in names if mode != "quick" or PLANTS[name].kind != "value"}


def assert_found(source: Any, target: Any, names: Sequence[str], **modes: Sequence[object]) -> None:
    """Every mode finds these differences and no other, or nothing where it does not look."""
    for mode, options in (modes or MODES).items():
        result = compare(source, target, *options, *ONE_ROUND)
        wanted = expected(names, mode)
        assert set(found(result)) == wanted and len(found(result)) == len(wanted), f"{mode}\n{result}"
        result.expect(DIFFERENT if wanted else EQUAL)


def repair(source: Any, target: Any, names: Sequence[str]) -> None:
    extra = sum(PLANTS[name].kind == "extra" for name in names)
    done = compare(source, target, *REPAIR, *ONE_ROUND).expect(EQUAL).json["repair"]
    assert (done["copied"], done["deleted"], done["given_up"]) == (len(names) - extra, extra, 0)
    assert not done["compare"]["differences"]


def load(source: Any, target: Any, names: Sequence[str], have: Sequence[str]) -> int:
    """Both sides, by the same commands; the number of keys."""
    items = list(plants.items(names, have))
    for side in (source, target):
        side.flush()
        data.load(side, items)
    return len(items)


def find_and_repair(source: Any, target: Any, names: Sequence[str], have: Sequence[str] = ()) -> None:
    keys = load(source, target, names, have)
    for options in MODES.values():
        assert_equal(compare(source, target, *options, *ONE_ROUND), keys)
    plants.plant(target, names)
    assert_found(source, target, names)
    repair(source, target, names)
    assert_found(source, target, [])


@pytest.mark.parametrize("plant", plants.possible())
def test_found_and_repaired(source: Server, target: Server, plant: str) -> None:
    find_and_repair(source, target, [plant])


def test_a_dry_run_changes_nothing(source: Server, target: Server) -> None:
    names = plants.possible()
    load(source, target, names, ())
    plants.plant(target, names)
    dry = compare(source, target, *REPAIR, "--dry-run", *ONE_ROUND).expect(DIFFERENT).json["repair"]
    assert (dry["dry_run"], dry["copied"], dry["deleted"]) == (True, len(names) - 1, 1)
    assert_found(source, target, names)


@pytest.mark.parametrize("shapes", SHAPES, ids="-to-".join)
def test_all_at_once_on_clusters(deployments: Deployments, shapes: Tuple[str, str]) -> None:
    find_and_repair(deployments.get("source", shapes[0]), deployments.get("target", shapes[1]), plants.possible())


VERSIONS = ["redis-6.0", "installed", "redis-8.0", "valkey-8.0", "valkey-8.1", "valkey-9.1"]


@pytest.fixture(scope="module")
def twins(matrix: Dict[str, Server], session_fleet: Fleet) -> Iterator[Dict[str, Server]]:
    """A second server of each version."""
    made = {name: session_fleet.server(binary=server.binary) for name, server in matrix.items()}
    yield made
    session_fleet.end(list(made.values()))


@pytest.mark.matrix
@pytest.mark.parametrize("source", VERSIONS)
@pytest.mark.parametrize("target", VERSIONS)
def test_all_at_once_on_every_pair(matrix: Dict[str, Server], twins: Dict[str, Server], source: str, target: str) -> None:
    pair = matrix[source], twins[target]
    binaries = [side.binary for side in pair]
    find_and_repair(*pair, plants.possible(*binaries), plants.features(*binaries))


def test_swapped_databases(source: Server, target: Server) -> None:
    for db in (0, 3, 7):
        for side in (source, target):
            side.command("SET", f"in {db}", db, db=db)
    assert_equal(compare(source, target, "--databases", "all", "--digest"), 3)
    target.command("SWAPDB", 3, 7)
    for options in MODES.values():
        swapped = compare(source, target, "--databases", "all", *options).expect(DIFFERENT)
        assert sorted((one["kind"], one["db"]) for one in swapped.json["compare"]["differences"]) == [
            ("extra", 3), ("extra", 7), ("missing", 3), ("missing", 7)]
    assert_equal(compare(source.url(db=3), target.url(db=7)), 1)
    compare(source, target, "--databases", "all", *REPAIR).expect(EQUAL)
    assert target.command("GET", "in 3", db=3) in (b"3", "3") and target.command("DBSIZE", db=7) == 1
    target.command("SET", "lonely", 1, db=5)
    assert found(compare(source, target, "--databases", "all")) == [("extra", "lonely")]


# ---- a repair must not do these ----


def test_extra_keys_stay_without_being_asked(source: Server, target: Server) -> None:
    fill(source)
    copy(source, target)
    target.command("SET", "nobody", "1")
    kept = compare(source, target, "--repair").expect(DIFFERENT)
    assert kept.json["repair"]["deleted"] == 0 and target.command("EXISTS", "nobody") == 1


def test_an_emptied_source_does_not_empty_the_target(source: Server, target: Server) -> None:
    data.load(target, data.plain(32, 500))
    source.command("SET", "only", "1")
    keys = target.command("DBSIZE")
    held = compare(source, target, "--repair", "--delete-extra").expect(DIFFERENT)
    assert held.json["repair"]["deletions_held"] == keys and held.json["repair"]["deleted"] == 0
    assert "--max-delete" in held.stderr and target.command("DBSIZE") == keys + 1
    compare(source, target, "--repair", "--delete-extra", "--max-delete", 100).expect(EQUAL)
    assert target.command("DBSIZE") == 1


# ---- moving data, samples, lists, reports ----


@pytest.mark.parametrize("mode", ["full", "digest"])
def test_constant_writes(source: Server, target: Server, mode: str) -> None:
    """Keys that are written on both sides one after the other differ for a moment, and are looked at again."""
    for side in (source, target):
        data.load(side, data.plain(33, 3000, expiring=0))  # an expiry would be drawn anew for each side
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
            compare(source, target, *MODES[mode], "--interval", "500ms").expect(EQUAL)
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
    result = compare(source, target, "--key-file", names).expect(DIFFERENT)
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
    compare(source, target, "--report", file).expect(DIFFERENT)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert {line["key"] for line in lines[:-1]} == {f"key {i}" for i in range(1500)}
    assert all(line["record"] == "difference" and line["kind"] == "missing" for line in lines[:-1])
    assert lines[-1]["record"] == "summary" and lines[-1]["compare"]["missing"] == 1500
    assert lines[-1]["exit_status"] == DIFFERENT and not Path(f"{file}.part").exists()
    compare(source, target, "--report", tmp_path / "no" / "such").expect(TROUBLE)


PARTS = {
    "byte": ('from byte 2', '"vaLue"'), "byte in a large string": ("from byte 290000",),
    "order of a list": ("element 0", '"element 0"', '"element 2"'), "element of a large list": ("element 2500", '"other"'),
    "member of a set": ('"element 1" only on the source', '"other" only on the target'),
    "field": ('field "field 1"', '"value 1"', '"other"'), "score": ('member "element 1"', "1.1"),
    "stream entry": ('"7-1"',), "group": ('group "more" only on the target',),
    "consumer": ('consumer "three" only on the target',),
    "owner of a pending entry": ('"1-1" is pending for "one" on the source, for "two" on the target',),
}


def test_says_which_parts_differ(source: Server, target: Server) -> None:
    load(source, target, list(PARTS), ())
    plants.plant(target, list(PARTS))
    differences = compare(source, target, "--show-diffs").expect(DIFFERENT).json["compare"]["differences"]
    parts = {one["key"]: one["parts"] for one in differences}
    assert set(parts) == set(PARTS)
    for name, words in PARTS.items():
        assert all(word in parts[name] for word in words), parts[name]


def test_keys_that_the_user_may_not_read(fleet: Fleet, source: Server) -> None:
    """They are counted once, and the rest is compared."""
    target = fleet.server(Options(users={"app": "on >pass-of-app ~allowed:* &* +@all"}))
    for side in (source, target):
        side.command("MSET", "allowed:1", "x", "denied:1", "x", "denied:2", "y")
    for pair in ((source, target, "--target-user", "app", "--target-pass", "pass-of-app"),
                 (target, source, "--source-user", "app", "--source-pass", "pass-of-app")):
        for options in MODES.values():
            counts = compare(*pair, *options).expect(DIFFERENT).json["compare"]
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
    assert found(compare(source, target, *user)) == [("value", "hash:small")]


# ---- how many bytes --digest moves ----

RECORD_BYTES = 1024


def net_bytes(side: Any) -> int:
    stats = [server.admin().info("stats") for server in side.primaries()]
    return sum(each["total_net_input_bytes"] + each["total_net_output_bytes"] for each in stats)


def load_records(side: Any, count: int) -> None:
    """Of 1 KB, half of them with expiry."""
    owners = {server: server.wire() for server in side.primaries()}
    owner_of_slot = side.slots() if side.is_cluster else [side] * 16384
    for first in range(0, count, 10_000):
        commands: Dict[Server, List[bytes]] = {server: [] for server in owners}
        for i in range(first, min(first + 10_000, count)):
            key, value = b"record:%012d" % i, (b"%010d" % i) * (RECORD_BYTES // 10) + b"abcd"
            commands[owner_of_slot[slot_of(key)]] += [encode(("SET", key, value))] + (
                [encode(("PEXPIREAT", key, HOURS_AWAY + i))] if i % 2 else [])
        for server, wire in owners.items():
            wire.send_encoded(commands[server])
    for wire in owners.values():
        wire.close()


def assert_few_bytes(source: Any, target: Any, count: int) -> Result:
    """By digest, no more than 5 % of the values' bytes cross the target's connections."""
    for side in (source, target):
        load_records(side, count)
    before = net_bytes(target)
    result = compare(source, target, "--digest", timeout=300).expect(EQUAL)
    share = (net_bytes(target) - before) / (count * RECORD_BYTES)
    assert result.json["compare"]["equal"] == count
    assert share <= 0.05, f"{share:.2%} of the values"
    return result


@pytest.mark.parametrize("shapes", [("standalone", "standalone"), *SHAPES], ids="-to-".join)
def test_digest_moves_few_bytes(deployments: Deployments, shapes: Tuple[str, str]) -> None:
    assert_few_bytes(deployments.get("source", shapes[0]), deployments.get("target", shapes[1]), 10_000)


@pytest.mark.matrix
@pytest.mark.parametrize("version", VERSIONS)
def test_digest_on_a_cluster_of_every_version(matrix: Dict[str, Server], fleet: Fleet, version: str) -> None:
    """Scripts take the keys of many slots, which they have not declared."""
    source, target = matrix["installed"], cluster.build(fleet, 2, 0, binary=matrix[version].binary)
    source.flush()
    assert_few_bytes(source, target, 4000)
    owner_of(target, b"record:000000000777").command("APPEND", b"record:000000000777", "x")
    owner_of(target, b"nobody").command("SET", "nobody", "x")
    assert sorted(found(compare(source, target, "--digest"))) == [("extra", "nobody"), ("value", "record:000000000777")]


@pytest.mark.million
@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("shape", ["standalone", "cluster"])
def test_digest_of_a_million_keys(deployments: Deployments, shape: str) -> None:
    source, target = deployments.get("source", shape), deployments.get("target", shape)
    result = assert_few_bytes(source, target, 1_000_000)
    assert run.is_sanitized() or result.peak_kib < 64 * 1024
    for side in (source, target):
        side.flush()
