"""`longhaul compare` never says "equal" of keys that it cannot vouch for, and never says so when nobody can read it."""
from __future__ import annotations

import json
import os
import stat
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, List, Tuple

import pytest
from harness import cluster, data, run, wait
from harness.run import DIFFERENT, EQUAL, TROUBLE, Result, Running, longhaul
from harness.servers import Fleet, Options, Server
from test_compare import assert_equal, compare, compare_args, copy, found, owner_of
from test_compare_live import Job, state_key
from test_proof import RECORD_BYTES, load_records, net_bytes

MODES = [(), ("--digest",)]
BY_MODE = pytest.mark.parametrize("options", MODES, ids=["full", "digest"])

# ---- HyperLogLogs ----

DENSE_BYTES = 12304
# "HYLL" and an encoding, three unused bytes, eight bytes of a cached count, registers.
PRETENDERS = {
    "text": b"HYLL0001%bpaid by A",
    "short": b"HYLL\x00\x00\x00\x00%b",
    "dense, cut off": b"HYLL\x00\x00\x00\x00%b" + bytes(DENSE_BYTES - 17),
    "dense, too long": b"HYLL\x00\x00\x00\x00%b" + bytes(DENSE_BYTES - 15),
    "sparse, one register too few": b"HYLL\x01\x00\x00\x00%b\x7f\xfe",
    "sparse, one register too many": b"HYLL\x01\x00\x00\x00%b\x7f\xff\x00",
    "sparse, half a run": b"HYLL\x01\x00\x00\x00%b\x7f",
    "sparse, no runs": b"HYLL\x01\x00\x00\x00%b",
    "unknown encoding": b"HYLL\x02\x00\x00\x00%b" + bytes(DENSE_BYTES - 16),
}


@BY_MODE
def test_strings_that_only_begin_like_a_hyperloglog(source: Server, target: Server, options: Tuple[str, ...]) -> None:
    """They are no counters: every byte counts, also those where a HyperLogLog keeps its cached count."""
    for name, form in PRETENDERS.items():
        source.command("SET", name, form.replace(b"%b", b"AMOUNT=1"))
        target.command("SET", name, form.replace(b"%b", b"AMOUNT=9"))
    assert sorted(found(compare(source, target, *options))) == sorted(("value", name) for name in PRETENDERS)


@BY_MODE
@pytest.mark.parametrize("elements", [100, 20_000], ids=["sparse", "dense"])
def test_a_hyperloglog_is_its_registers_and_its_count(source: Server, target: Server, options: Tuple[str, ...],
                                                      elements: int) -> None:
    """A cached count is no difference as long as PFCOUNT answers the same."""
    for side in (source, target):
        for first in range(0, elements, 1000):
            side.command("PFADD", "visitors", *range(first, min(first + 1000, elements)))
    count = target.command("PFCOUNT", "visitors")
    assert source.command("GET", "visitors") != target.command("GET", "visitors")
    assert_equal(compare(source, target, *options), 1)
    source.command("PFCOUNT", "visitors")
    assert_equal(compare(source, target, *options), 1)
    target.command("SETRANGE", "visitors", 8, (int(str(count)) + 1).to_bytes(8, "little"))
    assert target.command("PFCOUNT", "visitors") == int(str(count)) + 1
    shown = compare(source, target, *options, "--show-diffs").expect(DIFFERENT)
    assert found(shown) == [("value", "visitors")]
    target.command("PFADD", "visitors", *range(elements, elements + 1000))
    assert found(compare(source, target, *options)) == [("value", "visitors")]


# ---- keys that change on both sides ----


@contextmanager
def two_applications(*sides: Server) -> Iterator[None]:
    """Each writes the same keys on its side all the time, and never the same value."""
    stop = threading.Event()

    def write(name: str, server: Server) -> None:
        client, n = server.admin(), 0
        while not stop.is_set():
            n += 1
            client.mset({f"moving:{i}": f"{name} {n}" for i in range(10)})
            stop.wait(0.002)

    writers = [threading.Thread(target=write, args=(str(i), side)) for i, side in enumerate(sides)]
    for writer in writers:
        writer.start()
    try:
        wait.until(lambda: all(side.command("EXISTS", "moving:9") for side in sides), "both to have written", 20)
        yield
    finally:
        stop.set()
        for writer in writers:
            writer.join()


@BY_MODE
def test_what_two_applications_write_is_not_proved(source: Server, target: Server, options: Tuple[str, ...],
                                                   tmp_path: Path) -> None:
    data.load(source, data.plain(35, 300))
    copy(source, target)
    report = tmp_path / "report"
    with two_applications(source, target):
        result = compare(source, target, *options, "--interval", "300ms", "--rounds", "2", "--report", report)
        shown = longhaul("compare", *options, "--interval", "300ms", "--rounds", "2", "--show-diffs", source.endpoint,
                         target.endpoint).expect(DIFFERENT)
    counts = result.expect(DIFFERENT).json["compare"]
    names = {f"moving:{i}" for i in range(10)}
    assert counts["not_proved"] > 0 and counts["not_proved"] == counts["moving"]
    # A key that was written by one side only between two checks, on a starved machine, is different.
    assert counts["not_proved"] + len(found(result)) == 10
    assert {one["key"] for one in counts["not_proved_keys"]} | {key for _, key in found(result)} == names
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    listed = [line["key"] for line in lines if line["record"] == "not_proved"]
    assert sorted(listed) == sorted(one["key"] for one in counts["not_proved_keys"])
    assert "not proved" in shown.stdout and "moving:" in shown.stdout and "no live job explains" in shown.stdout


def test_a_repair_does_not_make_them_proved(source: Server, target: Server) -> None:
    source.command("SET", "missing", "1")
    with two_applications(source, target):
        result = compare(source, target, "--repair", "--interval", "300ms", "--rounds", "2").expect(DIFFERENT)
    assert result.json["compare"]["not_proved"] > 0 and target.command("GET", "missing") == b"1"


def compare_beside_a_job(source: Server, target: Server, scope: str, *options: str) -> Result:
    """While two applications write; the job's watermark passes every reading at once."""
    job = Job(source, target, state_key(), scope)
    job.say(time.time())
    with two_applications(source, target):
        with Running(compare_args(source, target, *options, "--rounds", "2", "--verbose")) as running:
            while running.alive:
                job.say(time.time())
                time.sleep(0.05)
            return running.wait()


@BY_MODE
@pytest.mark.parametrize("scope", ['{"databases":"0","mode":"live"}', '{"databases":"all","mode":"live"}',
                                   '{"databases":"0","mode":"live","no-functions":true,"type":"struct"}'])
def test_a_live_job_explains_keys_that_change(source: Server, target: Server, options: Tuple[str, ...],
                                              scope: str) -> None:
    """Its watermark has passed every reading, so a key that still differs is on its way."""
    result = compare_beside_a_job(source, target, scope, *options)
    counts = result.json["compare"]
    assert counts["moving"] > 0 and counts["not_proved"] == 0
    # A key that one side did not write between two checks, on a starved machine, is different.
    assert result.status == (DIFFERENT if found(result) else EQUAL)


@pytest.mark.parametrize("scope", ["", '{"databases":"1"}', '{"databases":"0","key-pattern":"moving:*"}',
                                   '{"databases":"0","slots":"0-100"}', '{"databases":"0","key-type":["string"]}',
                                   '{"databases":"0","mem-limit":1000}', '{"databases":"0","key-exclude":["x"]}',
                                   '{"databases":"0","no-ttl":true}', '{"databases":"0","no-stream-id":true}',
                                   '{"databases":"0","merge":true}', '{"databases":"0","an-option-of-later":1}'])
def test_a_job_about_other_keys_explains_nothing(source: Server, target: Server, scope: str) -> None:
    result = compare_beside_a_job(source, target, scope).expect(DIFFERENT)
    counts = result.json["compare"]
    assert counts["not_proved"] == counts["moving"] > 0 and "explains no changes" in result.stderr


def test_a_job_with_the_same_filter_explains_within_it(source: Server, target: Server) -> None:
    for scope, *options in (('{"databases":"0","key-pattern":"moving:*"}', "--key-pattern", "moving:*"),
                            ('{"databases":"0","no-ttl":true}', "--no-ttl")):
        counts = compare_beside_a_job(source, target, scope, *options).json["compare"]
        assert counts["moving"] > 0 and counts["not_proved"] == 0


# ---- a side that loses keys meanwhile ----


def first_names(server: Server, count: int) -> List[bytes]:
    """The names that a scan gets first."""
    _, names = server.command("SCAN", 0, "COUNT", count)  # type: ignore[misc]
    return list(names)[:count]


@BY_MODE
def test_a_target_that_restarts_is_compared_again(fleet: Fleet, source: Server, options: Tuple[str, ...]) -> None:
    """It comes back without keys that had been found equal before."""
    target = fleet.server()
    data.load(source, data.plain(36, 6000))
    copy(source, target)
    lost = first_names(source, 5)
    before = target.admin().info("stats")["total_commands_processed"]
    with Running(compare_args(source, target, *options, "--scan-count", "50", "--sleep", "20ms")) as running:
        wait.until(lambda: target.admin().info("stats")["total_commands_processed"] > before + 1500
                   or "cmdstat_evalsha" in str(target.admin().info("commandstats")), "many keys to have been compared", 30)
        assert running.alive
        target.command("DEL", *lost)
        target.restart(keep=True)
        result = running.wait(90)
    assert sorted(found(result.expect(DIFFERENT))) == sorted(("missing", key.decode()) for key in lost)
    assert "another server process answers" in result.stderr


@BY_MODE
def test_a_target_that_fails_over_is_compared_again(fleet: Fleet, source: Server, options: Tuple[str, ...]) -> None:
    """The new primary lacks keys that had been found equal before."""
    target = cluster.build(fleet, 2, 2)
    data.load(source, data.plain(36, 6000))
    copy(source, target)
    before = sum(node.admin().info("stats")["total_commands_processed"] for node in target.primaries())
    failing = target.primaries()[0]
    lost = [key for key in first_names(source, 20) if owner_of(target, key) is failing][:5]
    with Running(compare_args(source, target, *options, "--scan-count", "50", "--sleep", "25ms")) as running:
        def many_compared() -> bool:
            stats = [node.admin().info("commandstats") for node in target.primaries()]
            total = sum(node.admin().info("stats")["total_commands_processed"] for node in target.primaries())
            return total > before + 1500 or "cmdstat_evalsha" in stats[0]
        wait.until(many_compared, "many keys to have been compared", 30)
        assert running.alive
        for key in lost:
            failing.command("DEL", key)
        target.wait_replicated(failing)
        target.fail_over(failing)
        result = running.wait(90)
    assert lost and sorted(found(result.expect(DIFFERENT))) == sorted(("missing", key.decode()) for key in lost)


# ---- copies of keys that are not wanted any more ----


@pytest.mark.parametrize("types", [("string",), ("string", "zset")], ids="+".join)
@pytest.mark.parametrize("options", [*MODES, ("--quick",)], ids=["full", "digest", "quick"])
def test_an_old_copy_of_another_type_is_different(source: Server, target: Server, types: Tuple[str, ...],
                                                  options: Tuple[str, ...]) -> None:
    """The source's key was a string once, and was copied; now its type is left out."""
    data.load(source, data.plain(38, 500))
    copy(source, target)
    source.command("SADD", "was a string", "1")
    target.command("SET", "was a string", "1")
    source.command("SADD", "never wanted", "1")
    target.command("HSET", "never wanted", "field", "1")
    filters = [word for name in types for word in ("--key-type", name)]
    assert found(compare(source, target, *options, *filters).expect(DIFFERENT)) == [("type", "was a string")]


@pytest.mark.parametrize("options", [*MODES, ("--quick",)], ids=["full", "digest", "quick"])
def test_an_old_copy_of_a_key_that_grew_is_different(source: Server, target: Server, options: Tuple[str, ...]) -> None:
    for key in ("grown", "not copied"):
        source.command("SET", key, "x" * 300_000)
    for side in (source, target):
        side.command("SET", "large on both", "y" * 300_000)
        side.command("SET", "small", "1")
    target.command("SET", "grown", "x")
    result = compare(source, target, *options, "--mem-limit", "100KB").expect(DIFFERENT)
    assert found(result) == [("value", "grown")]
    counts = result.json["compare"]
    assert counts["skipped"] == 1 and counts["equal"] == 2


def test_a_repair_copies_no_key_that_is_left_out(source: Server, target: Server) -> None:
    source.command("SADD", "was a string", "1")
    target.command("SET", "was a string", "1")
    source.command("SET", "missing", "1")
    result = compare(source, target, "--key-type", "string", "--repair").expect(DIFFERENT)
    assert target.command("GET", "missing") == b"1" and target.command("GET", "was a string") == b"1"
    assert [one["key"] for one in result.json["repair"]["compare"]["differences"]] == ["was a string"]


def test_the_filters_are_named(source: Server, target: Server) -> None:
    """Equal within a filter says nothing of the other keys."""
    source.command("SET", "other", "1")
    result = compare(source, target, "--key-pattern", "app:*").expect(EQUAL)
    assert result.json["filters"] == {"key-pattern": "app:*"}
    text = longhaul("compare", "--key-pattern", "app:*", source.endpoint, target.endpoint).expect(EQUAL).stdout
    assert 'only    keys within key-pattern "app:*" were compared' in text
    assert compare(source, target).expect(DIFFERENT).json["filters"] == {}


# ---- expiry by digest ----


def test_milliseconds_of_expiry_do_not_send_values(fleet: Fleet, source: Server) -> None:
    """Servers before 7.0 tell only the time left. An expiry that a copy set from that is some milliseconds off, in all keys."""
    target = fleet.server(Options(renamed={"pexpiretime": "secret-pexpiretime"}))
    count = 10_000
    load_records(source, count)
    load_records(target, count)
    with target.wire() as wire:
        names = [b"record:%012d" % i for i in range(1, count, 2)]
        expiries: List[Any] = wire.batch([("secret-pexpiretime", name) for name in names], window=500)
        wire.batch([("PEXPIREAT", name, at + 1 + i % 3) for i, (name, at) in enumerate(zip(names, expiries))], window=500)
    before = net_bytes(target)
    assert_equal(compare(source, target, "--digest"), count)
    share = (net_bytes(target) - before) / (count * RECORD_BYTES)
    assert share <= 0.05, f"{share:.2%} of the values"
    target.command("PEXPIREAT", names[7], expiries[7] + 300)
    target.command("PERSIST", names[9])
    assert sorted(found(compare(source, target, "--digest"))) == [("ttl", names[7].decode()), ("ttl", names[9].decode())]


@pytest.mark.parametrize("tolerance", [0, 1, 2, 3, 50, 100])
def test_digests_hold_the_tolerance_to_the_millisecond(source: Server, target: Server, tolerance: int) -> None:
    at = (int(time.time()) + 5000) * 1000
    for offset in range(0, 2 * tolerance + 4):
        source.command("SET", f"key:{offset:04d}", "1", "PXAT", at + 37 * offset)
        target.command("SET", f"key:{offset:04d}", "1", "PXAT", at + 37 * offset + offset)
    result = compare(source, target, "--digest", "--ttl-tolerance", f"{tolerance}ms").expect(DIFFERENT)
    assert sorted(found(result)) == [("ttl", f"key:{offset:04d}") for offset in range(tolerance + 1, 2 * tolerance + 4)]


# ---- a result that nobody can read ----


PLAIN = {name: value for name, value in os.environ.items() if not name.startswith("LONGHAUL_")}


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_full_standard_output(source: Server, target: Server, form: str) -> None:
    with open("/dev/full", "wb") as full:
        ended = subprocess.run([run.program(), "compare", "--output", form, source.endpoint, target.endpoint], stdout=full,
                               stderr=subprocess.PIPE, timeout=60, check=False, env=PLAIN)
    assert ended.returncode == TROUBLE
    assert b"longhaul: standard output: " in ended.stderr


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_pipe_that_nobody_reads(source: Server, target: Server, form: str) -> None:
    with subprocess.Popen([run.program(), "compare", "--output", form, source.endpoint, target.endpoint],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=PLAIN) as ended:
        assert ended.stdout and ended.stderr
        ended.stdout.close()
        said = ended.stderr.read()
    assert ended.returncode == TROUBLE and b"longhaul: standard output: " in said


def test_a_report_on_a_full_device(source: Server, target: Server) -> None:
    """The device is written to, and is still a device afterwards."""
    source.command("SET", "missing", "1")
    full = compare(source, target, "--report", "/dev/full").expect(TROUBLE)
    assert "/dev/full" in full.error_line
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode) and not Path("/dev/full.part").exists()


def test_a_report_into_a_pipe(source: Server, target: Server, tmp_path: Path) -> None:
    source.command("SET", "missing", "1")
    pipe = tmp_path / "pipe"
    subprocess.run(["mkfifo", str(pipe)], check=True)
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE) as reader:
        compare(source, target, "--report", pipe).expect(DIFFERENT)
        assert reader.stdout
        lines = [json.loads(line) for line in reader.stdout.read().splitlines()]
    assert [line["record"] for line in lines] == ["difference", "summary"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


# ---- too few keys to speak of ----


def test_a_sample_without_keys_proves_nothing(source: Server, target: Server) -> None:
    data.load(source, data.plain(37, 3000))
    results = [compare(source, target, "--sample", "1", "--seed", seed) for seed in range(1, 9)]
    empty = [result for result in results if result.json["compare"]["keys"] == 0]
    assert empty and len(empty) < len(results)
    for result in results:
        result.expect(TROUBLE if result in empty else DIFFERENT)
        assert result not in empty or "--sample" in result.error_line


def test_listed_keys_on_neither_side_are_counted(source: Server, target: Server, tmp_path: Path) -> None:
    for side in (source, target):
        side.command("SET", "here", "1")
    names = tmp_path / "names"
    names.write_text("here\nhere\nnowhere\n")
    counts = compare(source, target, "--key-file", names).expect(EQUAL).json["compare"]
    assert (counts["keys"], counts["equal"], counts["absent"]) == (2, 2, 1)
