"""Ended by the user: in order at the first signal, at once at the second."""
from __future__ import annotations

import os
import signal
import time

import pytest

from harness import data, oracle, wait
from harness.faults import Stranger
from harness.proxy import Proxy
from harness.run import EQUAL, PROMPT_SECONDS, TROUBLE, longhaul, replicate, start_replicate
from harness.servers import Server

PATIENT = ("--timeout", "20m", "--outage-timeout", "20m")  # so long a run would wait if it were not told to end


@pytest.fixture
def filled(source: Server) -> Server:
    data.load(source, data.many(301, 30000))
    return source


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.sanitize
def test_signal_ends_in_order(filled: Server, target: Server, number: signal.Signals) -> None:
    with start_replicate(filled, target, "--rate", 5000) as running:
        wait.until(lambda: oracle.count(target) >= 1000, "the copy to be under way")
        began = time.monotonic()
        running.signal(number)
        result = running.wait(15).expect(TROUBLE)
    assert time.monotonic() - began < PROMPT_SECONDS
    said = result.json
    assert said["result"] == "interrupted" and said["keys"]["copied"] >= 1000
    assert abs(oracle.count(target) - said["keys"]["copied"]) == 0, "acknowledged and reported are the same"
    found = oracle.differences(filled, target)
    assert {each.kind for each in found} == {"missing"}, "written keys are whole"


def test_the_next_run_completes_it(filled: Server, target: Server) -> None:
    with start_replicate(filled, target, "--rate", 5000) as running:
        wait.until(lambda: oracle.count(target) >= 1000, "the copy to be under way")
        running.signal()
        running.wait(15)
    replicate(filled, target).expect(EQUAL)
    oracle.assert_equal(filled, target, at_least=30000)


def test_signal_during_an_outage(filled: Server, target: Server) -> None:
    """Also a run that waits for a side ends at once."""
    with Proxy.before(target) as proxy, start_replicate(filled, proxy.endpoint, "--rate", 5000, *PATIENT) as running:
        wait.until(lambda: oracle.count(target) >= 1000, "the copy to be under way")
        proxy.refuse()
        attempts = proxy.accepted
        wait.until(lambda: proxy.accepted > attempts, "an attempt in vain")
        began = time.monotonic()
        running.signal(signal.SIGTERM)
        result = running.wait(15).expect(TROUBLE)
    assert time.monotonic() - began < PROMPT_SECONDS and result.json["result"] == "interrupted"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_second_signal_ends_at_once(filled: Server, target: Server, number: signal.Signals) -> None:
    with Proxy.before(target) as proxy, start_replicate(filled, proxy.endpoint, "--rate", 5000, *PATIENT) as running:
        wait.until(lambda: oracle.count(target) >= 1000, "the copy to be under way")
        proxy.silence()
        began = time.monotonic()
        running.insist(number)
        result = running.wait(15)
    assert result.status not in (0, 1) and time.monotonic() - began < PROMPT_SECONDS


def test_one_request_sent_twice_is_one(filled: Server, target: Server) -> None:
    """timeout(1) sends its signal to its child and once more to the group; the summary must not be lost by that."""
    with start_replicate(filled, target, "--rate", 5000) as running:
        wait.until(lambda: oracle.count(target) >= 1000, "the copy to be under way")
        for number in (signal.SIGSTOP, signal.SIGINT, signal.SIGTERM, signal.SIGCONT):
            os.kill(running.pid, number)
        result = running.wait(15).expect(TROUBLE)
    assert result.json["result"] == "interrupted"


def test_reader_of_the_output_goes_away(filled: Server, target: Server) -> None:
    """A broken pipe is no reason to stop copying."""
    import subprocess
    from harness.run import clean_environment, program
    process = subprocess.Popen([program(), "replicate", "--log-keys", filled.endpoint, target.endpoint],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_environment())
    assert process.stderr and process.stdout
    process.stderr.close()
    process.stdout.close()
    assert process.wait(60) in (EQUAL, TROUBLE)
    if process.returncode == EQUAL:
        oracle.assert_equal(filled, target, at_least=30000)


def test_signal_before_anything_is_connected(target: Server) -> None:
    with Stranger(b"") as silent, start_replicate(silent.endpoint, target, "--timeout", "20m") as running:
        wait.until(lambda: silent.accepted, "a connection")
        began = time.monotonic()
        running.signal(signal.SIGTERM)
        assert running.wait(10).status not in (0, 1) and time.monotonic() - began < PROMPT_SECONDS


def test_ping_is_interrupted(source: Server) -> None:
    assert longhaul("ping", source.endpoint, "--count", 50).expect(EQUAL).stdout
