"""The commands that users of RIOT type, exactly as they type them."""
from __future__ import annotations

import pytest

from conftest import Deployments
from harness import data, oracle
from harness.run import EQUAL, longhaul
from harness.servers import Fleet, Options, Server
from harness.tls import Certificates

KEYS = 500


@pytest.fixture
def filled(source: Server) -> Server:
    data.load(source, data.mixed(31, KEYS))
    data.load(source, data.plain(32, 40, b"one"), db=1)
    return source


def test_two_endpoints(filled: Server, target: Server) -> None:
    result = longhaul("replicate", filled.endpoint, target.endpoint).expect(EQUAL)
    oracle.assert_equal(filled, target, at_least=KEYS)
    assert "string" in result.stdout and "hash" in result.stdout


def test_source_cluster(deployments: Deployments, target: Server) -> None:
    source = deployments.get("source", "cluster")
    data.load(source, data.mixed(33, KEYS))
    longhaul("replicate", source.endpoint, target.endpoint, "--source-cluster").expect(EQUAL)
    oracle.assert_equal(source, target, at_least=KEYS)


def test_uri_with_database(filled: Server, target: Server) -> None:
    longhaul("replicate", f"redis://{filled.endpoint}/1", target.endpoint).expect(EQUAL)
    oracle.assert_equal(filled, target, db=1, target_db=0, at_least=40)


def test_mode_scan(filled: Server, target: Server) -> None:
    longhaul("replicate", filled.endpoint, target.endpoint, "--mode", "scan").expect(EQUAL)
    oracle.assert_equal(filled, target, at_least=KEYS)


def test_source_tls_and_password(fleet: Fleet, certificates: Certificates, target: Server) -> None:
    source = fleet.server(Options(tls=certificates, password="elasticache-password"))
    data.load(source, data.mixed(34, KEYS))
    result = longhaul("replicate", source.endpoint, target.endpoint, "--source-tls", "--source-pass",
                      "elasticache-password", env={"SSL_CERT_FILE": certificates.path("ca.crt")}).expect(EQUAL)
    result.assert_silent_about("elasticache-password")
    oracle.assert_equal(source, target, at_least=KEYS)


@pytest.mark.parametrize("options", [
    ["--threads", "2", "--batch", "50", "--pipeline", "100", "--scan-count", "100"], ["--threads", "1", "--batch", "1"],
    ["--pipeline", "1", "--batch", "1", "--scan-count", "10"], ["--batch", "5000", "--scan-count", "10000"],
    ["--progress", "log"], ["--progress", "bar"]], ids=lambda options: "".join(options))
@pytest.mark.threads
def test_tuning(filled: Server, target: Server, options: list[str]) -> None:
    longhaul("replicate", filled.endpoint, target.endpoint, *options).expect(EQUAL)
    oracle.assert_equal(filled, target, at_least=KEYS)


def test_options_may_stand_first(filled: Server, target: Server) -> None:
    longhaul("replicate", "--threads=2", "--compare=full", filled.endpoint, target.endpoint).expect(EQUAL)
    oracle.assert_equal(filled, target, at_least=KEYS)
