"""Filters in live mode: names that capture announces are chosen as those of a scan are, and a key that stops being wanted
does not stay on the target as it was."""
from __future__ import annotations

from typing import Callable, Dict, List, Tuple

import pytest

from harness import wait
from harness.live import Live
from harness.run import DIFFERENT, EQUAL, longhaul
from harness.servers import Fleet, Options, Server
from harness.wire import slot_of

CAPTURES = ["tracking", "notifications"]
POLL = ("--poll", "250ms")
OURS, THEIRS = b"of the source", b"of others"

LOW = [key for key in (b"k%d" % i for i in range(40)) if slot_of(key) <= 8191]
HIGH = [key for key in (b"k%d" % i for i in range(40)) if slot_of(key) > 8191]

# A filter, names that it takes, names that it leaves out.
BY_NAME: List[Tuple[List[str], List[bytes], List[bytes]]] = [
    (["--key-pattern", "app:*"], [b"app:1", b"app:2"], [b"oth:1", b"apple", b"other:app:1"]),
    (["--key-pattern", "a[b-d]?*"], [b"abx", b"ad\\*"], [b"aex", b"ab", b"xabx"]),
    (["--key-include", "app:*", "--key-include", "web:*"], [b"app:1", b"web:1"], [b"oth:1", b"xweb:1"]),
    (["--key-exclude", "tmp:*"], [b"app:1", b"x:tmp:1"], [b"tmp:1", b"tmp:"]),
    (["--key-pattern", "app:*", "--key-exclude", "*:tmp"], [b"app:1"], [b"app:tmp", b"oth:1"]),
    (["--key-slot", "0-8191"], LOW, HIGH),
]


@pytest.fixture(params=CAPTURES)
def capture(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def busy_source(fleet: Fleet) -> Server:
    return fleet.server(Options(config={"notify-keyspace-events": "AE"}))


@pytest.mark.parametrize("args, wanted, others", BY_NAME, ids=[" ".join(args) for args, _, _ in BY_NAME])
def test_names_are_chosen(busy_source: Server, target: Server, capture: str, args: List[str], wanted: List[bytes],
                          others: List[bytes]) -> None:
    """Keys of others on the target, under names that the filter leaves out, are neither overwritten nor deleted."""
    for key in others:
        target.command("SET", key, THEIRS)
        busy_source.command("SET", key, "first")
    with Live(busy_source, target, "--capture", capture, *args, *POLL) as live:
        live.wait_live()
        for key in wanted + others:
            busy_source.command("SET", key, OURS)
        live.catch_up()
        assert [target.command("GET", key) for key in wanted] == [OURS] * len(wanted)
        for key in wanted + others:
            busy_source.command("DEL", key)
        live.catch_up()
        assert [target.command("GET", key) for key in wanted] == [None] * len(wanted)
        assert [target.command("GET", key) for key in others] == [THEIRS] * len(others)
        live.terminate().expect(EQUAL)


def test_databases_are_chosen(busy_source: Server, target: Server, capture: str) -> None:
    """The same names in a database that is not copied."""
    target.command("SET", "k", THEIRS, db=2)
    with Live(busy_source, target, "--capture", capture, "--databases", "0,1", *POLL) as live:
        live.wait_live()
        for db in (0, 1, 2):
            busy_source.command("SET", "k", OURS, db=db)
        live.catch_up()
        assert [target.command("GET", "k", db=db) for db in (0, 1, 2)] == [OURS, OURS, THEIRS]
        busy_source.command("FLUSHALL")
        live.catch_up()
        assert target.command("GET", "k", db=2) == THEIRS


# Keys that stop being wanted

Change = Callable[[Server, bytes], None]


def becomes_a_hash(source: Server, key: bytes) -> None:
    source.admin().pipeline().delete(key).hset(key, "f", "v").execute()


def grows(source: Server, key: bytes) -> None:
    source.command("SET", key, b"x" * 300_000)


UNWANTED: Dict[str, Tuple[List[str], Change]] = {
    "type": (["--key-type", "string"], becomes_a_hash),
    "size": (["--mem-limit", "100KB"], grows),
    "both": (["--key-type", "string", "--mem-limit", "100KB"], grows),
}


@pytest.mark.parametrize("how", UNWANTED)
def test_the_copy_of_a_key_that_stops_being_wanted_is_removed(busy_source: Server, target: Server, capture: str,
                                                              how: str) -> None:
    args, change = UNWANTED[how]
    for key in (b"first", b"stays"):
        busy_source.command("SET", key, "old")
    with Live(busy_source, target, "--capture", capture, *args, *POLL) as live:
        live.wait_live()
        busy_source.command("SET", b"later", "old")
        live.catch_up()
        assert target.command("EXISTS", b"first", b"later", b"stays") == 3
        for key in (b"first", b"later"):
            change(busy_source, key)
        live.catch_up()
        assert target.command("EXISTS", b"first", b"later") == 0 and target.command("GET", b"stays") == b"old"
        assert "is not wanted any more" in live.stderr()
        # wanted again, it is copied again
        busy_source.admin().pipeline().delete(b"first").set(b"first", "new").execute()
        live.catch_up()
        assert target.command("GET", b"first") == b"new"
        live.terminate().expect(EQUAL)


@pytest.mark.parametrize("how", UNWANTED)
def test_a_key_that_stopped_being_wanted_in_a_gap(busy_source: Server, target: Server, capture: str, how: str,
                                                  tmp_path) -> None:
    """Nobody announced it: the sweep of the target finds it."""
    args, change = UNWANTED[how]
    for i in range(50):
        busy_source.command("SET", f"k{i}", "old")
    with Live(busy_source, target, "--capture", capture, *args, *POLL, state_dir=tmp_path / "state") as live:
        live.wait_live()
        live.catch_up()
        live.kill9()
        change(busy_source, b"k7")
        live.start()
        live.catch_up()
        wait.until(lambda: target.command("EXISTS", "k7") == 0, "its copy to be removed", 20)
        assert target.command("EXISTS", "k8") == 1


@pytest.mark.parametrize("how", UNWANTED)
def test_keys_of_others_under_the_name_of_an_unwanted_key_stay(busy_source: Server, target: Server, capture: str,
                                                               how: str) -> None:
    args, change = UNWANTED[how]
    target.command("SET", "theirs", THEIRS)
    change(busy_source, b"theirs")
    for i in range(20):
        busy_source.command("SET", f"k{i}", "v")
    with Live(busy_source, target, "--capture", capture, "--extra", "keep", *args, *POLL) as live:
        live.wait_live()
        for _ in range(3):
            change(busy_source, b"theirs")
            live.catch_up()
        busy_source.command("SET", "k1", "new")
        live.catch_up()
        assert target.command("GET", "theirs") == THEIRS and target.command("GET", "k1") == b"new"
        assert "is not wanted any more" not in live.stderr()


def test_compare_says_what_a_filter_leaves_out(busy_source: Server, target: Server) -> None:
    """By the same function: a key that the copy leaves out is no difference."""
    for key in (b"app:1", b"oth:1"):
        busy_source.command("SET", key, OURS)
    target.command("SET", b"app:1", OURS)
    target.command("SET", b"oth:2", THEIRS)
    longhaul("compare", "--key-pattern", "app:*", busy_source.endpoint, target.endpoint).expect(EQUAL)
    longhaul("compare", busy_source.endpoint, target.endpoint).expect(DIFFERENT)
