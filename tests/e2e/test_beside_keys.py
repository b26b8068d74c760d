"""The parts of a database beside its keys and their values: function libraries, and how much each key is used."""
from __future__ import annotations

import time
from typing import Dict, List

import pytest

from conftest import Deployments, Side
from harness import cluster, data, wait
from harness.live import Live
from harness.run import DIFFERENT, EQUAL, replicate
from harness.servers import Fleet, Options, Server

SHAPES = [("standalone", "standalone"), ("standalone", "cluster"), ("cluster", "standalone"), ("cluster", "cluster")]


# Functions

def library(name: str, answer: str = "1") -> str:
    return f"#!lua name={name}\nredis.register_function('{name}_f', function(keys, args) return '{answer}' end)"


def load_function(side: Side, name: str, answer: str = "1") -> None:
    for server in side.primaries():
        server.command("FUNCTION", "LOAD", "REPLACE", library(name, answer))


def libraries(server: Server) -> Dict[bytes, bytes]:
    """Name and code of each."""
    listed: List[List[object]] = server.command("FUNCTION", "LIST", "WITHCODE")  # type: ignore[assignment]
    pairs = [dict(zip(each[::2], each[1::2])) for each in listed]
    return {each[b"library_name"]: each[b"library_code"] for each in pairs}  # type: ignore[misc,index]


@pytest.fixture
def clean(deployments: Deployments) -> object:
    """Deployments without functions, before and after: flushing the keys leaves functions."""
    used: List[Side] = []

    def get(role: str, shape: str) -> Side:
        used.append(deployments.get(role, shape))
        forget()
        return used[-1]

    def forget() -> None:
        for side in used:
            for server in side.primaries():
                server.command("FUNCTION", "FLUSH")

    yield get
    forget()


@pytest.mark.parametrize("shapes", SHAPES, ids=["-to-".join(shapes) for shapes in SHAPES])
@pytest.mark.sanitize
def test_functions_reach_every_primary(clean: object, shapes: tuple[str, str]) -> None:
    source, target = clean("source", shapes[0]), clean("target", shapes[1])  # type: ignore[operator]
    for number in range(20):
        load_function(source, f"lib{number}", "x" * 1000 * number)
    data.load(source, data.plain(801, 50))
    said = replicate(source, target).expect(EQUAL).json
    assert said["functions"] == 20 and said["keys"]["copied"] == 50
    wanted = libraries(source.primaries()[0])
    assert len(wanted) == 20
    for server in target.primaries():
        assert libraries(server) == wanted
        assert server.command("FCALL", "lib3_f", 0) == b"x" * 3000


def test_functions_that_differ_are_replaced_and_others_stay(clean: object) -> None:
    source, target = clean("source", "standalone"), clean("target", "standalone")  # type: ignore[operator]
    load_function(source, "common", "new")
    load_function(target, "common", "old")
    load_function(target, "own", "kept")
    replicate(source, target).expect(EQUAL)
    assert target.command("FCALL", "common_f", 0) == b"new"
    assert target.command("FCALL", "own_f", 0) == b"kept"


@pytest.mark.parametrize("option", ["--no-functions", "--dry-run"])
def test_functions_are_left_out(clean: object, option: str) -> None:
    source, target = clean("source", "standalone"), clean("target", "standalone")  # type: ignore[operator]
    load_function(source, "lib")
    assert replicate(source, target, option).expect(EQUAL).json["functions"] == 0
    assert libraries(target) == {}


def test_function_that_clashes_with_one_of_the_target(clean: object) -> None:
    """Two libraries cannot have a function of the same name: listed, and the keys are copied all the same."""
    source, target = clean("source", "standalone"), clean("target", "standalone")  # type: ignore[operator]
    load_function(source, "fine")
    load_function(source, "lib")
    target.command("FUNCTION", "LOAD", library("lib").replace("name=lib", "name=other"))
    data.load(source, data.plain(802, 50))
    said = replicate(source, target).expect(DIFFERENT).json
    assert said["functions"] == 1 and said["keys"]["copied"] == 50
    assert [each["key"] for each in said["given_up"]] == ["function library lib"]
    assert "lib_f" in said["given_up"][0]["reason"]
    assert set(libraries(target)) == {b"other", b"fine"}


@pytest.mark.matrix
def test_functions_to_a_server_without(clean: object, matrix: Dict[str, Server]) -> None:
    source, target = clean("source", "standalone"), matrix["redis-6.0"]  # type: ignore[operator]
    target.flush()
    load_function(source, "lib")
    data.load(source, data.plain(803, 50))
    said = replicate(source, target).expect(DIFFERENT).json
    assert [each["key"] for each in said["given_up"]] == ["function library lib"] and said["keys"]["copied"] == 50
    assert replicate(source, target, "--no-functions").expect(EQUAL).json["given_up"] == []


@pytest.mark.matrix
@pytest.mark.parametrize("names", [("redis-8.0", "installed"), ("valkey-9.1", "redis-8.0"), ("redis-8.0", "valkey-8.0"),
                                   ("installed", "valkey-9.1")], ids="-to-".join)
def test_functions_between_versions(matrix: Dict[str, Server], names: tuple[str, str]) -> None:
    source, target = matrix[names[0]], matrix[names[1]]
    for server in (source, target):
        server.flush()
        server.command("FUNCTION", "FLUSH")
    try:
        load_function(source, "lib", "crossed")
        assert replicate(source, target).expect(EQUAL).json["functions"] == 1
        assert target.command("FCALL", "lib_f", 0) == b"crossed"
    finally:
        for server in (source, target):
            server.command("FUNCTION", "FLUSH")


def wait_answer(target: Server, name: str, answer: str) -> None:
    wait.until(lambda: answer.encode() in libraries(target).get(name.encode(), b""), f"library {name} to arrive", 30)


def test_functions_follow_a_live_job(fleet: Fleet) -> None:
    """Also a change that the counters of commands do not show, since they were reset right before it."""
    source, target = fleet.server(), fleet.server()
    with Live(source, target, "--poll", "1s") as live:
        live.wait_live()
        source.command("FUNCTION", "LOAD", library("lib", "first"))
        wait_answer(target, "lib", "first")
        live.catch_up()
        with source.wire() as wire:
            wire.batch([("CONFIG", "RESETSTAT"), ("FUNCTION", "LOAD", "REPLACE", library("lib", "second"))])
        wait_answer(target, "lib", "second")
        live.terminate().expect(EQUAL)


def test_functions_come_back_to_a_target_that_restarted(fleet: Fleet) -> None:
    source, target = fleet.server(), fleet.server(Options(config={"save": '""'}))
    source.command("FUNCTION", "LOAD", library("lib"))
    with Live(source, target, "--poll", "1s") as live:
        live.wait_live()
        target.restart()
        wait_answer(target, "lib", "1")
        live.catch_up()


def test_functions_reach_a_primary_that_joins(fleet: Fleet) -> None:
    """A replica that was cut off is promoted: it never had the library."""
    source, target = fleet.server(), cluster.build(fleet, 3, 1)
    primary = target.primaries()[0]
    replica = next(each for each in target.servers() if each not in target.primaries()
                   and str(primary.port) == str(each.admin().info("replication")["master_port"]))
    with Live(source, target, "--poll", "1s") as live:
        live.wait_live()
        replica.command("CONFIG SET", "masterauth", "wrong")
        replica.command("CLIENT", "KILL", "TYPE", "master")
        source.command("FUNCTION", "LOAD", library("lib"))
        for each in target.primaries():
            wait_answer(each, "lib", "1")
        assert libraries(replica) == {}
        primary.kill9()
        wait.until(lambda: replica.admin().info("replication")["role"] == "master", "the replica to be promoted", 40)
        wait_answer(replica, "lib", "1")


def test_a_function_that_a_full_target_refuses_comes_later(fleet: Fleet) -> None:
    """A refusal that may pass gives no library up."""
    source, target = fleet.server(), fleet.server()
    with Live(source, target, "--poll", "1s") as live:
        live.wait_live()
        target.command("CONFIG SET", "maxmemory", 1)
        source.command("FUNCTION", "LOAD", library("lib"))
        wait.until(lambda: "errorstat_OOM" in target.admin().info("errorstats"), "the target to refuse it", 30)
        target.command("CONFIG SET", "maxmemory", 0)
        wait_answer(target, "lib", "1")
        live.catch_up()
        assert live.terminate().expect(EQUAL).json["given_up"] == []


# How much each key is used

LRU = {"maxmemory": "500mb", "maxmemory-policy": "allkeys-lru"}
LFU = {"maxmemory": "500mb", "maxmemory-policy": "allkeys-lfu", "lfu-decay-time": "0"}


def idle_times(server: Server, keys: List[bytes]) -> List[int]:
    with server.wire() as wire:
        return wire.batch([("OBJECT", "IDLETIME", key) for key in keys])  # type: ignore[return-value]


def frequencies(server: Server, keys: List[bytes]) -> List[int]:
    with server.wire() as wire:
        return wire.batch([("OBJECT", "FREQ", key) for key in keys])  # type: ignore[return-value]


def load_used(server: Server, word: str, step: int) -> List[bytes]:
    """Keys of all types, each used as much as its number says: RESTORE is told so. Not small integers: keys share them."""
    data.load(server, data.mixed(804, 60, kinds={name: kind for name, kind in data.KINDS.items() if "integer" not in name}))
    data.load(server, data.plain(805, 60, b"string", size=20))
    with server.wire() as wire:
        keys: List[bytes] = sorted(wire.call("KEYS", "*"))  # type: ignore[type-var,arg-type]
        expiries: List[int] = wire.batch([("PEXPIRETIME", key) for key in keys])  # type: ignore[assignment]
        payloads: List[bytes] = wire.batch([("DUMP", key) for key in keys])  # type: ignore[assignment]
        for number, (key, expiry, payload) in enumerate(zip(keys, expiries, payloads)):
            wire.call("RESTORE", key, max(expiry, 0), payload, "REPLACE", "ABSTTL", word, number * step)
    return keys


@pytest.fixture
def newer(matrix: Dict[str, Server]) -> Server:
    """Has CLIENT NO-TOUCH."""
    return matrix["redis-8.0"]


def of_version(fleet: Fleet, server: Server, config: Dict[str, str]) -> Server:
    return fleet.server(Options(config=config), binary=server.binary)


@pytest.mark.parametrize("threads", [1, 2])
def test_idle_times_are_preserved(fleet: Fleet, target: Server, threads: int) -> None:
    source = fleet.server(Options(config=LRU))
    keys = load_used(source, "IDLETIME", 1000)
    before = idle_times(source, keys)
    replicate(source, target, "--preserve-idle", "--threads", threads, "--compare", "none").expect(EQUAL)
    after = idle_times(target, keys)
    assert len(keys) == 120 and max(before) > 100_000
    assert all(abs(a - b) <= 2 for a, b in zip(before, after)), list(zip(keys, before, after))


def test_frequencies_are_preserved(fleet: Fleet) -> None:
    source, target = (fleet.server(Options(config=LFU)) for _ in range(2))
    keys = load_used(source, "FREQ", 2)
    before = frequencies(source, keys)
    assert len(set(before)) > 100
    replicate(source, target, "--preserve-idle", "--compare", "none").expect(EQUAL)
    assert frequencies(target, keys) == before


def test_idle_times_are_as_of_now_without_the_option(fleet: Fleet, target: Server) -> None:
    source = fleet.server(Options(config=LRU))
    keys = load_used(source, "IDLETIME", 1000)
    replicate(source, target, "--compare", "none").expect(EQUAL)
    assert max(idle_times(target, keys)) < 60


@pytest.mark.matrix
@pytest.mark.parametrize("options", [[], ["--compare", "full"], ["--type", "struct"], ["--preserve-idle"]],
                         ids=lambda options: " ".join(options) or "plain")
def test_reading_does_not_make_keys_look_used(fleet: Fleet, newer: Server, options: List[str]) -> None:
    """CLIENT NO-TOUCH: after a copy and its comparison the source knows as before which keys nobody uses."""
    source, target = of_version(fleet, newer, LRU), of_version(fleet, newer, {})
    keys = load_used(source, "IDLETIME", 1000)
    before, began = idle_times(source, keys), time.monotonic()
    replicate(source, target, *options).expect(EQUAL)
    after, most = idle_times(source, keys), time.monotonic() - began + 2
    assert all(0 <= b - a <= most for a, b in zip(before, after)), list(zip(keys, before, after))


@pytest.mark.matrix
def test_reading_does_not_count_as_use(fleet: Fleet, newer: Server) -> None:
    source, target = of_version(fleet, newer, {**LFU, "lfu-log-factor": "0"}), of_version(fleet, newer, {})
    keys = load_used(source, "FREQ", 2)
    before = frequencies(source, keys)
    replicate(source, target, "--compare", "full").expect(EQUAL)
    assert frequencies(source, keys) == before


def test_idle_times_age_on_the_target(fleet: Fleet, target: Server) -> None:
    """They are the source's at the moment of the copy, and go on from there."""
    source = fleet.server(Options(config=LRU))
    keys = load_used(source, "IDLETIME", 1000)
    replicate(source, target, "--preserve-idle", "--compare", "none").expect(EQUAL)
    first = idle_times(target, keys[5:6])[0]
    wait.until(lambda: idle_times(target, keys[5:6])[0] > first, "the idle time to grow", 5)
