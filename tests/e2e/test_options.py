"""Options that change how a copy runs and which lines it prints."""
from __future__ import annotations

import re

import pytest

from harness import data, oracle, wait
from harness.checks import COUNTS, assert_copies
from harness.faults import Killer
from harness.run import DIFFERENT, EQUAL, USAGE, is_sanitized, longhaul, replicate, start_replicate
from harness.servers import Fleet, Options, Server


@pytest.mark.sanitize
def test_dry_run_writes_nothing(source: Server, target: Server) -> None:
    keys = data.load(source, data.mixed(81, 440))
    target.command("SET", "mine", "1")
    before = target.command("DEBUG", "DIGEST")
    dirty = target.admin().info("persistence")["rdb_changes_since_last_save"]
    said = replicate(source, target, "--dry-run").json
    assert said["result"] == "done" and said["keys"]["scanned"] == keys
    assert target.command("DEBUG", "DIGEST") == before
    assert target.admin().info("persistence")["rdb_changes_since_last_save"] == dirty


def test_dry_run_needs_no_right_to_write(source: Server, fleet: Fleet) -> None:
    data.load(source, data.plain(82, 100))
    target = fleet.server(Options(default_user="on nopass ~* &* +@all -@write"))
    assert replicate(source, target, "--dry-run").expect(EQUAL).json["result"] == "done"


def test_rate(source: Server, target: Server) -> None:
    keys = data.load(source, data.plain(83, 6000))
    result = assert_copies(source, target, keys, "--rate", 3000, "--compare", "none")
    assert 1.3 < result.seconds, f"6000 keys at 3000 a second took {result.seconds:.2f} s"


def test_sleep(source: Server, target: Server) -> None:
    keys = data.load(source, data.plain(84, 5000))
    result = assert_copies(source, target, keys, "--sleep", 50, "--scan-count", 500, "--compare", "none")
    assert 0.35 < result.seconds, f"ten pages with pauses of 50 ms took {result.seconds:.2f} s"


def test_log_keys(source: Server, target: Server) -> None:
    keys = data.load(source, data.plain(85, 50, b"named"))
    result = replicate(source, target, "--log-keys").expect(EQUAL)
    assert len(set(re.findall(r"named:\d+", result.stderr))) == keys


@pytest.mark.parametrize("compare, expected", [("none", None), ("quick", "quick"), ("full", "full"), (None, "quick")])
def test_comparison_after_the_copy(source: Server, target: Server, compare: str, expected: str) -> None:
    keys = data.load(source, data.mixed(86, 220))
    said = replicate(source, target, *(["--compare", compare] if compare else [])).expect(EQUAL).json
    assert (said["compare"] or {}).get("mode") == expected
    if expected:
        assert said["compare"]["keys"] == said["compare"]["equal"] == keys


def test_comparison_finds_what_the_target_lost(source: Server, fleet: Fleet) -> None:
    """A target that evicts has not got everything, and the run says so."""
    target = fleet.server(Options(config={"maxmemory": "3mb", "maxmemory-policy": "allkeys-random"}))
    data.load(source, data.plain(87, 20000, size=400, expiring=0))
    said = replicate(source, target, "--show-diffs").expect(DIFFERENT).json
    there = oracle.count(target)
    assert said["result"] == "done" and said["compare"]["missing"] > 0
    assert said["compare"]["equal"] + said["compare"]["missing"] == 20000 and said["compare"]["equal"] >= there
    first = said["compare"]["differences"][0]
    assert first["kind"] == "missing" and source.command("EXISTS", first["key"]) == 1


def test_json_is_all_there_is_on_standard_output(source: Server, target: Server) -> None:
    data.load(source, data.mixed(88, 220))
    for progress in ("auto", "bar", "log", "none"):
        said = longhaul("replicate", "--output", "json", "--progress", progress, source.endpoint, target.endpoint).json
        assert said["version"] == "0.1.0" and said["mode"] == "scan" and said["exit_status"] == 0
        assert set(COUNTS) <= set(said["keys"])
        for role, server in (("source", source), ("target", target)):
            assert said[role]["endpoint"] == server.endpoint and said[role]["topology"] == "standalone"
            assert said[role]["server"] == "redis" and said[role]["server_version"] == "7.0.15"
            assert said[role]["primaries"] == 1
        for name in ("retries", "reconnects", "redirects", "scan_restarts"):
            assert said[name] == 0


def test_summary_for_people(source: Server, target: Server) -> None:
    keys = data.load(source, data.mixed(89, 220))
    result = longhaul("replicate", source.endpoint, target.endpoint).expect(EQUAL)
    for kind in ("string", "list", "set", "zset", "hash", "stream"):
        assert re.search(rf"\b{kind}\b", result.stdout), result
    assert str(keys) in result.stdout
    assert "\r" not in result.stderr and "\x1b" not in result.stderr + result.stdout, "a bar where no terminal is"


def test_progress_log_says_something_while_it_runs(source: Server, target: Server) -> None:
    data.load(source, data.plain(90, 20000))
    with start_replicate(source, target, "--rate", 3000, "--progress", "log") as running:
        wait.until(lambda: re.search(r"\d+ ?%|keys", running.stderr_so_far()), "a line of progress", 12)
        running.signal()
        running.wait()


def test_unknown_combination_is_refused(source: Server, target: Server) -> None:
    assert longhaul("replicate", "--mode", "live", "--dry-run", source.endpoint, target.endpoint).status == USAGE


@pytest.mark.sanitize
def test_help_and_version() -> None:
    assert "replicate" in longhaul("--help").expect(EQUAL).stdout
    assert "--key-pattern" in longhaul("replicate", "--help").expect(EQUAL).stdout
    assert "0.1.0" in longhaul("--version").expect(EQUAL).stdout


def test_memory_stays_small(source: Server, target: Server) -> None:
    keys = data.load(source, data.many(91, 100000))
    with Killer([source, target], 0.2, seed=92):
        result = assert_copies(source, target, keys)
    if not is_sanitized():
        assert result.peak_kib < 64 * 1024
    assert abs(result.json["peak_memory_bytes"] - result.peak_kib * 1024) < 8 << 20
