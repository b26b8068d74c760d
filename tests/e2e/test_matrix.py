"""Every version to every version, every encoding: this run must see the table in docs/compatibility.md.

Each source is filled once with harness/encodings.py and copied to a server of every version, newer, older and of the other
family. The target's own read commands must show the same as the source's; where both sides have the same version, their
digests must agree too. A key that the target cannot have is listed with that reason, and the value that the target had under its
name stays.

LONGHAUL_WRITE_COMPAT=1 writes the table into the document; otherwise the run fails where the document says something
else. The versions come from tests/servers/fetch; a machine that cannot fetch them sets LONGHAUL_NO_MATRIX=1.
"""
from __future__ import annotations

import fcntl
import os
from typing import Dict, Iterator, List, Tuple

import pytest

from harness import cluster, data, encodings, oracle, reading, wait
from harness.encodings import FIELD_EXPIRY, VECTOR_SET
from harness.faults import Killer
from harness.reading import Seen
from harness.run import DIFFERENT, EQUAL, TREE, Result, replicate, start_replicate
from harness.servers import Binary, Fleet, Server
from test_cluster_changes import LONG_TIMEOUT, MIGRATE_MOVES_EXPIRY_MS, Migrations

DOCUMENT = TREE / "docs" / "compatibility.md"
BEGIN, END = "<!-- table: written by tests/e2e/test_matrix.py -->", "<!-- end of table -->"
VERSIONS = ["redis-6.0", "installed", "redis-8.0", "valkey-8.0", "valkey-8.1", "valkey-9.1"]
REASONS = {FIELD_EXPIRY: "expir", VECTOR_SET: "vector set"}
# The type bytes of the payloads that a server writes, by the first version that writes them.
_SINCE_7 = {0, 2, 4, 5, 11, 16, 17, 18}
WRITTEN = {"redis-6.0": {0, 2, 4, 5, 11, 12, 13, 14, 15}, "installed": _SINCE_7 | {19},
           "redis-8.0": _SINCE_7 | {7, 20, 21, 24, 25}, "valkey-8.0": _SINCE_7 | {20, 21},
           "valkey-8.1": _SINCE_7 | {20, 21}, "valkey-9.1": _SINCE_7 | {20, 21, 22}}
IN_WORDS = {FIELD_EXPIRY: "expiring fields", VECTOR_SET: "vector sets"}
BYSTANDER = b"a bystander"
EXPIRY_TOLERANCE_MS = 50  # where a server cannot name the moment
DELIVERY_TOLERANCE_MS = 50  # by commands: the source tells ages

pytestmark = pytest.mark.matrix


@pytest.fixture(scope="module")
def targets(matrix: Dict[str, Server], session_fleet: Fleet) -> Iterator[Dict[str, Server]]:
    """A second server of each version."""
    made = {name: session_fleet.server(binary=server.binary) for name, server in matrix.items()}
    yield made
    session_fleet.end(list(made.values()))


Loaded = Tuple[Server, Dict[bytes, Seen]]


@pytest.fixture(scope="module")
def loaded(matrix: Dict[str, Server]) -> Iterator[Dict[str, Loaded]]:
    """Sources that have been filled, each when it is first asked for."""
    made: Dict[str, Loaded] = {}
    yield made
    for source, _ in made.values():
        source.flush()


def fill(matrix: Dict[str, Server], loaded: Dict[str, Loaded], name: str) -> Loaded:
    if name not in loaded:
        source = matrix[name]
        source.flush()
        keys = encodings.load(source)
        loaded[name] = source, reading.everything(source)
        assert len(loaded[name][1]) == keys
        with source.wire() as wire:
            payloads = wire.batch([("DUMP", key) for key in loaded[name][1]], window=20)
        assert {payload[0] for payload in payloads} == WRITTEN[name]  # type: ignore[index]
    return loaded[name]


def name_of(binary: Binary) -> str:
    return f"{binary.flavour.capitalize()} {binary.version[0]}.{binary.version[1]}"


def cannot_have(target: Server, key: bytes) -> bytes:
    """The mark of the feature that this key has and the target cannot have; empty when there is none."""
    return next((mark for mark in encodings.lacking(target.binary) if key.endswith(mark)), b"")


def prepare(target: Server, refused: List[bytes]) -> Dict[bytes, Seen]:
    """Keys that the copy must leave alone: a foreign one, and those under the names that will be refused."""
    target.flush()
    data.load(target, [data.Item(key, [("SET", key, "older value")]) for key in (BYSTANDER, *refused)])
    return reading.everything(target)


def judge(result: Result, wanted: Dict[bytes, Seen], refused: List[bytes], found: Dict[bytes, Seen]) -> List[str]:
    """The faults of this copy."""
    tolerance = 0 if all(result.json[side]["server_version"] >= "7" for side in ("source", "target")) else EXPIRY_TOLERANCE_MS
    delivery = DELIVERY_TOLERANCE_MS if "struct" in result.args else 0
    wrong = [f"{key!r}: {what}" for key, what in reading.differences(wanted, found, tolerance, delivery).items()]
    given_up = {each["key"].encode(): each["reason"] for each in result.json["given_up"]}
    wrong += [f"{key!r} was not given up" for key in refused if key not in given_up]
    for key, reason in given_up.items():
        mark = next((mark for mark in REASONS if key.endswith(mark)), b"")
        if key not in refused or REASONS[mark] not in reason:
            wrong.append(f"{key!r} given up: {reason}")
    if result.status != (DIFFERENT if refused else EQUAL):
        wrong.append(f"exit status {result.status}")
    return wrong


def copy(source: Loaded, target: Server, *args: object) -> Tuple[str, List[str]]:
    """A cell of the table, and the faults."""
    server, seen = source
    refused = [key for key in seen if cannot_have(target, key)]
    before = prepare(target, refused)
    pid = target.admin().info()["process_id"]
    # Where something differs by intention its comparison takes seconds.
    result = replicate(server, target, "--compare", "none" if refused or args else "full", *args)
    wanted = {**before, **{key: value for key, value in seen.items() if key not in refused}}
    wrong = judge(result, wanted, refused, reading.everything(target))
    assert target.admin().info()["process_id"] == pid
    if server.binary.version == target.binary.version and server.binary.flavour == target.binary.flavour and not args:
        wrong += [str(each) for each in oracle.differences(server, target) if each.key != BYSTANDER]
    lost = sorted({IN_WORDS[cannot_have(target, key)] for key in refused})
    return "all" + (f" but {' and '.join(lost)}" if lost else ""), wrong


@pytest.mark.parametrize("version", VERSIONS)
def test_every_encoding_to_every_version(matrix: Dict[str, Server], targets: Dict[str, Server],
                                         loaded: Dict[str, Loaded], version: str) -> None:
    source = fill(matrix, loaded, version)
    cells, wrong = [], []
    for name in VERSIONS:
        cell, found = copy(source, targets[name])
        cells.append(cell)
        wrong += [f"to {name}: {each}"[:600] for each in found]
    assert not wrong, f"{len(wrong)} wrong:\n" + "\n".join(wrong[:40])
    check_row(source[0].binary, cells, [name_of(targets[name].binary) for name in VERSIONS])


@pytest.mark.parametrize("pair", [("redis-8.0", "redis-6.0"), ("redis-6.0", "valkey-9.1"), ("valkey-9.1", "installed"),
                                  ("valkey-9.1", "redis-8.0"), ("redis-8.0", "valkey-9.1")], ids="-to-".join)
def test_every_encoding_by_commands_alone(matrix: Dict[str, Server], targets: Dict[str, Server],
                                          loaded: Dict[str, Loaded], pair: Tuple[str, str]) -> None:
    _, wrong = copy(fill(matrix, loaded, pair[0]), targets[pair[1]], "--type", "struct")
    assert not wrong, f"{len(wrong)} wrong:\n" + "\n".join(each[:600] for each in wrong[:40])


@pytest.mark.parametrize("fault", ["killed", "moved"])
def test_written_by_commands_while_the_target_is_in_trouble(matrix: Dict[str, Server], loaded: Dict[str, Loaded],
                                                            fleet: Fleet, fault: str) -> None:
    """From 8.0 to a cluster of 7.0, where small sets and streams go by commands in MULTI and EXEC: whole or not at all,
    also over connections that are killed and slots that move."""
    source, target = matrix["redis-8.0"], cluster.build(fleet, 3, 0)
    loaded.pop("redis-8.0", None)
    source.flush()
    kinds = {name: data.KINDS[name] for name in ("set small", "stream small", "list small", "hash small")}
    keys = data.load(source, data.mixed(603, 6000, kinds=kinds))
    with start_replicate(source, target, "--rate", 1500, "--compare", "none", *LONG_TIMEOUT) as running:
        wait.until(lambda: oracle.count(target) >= 500, "a copy under way")
        with Killer([target, source], 0.05, 604) if fault == "killed" else Migrations(target) as trouble:
            if isinstance(trouble, Migrations):
                trouble.meet(running, 10)
            said = running.wait().expect(EQUAL).json
            while isinstance(trouble, Killer) and trouble.kills <= 10:  # the copy was faster: once more
                said = replicate(source, target, "--rate", 1500, "--compare", "none").expect(EQUAL).json
    assert said["reconnects" if isinstance(trouble, Killer) else "redirects"] > 0
    wanted = reading.everything(source)
    found = {key: seen for node in target.primaries() for key, seen in reading.everything(node).items()}
    assert len(wanted) == keys
    differences = reading.differences(wanted, found, MIGRATE_MOVES_EXPIRY_MS if fault == "moved" else 0)
    assert not differences, list(differences.items())[:5]


# The table

def check_row(source: Binary, cells: List[str], names: List[str]) -> None:
    """One row of the document's table; with LONGHAUL_WRITE_COMPAT it is written, and so is the head where it is new."""
    row = f"| **{name_of(source)}** | " + " | ".join(cells) + " |"
    if os.environ.get("LONGHAUL_WRITE_COMPAT"):
        write_row(row, names)
    assert row in table(DOCUMENT.read_text()), \
        "docs/compatibility.md says something else; LONGHAUL_WRITE_COMPAT=1 writes the row of this run:\n" + row


def table(text: str) -> List[str]:
    assert BEGIN in text and END in text, f"{DOCUMENT} has no place for the table"
    return text.partition(BEGIN)[2].partition(END)[0].strip().splitlines()


def write_row(row: str, names: List[str]) -> None:
    """Several processes may do this at once."""
    with open(DOCUMENT, "r+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        text = file.read()
        first = row.split("|")[1]
        rows = {line.split("|")[1]: line for line in table(text)[2:]}
        rows[first] = row
        order = [f" **{name}** " for name in names]
        lines = ["| source \\ target | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|",
                 *(rows[name] for name in order if name in rows)]
        before, _, rest = text.partition(BEGIN)
        file.seek(0)
        file.write(f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{rest.partition(END)[2]}")
        file.truncate()


# Other differences between versions

def test_expiry_from_a_server_that_cannot_say_it(matrix: Dict[str, Server], loaded: Dict[str, Loaded], target: Server) -> None:
    """Before 7.0 there is no PEXPIRETIME: expiry arrives within the measured round trip."""
    source = matrix["redis-6.0"]
    loaded.pop("redis-6.0", None)
    source.flush()
    keys = data.load(source, data.mixed(602, 440, expiring=1))
    replicate(source, target).expect(0)
    oracle.assert_equal(source, target, at_least=keys, ttl_tolerance_ms=50)


def test_reports_say_which_server_it_is(matrix: Dict[str, Server], loaded: Dict[str, Loaded], target: Server) -> None:
    loaded.clear()
    for server in matrix.values():
        server.flush()
        said = replicate(server, target).expect(0).json["source"]
        assert said["server"] == server.binary.flavour
        assert said["server_version"] == ".".join(map(str, server.binary.version))


@pytest.mark.parametrize("name", ["redis-6.0", "installed", "valkey-8.0"])
def test_vector_set_never_reaches_a_server_without(matrix: Dict[str, Server], fleet: Fleet, name: str) -> None:
    """Redis 6.0 and older exit on the payload of a module that they do not have."""
    source, target = matrix["redis-8.0"], fleet.server(binary=matrix[name].binary)
    source.flush()
    source.command("VADD", "vectors", "VALUES", 2, 1, 2, "member")
    source.command("SET", "string", "value")
    result = replicate(source, target).expect(DIFFERENT)
    assert [each["key"] for each in result.json["given_up"]] == ["vectors"]
    assert "vector set" in result.json["given_up"][0]["reason"]
    assert target.running and target.command("GET", "string") == b"value"
