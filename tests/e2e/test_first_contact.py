"""The first contact with a side, and with the machine: each trouble is told by its cause, with the advice that mends it."""
from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import threading
from pathlib import Path
from typing import Dict

import pytest

from harness import data, oracle, tls, wait
from harness.live import Live
from harness.proxy import Proxy
from harness.run import EQUAL, TROUBLE, Result, longhaul, program
from harness.servers import Fleet, Options, Server, free_port
from harness.tls import Certificates


def limited(limit: str, *args: object) -> "subprocess.CompletedProcess[str]":
    """A run of longhaul under a limit of open files, as `ulimit` takes it."""
    words = [program(), *(str(arg) for arg in args)]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LONGHAUL_")}
    return subprocess.run(["sh", "-c", f'ulimit {limit} && exec "$@"', "sh", *words], capture_output=True, text=True,
                          timeout=60, env=clean)


@pytest.mark.parametrize("files", [8, 12, 24, 40])
def test_too_few_files_are_an_error_of_longhaul(source: Server, target: Server, files: int) -> None:
    """No library ends the process, and the line says which limit to raise."""
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
                        self._answer(client, command)
            except OSError:
                pass

    def _answer(self, client: socket.socket, command: bytes) -> None:
        if b"INFO\r\n" in command and b"CLIENT" not in command:
            client.sendall(self._start)
            while self._more:
                client.sendall(self._more)
        else:
            client.sendall(b"+OK\r\n")


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


# The answers of a port to a stranger

COMMANDS = ["ping", "replicate", "compare", "status", "doctor"]


def first_contact(command: str, endpoint: str, target: Server, *args: object) -> Result:
    """A command whose first side (for status: the only one) is this endpoint."""
    sides = [endpoint] if command in ("ping", "status") else [endpoint, target.endpoint]
    return longhaul(command, *sides, *args, "--connect-timeout", "2s", timeout=60)


def said(result: Result) -> str:
    """Everything, as one line: doctor breaks its lines."""
    return " ".join((result.stdout + result.stderr).split())


def tls_option(command: str) -> str:
    return {"ping": "--tls", "status": "--target-tls"}.get(command, "--source-tls")


@pytest.mark.parametrize("command", COMMANDS)
def test_plain_against_a_tls_port(fleet: Fleet, target: Server, certificates: Certificates, command: str) -> None:
    server = fleet.server(Options(tls=certificates))
    result = first_contact(command, f"127.0.0.1:{server.tls_port}", target).expect(TROUBLE)
    assert f"the port speaks TLS; add {tls_option(command)}, or write rediss://" in said(result), result


@pytest.mark.parametrize("command", COMMANDS)
def test_tls_against_a_plain_port(source: Server, target: Server, command: str) -> None:
    result = first_contact(command, f"rediss://127.0.0.1:{source.port}", target).expect(TROUBLE)
    assert f"does not speak TLS, it answers without; leave out {tls_option(command)}" in said(result), result


@pytest.mark.parametrize("command", COMMANDS)
def test_a_port_where_nothing_listens(target: Server, command: str) -> None:
    result = first_contact(command, f"127.0.0.1:{free_port()}", target).expect(TROUBLE)
    assert "Connection refused; check host and port, and that the server runs" in said(result), result
    assert "firewall" not in said(result) and "TLS" not in said(result), result


@pytest.mark.parametrize("command", COMMANDS)
def test_a_firewall_that_drops(target: Server, command: str) -> None:
    """A listener with a full backlog answers no SYN, as a firewall does."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fill = []
        for _ in range(4):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
            fill.append(client)
        result = first_contact(command, "127.0.0.1:%d" % listener.getsockname()[1], target).expect(TROUBLE)
        for client in fill:
            client.close()
    assert "check address, firewall and security group" in said(result), result
    assert "TLS" not in said(result), result


@pytest.mark.parametrize("command", COMMANDS)
def test_a_name_that_does_not_exist(target: Server, command: str) -> None:
    result = first_contact(command, "nowhere.invalid:6379", target).expect(TROUBLE)
    assert "nowhere.invalid has no address" in said(result), result


class Fake(Hostile):
    """Answers each command by its first word; a word that is not there ends the connection."""

    def __init__(self, answers: Dict[bytes, bytes]) -> None:
        self._answers = answers
        super().__init__(b"", b"")

    def _answer(self, client: socket.socket, command: bytes) -> None:
        word = command.split(b"\r\n")[1].upper()
        if word not in self._answers:
            raise ConnectionError
        client.sendall(self._answers[word])


def info(text: str) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(text), text.encode())


@pytest.mark.parametrize("command", COMMANDS)
def test_a_proxy_that_closes_at_unknown_commands(target: Server, command: str) -> None:
    """As twemproxy does."""
    with Fake({b"PING": b"+PONG\r\n"}) as proxy:
        result = first_contact(command, proxy.endpoint, target).expect(TROUBLE)
    assert "a proxy (twemproxy or the like) that lacks commands; name the servers behind it" in said(result), result


@pytest.mark.parametrize("command", COMMANDS)
def test_a_proxy_that_refuses_info(target: Server, command: str) -> None:
    unknown = b"-ERR unknown command\r\n"
    with Fake({b"PING": b"+PONG\r\n", b"CLIENT": unknown, b"INFO": unknown}) as proxy:
        result = first_contact(command, proxy.endpoint, target).expect(TROUBLE)
    assert "does not have INFO: a proxy that lacks commands" in said(result), result


@pytest.mark.parametrize("command", COMMANDS)
def test_a_server_that_is_too_old(target: Server, command: str) -> None:
    text = "# Server\r\nredis_version:3.2.12\r\nrun_id:" + "a" * 40 + "\r\nrole:master\r\n"
    with Fake({b"PING": b"+PONG\r\n", b"CLIENT": b"+OK\r\n", b"INFO": info(text)}) as old:
        result = first_contact(command, old.endpoint, target).expect(TROUBLE)
    assert "redis 3.2.12; versions before 4.0 are not supported" in said(result), result


def test_a_live_job_waits_for_a_side_that_is_down(fleet: Fleet, target: Server) -> None:
    """As it would wait later, and it says so."""
    source = fleet.server()
    data.load(source, data.plain(704, 50))
    source.stop()
    with Live(source, target) as live:
        wait.until(lambda: "Connection refused" in live.stderr() and "waiting" in live.stderr(), "the wait to be said")
        source.start()
        data.load(source, data.plain(704, 50))
        live.wait_live()
        live.terminate().expect(EQUAL)
    oracle.assert_equal(source, target, at_least=50)


DOWN_S = 4.0  # longer than the quick tries of one step


class Breaking(Proxy):
    """From the connection of this number on each one is reset, for DOWN_S seconds."""

    def __init__(self, target: int, number: int) -> None:
        super().__init__(target)
        self._number, self._until = number, 0.0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.accepted + 1 == self._number:
            self._until = self._loop.time() + DOWN_S
        self._refusing = self._loop.time() < self._until
        await super()._serve(reader, writer)


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_start_survives_each_connection_that_breaks(source: Server, target: Server, side: str) -> None:
    """At the first start and at later ones, on which the number of the connection leads to other questions."""
    data.load(source, data.plain(705, 50))
    for number in range(2, 12):
        broken = source if side == "source" else target
        with Breaking(broken.port, number) as proxy:
            ends = (proxy.endpoint, target) if side == "source" else (source, proxy.endpoint)
            with Live(*ends, "--job", "breaks", watched=target) as live:
                live.wait_live()
                used = proxy.accepted
                live.terminate().expect(EQUAL)
        if used < number:
            break  # each connection of a start has been broken once
    assert number > 4
    oracle.assert_equal(source, target, at_least=50)


def test_a_live_job_gives_a_side_up_that_stays_down(target: Server) -> None:
    result = longhaul("replicate", "--mode", "live", f"127.0.0.1:{free_port()}", target.endpoint, "--outage-timeout",
                      "2s").expect(TROUBLE)
    assert "Connection refused" in result.error_line


def test_partial_wildcards_are_not_accepted(fleet: Fleet, target: Server, tmp_path: Path) -> None:
    """"l*host" would match localhost."""
    made = tls.make(tmp_path / "made")
    tls._leaf(made.directory, "wild", "ca", "DNS:l*host")
    server = fleet.server(Options(tls=made, tls_certificate="wild"))
    result = longhaul("replicate", f"rediss://localhost:{server.tls_port}", target.endpoint, "--source-cacert",
                      made.path("ca.crt")).expect(TROUBLE)
    assert "certificate is not accepted" in result.error_line
