"""Every way to name an endpoint and to get in, and the errors when it does not work."""
from __future__ import annotations

import os
import pty
import select
import time
from pathlib import Path
from typing import Iterator

import pytest

from harness import data, oracle, sentinel
from harness.run import EQUAL, PROMPT_SECONDS, TROUBLE, USAGE, Result, clean_environment, longhaul, program
from harness.servers import Fleet, Options, Server
from harness.tls import Certificates

PASSWORD = "p@ss:w/rd%20 #?&"
USER_PASSWORD = "another-Secret-1"


@pytest.fixture(scope="module")
def locked(session_fleet: Fleet) -> Server:
    """A source with a password, ACL users and a Unix socket."""
    users = {"reader": f"on >{USER_PASSWORD} ~* &* +@all", "off-duty": f"off >{USER_PASSWORD} ~* &* +@all"}
    server = session_fleet.server(Options(password="x", users=users, unix=True))
    server.command("CONFIG", "SET", "requirepass", PASSWORD)
    data.load(server, data.mixed(21, 66))
    data.load(server, data.plain(22, 10, b"second"), db=2)
    return server


@pytest.fixture(scope="module")
def tls_source(session_fleet: Fleet, certificates: Certificates) -> Server:
    server = session_fleet.server(Options(tls=certificates))
    data.load(server, data.mixed(23, 66))
    return server


def copy(source: str, target: Server, *args: str, **kwargs: object) -> Result:
    """As a person types it, with short patience for sides that do not answer."""
    return longhaul("replicate", "--output", "json", "--outage-timeout", "3s", source, target.endpoint, *args, **kwargs)


def assert_same(result: Result, source: Server, target: Server, db: int = 0) -> None:
    result.expect(EQUAL).assert_silent_about(PASSWORD, USER_PASSWORD)
    oracle.assert_equal(source, target, db=db, target_db=0)


@pytest.mark.sanitize
@pytest.mark.parametrize("form", [
    "{host}:{port}", "redis://{host}:{port}", "valkey://{host}:{port}", "localhost:{port}", "redis://{host}:{port}/0",
    "redis://localhost:{port}?timeout=5s", ":{port}"])
def test_forms_of_an_open_server(source: Server, target: Server, form: str) -> None:
    data.load(source, data.plain(20, 50))
    assert_same(copy(form.format(host="127.0.0.1", port=source.port), target), source, target)


def test_ipv6(fleet: Fleet, target: Server) -> None:
    if not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    source = fleet.server(Options(config={"bind": "127.0.0.1 ::1"}))
    data.load(source, data.plain(20, 50))
    assert_same(copy(f"[::1]:{source.port}", target), source, target)
    target.flush()
    assert_same(copy(f"redis://[::1]:{source.port}/0", target), source, target)


@pytest.mark.parametrize("scheme", ["redis", "valkey"])
def test_password_in_the_uri(locked: Server, target: Server, scheme: str) -> None:
    uri = locked.url(password=PASSWORD).replace("redis:", f"{scheme}:")
    assert_same(copy(uri, target), locked, target)


def test_user_and_password_in_the_uri(locked: Server, target: Server) -> None:
    assert_same(copy(locked.url(user="reader", password=USER_PASSWORD), target), locked, target)


def test_user_and_password_as_options(locked: Server, target: Server) -> None:
    result = copy(locked.endpoint, target, "--source-user", "reader", "--source-pass", USER_PASSWORD)
    assert_same(result, locked, target)


def test_password_option_alone(locked: Server, target: Server) -> None:
    assert_same(copy(locked.endpoint, target, "--source-pass", PASSWORD), locked, target)


def test_password_from_the_environment(locked: Server, target: Server) -> None:
    env = {"LONGHAUL_SOURCE_USER": "reader", "LONGHAUL_SOURCE_PASS": USER_PASSWORD}
    assert_same(copy(locked.endpoint, target, env=env), locked, target)


def test_password_from_a_file(locked: Server, target: Server, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(PASSWORD + "\n")
    assert_same(copy(locked.endpoint, target, "--source-pass-file", str(file)), locked, target)


def test_password_from_a_prompt(locked: Server, target: Server) -> None:
    """On a terminal, without echo."""
    args = [program(), "replicate", "--source-pass-prompt", locked.endpoint, target.endpoint]
    seen, status = on_terminal(args, PASSWORD)
    assert status == EQUAL, seen
    assert PASSWORD not in seen
    oracle.assert_equal(locked, target)


def on_terminal(args: list[str], answer: str) -> tuple[str, int]:
    """Runs on a terminal of its own and types the answer once something was asked."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(args[0], args, clean_environment())
    seen, answered, deadline = b"", False, time.monotonic() + 30
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                part = os.read(terminal, 65536)
            except OSError:
                break
            if not part:
                break
            seen += part
        if not answered and b"assword" in seen:
            os.write(terminal, answer.encode() + b"\n")
            answered = True
    os.close(terminal)
    return seen.decode(errors="replace"), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_target_with_a_password(source: Server, locked: Server) -> None:
    data.load(source, data.plain(24, 50, b"to-locked"))
    result = longhaul("replicate", "--output", "json", source.endpoint, f"{locked.endpoint}", "--target-pass", PASSWORD)
    result.expect(EQUAL).assert_silent_about(PASSWORD)
    assert all(locked.command("GET", key) for key in source.admin().scan_iter())
    for key in source.admin().scan_iter():
        locked.command("DEL", key)


def test_database_in_the_uri(locked: Server, target: Server) -> None:
    assert_same(copy(locked.url(db=2, password=PASSWORD), target), locked, target, db=2)


@pytest.mark.parametrize("form", ["unix://{path}", "unix://{path}?db=0", "{path}", "redis-socket://{path}"])
def test_unix_socket(locked: Server, target: Server, form: str) -> None:
    assert_same(copy(form.format(path=locked.socket_path), target, "--source-pass", PASSWORD), locked, target)


def test_unix_socket_database(locked: Server, target: Server) -> None:
    assert_same(copy(f"unix://{locked.socket_path}?db=2", target, "--source-pass", PASSWORD), locked, target, db=2)


# TLS

@pytest.mark.parametrize("form", [
    "rediss://localhost:{port}", "valkeys://localhost:{port}", "rediss://127.0.0.1:{port}"])
@pytest.mark.sanitize
def test_tls_uri(tls_source: Server, target: Server, certificates: Certificates, form: str) -> None:
    uri = form.format(port=tls_source.tls_port)
    assert_same(copy(uri, target, "--source-cacert", certificates.path("ca.crt")), tls_source, target)


def test_tls_option(tls_source: Server, target: Server, certificates: Certificates) -> None:
    result = copy(tls_source.endpoint, target, "--source-tls", "--source-cacert", certificates.path("ca.crt"))
    assert_same(result, tls_source, target)


def assert_tls_refused(result: Result, server: Server, target: Server) -> None:
    result.expect(TROUBLE)
    assert result.json["error"]["code"] == "tls"
    assert f"localhost:{server.tls_port}" in result.error_line and oracle.count(target) == 0


def test_tls_with_another_authority_fails(tls_source: Server, target: Server, certificates: Certificates) -> None:
    result = copy(tls_source.url(), target, "--source-cacert", certificates.path("other-ca.crt"))
    assert_tls_refused(result, tls_source, target)
    assert result.seconds < PROMPT_SECONDS


def test_tls_with_the_systems_authorities_fails(tls_source: Server, target: Server) -> None:
    assert_tls_refused(copy(tls_source.url(), target), tls_source, target)


@pytest.fixture(scope="module")
def elsewhere(session_fleet: Fleet, certificates: Certificates) -> Server:
    server = session_fleet.server(Options(tls=certificates, tls_certificate="elsewhere"))
    data.load(server, data.plain(25, 50))
    return server


def test_tls_with_another_host_name_fails(elsewhere: Server, target: Server, certificates: Certificates) -> None:
    result = copy(elsewhere.url(), target, "--source-cacert", certificates.path("ca.crt"))
    assert_tls_refused(result, elsewhere, target)


def test_tls_host_name_may_be_given(elsewhere: Server, target: Server, certificates: Certificates) -> None:
    result = copy(elsewhere.url(), target, "--source-cacert", certificates.path("ca.crt"),
                  "--source-sni", "elsewhere.test")
    assert_same(result, elsewhere, target)


def test_tls_insecure_is_an_explicit_choice(elsewhere: Server, target: Server) -> None:
    assert_same(copy(elsewhere.url(), target, "--source-insecure"), elsewhere, target)


@pytest.fixture(scope="module")
def picky(session_fleet: Fleet, certificates: Certificates) -> Server:
    """Asks for client certificates."""
    server = session_fleet.server(Options(tls=certificates, tls_clients=True))
    data.load(server, data.plain(26, 50))
    return server


def test_tls_client_certificate(picky: Server, target: Server, certificates: Certificates) -> None:
    result = copy(picky.url(), target, "--source-cacert", certificates.path("ca.crt"), "--source-cert",
                  certificates.path("client.crt"), "--source-key", certificates.path("client.key"))
    assert_same(result, picky, target)


def test_tls_without_the_client_certificate_fails(picky: Server, target: Server, certificates: Certificates) -> None:
    result = copy(picky.url(), target, "--source-cacert", certificates.path("ca.crt")).expect(TROUBLE)
    assert picky.endpoint in result.error_line and oracle.count(target) == 0


def test_tls_to_a_plain_port_fails(source: Server, target: Server) -> None:
    result = copy(f"rediss://127.0.0.1:{source.port}", target, "--source-insecure").expect(TROUBLE)
    assert source.endpoint in result.error_line


def test_plain_to_a_tls_port_fails(tls_source: Server, target: Server) -> None:
    result = copy(f"redis://127.0.0.1:{tls_source.tls_port}", target).expect(TROUBLE)
    assert f"127.0.0.1:{tls_source.tls_port}" in result.error_line


def test_tls_file_that_is_not_there(tls_source: Server, target: Server) -> None:
    result = copy(tls_source.url(), target, "--source-cacert", "/nonexistent/ca.crt").expect(TROUBLE)
    assert "/nonexistent/ca.crt" in result.error_line


# Sentinel

@pytest.fixture(scope="module")
def watched(session_fleet: Fleet) -> Iterator[sentinel.Sentinels]:
    made = sentinel.build(session_fleet, Options(users={"app": f"on >{USER_PASSWORD} ~* &* +@all"}))
    data.load(made, data.mixed(27, 66))
    data.load(made, data.plain(28, 10), db=1)
    yield made


def test_sentinel_source(watched: sentinel.Sentinels, target: Server) -> None:
    result = copy(watched.url(), target)
    assert_same(result, watched, target)  # type: ignore[arg-type]
    assert result.json["source"]["topology"] == "sentinel"


def test_sentinel_with_user_and_database(watched: sentinel.Sentinels, target: Server) -> None:
    result = copy(watched.url("app:another-Secret-1@", "/1"), target)
    assert_same(result, watched, target, db=1)  # type: ignore[arg-type]


def test_sentinel_of_which_one_is_gone(watched: sentinel.Sentinels, target: Server) -> None:
    url = watched.url().replace("redis-sentinel://", "redis-sentinel://127.0.0.1:1,")
    assert_same(copy(url, target), watched, target)  # type: ignore[arg-type]


def test_sentinel_without_that_name(watched: sentinel.Sentinels, target: Server) -> None:
    result = copy(watched.url().replace(sentinel.NAME, "nobody"), target).expect(TROUBLE)
    assert "nobody" in result.error_line


def test_sentinel_target(watched: sentinel.Sentinels, source: Server) -> None:
    data.load(source, data.plain(29, 50, b"to-sentinel"))
    longhaul("replicate", source.endpoint, watched.url()).expect(EQUAL)
    assert all(watched.primary().command("GET", key) for key in source.admin().scan_iter())
    for key in source.admin().scan_iter():
        watched.primary().command("DEL", key)


# Errors

def test_wrong_password(locked: Server, target: Server) -> None:
    result = copy(locked.endpoint, target, "--source-pass", "not-" + USER_PASSWORD).expect(TROUBLE)
    result.assert_silent_about(USER_PASSWORD)
    assert result.json["error"]["code"] == "wrongpass"
    assert f"source {locked.endpoint}" in result.error_line
    assert "WRONGPASS" in result.error_line and "--source-pass" in result.error_line


def test_user_that_is_switched_off(locked: Server, target: Server) -> None:
    result = copy(locked.url(user="off-duty", password=USER_PASSWORD), target).expect(TROUBLE)
    assert result.json["error"]["code"] == "wrongpass"


def test_no_password(locked: Server, target: Server) -> None:
    result = copy(locked.endpoint, target).expect(TROUBLE)
    assert result.json["error"]["code"] == "noauth" and "--source-pass" in result.error_line


def test_wrong_password_of_the_target(source: Server, locked: Server) -> None:
    result = longhaul("replicate", "--output", "json", source.endpoint, locked.endpoint, "--target-pass", "wrong")
    assert result.expect(TROUBLE).json["error"]["code"] == "wrongpass"
    assert f"target {locked.endpoint}" in result.error_line and "--target-pass" in result.error_line


def test_port_that_is_closed(target: Server) -> None:
    result = copy("127.0.0.1:1", target).expect(TROUBLE)
    assert "source 127.0.0.1:1" in result.error_line and result.seconds < PROMPT_SECONDS


def test_host_without_an_address(target: Server) -> None:
    result = copy("no-such-host.invalid:6379", target, timeout=40).expect(TROUBLE)
    assert "no-such-host.invalid" in result.error_line


def test_database_that_the_server_does_not_have(source: Server, target: Server) -> None:
    result = copy(f"redis://{source.endpoint}/99", target).expect(TROUBLE)
    assert source.endpoint in result.error_line


@pytest.mark.parametrize("bad", [
    "redis://host:99999", "http://host:6379", "redis-sentinel://host:26379", "", "host:port", "redis://[::1:6379"])
@pytest.mark.sanitize
def test_endpoint_that_cannot_be_read(target: Server, bad: str) -> None:
    result = copy(bad, target).expect(USAGE)
    assert result.error_line.count("\n") == 0 and result.seconds < PROMPT_SECONDS


@pytest.mark.sanitize
@pytest.mark.parametrize("args", [[], ["only-one:1"], ["a:1", "b:2", "c:3"], ["--nonsense", "a:1", "b:2"],
                                  ["--threads", "many", "a:1", "b:2"], ["--compare", "perhaps", "a:1", "b:2"]])
def test_command_line_that_is_wrong(args: list[str]) -> None:
    result = longhaul("replicate", *args).expect(USAGE)
    assert result.error_line and result.stdout == ""
