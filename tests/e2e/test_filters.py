"""Which keys are copied: patterns, types, slots, sizes, databases."""
from __future__ import annotations

import fnmatch
from typing import Callable

import pytest

from conftest import Deployments
from harness import data, oracle
from harness.run import EQUAL, TROUBLE, replicate
from harness.servers import Fleet, Server
from harness.wire import slot_of

Wanted = Callable[[bytes], bool]


def like(*patterns: str) -> Wanted:
    return lambda key: any(fnmatch.fnmatchcase(key.decode("latin-1"), pattern) for pattern in patterns)


FILTERS: list[tuple[list[str], Wanted]] = [
    (["--key-pattern", "hash*"], like("hash*")),
    (["--key-pattern", "*1?"], like("*1?")),
    (["--key-pattern", "[sz]*"], like("[sz]*")),
    (["--key-include", "set*"], like("set*")),
    (["--key-include", "set*", "--key-include", "zset*"], like("set*", "zset*")),
    (["--key-exclude", "string*"], lambda key: not like("string*")(key)),
    (["--key-exclude", "string*", "--key-exclude", "*[05]"], lambda key: not like("string*", "*[05]")(key)),
    (["--key-include", "*set*", "--key-exclude", "zset*"], lambda key: like("*set*")(key) and not like("zset*")(key)),
    (["--key-pattern", "s*", "--key-include", "*1*", "--key-exclude", "stream*"],
     lambda key: like("s*")(key) and like("*1*")(key) and not like("stream*")(key)),
    (["--key-slot", "0-8000"], lambda key: slot_of(key) <= 8000),
    (["--key-slot", "0-99,8000-16383"], lambda key: slot_of(key) <= 99 or slot_of(key) >= 8000),
    (["--key-pattern", "nothing-is-like-this"], lambda key: False),
]


@pytest.mark.parametrize("options, wanted", FILTERS, ids=[" ".join(options) for options, _ in FILTERS])
@pytest.mark.parametrize("shape", ["standalone", "cluster"])
def test_keys_are_chosen(deployments: Deployments, shape: str, options: list[str], wanted: Wanted) -> None:
    source, target = deployments.get("source", shape), deployments.get("target", "standalone")
    data.load(source, data.mixed(41, 440))
    said = replicate(source, target, *options).expect(EQUAL).json
    compared = oracle.compare(source, target, only=wanted)
    assert compared.found == [] and said["keys"]["copied"] == compared.keys
    assert said["compare"]["keys"] == said["compare"]["equal"] == compared.keys


@pytest.mark.parametrize("kind", ["string", "list", "set", "zset", "hash", "stream"])
def test_keys_of_a_type(source: Server, target: Server, kind: str) -> None:
    data.load(source, data.mixed(42, 440))
    said = replicate(source, target, "--key-type", kind).expect(EQUAL).json
    only = lambda key: source.command("TYPE", key) == kind.encode()  # noqa: E731
    compared = oracle.compare(source, target, only=only)
    assert compared.found == [] and compared.keys > 0
    assert said["keys"]["copied"] == compared.keys and set(said["types"]) <= {kind} | {
        name for name, figures in said["types"].items() if figures["keys"] == 0}


def test_several_types(source: Server, target: Server) -> None:
    data.load(source, data.mixed(42, 220))
    replicate(source, target, "--key-type", "set", "--key-type", "hash").expect(EQUAL)
    kinds = {target.command("TYPE", key) for key in target.admin().scan_iter()}
    assert kinds == {b"set", b"hash"}


@pytest.mark.sanitize
def test_memory_limit(source: Server, target: Server) -> None:
    """Keys that take more memory on the source are left out, and counted."""
    data.load(source, data.mixed(43, 220))
    large = {key for key in source.admin().scan_iter() if source.command("MEMORY", "USAGE", key) > 12 * 1024}
    said = replicate(source, target, "--mem-limit", "12KB").expect(EQUAL).json
    assert 5 < len(large) < 200 and said["keys"]["skipped"] == len(large)
    assert oracle.differences(source, target, only=lambda key: key not in large) == []


# Databases

def fill_databases(source: Server) -> dict[int, int]:
    return {db: data.load(source, data.mixed(50 + db, 22 * (db + 1), b"db%d-" % db), db=db) for db in (0, 1, 5, 15)}


def test_all_databases(source: Server, target: Server) -> None:
    keys = fill_databases(source)
    said = replicate(source, target, "--databases", "all").expect(EQUAL).json
    assert said["keys"]["copied"] == sum(keys.values())
    for db, count in keys.items():
        oracle.assert_equal(source, target, db=db, at_least=count)


def test_some_databases(source: Server, target: Server) -> None:
    keys = fill_databases(source)
    said = replicate(source, target, "--databases", "1,5-9").expect(EQUAL).json
    assert said["keys"]["copied"] == keys[1] + keys[5]
    for db in (1, 5):
        oracle.assert_equal(source, target, db=db, at_least=keys[db])
    assert oracle.count(target, 0) == oracle.count(target, 15) == 0


def test_same_name_in_several_databases(source: Server, target: Server) -> None:
    for db in (0, 1, 2):
        source.command("SET", "same", f"in {db}", db=db)
    replicate(source, target, "--databases", "all").expect(EQUAL)
    assert [target.command("GET", "same", db=db) for db in (0, 1, 2)] == [b"in 0", b"in 1", b"in 2"]


def test_database_of_the_endpoint_only(source: Server, target: Server) -> None:
    keys = fill_databases(source)
    said = replicate(source, target).expect(EQUAL).json
    assert said["keys"]["copied"] == keys[0] and oracle.count(target, 1) == 0


def test_from_one_database_to_another(source: Server, target: Server) -> None:
    keys = fill_databases(source)
    replicate(f"redis://{source.endpoint}/5", f"redis://{target.endpoint}/3").expect(EQUAL)
    oracle.assert_equal(source, target, db=5, target_db=3, at_least=keys[5])
    assert oracle.count(target, 0) == oracle.count(target, 5) == 0


@pytest.mark.threads
def test_all_databases_with_threads(source: Server, target: Server) -> None:
    keys = fill_databases(source)
    replicate(source, target, "--databases", "all", "--threads", 3).expect(EQUAL)
    for db, count in keys.items():
        oracle.assert_equal(source, target, db=db, at_least=count)


def test_databases_that_a_cluster_does_not_have(source: Server, deployments: Deployments) -> None:
    """Several databases into a cluster: an error before anything is written."""
    target = deployments.get("target", "cluster")
    fill_databases(source)
    result = replicate(source, target, "--databases", "all").expect(TROUBLE)
    assert "database" in result.error_line and oracle.count(target) == 0


def test_more_databases_than_the_target_has(source: Server, fleet: Fleet) -> None:
    from harness.servers import Options
    target = fleet.server(Options(config={"databases": "4"}))
    fill_databases(source)
    result = replicate(source, target, "--databases", "all", "--outage-timeout", "3s")
    assert result.status in (1, 2)
    assert "database" in result.stderr or "DB index" in result.stderr + result.stdout
