"""The first contact with a side, and with the machine: each trouble is told as what it is, with the advice that mends it."""
from __future__ import annotations

import os
import re
import socket
import subprocess
import threading

import pytest

from harness import data, oracle
from harness.run import TROUBLE, longhaul, program
from harness.servers import Server


def limited(limit: str, *args: object) -> "subprocess.CompletedProcess[str]":
    """A run of longhaul under a limit of open files, as `ulimit` takes it."""
    words = [program(), *(str(arg) for arg in args)]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LONGHAUL_")}
    return subprocess.run(["sh", "-c", f'ulimit {limit} && exec "$@"', "sh", *words], capture_output=True, text=True,
                          timeout=60, env=clean)


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


class Hostile:
    """Logs everybody in, and answers INFO with `reply`, repeated for as long as somebody reads."""

    def __init__(self, start: bytes, more: bytes) -> None:
        self._start, self._more = start, more
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = "127.0.0.1:%d" % self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "Hostile":
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            try:
                while True:
                    got = client.recv(65536)
                    if not got:
                        return
                    for command in re.split(rb"\*\d+\r\n", got)[1:]:
                        if b"INFO\r\n" in command and b"CLIENT" not in command:
                            client.sendall(self._start)
                            while self._more:
                                client.sendall(self._more)
                        else:
                            client.sendall(b"+OK\r\n")
            except OSError:
                pass


@pytest.mark.sanitize
@pytest.mark.parametrize("start, more, says", [
    (b"$536870912\r\n", b"x" * 65536, "a reply is longer than"),
    (b"*1000000000\r\n", b":1\r\n" * 16384, "a reply is longer than"),
    (b"*2147483648000\r\n", b"", "wrong count"),
    (b"*1\r\n" * 1000, b"", "nested too deeply"),
    (b"+" + b"x" * 100000, b"x" * 65536, "line"),
], ids=["bulk", "array", "count", "depth", "line"])
@pytest.mark.parametrize("command", ["ping", "replicate", "status", "compare"])
def test_a_hostile_server_costs_an_error_only(target: Server, command: str, start: bytes, more: bytes,
                                              says: str) -> None:
    """The error names the server, and the memory stays bounded."""
    with Hostile(start, more) as hostile:
        sides = [hostile.endpoint, target.endpoint] if command in ("replicate", "compare") else [hostile.endpoint]
        result = longhaul(command, *sides, "--timeout", "20s").expect(TROUBLE)
    assert hostile.endpoint in result.error_line and says in result.error_line, result
    assert result.peak_kib < 400 * 1024, result.peak_kib
