"""ping: its figures against a delay that is known, and how it ends."""
from __future__ import annotations

import signal

import pytest

from conftest import Deployments
from harness import wait
from harness.faults import Killer
from harness.proxy import Proxy
from harness.run import EQUAL, TROUBLE, Running, longhaul
from harness.servers import Server

def pings(server: Server) -> int:
    return int(server.admin().info("commandstats").get("cmdstat_ping", {}).get("calls", 0))


def pinged(server: Server, times: int) -> None:
    """Waits for so many more."""
    before = pings(server)
    wait.until(lambda: pings(server) > before + times, "pings")


ORDER = ["min_us", "p50_us", "p95_us", "p99_us", "p99.9_us", "max_us"]


def test_percentiles_are_in_order(source: Server) -> None:
    node, = longhaul("ping", source.endpoint, "--count", 500, "--output", "json").expect(EQUAL).json["nodes"]
    assert node["count"] == 500 and node["lost"] == 0
    values = [node[name] for name in ORDER]
    assert values == sorted(values) and values[0] > 0
    assert node["min_us"] <= node["mean_us"] <= node["max_us"]


def test_a_known_delay_is_measured(source: Server) -> None:
    with Proxy.before(source, delay=0.02) as proxy:
        node, = longhaul("ping", proxy.endpoint, "--count", 20, "--output", "json").expect(EQUAL).json["nodes"]
    assert node["min_us"] >= 20000
    assert node["p50_us"] < 1_000_000


def test_the_server_got_as_many_as_were_asked_for(source: Server) -> None:
    before = pings(source)
    longhaul("ping", source.endpoint, "--count", 30, "--iterations", 4, "--sleep", "10ms").expect(EQUAL)
    assert 120 <= pings(source) - before <= 125, "120, and those of handshakes"


def test_iterations_are_shown_as_they_come(source: Server) -> None:
    lines = longhaul("ping", source.endpoint, "--count", 5, "--iterations", 3, "--sleep", "1ms", "--unit", "us").expect(
        EQUAL).stdout.splitlines()
    assert lines[0].split()[-1] == "us" and lines[0].split()[1:5] == ["count", "min", "mean", "p50"]
    assert [line.split()[1] for line in lines if line.startswith("127.")] == ["5", "5", "5", "15"]
    # A column is as wide as its widest figure so far: a hiccup of the machine makes it wider from there on.
    lengths = [len(line) for line in lines[1:4]]
    assert lengths == sorted(lengths), "aligned"


def test_each_primary_has_its_line(deployments: Deployments) -> None:
    side = deployments.get("source", "cluster")
    said = longhaul("ping", side.endpoint, "--count", 10, "--output", "json").expect(EQUAL).json
    assert said["kind"] == "cluster"
    assert {node["address"] for node in said["nodes"]} == {f"127.0.0.1:{node.port}" for node in side.primaries()}


def test_no_cluster_where_one_was_asked_for(source: Server) -> None:
    assert "not a cluster" in longhaul("ping", "--cluster", source.endpoint).expect(TROUBLE).error_line


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_shows_what_it_has(source: Server, number: signal.Signals) -> None:
    with Running(["ping", source.endpoint, "--iterations", "0", "--count", "10", "--sleep", "20ms",
                  "--output", "json"]) as running:
        pinged(source, 50)
        running.signal(number)
        result = running.wait(5).expect(EQUAL)
    assert result.json["interrupted"] and result.json["nodes"][0]["count"] >= 10


def test_interrupted_before_its_time_is_no_success(source: Server) -> None:
    with Running(["ping", source.endpoint, "--count", "100000000", "--output", "json"]) as running:
        pinged(source, 50)
        running.signal()
        result = running.wait(5).expect(TROUBLE)
    assert result.json["nodes"][0]["count"] > 0


def test_a_server_that_falls_silent(source: Server) -> None:
    with Proxy.before(source) as proxy, Running(["ping", proxy.endpoint, "--count", "100000000", "--timeout", "500ms",
                                                 "--output", "json"]) as running:
        pinged(source, 50)
        proxy.silence()
        result = running.wait(10).expect(TROUBLE)
    assert "no answer" in result.error_line
    assert result.json["nodes"][0]["lost"] == 1 and result.json["nodes"][0]["count"] > 0


def test_a_lost_connection_is_reported(source: Server) -> None:
    with Killer([source], 0.05, 1), Running(["ping", source.endpoint, "--count", "20000000", "--output", "json"]) as running:
        result = running.wait(20).expect(TROUBLE)
    assert str(source.port) in result.error_line
    assert result.json["nodes"][0]["lost"] == 1


def test_json_also_when_it_fails(source: Server) -> None:
    with Proxy.before(source) as proxy:
        endpoint = proxy.endpoint
    said = longhaul("ping", "--output", "json", endpoint).expect(TROUBLE).json
    assert said["error"]["code"] == "connect" and endpoint in said["error"]["message"]
    assert said["endpoint"] == endpoint and said["nodes"] == [] and said["exit_status"] == TROUBLE
    assert longhaul("ping", "--output", "json", "--count", 3, source.endpoint).expect(EQUAL).json["error"] is None
