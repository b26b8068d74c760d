"""A secret shows nowhere: not on either output, not in ps, not in an error, at any level of logging."""
from __future__ import annotations

from pathlib import Path

import pytest

from harness import data, oracle, wait
from harness.run import EQUAL, TROUBLE, USAGE, longhaul, start_replicate
from harness.servers import Fleet, Options, Server

SECRET = "do-not-show-93f1c2"
KEY_SECRET = "do-not-show-5b7e1d"


@pytest.fixture(scope="module")
def locked(session_fleet: Fleet) -> Server:
    server = session_fleet.server(Options(password=SECRET))
    data.load(server, data.mixed(401, 2000))
    return server


WAYS = {
    "option": lambda server: [server.endpoint, "--source-pass", SECRET],
    "option with =": lambda server: [server.endpoint, f"--source-pass={SECRET}"],
    "uri": lambda server: [server.url(password=SECRET)],
}


@pytest.mark.parametrize("way", WAYS)
def test_not_in_the_process_list(locked: Server, target: Server, way: str) -> None:
    """Overwritten as soon as it has been read."""
    source, *options = WAYS[way](locked)
    with start_replicate(source, target, *options, "--rate", 1000, "--verbose") as running:
        wait.until(lambda: oracle.count(target) > 0, "the copy to be under way")
        assert running.alive and SECRET not in running.command_line()
        assert "replicate" in running.command_line()
        for task in Path(f"/proc/{running.pid}/task").iterdir():
            assert SECRET not in (task / "cmdline").read_text(errors="replace") + (task / "comm").read_text()
        running.wait().expect(EQUAL).assert_silent_about(SECRET)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.sanitize
def test_not_in_any_output(locked: Server, target: Server, way: str) -> None:
    source, *options = WAYS[way](locked)
    for output in ("json", "text"):
        result = longhaul("replicate", "--verbose", "--log-keys", "--output", output, source, target.endpoint, *options)
        result.expect(EQUAL).assert_silent_about(SECRET)


@pytest.mark.parametrize("args", [
    ["--source-pass", SECRET, "127.0.0.1:1", "127.0.0.1:1", "--outage-timeout", "1s"],
    [f"redis://user:{SECRET}@127.0.0.1:1", f"redis://:{KEY_SECRET}@127.0.0.1:1", "--outage-timeout", "1s"],
    [f"redis://user:{SECRET}@[broken", "127.0.0.1:1"], [f"redis://:{SECRET}@host:port", "127.0.0.1:1"],
    [f"nonsense://user:{SECRET}@host", "127.0.0.1:1"], [f"redis-sentinel://:{SECRET}@127.0.0.1:1", "127.0.0.1:1"],
    ["--source-pass", SECRET, "--nonsense", "127.0.0.1:1", "127.0.0.1:1"],
    ["--source-key-pass", KEY_SECRET, "--source-key", "/nonexistent", "--source-cert", "/nonexistent", "--source-tls",
     "127.0.0.1:1", "127.0.0.1:1", "--outage-timeout", "1s"],
    [f"redis://user:{SECRET}@127.0.0.1:1", f"redis://:{KEY_SECRET}@127.0.0.1:1", "a-third-one"]])
@pytest.mark.sanitize
def test_not_in_errors(args: list[str]) -> None:
    result = longhaul("replicate", "--verbose", *args).expect(USAGE)
    result.assert_silent_about(SECRET, KEY_SECRET)
    assert result.error_line


def test_not_in_the_error_of_the_server(locked: Server, target: Server) -> None:
    """A wrong password is a secret too: it may be the right one elsewhere."""
    result = longhaul("replicate", "--verbose", locked.endpoint, target.endpoint, "--source-pass", SECRET + "x")
    result.expect(TROUBLE).assert_silent_about(SECRET)


def test_in_no_file_that_is_left_behind(locked: Server, target: Server, tmp_path: Path) -> None:
    """Nor in the record that a job leaves on the target."""
    env = {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state"), "TMPDIR": str(tmp_path),
           "LONGHAUL_SOURCE_PASS": SECRET}
    ends, job = (locked.endpoint, target.endpoint), str(tmp_path / "job")
    longhaul("replicate", "--mode", "live", "--idle-timeout", "1s", "--state-dir", job, *ends,
             env=env).expect(EQUAL).assert_silent_about(SECRET)
    longhaul("compare", "--report", str(tmp_path / "report"), "--state-dir", job, *ends,
             env=env).expect(EQUAL).assert_silent_about(SECRET)
    files = {file.name: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert "report" in files and len(files) > 1
    assert [name for name, content in files.items() if SECRET.encode() in content] == []
    admin = target.admin()
    records = [admin.hgetall(key) for key in admin.scan_iter(match="longhaul:*") if admin.type(key) == b"hash"]
    assert records and SECRET not in repr(records)
