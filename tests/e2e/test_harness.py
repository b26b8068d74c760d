"""The harness itself: an oracle that finds nothing proves nothing unless it finds planted differences."""
from __future__ import annotations

import socket
import time

import pytest
import redis

from conftest import Deployments
from harness import clock, cluster, data, debian, elasticache, oracle, reading, sentinel, wait
from harness.faults import Killer, Stranger
from harness.proxy import Proxy
from harness.servers import Fleet, Options, Server
from harness.tls import Certificates
from harness.wire import WireError, slot_of


def load_both(source: Server, target: Server, items: list[data.Item]) -> None:
    data.load(source, items)
    data.load(target, items)


def key_of(kind: str) -> bytes:
    """The first key of that kind among the items of data.mixed()."""
    return b"%b:%d" % (kind.replace(" ", "-").encode(), list(data.KINDS).index(kind))


PLANTED = [
    ("missing", ("DEL", key_of("string raw"))),
    ("extra", ("SET", "nobody", "1")),
    ("value", ("APPEND", key_of("string raw"), "x")),
    ("value", ("HSET", key_of("hash large"), "new", "1")),
    ("value", ("ZINCRBY", key_of("zset small"), 1, "new")),
    ("value", ("LSET", key_of("list large"), 3, "x")),
    ("ttl", ("PERSIST", key_of("string raw"))),
    ("ttl", ("PEXPIREAT", key_of("string raw"), 4102444800001)),
    ("group", ("XGROUP", "CREATE", key_of("stream small"), "more", 0)),
    ("group", ("XGROUP", "SETID", key_of("stream small"), "readers", 0)),
]


@pytest.mark.parametrize("kind, command", PLANTED, ids=[f"{kind}-{command[0]}" for kind, command in PLANTED])
def test_oracle_finds_what_was_planted(source: Server, target: Server, kind: str, command: tuple) -> None:
    items = list(data.mixed(5, 44, expiring=1))
    load_both(source, target, items)
    make_streams_equal(source, target, items)
    assert oracle.differences(source, target) == []
    target.command(*command)
    assert {found.kind for found in oracle.differences(source, target)} == {kind}


@pytest.mark.parametrize("kind, command", PLANTED, ids=[f"{kind}-{command[0]}" for kind, command in PLANTED])
def test_reading_finds_what_was_planted(source: Server, target: Server, kind: str, command: tuple) -> None:
    items = list(data.mixed(5, 44, expiring=1))
    load_both(source, target, items)
    make_streams_equal(source, target, items)
    assert reading.differences(reading.everything(source), reading.everything(target)) == {}
    target.command(*command)
    found = reading.differences(reading.everything(source), reading.everything(target))
    assert len(found) == 1 and set(found) <= {word if isinstance(word, bytes) else str(word).encode() for word in command}


@pytest.mark.matrix
def test_reading_finds_the_expiry_of_fields_and_pending_entries(matrix: dict[str, Server], fleet: Fleet) -> None:
    source, target = matrix["redis-8.0"], fleet.server(binary=matrix["redis-8.0"].binary)
    source.flush()
    for server in (source, target):
        server.command("HSET", "hash", "field", "value")
        server.command("XADD", "stream", "1-1", "f", "v")
        server.command("XGROUP", "CREATE", "stream", "group", 0)
    assert reading.differences(reading.everything(source), reading.everything(target)) == {}
    target.command("HPEXPIRE", "hash", 1_000_000, "FIELDS", 1, "field")
    target.command("XREADGROUP", "GROUP", "group", "reader", "STREAMS", "stream", ">")
    assert set(reading.differences(reading.everything(source), reading.everything(target))) == {b"hash", b"stream"}


def make_streams_equal(source: Server, target: Server, items: list[data.Item]) -> None:
    """Pending entries carry the time of their delivery: two loads never agree."""
    for item in items:
        if item.key.startswith(b"stream"):
            expiry, payload = source.command("PEXPIRETIME", item.key), source.command("DUMP", item.key)
            target.command("RESTORE", item.key, expiry, payload, "REPLACE", "ABSTTL")


def test_oracle_finds_another_type(source: Server, target: Server) -> None:
    source.command("SET", "k", "1")
    target.command("RPUSH", "k", "1")
    assert [found.kind for found in oracle.differences(source, target)] == ["type"]


def test_oracle_without_expiry(source: Server, target: Server) -> None:
    source.command("SET", "k", "1", "PX", 100000)
    target.command("SET", "k", "1")
    assert oracle.differences(source, target, ttl=False) == []
    assert [found.kind for found in oracle.differences(source, target)] == ["ttl"]
    target.command("PEXPIRE", "k", 1000000)
    assert [found.kind for found in oracle.differences(source, target, ttl=False)] == ["ttl"]


def test_oracle_takes_databases_apart(source: Server, target: Server) -> None:
    source.command("SET", "k", "1", db=3)
    assert oracle.differences(source, target) == []
    assert [found.kind for found in oracle.differences(source, target, db=3)] == ["missing"]


def test_loader_is_seeded_and_makes_all_encodings(source: Server) -> None:
    data.load(source, data.mixed(7, 2 * len(data.KINDS)))
    first = source.command("DEBUG", "DIGEST")
    seen = {source.command("OBJECT", "ENCODING", key) for key in source.admin().scan_iter(count=1000)}
    assert seen >= {b"int", b"embstr", b"raw", b"quicklist", b"listpack", b"hashtable", b"intset", b"skiplist",
                    b"stream"}
    source.flush()
    data.load(source, data.mixed(7, 2 * len(data.KINDS)))
    assert source.command("DEBUG", "DIGEST") == first


def test_odd_keys_are_all_there(source: Server) -> None:
    loaded = data.load(source, data.odd())
    assert oracle.count(source) == loaded == 3 * len(data.ODD_KEYS)


def test_debian_items_have_every_type(source: Server) -> None:
    items = list(debian.items())
    assert data.load(source, items) > 10000  # a minimal Debian has fewer packages
    sample = {bytes(source.command("TYPE", key)) for key in (
        b"package:dpkg", b"about:dpkg", b"depends:dpkg", b"files:dpkg", b"section:admin", b"installed", b"folder:/usr")}
    assert sample == {b"hash", b"string", b"set", b"list", b"zset", b"stream"}


def test_cluster_spreads_and_oracle_compares_it_with_a_server(deployments: Deployments, target: Server) -> None:
    side = deployments.get("source", "cluster")
    items = list(data.plain(3, 3000))
    data.load(side, items)
    data.load(target, items)
    assert all(node.admin().dbsize() > 500 for node in side.primaries())
    oracle.assert_equal(side, target, at_least=3000)
    oracle.assert_equal(target, side, at_least=3000)


def test_cluster_migrates_a_slot_in_steps(deployments: Deployments) -> None:
    side = deployments.get("source", "cluster")
    keys = [b"{tag}%d" % index for index in range(250)]
    slot = slot_of(keys[0])
    before = side.owner(slot)
    for key in keys:
        before.command("SET", key, 1)
    after = next(node for node in side.primaries() if node is not before)
    side.begin_migration(slot, after)
    assert side.move_keys(slot, before, after, at_most=100) == 100
    with pytest.raises(redis.ResponseError, match="ASK"):
        before.command("GET", before_absent(before, keys))
    side.move_keys(slot, before, after)
    side.end_migration(slot, before, after)
    assert side.owner(slot) is after and after.command("CLUSTER COUNTKEYSINSLOT", slot) == 250
    side.migrate(slot, before)


def before_absent(node: Server, keys: list[bytes]) -> bytes:
    there = set(node.command("CLUSTER GETKEYSINSLOT", slot_of(keys[0]), 1000))
    return next(key for key in keys if key not in there)


def test_cluster_fails_over_in_order_and_by_death(fleet: Fleet) -> None:
    side = cluster.build(fleet, 3, 3)
    first, second, _ = side.primaries()
    replica = side.fail_over(first)
    side.wait_ready(3, 3)
    assert replica in side.primaries() and first in side.replicas()
    heir = side.kill_primary(second)
    assert heir.admin().info("replication")["role"] == "master"


def test_cluster_names_hosts(deployments: Deployments) -> None:
    side = deployments.get("source", "cluster", "tls")
    assert side.endpoint.startswith("localhost:")
    assert all(owner[2][0] == b"localhost" for owner in side.nodes[0].command("CLUSTER SLOTS"))


def test_sentinel_fails_over(fleet: Fleet) -> None:
    watched = sentinel.build(fleet)
    before = watched.primary()
    before.command("SET", "k", 1)
    watched.wait_replicated()
    after = watched.kill_primary()
    assert after is not before and after.command("GET", "k") == b"1"


def test_server_restarts_empty_or_with_its_data(fleet: Fleet) -> None:
    server = fleet.server()
    server.command("SET", "k", 1)
    run_id = server.admin().info("server")["run_id"]
    server.restart(keep=True)
    assert server.command("GET", "k") == b"1" and server.admin().info("server")["run_id"] != run_id
    server.restart()
    assert server.command("GET", "k") is None


def test_server_is_paused(fleet: Fleet) -> None:
    server = fleet.server()
    server.pause()
    with pytest.raises(OSError):
        server.wire(timeout=0.2).call("PING")
    server.resume()
    assert server.command("PING") == b"PONG"


def test_elasticache_refuses_and_the_harness_may(fleet: Fleet) -> None:
    server = fleet.server(elasticache.options())
    client = redis.Redis(port=server.port)
    for command in elasticache.COMMANDS:
        with pytest.raises(redis.ResponseError, match="unknown command"):
            client.execute_command(command)
    with pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command("ACL", "SETUSER", "x")
    assert client.set("k", 1) and server.command("DEBUG", "DIGEST-VALUE", "k")


def test_tls_server_asks_for_what_it_should(fleet: Fleet, certificates: Certificates) -> None:
    server = fleet.server(Options(tls=certificates, tls_clients=True))
    ca = certificates.path("ca.crt")
    with pytest.raises(redis.ConnectionError):
        redis.Redis(host="localhost", port=server.tls_port, ssl=True, ssl_ca_certs=ca).ping()
    stranger = certificates.path("other-ca.crt")
    with pytest.raises(redis.ConnectionError):
        redis.Redis(host="localhost", port=server.tls_port, ssl=True, ssl_ca_certs=stranger).ping()
    assert redis.Redis(host="localhost", port=server.tls_port, ssl=True, ssl_ca_certs=ca, ssl_check_hostname=True,
                       ssl_certfile=certificates.path("client.crt"), ssl_keyfile=certificates.path("client.key")).ping()


def test_proxy_delays_cuts_refuses_and_goes_silent(source: Server) -> None:
    with Proxy.before(source, delay=0.05) as proxy:
        client = redis.Redis(port=proxy.port, socket_timeout=3)
        began = time.monotonic()
        assert client.ping() and time.monotonic() - began >= 0.1
        assert proxy.cut() == 1
        assert client.ping() and proxy.accepted == 2
        proxy.silence()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        proxy.speak()
        proxy.delay = 0
        assert client.ping()
        proxy.refuse()
        with pytest.raises(redis.ConnectionError):
            redis.Redis(port=proxy.port).ping()


def test_proxy_cuts_at_random(source: Server) -> None:
    with Proxy.before(source) as proxy:
        proxy.cut_at_random(0.02, seed=1)
        client = redis.Redis(port=proxy.port, socket_timeout=2)

        def cut_often() -> bool:
            try:
                client.ping()
            except redis.ConnectionError:
                pass
            return proxy.cuts > 5
        wait.until(cut_often, "five cuts")


def test_killer_spares_the_harness(source: Server) -> None:
    victim, mine = redis.Redis(port=source.port), source.wire()
    with Killer([source], 0.02, seed=1) as killer:
        wait.until(lambda: victim.ping() and killer.kills > 3, "three kills")
    assert mine.call("PING") == b"PONG"


def test_stranger_answers() -> None:
    with Stranger(b"HTTP/1.1 400 Bad Request\r\n\r\n") as stranger:
        with socket.create_connection(("127.0.0.1", int(stranger.endpoint.split(":")[1]))) as client:
            client.sendall(b"PING\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 400")


def test_wire_reports_errors(source: Server) -> None:
    with source.wire() as wire:
        assert isinstance(wire.batch([("NOSUCH",), ("PING",)])[0], WireError)
        with pytest.raises(WireError):
            wire.call("NOSUCH")


@pytest.mark.matrix
def test_digests_are_comparable_between_versions(matrix: dict[str, Server], source: Server) -> None:
    """The oracle may compare any two of them: the same commands give the same digests everywhere."""
    items = [item for item in data.mixed(9, 220, expiring=0) if not item.key.startswith(b"stream")]
    data.load(source, items)
    for server in matrix.values():
        server.flush()
        data.load(server, items)
        assert oracle.differences(source, server, ttl_tolerance_ms=0) == [], server.binary.name


@pytest.mark.matrix
def test_expiry_of_old_servers_is_read_within_the_tolerance(matrix: dict[str, Server], source: Server) -> None:
    items = list(data.plain(10, 3000, expiring=0))
    moment = int(time.time() * 1000) + 5_000_000
    items = [data.Item(item.key, [*item.commands, ("PEXPIREAT", item.key, moment)]) for item in items]
    old = matrix["redis-6.0"]
    old.flush()
    load_both(source, old, items)
    oracle.assert_equal(source, old, at_least=3000)
    old.command("PEXPIREAT", items[7].key, moment + 500)
    assert [found.kind for found in oracle.differences(source, old)] == ["ttl"]


@pytest.mark.parametrize("ahead", [600, -600])
def test_clock_is_shifted(fleet: Fleet, ahead: int) -> None:
    server = clock.server(fleet, ahead)
    server.command("SET", "k", "v", "PX", 5000)
    assert 0 < server.command("PTTL", "k") <= 5000
    assert abs(server.command("PEXPIRETIME", "k") / 1000 - time.time() - ahead) < 10
