"""Runs longhaul and keeps its output, exit status, duration and memory."""
from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Dict, List, Optional, Sequence

from . import wait

TREE = Path(__file__).resolve().parents[3]
EQUAL, DIFFERENT, TROUBLE, USAGE = 0, 1, 2, 64
BROKEN = re.compile(r".*(?:(?:Address|Leak|Memory|Thread|UndefinedBehavior)Sanitizer|: runtime error: |Assertion .* failed"
                    r"|stack smashing detected|buffer overflow detected|double free|free\(\): |malloc\(\): ).*")
PROMPT_SECONDS = 60  # "at once" or "soon" on a machine that is busy; the alternative takes minutes, or never ends
CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)
CHILDREN_SECONDS = 10.0  # for them to end after the run
SESSION_FIELD = 3  # of /proc/PID/stat, counted behind the name


def program() -> str:
    return os.environ.get("LONGHAUL_BIN") or str(TREE / "build" / "longhaul")


def clean_environment() -> Dict[str, str]:
    """Without the variables of these tests: longhaul refuses a LONGHAUL_ variable that names no option."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("LONGHAUL_", "PYTEST_"))}


def is_sanitized() -> bool:
    """Whether the program was built with a sanitizer: then its memory and its speed say nothing."""
    said = subprocess.run(["ldd", program()], capture_output=True, text=True, check=False).stdout
    return "libasan" in said or "libtsan" in said or bool(os.environ.get("LONGHAUL_SANITIZED"))


@dataclass
class Result:
    """The outcome of one run. peak_kib is the peak of its resident memory, as far as it was seen: the kernel's own
    figure at the end (ru_maxrss) would include the memory of this process when it started longhaul."""
    args: List[str]
    status: int
    stdout: str
    stderr: str
    peak_kib: int
    seconds: float
    _parsed: Optional[Dict[str, Any]] = field(default=None, repr=False)

    @property
    def json(self) -> Dict[str, Any]:
        """The one document on standard output; anything beside it there is a failure."""
        if self._parsed is None:
            try:
                self._parsed = json.loads(self.stdout)
            except ValueError as problem:
                raise AssertionError(f"standard output is not one JSON document ({problem}):\n{self}") from problem
        return self._parsed

    def expect(self, status: int = EQUAL) -> "Result":
        assert self.status == status, f"exit status {self.status}, expected {status}\n{self}"
        if self.args[:1] == ["replicate"] and "json" in self.args and self.stdout:
            assert self.json["exit_status"] == status
        return self

    @property
    def error_line(self) -> str:
        """The line of standard error that says why it ended: `longhaul: ...`."""
        lines = [line for line in self.stderr.splitlines() if line.startswith("longhaul: ")]
        assert lines, f"no line `longhaul: ...` on standard error\n{self}"
        return lines[-1]

    def assert_silent_about(self, *secrets: str) -> "Result":
        for secret in secrets:
            for name, text in (("standard output", self.stdout), ("standard error", self.stderr)):
                assert secret not in text, f"a secret shows on {name}"
        return self

    def __str__(self) -> str:
        return (f"$ longhaul {' '.join(self.args)}\nstatus {self.status} after {self.seconds:.2f} s\n"
                f"stdout: {self.stdout[-3000:]}\nstderr: {self.stderr[-3000:]}")


class Running:
    """A run that goes on in the background. As a context manager it is killed at the end if it still runs."""

    def __init__(self, args: Sequence[str], env: Optional[Dict[str, str]] = None, stdin: Optional[str] = None) -> None:
        self.args = list(args)
        self._out: IO[bytes] = tempfile.TemporaryFile()
        self._err: IO[bytes] = tempfile.TemporaryFile()
        self._began = time.monotonic()
        self._process = subprocess.Popen(
            [program(), *self.args], stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=self._out, stderr=self._err, env={**clean_environment(), **(env or {})}, start_new_session=True)
        if stdin is not None:
            assert self._process.stdin
            self._process.stdin.write(stdin.encode())
            self._process.stdin.close()
        self._peak_kib = 0
        self._late = False
        self._result: Optional[Result] = None
        self._thread = threading.current_thread()
        BEGUN.append(self)

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_: object) -> None:
        if self._result is None:
            os.kill(self.pid, signal.SIGKILL)
            self._reap()

    def outlives_its_test(self) -> "Running":
        """Several tests share this run: the fixture that made it ends it and asserts that problems() are none."""
        BEGUN.remove(self)
        return self

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._result is None and not self._ended(0)

    def command_line(self) -> str:
        """The command line as ps shows it."""
        return Path(f"/proc/{self.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")

    def environment(self) -> str:
        return Path(f"/proc/{self.pid}/environ").read_bytes().replace(b"\0", b" ").decode(errors="replace")

    def signal(self, number: int = signal.SIGINT) -> None:
        """Sends it and waits until it has been delivered: two of a kind that wait are one."""
        os.kill(self.pid, number)
        wait.until(lambda: not self.alive or not self._pending(), "the signal to be delivered", 30, every=0.002)

    def pause(self) -> None:
        """SIGSTOP; bytes that were sent are on their way, bytes that come wait."""
        self.signal(signal.SIGSTOP)
        wait.until(lambda: any(line.startswith("State:\tT") for line in self._status()), "longhaul to be stopped", 5, every=0.002)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def insist(self, number: int) -> None:
        """Sends it again and again, like an impatient operator, until the process has ended."""
        def again() -> bool:
            if self.alive:
                self.signal(number)
            return not self.alive
        wait.until(again, "the process to end", 15, every=0.05)

    def _pending(self) -> int:
        return sum(int(line.split()[1], 16) for line in self._status() if line.startswith(("SigPnd", "ShdPnd")))

    def _status(self) -> List[str]:
        try:
            return Path(f"/proc/{self.pid}/status").read_text().splitlines()
        except OSError:
            return []

    def stderr_so_far(self) -> str:
        """Read through another description, so that the program's own place in the file stays."""
        if self._result:
            return self._result.stderr
        with open(f"/proc/self/fd/{self._err.fileno()}", "rb") as again:
            return again.read().decode(errors="replace")

    def wait(self, timeout: float = 60) -> Result:
        """The result; at the deadline the program is ended and the test fails with its output. The deadline is
        multiplied as that of wait.until."""
        if self._result:
            return self._result
        self._late = late = not self._ended(timeout * wait.PATIENCE)
        if late:
            os.kill(self.pid, signal.SIGABRT)
            if not self._ended(30):
                os.kill(self.pid, signal.SIGKILL)
        result = self._reap()
        assert not late, f"still running after {timeout * wait.PATIENCE:g} s\n{result}"
        return result

    def _ended(self, timeout: float) -> bool:
        descriptor = os.pidfd_open(self.pid)
        deadline = time.monotonic() + timeout
        try:
            while True:
                self._look_at_memory()
                left = deadline - time.monotonic()
                if select.select([descriptor], [], [], max(0, min(left, 0.05)))[0]:
                    return True
                if left <= 0:
                    return False
        finally:
            os.close(descriptor)

    def _look_at_memory(self) -> None:
        for line in self._status():
            if line.startswith("VmHWM"):
                self._peak_kib = max(self._peak_kib, int(line.split()[1]))

    def _reap(self) -> Result:
        _, status = os.waitpid(self.pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - self._began
        texts = []
        for file in (self._out, self._err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
            file.close()
        self._result = Result(self.args, self._process.returncode, texts[0], texts[1], self._peak_kib, seconds)
        return self._result


    def problems(self) -> List[str]:
        """Signs that the program itself is broken, even if the test was content with its result. A run that goes on is ended."""
        name = f"longhaul {' '.join(self.args)}"
        if self._result is None and self._thread is not threading.main_thread():
            return []  # a thread beside the test waits for it, and reaps it
        if self._result is None:
            self.__exit__()
            return [f"still running when its test had ended: {name}"]
        found = [f"{line.group()[:500]}: {name}" for line in BROKEN.finditer(self._result.stderr + self._result.stdout)]
        if -self._result.status in CRASHES and not self._late:
            found.append(f"ended by {signal.Signals(-self._result.status).name}: {self._result}")
        try:
            wait.until(lambda: not _session(self.pid), "children to end", CHILDREN_SECONDS)
        except TimeoutError:
            found.append(f"left processes {_session(self.pid)} behind: {name}")
            for pid in _session(self.pid):
                os.kill(pid, signal.SIGKILL)
        return found


BEGUN: List[Running] = []  # every run of this process of the tests, until conftest.py has looked at its problems


def _session(leader: int) -> List[int]:
    """The processes that a run has started, directly or not."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split() if entry.name.isdigit() else []
        except OSError:
            continue
        if fields and int(fields[SESSION_FIELD]) == leader and fields[0] != "Z":
            found.append(int(entry.name))
    return found


def longhaul(*args: object, timeout: float = 60, env: Optional[Dict[str, str]] = None,
             stdin: Optional[str] = None) -> Result:
    """Any command, to its end."""
    with Running([str(arg) for arg in args], env, stdin) as running:
        return running.wait(timeout)


def replicate_args(source: object, target: object, *args: object) -> List[str]:
    """`replicate --output json` between deployments or endpoint texts, with the options for TLS."""
    def text(side: object) -> str:
        return side if isinstance(side, str) else side.endpoint  # type: ignore[attr-defined]
    given = [str(arg) for arg in args]
    quiet = [] if "--progress" in given else ["--progress", "none"]
    return ["replicate", "--output", "json", *quiet, *given, *tls_args("source", source, given),
            *tls_args("target", target, given), text(source), text(target)]


def tls_args(role: str, side: object, given: Sequence[str] = ()) -> List[str]:
    options = getattr(side, "options", None)
    if not options or not options.tls or f"--{role}-cacert" in given or f"--{role}-insecure" in given:
        return []
    return [f"--{role}-tls", f"--{role}-cacert", options.tls.path("ca.crt")]


def replicate(source: object, target: object, *args: object, timeout: float = 60,
              env: Optional[Dict[str, str]] = None) -> Result:
    return longhaul(*replicate_args(source, target, *args), timeout=timeout, env=env)


def start_replicate(source: object, target: object, *args: object, env: Optional[Dict[str, str]] = None) -> Running:
    return Running(replicate_args(source, target, *args), env)
