"""Source version by target version, every type: the table in docs/compatibility.md is what this run sees.

LONGHAUL_WRITE_COMPAT=1 writes the table into the document; otherwise the run fails where the document says something
else. The versions come from tests/servers/fetch; a machine that cannot fetch them sets LONGHAUL_NO_MATRIX=1.
"""
from __future__ import annotations

import os
import re

import pytest

from harness import data, oracle
from harness.run import TREE, replicate
from harness.servers import Binary, Fleet, Server

DOCUMENT = TREE / "docs" / "compatibility.md"
BEGIN, END = "<!-- table: written by tests/e2e/test_matrix.py -->", "<!-- end of table -->"
PER_KIND = 10

pytestmark = pytest.mark.matrix


def is_meant(source: Binary, target: Binary) -> bool:
    """Same family and not older; and from Redis before 7.2 to every Valkey, which grew out of it."""
    if source.flavour == target.flavour:
        return source.version[:2] <= target.version[:2]
    return source.flavour == "redis" and source.version < (7, 2, 0)


def name_of(binary: Binary) -> str:
    return f"{binary.flavour.capitalize()} {binary.version[0]}.{binary.version[1]}"


def copy_all_kinds(source: Server, target: Server, wrong: list[str]) -> str:
    """A cell of the table: "all", or the kinds that do not arrive. wrong gets what longhaul itself says amiss."""
    source.flush()
    target.flush()
    kinds = data.kinds_of(source.binary)
    data.load(source, data.mixed(601, PER_KIND * len(kinds), kinds=kinds))
    result = replicate(source, target, "--compare", "full")
    found = oracle.differences(source, target)
    if result.status != bool(found):
        wrong.append(f"{len(found)} differences, and yet:\n{result}")
    if not found:
        return f"all {len(kinds)}"
    return "not: " + ", ".join(sorted({re.sub(r":\d+$", "", each.key.decode()).replace("-", " ") for each in found}))


def test_every_type_between_versions(matrix: dict[str, Server], fleet: Fleet) -> None:
    servers = sorted(matrix.values(), key=lambda server: (server.binary.flavour, server.binary.version))
    cells: dict[tuple[str, str], str] = {}
    wrong: list[str] = []
    for source in servers:
        for target in servers:
            if is_meant(source.binary, target.binary):
                other = fleet.server(binary=target.binary) if target is source else target
                cells[name_of(source.binary), name_of(target.binary)] = copy_all_kinds(source, other, wrong)
    check_table(table([name_of(server.binary) for server in servers], cells))
    wrong += [f"{pair}: {cell}" for pair, cell in cells.items() if not cell.startswith("all")]
    assert not wrong, "\n".join(wrong)


def table(names: list[str], cells: dict[tuple[str, str], str]) -> str:
    lines = ["| source \\ target | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    lines += [f"| **{source}** | " + " | ".join(cells.get((source, target), "–") for target in names) + " |"
              for source in names]
    return "\n".join(lines)


def check_table(made: str) -> None:
    text = DOCUMENT.read_text()
    assert BEGIN in text and END in text, f"{DOCUMENT} has no place for the table"
    before, _, rest = text.partition(BEGIN)
    written, _, after = rest.partition(END)
    if os.environ.get("LONGHAUL_WRITE_COMPAT"):
        DOCUMENT.write_text(f"{before}{BEGIN}\n{made}\n{END}{after}")
    else:
        assert written.strip() == made.strip(), \
            "docs/compatibility.md says something else; LONGHAUL_WRITE_COMPAT=1 writes what this run saw:\n" + made


def test_expiry_from_a_server_that_cannot_say_it(matrix: dict[str, Server], target: Server) -> None:
    """Before 7.0 there is no PEXPIRETIME: what arrives is right within the measured round trip."""
    source = matrix["redis-6.0"]
    source.flush()
    keys = data.load(source, data.mixed(602, 440, expiring=1))
    replicate(source, target).expect(0)
    oracle.assert_equal(source, target, at_least=keys, ttl_tolerance_ms=50)


def test_reports_say_which_server_it_is(matrix: dict[str, Server], target: Server) -> None:
    for server in matrix.values():
        server.flush()
        said = replicate(server, target).expect(0).json["source"]
        assert said["server"] == server.binary.flavour
        assert said["server_version"] == ".".join(map(str, server.binary.version))
