"""Fixtures: servers that live as long as the session and are emptied before each test, and others made to measure.

    source, target        one plain server each
    matrix                a server of each version
    deployments           any shape (standalone, cluster) in any profile (plain, tls, elasticache), made when asked for
    fleet                 servers of a test's own, ended with the test
    longhaul_is_sound     for every test: no crash, no sanitizer's finding, no process left behind
"""
from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Dict, Iterator, List, Tuple, Union

import pytest

pytest.register_assert_rewrite("harness.oracle", "harness.run")

from harness import cluster, elasticache, run, tls  # noqa: E402
from harness.cluster import Cluster  # noqa: E402
from harness.run import TREE  # noqa: E402
from harness.servers import Fleet, Options, Server, probe_binary  # noqa: E402
from harness.tls import Certificates  # noqa: E402

Side = Union[Server, Cluster]
FLEETS: List[Fleet] = []


class Deployments:
    """Deployments by role, shape and profile. They are shared by tests, so tests leave their configuration alone."""

    def __init__(self, fleet: Fleet, certificates: Certificates) -> None:
        self._fleet = fleet
        self._certificates = certificates
        self._made: Dict[Tuple[str, str, str], Side] = {}

    def get(self, role: str, shape: str, profile: str = "plain") -> Side:
        """The deployment, empty."""
        wanted = (role, shape, profile)
        if wanted not in self._made:
            self._made[wanted] = self._make(shape, profile)
        side = self._made[wanted]
        side.flush()
        return side

    def _make(self, shape: str, profile: str) -> Side:
        options = Options(tls=self._certificates if profile in ("tls", "elasticache") else None)
        if profile == "elasticache":
            options = elasticache.options(options)
        if shape == "cluster":
            return cluster.build(self._fleet, 3, 0, options, hostname=profile in ("tls", "elasticache"))
        return self._fleet.server(options)


@pytest.fixture(autouse=True)
def longhaul_is_sound() -> Iterator[None]:
    """After each test: no run of longhaul goes on, left processes behind, crashed, or failed an assertion or a sanitizer's
    check, even where the test itself was content."""
    run.BEGUN.clear()
    yield
    problems = [problem for each in run.BEGUN for problem in each.problems()]
    assert not problems, "\n".join(problems)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return tls.make(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def session_fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    yield from _fleet(tmp_path_factory.mktemp("shared"))


@pytest.fixture
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    yield from _fleet(tmp_path_factory.mktemp("own"))


def _fleet(directory: Path) -> Iterator[Fleet]:
    made = Fleet(directory)
    FLEETS.append(made)
    yield made
    made.end()
    FLEETS.remove(made)


@pytest.fixture(scope="session")
def deployments(session_fleet: Fleet, certificates: Certificates) -> Deployments:
    return Deployments(session_fleet, certificates)


@pytest.fixture(scope="session")
def matrix(session_fleet: Fleet) -> Dict[str, Server]:
    """One running server of each version, by name: redis-6.0 ... valkey-9.1, and the installed one."""
    if os.environ.get("LONGHAUL_NO_MATRIX"):
        pytest.skip("LONGHAUL_NO_MATRIX is set")
    fetch = TREE / "tests" / "servers" / "fetch"
    fetched = subprocess.run([str(fetch)], capture_output=True, text=True, check=False)
    if fetched.returncode != 0:
        pytest.fail(f"the server versions could not be fetched (LONGHAUL_NO_MATRIX=1 goes without):\n{fetched.stderr}")
    binaries = [probe_binary(line.split()[0], line.split()[2] + "/server") for line in fetched.stdout.splitlines()]
    return {binary.name: session_fleet.server(binary=binary) for binary in (*binaries, session_fleet.binary)}


@pytest.fixture
def source(deployments: Deployments) -> Server:
    return deployments.get("source", "standalone")  # type: ignore[return-value]


@pytest.fixture
def target(deployments: Deployments) -> Server:
    return deployments.get("target", "standalone")  # type: ignore[return-value]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A failed test shows the last lines of the servers' logs."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.when == "call" and report.failed:
        for fleet in FLEETS[1:] or FLEETS:
            report.sections.append(("servers", fleet.logs()[-6000:]))
