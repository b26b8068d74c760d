"""The other commands: ping, doctor, generate, demo, and what prints itself from the option table."""
from __future__ import annotations

import re
import subprocess

import pytest

from conftest import Deployments
from harness import data, oracle, wait
from harness.run import DIFFERENT, EQUAL, TROUBLE, Running, longhaul, replicate
from harness.servers import Fleet, Options, Server


# ping

@pytest.mark.sanitize
def test_ping_prints_percentiles(source: Server) -> None:
    said = longhaul("ping", source.endpoint, "--count", 200).expect(EQUAL).stdout
    assert re.search(r"50", said) and re.search(r"99", said) and re.search(r"\d+\.\d+", said)


def test_ping_as_json(source: Server) -> None:
    said = longhaul("ping", source.endpoint, "--count", 200, "--output", "json").expect(EQUAL).json
    assert said["command"] == "ping"


def test_ping_measures_every_primary(deployments: Deployments) -> None:
    side = deployments.get("source", "cluster")
    said = longhaul("ping", side.endpoint, "--count", 20).expect(EQUAL).stdout
    assert all(str(node.port) in said for node in side.primaries())


def test_ping_over_tls(deployments: Deployments) -> None:
    side = deployments.get("source", "standalone", "tls")
    longhaul("ping", "--cacert", side.options.tls.path("ca.crt"), side.url(), "--count", 20).expect(EQUAL)


def test_ping_nobody() -> None:
    assert "127.0.0.1:1" in longhaul("ping", "127.0.0.1:1", "--connect-timeout", "1s").expect(TROUBLE).error_line


# doctor

@pytest.mark.sanitize
def test_doctor_names_what_it_finds(source: Server, target: Server) -> None:
    data.load(source, data.plain(701, 100))
    result = longhaul("doctor", source.endpoint, target.endpoint)
    assert result.status in (EQUAL, DIFFERENT), result
    for word in ("7.0.15", "standalone", source.endpoint, target.endpoint):
        assert word in result.stdout, word


def test_doctor_writes_nothing(source: Server, target: Server) -> None:
    data.load(source, data.plain(701, 100))
    before = [server.command("DEBUG", "DIGEST") for server in (source, target)]
    longhaul("doctor", source.endpoint, target.endpoint)
    assert [server.command("DEBUG", "DIGEST") for server in (source, target)] == before


def test_doctor_sees_that_the_target_is_too_small(source: Server, fleet: Fleet) -> None:
    target = fleet.server(Options(config={"maxmemory": "3mb"}))
    data.load(source, data.plain(702, 20000, size=400))
    result = longhaul("doctor", source.endpoint, target.endpoint).expect(TROUBLE)
    assert re.search("memory", result.stdout, re.I)


def test_doctor_sees_that_the_target_evicts(source: Server, fleet: Fleet) -> None:
    target = fleet.server(Options(config={"maxmemory": "500mb", "maxmemory-policy": "allkeys-lru"}))
    assert "allkeys-lru" in longhaul("doctor", source.endpoint, target.endpoint).stdout


def test_doctor_on_elasticache(deployments: Deployments, target: Server) -> None:
    side = deployments.get("source", "cluster", "elasticache")
    result = longhaul("doctor", "--source-cacert", side.options.tls.path("ca.crt"), side.url(), target.endpoint)
    assert result.status in (EQUAL, DIFFERENT) and "cluster" in result.stdout


def test_doctor_of_a_side_that_is_not_there(source: Server) -> None:
    result = longhaul("doctor", source.endpoint, "127.0.0.1:1", "--connect-timeout", "1s")
    assert result.status in (DIFFERENT, TROUBLE) and "127.0.0.1:1" in result.stdout + result.stderr


def test_doctor_as_json(source: Server, target: Server) -> None:
    result = longhaul("doctor", "--output", "json", source.endpoint, target.endpoint)
    assert result.json["command"] == "doctor"


# generate

@pytest.mark.sanitize
def test_generate_makes_every_type(source: Server) -> None:
    longhaul("generate", source.endpoint, "--keys", 2000).expect(EQUAL)
    kinds = {source.command("TYPE", key) for key in source.admin().scan_iter(count=1000)}
    assert oracle.count(source) == 2000
    assert kinds == {b"string", b"list", b"set", b"zset", b"hash", b"stream"}


def test_generate_is_seeded(source: Server, target: Server) -> None:
    for server in (source, target):
        longhaul("generate", server.endpoint, "--keys", 1000, "--seed", 7).expect(EQUAL)
    # Streams are the same but for the times at which their consumers were seen, which a server sets itself.
    assert {found.kind for found in oracle.differences(source, target)} <= {"group"}
    target.flush()
    longhaul("generate", target.endpoint, "--keys", 1000, "--seed", 8).expect(EQUAL)
    assert oracle.differences(source, target) != []


def test_generate_expiry(source: Server) -> None:
    longhaul("generate", source.endpoint, "--keys", 1000, "--expire-share", 50, "--expire", "1h-2h").expect(EQUAL)
    expiring = sum(source.command("PTTL", key) > 0 for key in source.admin().scan_iter(count=1000))
    assert 350 < expiring < 650


def test_generate_into_a_cluster_and_on(deployments: Deployments, target: Server) -> None:
    side = deployments.get("source", "cluster")
    longhaul("generate", side.endpoint, "--keys", 3000, "--expire-share", 30, "--binary-keys").expect(EQUAL)
    assert oracle.count(side) == 3000
    replicate(side, target).expect(EQUAL)
    oracle.assert_equal(side, target, at_least=3000)


def test_generate_for_ever_until_interrupted(source: Server) -> None:
    with Running(["generate", source.endpoint, "--keys", "100", "--rate", "2000", "--forever"]) as running:
        wait.until(lambda: oracle.count(source) == 100, "all keys")
        running.signal()
        assert running.wait(10).status in (EQUAL, TROUBLE)


# demo, and what is printed from tables

@pytest.mark.timeout(180)
def test_demo_works_and_leaves_nothing(fleet: Fleet) -> None:
    result = longhaul("demo", "--keys", 3000, timeout=120).expect(EQUAL)
    assert result.stdout
    still = subprocess.run(["ps", "-o", "pid,args", "--ppid", "1"], capture_output=True, text=True, check=True).stdout
    assert "longhaul-demo" not in still


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    assert "--key-pattern" in longhaul("completion", shell).expect(EQUAL).stdout or shell == "fish"


def test_manual_has_every_option(tmp_path: object) -> None:
    manual = longhaul("manual").expect(EQUAL).stdout
    for option in re.findall(r"--([a-z-]+)", longhaul("replicate", "--help").stdout):
        assert option in manual.replace("\\-", "-"), option


def test_no_command() -> None:
    assert longhaul().status == TROUBLE
    assert "frobnicate" in longhaul("frobnicate").expect(TROUBLE).error_line
