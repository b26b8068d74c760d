"""Passwords and certificates are rotated under a running job: files are read again when a login or a handshake fails, and
on SIGHUP. Signals that are not meant to end a job do not."""
from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from harness import data, oracle, wait
from harness.live import Live
from harness.run import EQUAL, TROUBLE, longhaul, start_replicate
from harness.servers import Fleet, Options, Server
from harness.tls import Certificates

OLD, NEW = "the-Old-Secret-1", "the-New-Secret-2"


def write_secret(path: Path, text: str) -> None:
    with open(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
        file.write(text + "\n")


def rotate(server: Server, password: str) -> None:
    """As ElastiCache does: connections that are logged in stay, new ones need the new password."""
    server.command("CONFIG", "SET", "requirepass", password)


def cut(server: Server) -> None:
    for kind in ("pubsub", "normal"):
        server.command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")


@pytest.fixture
def locked(fleet: Fleet) -> Server:
    server = fleet.server(Options(password=OLD))
    data.load(server, data.plain(711, 100))
    return server


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    write_secret(path, OLD)
    return path


def use(server: Server, password: str) -> None:
    """The harness's own connections log in with it from now on."""
    server.options.password = password
    server._drop_clients()


@pytest.mark.sanitize
def test_a_password_file_is_read_again_when_the_login_is_refused(locked: Server, target: Server,
                                                                 password_file: Path) -> None:
    with Live(locked.endpoint, target, "--source-pass-file", password_file) as live:
        live.wait_live()
        rotate(locked, NEW)
        use(locked, NEW)
        write_secret(password_file, NEW)
        cut(locked)
        locked.command("SET", "after", "1")
        live.catch_up()
        oracle.assert_equal(locked, target, at_least=101)
        assert "read again" in live.stderr()
        live.terminate().expect(EQUAL).assert_silent_about(OLD, NEW)


def test_the_file_may_follow_later(locked: Server, target: Server, password_file: Path) -> None:
    """The server has the new password first: the job waits, and logs the refused login."""
    with Live(locked.endpoint, target, "--source-pass-file", password_file) as live:
        live.wait_live()
        rotate(locked, NEW)
        use(locked, NEW)
        cut(locked)
        wait.until(lambda: "WRONGPASS" in live.stderr(), "the refused login to be logged", 30)
        write_secret(password_file, NEW)
        locked.command("SET", "after", "1")
        live.catch_up()
        oracle.assert_equal(locked, target, at_least=101)
        live.terminate().expect(EQUAL).assert_silent_about(OLD, NEW)


def test_a_copy_goes_on_too(locked: Server, target: Server, password_file: Path) -> None:
    """Not only a live job, and not only the source."""
    data.load(locked, data.many(712, 20000))
    with start_replicate(locked.endpoint, target, "--rate", 5000, "--source-pass-file", password_file) as running:
        wait.until(lambda: oracle.count(target) >= 1000, "the copy to be under way")
        rotate(locked, NEW)
        use(locked, NEW)
        write_secret(password_file, NEW)
        cut(locked)
        running.wait(60).expect(EQUAL).assert_silent_about(OLD, NEW)
    oracle.assert_equal(locked, target, at_least=20000)


def test_a_password_of_the_environment_stays(locked: Server, target: Server) -> None:
    """There is nothing to be read again: without a file the copy ends with the server's own words."""
    data.load(locked, data.many(713, 20000))
    with start_replicate(locked.endpoint, target, "--rate", 5000, env={"LONGHAUL_SOURCE_PASS": OLD}) as running:
        wait.until(lambda: oracle.count(target) >= 1000, "the copy to be under way")
        rotate(locked, NEW)
        use(locked, NEW)
        cut(locked)
        result = running.wait(60).expect(TROUBLE).assert_silent_about(OLD, NEW)
    assert "WRONGPASS" in result.error_line


def test_hangup_has_files_read_again_and_ends_nothing(locked: Server, target: Server, password_file: Path) -> None:
    with Live(locked.endpoint, target, "--source-pass-file", password_file) as live:
        live.wait_live()
        live.process.signal(signal.SIGHUP)
        live.catch_up()
        write_secret(password_file, NEW)
        live.process.signal(signal.SIGHUP)
        rotate(locked, NEW)
        use(locked, NEW)
        cut(locked)
        locked.command("SET", "after", "1")
        live.catch_up()
        assert "WRONGPASS" not in live.stderr(), "the new password was known before the first login"
        live.terminate().expect(EQUAL)
    oracle.assert_equal(locked, target, at_least=101)


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP])
def test_signals_that_end_nothing(source: Server, target: Server, number: signal.Signals) -> None:
    data.load(source, data.plain(714, 100))
    with Live(source, target) as live:
        live.wait_live()
        live.process.signal(number)
        source.command("SET", "after", "1")
        live.catch_up()
        live.terminate().expect(EQUAL)
    oracle.assert_equal(source, target, at_least=101)


def test_quit_drains_as_term_does(source: Server, target: Server) -> None:
    data.load(source, data.plain(715, 100))
    with Live(source, target) as live:
        live.wait_live()
        source.command("SET", "after", "1")
        live.terminate(signal.SIGQUIT).expect(EQUAL)
        assert target.command("GET", "after") == b"1"


def test_a_certificate_authority_is_read_again(fleet: Fleet, target: Server, certificates: Certificates,
                                               tmp_path: Path) -> None:
    """The server gets a certificate of another authority; its certificate is put where --source-cacert points."""
    source = fleet.server(Options(tls=certificates))
    data.load(source, data.plain(716, 100))
    ca = tmp_path / "ca.pem"
    shutil.copy(certificates.path("ca.crt"), ca)
    with Live(f"rediss://localhost:{source.tls_port}", target, "--source-cacert", ca) as live:
        live.wait_live()
        source.command("CONFIG", "SET", "tls-cert-file", certificates.path("stranger.crt"), "tls-key-file",
                       certificates.path("stranger.key"))
        cut(source)
        wait.until(lambda: "certificate" in live.stderr(), "the refused certificate to be logged", 30)
        shutil.copy(certificates.path("other-ca.crt"), ca)
        source.command("SET", "after", "1")
        live.catch_up()
        live.terminate().expect(EQUAL)
    oracle.assert_equal(source, target, at_least=101)


def test_a_file_without_password_is_an_error_at_the_start(target: Server, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch(0o600)
    result = longhaul("replicate", "--source-pass-file", empty, "127.0.0.1:1", target.endpoint)
    assert result.status != EQUAL and "has no password" in result.error_line
