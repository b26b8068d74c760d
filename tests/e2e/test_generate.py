"""generate: the keys that were asked for are there, the same for the same seed, even if connections break."""
from __future__ import annotations

from collections import Counter
from typing import Set

import pytest

from conftest import Deployments
from harness import cluster, oracle, wait
from harness.faults import Killer
from harness.proxy import Proxy
from harness.run import EQUAL, TROUBLE, Running, longhaul
from harness.servers import Fleet, Options, Server


def generate(side: object, *args: object, **kwargs: object) -> "object":
    return longhaul("generate", "--output", "json", "--progress", "none", *args, side.endpoint,  # type: ignore[attr-defined]
                    **kwargs)  # type: ignore[arg-type]


def same(one: object, other: object, at_least: int) -> None:
    """Equal by the servers' own digests. When a consumer was seen last is the server's own time."""
    comparison = oracle.compare(one, other)  # type: ignore[arg-type]
    assert {each.kind for each in comparison.found} <= {"group"}, comparison.found[:5]
    assert comparison.keys >= at_least


def encodings(server: Server) -> Set[bytes]:
    found = set()
    for key in server.admin().scan_iter(count=1000):
        found.add(server.command("TYPE", key) + b" " + server.command("OBJECT", "ENCODING", key))
    return found


def test_every_type_and_encoding(source: Server) -> None:
    said = generate(source, "--keys", 3000).expect(EQUAL).json
    assert said["keys"] == 3000 and set(said["types"].values()) == {300} and len(said["types"]) == 10
    assert encodings(source) >= {b"string int", b"string embstr", b"string raw", b"list quicklist", b"hash listpack",
                                 b"hash hashtable", b"set intset", b"set hashtable", b"zset listpack", b"zset skiplist",
                                 b"stream stream"}
    groups = [source.admin().xinfo_groups(key) for key in source.admin().scan_iter("gen:stream:*")]
    pending = sum(group["pending"] for each in groups for group in each)
    assert sum(map(len, groups)) > 100 and pending > 100


def test_sizes_and_lengths(source: Server) -> None:
    generate(source, "--keys", 300, "--type", "string", "--value-size", "10-2KB").expect(EQUAL)
    sizes = [source.command("STRLEN", key) for key in source.admin().scan_iter(count=1000)]
    assert min(sizes) >= 10 and max(sizes) <= 2048 and max(sizes) > 1500 and len(set(sizes)) > 100
    source.flush()
    generate(source, "--keys", 20, "--type", "hash", "--elements", "5000", "--value-size", "100").expect(EQUAL)
    assert {source.command("HLEN", key) for key in source.admin().scan_iter()} == {5000}


def test_a_value_larger_than_every_buffer(source: Server) -> None:
    result = generate(source, "--keys", 3, "--type", "string", "--value-size", "20MB").expect(EQUAL)
    assert {source.command("STRLEN", key) for key in source.admin().scan_iter()} == {20 << 20}
    assert result.peak_kib < 120 << 10


def test_expiry_is_from_now(source: Server) -> None:
    generate(source, "--keys", 500, "--expire", "1h-2h").expect(EQUAL)
    left = [source.command("PTTL", key) for key in source.admin().scan_iter(count=1000)]
    assert len(left) == 500 and min(left) > 3500_000 and max(left) <= 7200_000


def test_names(source: Server) -> None:
    generate(source, "--keys", "11-20", "--type", "set", "--key-prefix", "my-").expect(EQUAL)
    assert set(source.admin().scan_iter()) == {b"my-set:%d" % number for number in range(11, 21)}
    source.flush()
    generate(source, "--keys", 50, "--type", "string", "--binary-keys").expect(EQUAL)
    assert all(b"\0\r\n\xff" in key for key in source.admin().scan_iter())


def test_databases(source: Server) -> None:
    generate(source, "--keys", 300, "--databases", "0,3").expect(EQUAL)
    assert oracle.count(source) == 150 and oracle.count(source, db=3) == 150
    kinds = Counter(source.command("TYPE", key, db=3) for key in source.admin(3).scan_iter(count=1000))
    assert len(kinds) == 6, "every type in each database"


def test_cluster_and_server_hold_the_same(deployments: Deployments, target: Server) -> None:
    side = deployments.get("source", "cluster")
    generate(side, "--keys", 2000, "--seed", 5).expect(EQUAL)
    generate(target, "--keys", 2000, "--seed", 5, "--pipeline", 3, "--batch", 1).expect(EQUAL)
    same(side, target, 2000)


def test_broken_connections_lose_nothing(deployments: Deployments, target: Server) -> None:
    side = deployments.get("source", "cluster")
    generate(target, "--keys", 20000, "--seed", 9).expect(EQUAL)
    with Killer([side], 0.02, 7) as killer:
        said = generate(side, "--keys", 20000, "--seed", 9, "--rate", 10000, timeout=90).expect(EQUAL).json
    assert killer.kills > 3 and said["reconnects"] > 0
    same(side, target, 20000)


def test_slots_that_move_meanwhile(fleet: Fleet, target: Server) -> None:
    side = cluster.build(fleet, 3, 0)
    generate(target, "--keys", 12000, "--seed", 3).expect(EQUAL)
    with Running(["generate", "--output", "json", "--keys", "12000", "--seed", "3", "--rate", "3000", side.endpoint]) as running:
        wait.until(lambda: oracle.count(side) > 500, "keys")
        for slot in range(0, 5400, 135):  # all of the first node
            side.migrate(slot, side.nodes[1 + slot % 2])
        result = running.wait(60).expect(EQUAL)
    assert result.json["retries"] > 0
    same(side, target, 12000)


def test_an_outage_is_waited_out(source: Server, target: Server) -> None:
    generate(target, "--keys", 3000).expect(EQUAL)
    with Proxy.before(source) as proxy, Running(["generate", "--keys", "3000", "--rate", "2000", proxy.endpoint]) as running:
        wait.until(lambda: oracle.count(source) > 300, "keys")
        proxy.refuse()
        proxy.cut()
        attempts = proxy.accepted
        wait.until(lambda: proxy.accepted > attempts, "an attempt in vain")
        proxy.refuse(False)
        running.wait(30).expect(EQUAL)
    same(source, target, 3000)


def test_an_outage_that_does_not_end(source: Server) -> None:
    with Proxy.before(source) as proxy, Running(["generate", "--keys", "100000", "--rate", "2000", "--outage-timeout", "1s",
                                                 proxy.endpoint]) as running:
        wait.until(lambda: oracle.count(source) > 300, "keys")
        proxy.refuse()
        proxy.cut()
        result = running.wait(15).expect(TROUBLE)
    assert "--outage-timeout" in result.error_line


def test_a_full_server(fleet: Fleet) -> None:
    side = fleet.server(Options(config={"maxmemory": "3mb"}))
    result = generate(side, "--keys", 100000, "--outage-timeout", "1s").expect(TROUBLE)
    assert "OOM" in result.error_line and result.json["error"]["code"] == "outage"


def test_a_user_that_may_not_write(fleet: Fleet) -> None:
    side = fleet.server(Options(users={"app": "on >secret ~* +@all -@write"}))
    result = generate(side, "--user", "app", "--pass", "secret").expect(TROUBLE)
    assert "NOPERM" in result.error_line


def test_rate(source: Server) -> None:
    said = generate(source, "--keys", 1000, "--rate", 500).expect(EQUAL).json
    assert 1700 <= said["duration_ms"]


def test_duration_goes_round(source: Server) -> None:
    said = generate(source, "--keys", 100, "--duration", "1s").expect(EQUAL).json
    assert 900 <= said["duration_ms"] <= 20_000
    assert said["keys"] > 200 and min(said[what] for what in ("changed", "expired", "deleted")) > 0


@pytest.mark.parametrize("args, status", [(["--forever"], EQUAL), (["--keys", "10000000"], TROUBLE)])
def test_interrupted(source: Server, args: list, status: int) -> None:
    with Running(["generate", "--output", "json", "--rate", "3000", *args, source.endpoint]) as running:
        wait.until(lambda: oracle.count(source) > 500, "keys")
        running.signal()
        result = running.wait(10).expect(status)
    assert result.json["interrupted"] and result.json["keys"] > 500


def test_json_also_when_it_fails() -> None:
    said = longhaul("generate", "--output", "json", "127.0.0.1:1").expect(TROUBLE).json
    assert said["error"]["code"] == "connect" and said["keys"] == 0 and said["exit_status"] == TROUBLE
