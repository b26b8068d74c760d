"""The first contact with a side, and with the machine: each trouble is told as what it is, with the advice that mends it."""
from __future__ import annotations

import subprocess

import pytest

from harness import data, oracle
from harness.run import clean_environment, program
from harness.servers import Server


def limited(limit: str, *args: object) -> "subprocess.CompletedProcess[str]":
    """A run of longhaul under a limit of open files, as `ulimit` takes it."""
    words = [program(), *(str(arg) for arg in args)]
    return subprocess.run(["sh", "-c", f'ulimit {limit} && exec "$@"', "sh", *words], capture_output=True, text=True,
                          timeout=60, env=clean_environment())


@pytest.mark.parametrize("files", [8, 12, 24, 40])
def test_too_few_files_are_an_error_of_longhaul(source: Server, target: Server, files: int) -> None:
    """No library ends the process, and the line says what to raise."""
    data.load(source, data.plain(701, 10))
    result = limited(f"-n {files}", "replicate", source.endpoint, target.endpoint, "--threads", 4)
    assert result.returncode == 2, result.stderr
    line = result.stderr.strip().splitlines()[-1]
    assert line.startswith("longhaul: ") and "ulimit -n" in line, result.stderr
    assert oracle.count(target) == 0


def test_the_need_is_known_before_the_job_starts(source: Server, target: Server) -> None:
    data.load(source, data.plain(702, 10))
    result = limited("-n 100", "replicate", source.endpoint, target.endpoint, "--threads", 16)
    assert result.returncode == 2
    assert "open files: the job needs" in result.stderr and "16 threads" in result.stderr, result.stderr
    assert oracle.count(target) == 0


def test_the_soft_limit_is_raised(source: Server, target: Server) -> None:
    data.load(source, data.plain(703, 10))
    result = limited("-Sn 24", "replicate", source.endpoint, target.endpoint, "--threads", 4)
    assert result.returncode == 0, result.stderr
    oracle.assert_equal(source, target, at_least=10)
