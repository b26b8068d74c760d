"""Connections break, servers restart, refuse, fill up and fall silent while a copy runs. No key is lost, and where
nothing can be done the run ends in time and says why."""
from __future__ import annotations

import threading
import time
from typing import Iterator

import pytest

from conftest import Deployments
from harness import data, oracle, wait
from harness.checks import assert_found_equal
from harness.faults import Killer, Stranger
from harness.proxy import Proxy
from harness.run import DIFFERENT, EQUAL, PROMPT_SECONDS, TROUBLE, Result, replicate, start_replicate
from harness.servers import Fleet, Options, Server

SHAPES = [("standalone", "standalone"), ("standalone", "cluster"), ("cluster", "standalone"), ("cluster", "cluster")]


def wait_copied(target: oracle.Deployment, at_least: int) -> bool:
    """Until the copy is under way."""
    return wait.until(lambda: oracle.count(target) >= at_least, f"{at_least} keys on the target")


def wait_refused(server: Server, word: str) -> None:
    """Until the server has refused a command with this error."""
    wait.until(lambda: f"errorstat_{word}" in server.admin().info("errorstats"), f"{word} on port {server.port}", 20)


# Connections

@pytest.mark.parametrize("shapes", SHAPES, ids=["-to-".join(shapes) for shapes in SHAPES])
@pytest.mark.parametrize("killed", ["source", "target", "both"])
def test_connections_are_killed_at_random(deployments: Deployments, shapes: tuple[str, str], killed: str) -> None:
    source, target = deployments.get("source", shapes[0]), deployments.get("target", shapes[1])
    keys = data.load(source, data.many(101, 12000))
    sides = {"source": [source], "target": [target], "both": [source, target]}[killed]
    reconnects = 0
    with Killer(sides, 0.04, seed=102) as killer:
        while killer.kills < 3 or reconnects < 1:  # how many fall into one copy is up to the machine
            said = replicate(source, target, "--rate", 12000).expect(EQUAL).json
            assert said["keys"]["given_up"] == 0
            reconnects += said["reconnects"]
    oracle.assert_equal(source, target, at_least=keys)


@pytest.fixture
def proxies(source: Server, target: Server) -> Iterator[tuple[Proxy, Proxy]]:
    with Proxy.before(source) as before_source, Proxy.before(target) as before_target:
        yield before_source, before_target


@pytest.mark.parametrize("side", [0, 1], ids=["source", "target"])
@pytest.mark.threads
def test_network_cuts_at_random(source: Server, target: Server, proxies: tuple[Proxy, Proxy], side: int) -> None:
    """Resets in the middle of requests and replies, also of large values."""
    data.load(source, data.many(103, 12000))
    data.load(source, data.plain(104, 100, b"large", size=300_000))
    proxies[side].cut_at_random(0.1, seed=105)
    with start_replicate(proxies[0].endpoint, proxies[1].endpoint, "--rate", 10000, "--threads", 2) as running:
        said = running.wait().expect(EQUAL).json
    assert proxies[side].cuts >= 2 and said["reconnects"] >= 1
    oracle.assert_equal(source, target, at_least=12100)


def test_all_connections_cut_again_and_again(source: Server, target: Server, proxies: tuple[Proxy, Proxy]) -> None:
    keys = data.load(source, data.many(106, 10000))
    with start_replicate(proxies[0].endpoint, proxies[1].endpoint, "--rate", 5000) as running:
        for share in (1000, 3000, 5000, 7000):
            wait_copied(target, share)
            proxies[0].cut()
            proxies[1].cut()
        running.wait().expect(EQUAL)
    oracle.assert_equal(source, target, at_least=keys)


@pytest.mark.parametrize("side", [0, 1], ids=["source", "target"])
def test_connections_are_refused_for_a_while(source: Server, target: Server, proxies: tuple[Proxy, Proxy],
                                             side: int) -> None:
    keys = data.load(source, data.many(107, 8000))
    with start_replicate(proxies[0].endpoint, proxies[1].endpoint, "--rate", 5000) as running:
        wait_copied(target, 1000)
        before = proxies[side].accepted
        proxies[side].refuse()
        wait.until(lambda: proxies[side].accepted >= before + 3, "three attempts in vain")
        proxies[side].refuse(False)
        running.wait().expect(EQUAL)
    oracle.assert_equal(source, target, at_least=keys)


def test_slow_network(source: Server, target: Server) -> None:
    """40 ms each way on both sides: one key at a time would take half an hour for these."""
    keys = data.load(source, data.many(108, 20000))
    with Proxy.before(source, delay=0.04) as first, Proxy.before(target, delay=0.04) as second:
        result = replicate(first.endpoint, second.endpoint, "--compare", "none").expect(EQUAL)
    assert result.seconds < 200, f"{result.seconds:.1f} s"
    oracle.assert_equal(source, target, at_least=keys)


# Silence

@pytest.mark.parametrize("side", [0, 1], ids=["source", "target"])
def test_network_falls_silent_for_a_while(source: Server, target: Server, proxies: tuple[Proxy, Proxy],
                                          side: int) -> None:
    keys = data.load(source, data.many(109, 8000))
    with start_replicate(proxies[0].endpoint, proxies[1].endpoint, "--rate", 5000, "--timeout", "1s",
                         "--connect-timeout", "1s") as running:
        wait_copied(target, 1000)
        before = proxies[side].accepted
        proxies[side].silence()
        wait.until(lambda: proxies[side].accepted > before, "a new attempt after --timeout", 10)
        proxies[side].speak()
        running.wait().expect(EQUAL)
    oracle.assert_equal(source, target, at_least=keys)


@pytest.mark.parametrize("side", [0, 1], ids=["source", "target"])
def test_network_falls_silent_for_good(source: Server, target: Server, proxies: tuple[Proxy, Proxy], side: int) -> None:
    data.load(source, data.many(110, 8000))
    patience = ["--timeout", "1s", "--connect-timeout", "1s", "--outage-timeout", "2s"]
    with start_replicate(proxies[0].endpoint, proxies[1].endpoint, "--rate", 5000, *patience) as running:
        wait_copied(target, 1000)
        proxies[side].silence()
        began = time.monotonic()
        result = running.wait(30).expect(TROUBLE)
    assert time.monotonic() - began < PROMPT_SECONDS
    assert proxies[side].endpoint in result.error_line and result.json["keys"]["copied"] >= 1000


def test_server_is_paused_for_a_while(fleet: Fleet, target: Server) -> None:
    """A process that is stopped accepts connections by its kernel and answers nothing."""
    source = fleet.server()
    keys = data.load(source, data.many(111, 8000))
    with start_replicate(source, target, "--rate", 5000, "--timeout", "500ms") as running:
        wait_copied(target, 1000)
        source.pause()
        stop = time.monotonic() + 1.5
        wait.until(lambda: time.monotonic() > stop, "a pause longer than --timeout")
        source.resume()
        running.wait().expect(EQUAL)
    oracle.assert_equal(source, target, at_least=keys)


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n",
    b"\x15\x03\x01\x00\x02\x02\x46", b"*99999999999\r\n", b"$536870913000\r\n"],
    ids=["http", "ssh", "tls alert", "huge array", "huge string"])
@pytest.mark.sanitize
def test_port_that_speaks_something_else(target: Server, answer: bytes) -> None:
    with Stranger(answer) as stranger:
        result = replicate(stranger.endpoint, target, "--outage-timeout", "2s", "--timeout", "1s").expect(TROUBLE)
    assert f"source {stranger.endpoint}" in result.error_line and result.seconds < PROMPT_SECONDS


def test_port_that_says_nothing(target: Server) -> None:
    with Stranger(b"") as stranger:
        result = replicate(stranger.endpoint, target, "--timeout", "500ms", "--outage-timeout", "2s").expect(TROUBLE)
    assert stranger.endpoint in result.error_line and result.seconds < PROMPT_SECONDS


# Servers that restart

def test_source_restarts_with_its_data(fleet: Fleet, target: Server) -> None:
    """Another run_id: the cursor is worth nothing, the scan begins again, and no key is lost."""
    source = fleet.server()
    keys = data.load(source, data.many(112, 20000))
    with start_replicate(source, target, "--scan-count", 100, "--sleep", 20) as running:
        wait_copied(target, 4000)
        source.restart(keep=True)
        said = running.wait().expect(EQUAL).json
    oracle.assert_equal(source, target, at_least=keys)
    assert said["scan_restarts"] >= 1


def test_source_is_loading(fleet: Fleet, target: Server) -> None:
    """A source that still reads its file answers LOADING; the copy waits for it."""
    source = fleet.server(Options(config={"key-load-delay": "0", "loading-process-events-interval-bytes": "1024"}))
    keys = data.load(source, data.plain(113, 3000))
    source.command("SAVE")
    source.stop()
    source.options.config["key-load-delay"] = "500"
    source.launch()
    wait.until(lambda: source.admin().info("persistence")["loading"] == 1, "the source to load")
    replicate(source, target, "--outage-timeout", "20s").expect(EQUAL)
    oracle.assert_equal(source, target, at_least=keys)


def test_target_restarts_empty(fleet: Fleet, source: Server) -> None:
    """Writes that it had acknowledged are gone. That is never called a success: it is copied again, or reported."""
    target = fleet.server()
    keys = data.load(source, data.many(114, 20000))
    with start_replicate(source, target, "--rate", 10000) as running:
        wait_copied(target, 5000)
        target.restart()
        result = running.wait()
    if result.status == EQUAL:
        oracle.assert_equal(source, target, at_least=keys)
    else:
        assert result.status == DIFFERENT and result.json["compare"]["missing"] > 0, result


def test_source_is_down_for_good(fleet: Fleet, target: Server) -> None:
    source = fleet.server()
    data.load(source, data.many(115, 8000))
    with start_replicate(source, target, "--rate", 5000, "--outage-timeout", "1s") as running:
        wait_copied(target, 1000)
        source.kill9()
        began = time.monotonic()
        result = running.wait(30).expect(TROUBLE)
    assert time.monotonic() - began < PROMPT_SECONDS
    assert result.json["result"] == "failed" and source.endpoint in result.error_line


def test_busy_script_on_the_source(fleet: Fleet, target: Server) -> None:
    source = fleet.server(Options(config={"busy-reply-threshold": "50"}))
    keys = data.load(source, data.many(116, 8000))
    with start_replicate(source, target, "--rate", 5000) as running:
        wait_copied(target, 1000)
        blocked = threading.Thread(target=_run_for_ever, args=(source,))
        blocked.start()
        time_is_up = time.monotonic() + 1
        wait.until(lambda: time.monotonic() > time_is_up, "a second of BUSY")
        wait.until(lambda: source.command("SCRIPT", "KILL") == b"OK", "the script to be killed")
        blocked.join()
        running.wait().expect(EQUAL)
    oracle.assert_equal(source, target, at_least=keys)


def _run_for_ever(server: Server) -> None:
    with server.wire() as wire:
        wire.batch([("EVAL", "while true do end", 0)])


# Targets that refuse

def test_target_out_of_memory_for_a_while(source: Server, fleet: Fleet) -> None:
    target = fleet.server(Options(config={"maxmemory": "4mb", "maxmemory-policy": "noeviction"}))
    keys = data.load(source, data.plain(117, 20000, size=300))
    with start_replicate(source, target, "--outage-timeout", "30s") as running:
        wait_refused(target, "OOM")
        assert running.alive
        target.command("CONFIG", "SET", "maxmemory", 0)
        said = running.wait().expect(EQUAL).json
    assert said["retries"] >= 1 and said["keys"]["given_up"] == 0
    oracle.assert_equal(source, target, at_least=keys)


def test_target_out_of_memory_for_good(source: Server, fleet: Fleet) -> None:
    target = fleet.server(Options(config={"maxmemory": "4mb", "maxmemory-policy": "noeviction"}))
    data.load(source, data.plain(118, 20000, size=300))
    result = replicate(source, target, "--outage-timeout", "2s").expect(TROUBLE)
    assert result.seconds < PROMPT_SECONDS and result.json["error"]["code"] in ("oom", "outage")
    assert f"target {target.endpoint}" in result.error_line and "maxmemory" in result.error_line


@pytest.mark.parametrize("option, bad, good, word", [("min-replicas-to-write", 1, 0, "NOREPLICAS"),
                                                     ("replica-serve-stale-data", None, None, "READONLY")])
def test_target_refuses_writes_for_a_while(source: Server, fleet: Fleet, option: str, bad: object, good: object,
                                           word: str) -> None:
    target = fleet.server()
    keys = data.load(source, data.many(119, 8000))
    with start_replicate(source, target, "--rate", 5000, "--outage-timeout", "30s") as running:
        wait_copied(target, 1000)
        if word == "READONLY":
            primary = fleet.server()
            with target.wire() as wire, primary.wire() as other:
                del other
                wire.call("REPLICAOF", "127.0.0.1", primary.port)
                wait_refused(target, word)
                wire.call("REPLICAOF", "NO", "ONE")
        else:
            target.command("CONFIG", "SET", option, bad)
            wait_refused(target, word)
            target.command("CONFIG", "SET", option, good)
        result = running.wait()
    if word == "READONLY":  # it was emptied by its synchronisation with the other primary
        assert_lost_or_equal(result, source, target, keys)
    else:
        result.expect(EQUAL)
        oracle.assert_equal(source, target, at_least=keys)


def assert_lost_or_equal(result: Result, source: Server, target: Server, keys: int) -> None:
    if result.status == EQUAL:
        oracle.assert_equal(source, target, at_least=keys)
    else:
        assert result.status == DIFFERENT and result.json["compare"]["missing"] > 0, result


def test_target_is_a_replica(source: Server, fleet: Fleet) -> None:
    primary, target = fleet.server(), fleet.server()
    target.command("REPLICAOF", "127.0.0.1", primary.port)
    wait.until(lambda: target.admin().info("replication").get("master_link_status") == "up", "the replica")
    data.load(source, data.plain(120, 100))
    result = replicate(source, target, "--outage-timeout", "2s").expect(TROUBLE)
    assert target.endpoint in result.error_line and "is a replica" in result.error_line
    assert result.seconds < PROMPT_SECONDS


# Rights

def keys_of_two_tenants(source: Server) -> tuple[int, int]:
    allowed = data.load(source, data.mixed(121, 220, b"allowed:"))
    return allowed, data.load(source, data.mixed(122, 44, b"denied:"))


@pytest.mark.sanitize
@pytest.mark.parametrize("side", ["source", "target"])
def test_keys_that_the_user_may_not_touch(fleet: Fleet, side: str) -> None:
    """They are given up and listed; the rest arrives."""
    rule = {"app": "on >pass-of-app ~allowed:* &* +@all"}
    source, target = (fleet.server(Options(users=rule if side == role else {})) for role in ("source", "target"))
    allowed, denied = keys_of_two_tenants(source)
    result = replicate(source, target, f"--{side}-user", "app", f"--{side}-pass", "pass-of-app").expect(DIFFERENT)
    said = result.json
    assert said["keys"]["given_up"] == len(said["given_up"]) == denied and said["keys"]["copied"] == allowed
    assert all(each["key"].startswith("denied:") and each["db"] == 0 and each["reason"] for each in said["given_up"])
    oracle.assert_equal(source, target, only=lambda key: key.startswith(b"allowed:"), at_least=allowed)


def test_user_that_may_not_scan(fleet: Fleet, target: Server) -> None:
    source = fleet.server(Options(users={"app": "on >pass-of-app ~* &* +@all -scan"}))
    data.load(source, data.plain(123, 100))
    result = replicate(source, target, "--source-user", "app", "--source-pass", "pass-of-app", "--outage-timeout", "3s")
    result.expect(TROUBLE)
    assert source.endpoint in result.error_line and "scan" in result.error_line.lower()


def test_user_that_may_not_restore(source: Server, fleet: Fleet) -> None:
    """Then values travel by the commands of their types; a user without the right to SET is told so before the copy."""
    target = fleet.server(Options(users={"app": "on >pass-of-app ~* &* +@all -restore",
                                         "less": "on >pass-of-less ~* &* +@all -restore -set"}))
    data.load(source, data.plain(124, 100))
    data.load(source, data.mixed(125, 22, kinds={"hash small": data.KINDS["hash small"]}))
    result = replicate(source, target, "--target-user", "less", "--target-pass", "pass-of-less").expect(TROUBLE)
    assert "SET" in result.error_line and target.endpoint in result.error_line and oracle.count(target) == 0
    result = replicate(source, target, "--target-user", "app", "--target-pass", "pass-of-app").expect(EQUAL)
    assert "RESTORE is refused" in result.stderr
    oracle.assert_equal(source, target, at_least=122)


def test_refused_restore_command(source: Server, fleet: Fleet) -> None:
    """Renamed away, as a managed service may do."""
    target = fleet.server(Options(renamed={"restore": "secret-restore"}))
    data.load(source, data.plain(126, 100))
    data.load(source, data.mixed(127, 22, kinds={"list small": data.KINDS["list small"]}))
    result = replicate(source, target).expect(EQUAL)
    assert "RESTORE is refused" in result.stderr
    oracle.assert_equal(source, target, at_least=122)


def test_password_changes_during_the_copy(fleet: Fleet, target: Server) -> None:
    """The connection breaks and the password is wrong from now on: the run stops and says so."""
    source = fleet.server(Options(users={"app": "on >old-password ~* &* +@all"}))
    data.load(source, data.many(128, 8000))
    with start_replicate(source, target, "--rate", 3000, "--source-user", "app", "--source-pass", "old-password",
                         "--outage-timeout", "10s") as running:
        wait_copied(target, 1000)
        source.command("ACL", "SETUSER", "app", "resetpass", ">new-password")
        source.command("CLIENT", "KILL", "USER", "app")
        result = running.wait(30).expect(TROUBLE)
    assert result.json["error"]["code"] == "wrongpass" and result.seconds < PROMPT_SECONDS
    result.assert_silent_about("old-password", "new-password")


def test_bad_payload_does_not_end_the_copy(source: Server, target: Server, matrix: dict) -> None:
    """A newer source and an older target: keys that the target cannot have are listed, the rest arrives."""
    newer = matrix["redis-8.0"]
    older = target
    newer.flush()
    data.load(newer, data.plain(129, 200))
    data.load(newer, data.mixed(130, 20, kinds={"vector set": data.NEWER_KINDS["vector set"][2]}))
    result = replicate(newer, older).expect(DIFFERENT)
    assert result.json["keys"]["given_up"] == 20 == len(result.json["given_up"])
    assert all("vector set" in each["reason"] for each in result.json["given_up"])
    assert_strings_arrived(newer, older, 200)


def assert_strings_arrived(source: Server, target: Server, keys: int) -> None:
    oracle.assert_equal(source, target, only=lambda key: key.startswith(b"k:"), at_least=keys)


def test_comparison_survives_the_killer(source: Server, target: Server) -> None:
    """Connections break while both sides are compared: no false difference."""
    keys = data.load(source, data.many(131, 30000))
    replicate(source, target, "--compare", "none").expect(EQUAL)
    with Killer([source, target], 0.02, seed=132):
        assert_found_equal(replicate(source, target, "--compare", "full").expect(EQUAL).json, keys)
