"""The bed of the rows: servers of their own with data loaded from files, the WAN proxy, and the two ways of copying.

The servers are those of the end-to-end tests (harness/servers.py): on free ports of loopback, in a temporary directory,
ended by their pid, and by the kernel should this process die.
"""
from __future__ import annotations

import json
import shutil
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

from harness import cluster, tls, wait
from harness.cluster import Cluster
from harness.run import tls_args
from harness.servers import Fleet, Options, Server, free_port

import data
from measure import Meter, Program, Sample, interleave

GBIT = 1e9


@dataclass
class Link:
    """How a proxy stands between longhaul and the target: round trip in milliseconds, bits a second (0: unlimited)."""
    round_trip_ms: float
    rate: float


def pids(side: object) -> List[int]:
    """The processes of a server or a cluster."""
    return [server.process.pid for server in side.servers() if server.process]  # type: ignore[attr-defined]


class Bed:
    """Servers and data of one run."""

    def __init__(self, directory: Path, build: Path, program: Program, quick: bool) -> None:
        self.directory = directory
        self.program = program
        self.quick = quick
        self.fleet = Fleet(directory)
        self._wan = build / "tests" / "bench" / "wan"
        self._targets: Dict[str, Server] = {}
        self._certificates: Optional[tls.Certificates] = None

    def end(self) -> None:
        self.fleet.end()

    def rounds(self, full: int) -> int:
        return 1 if self.quick else full

    def keys(self, kind: data.Kind) -> int:
        return kind.quick_keys if self.quick else kind.keys

    # Servers

    def certificates(self) -> tls.Certificates:
        if not self._certificates:
            self._certificates = tls.make(self.directory / "tls")
        return self._certificates

    @contextmanager
    def source(self, kind: data.Kind, options: Optional[Options] = None) -> Iterator[Server]:
        """A server with the data of this kind, loaded from its file."""
        server = self.fleet.server(options, start=False)
        shutil.copy(self._file(kind), server.directory / "dump.rdb")
        server.start()
        try:
            yield server
        finally:
            self.fleet.end([server])

    def _file(self, kind: data.Kind) -> Path:
        path = self.directory / f"{kind.name}.dump"
        if not path.exists():
            maker = self.fleet.server()
            data.load(maker.port, kind, self.keys(kind))
            maker.admin().execute_command("SAVE")
            shutil.move(str(maker.directory / "dump.rdb"), path)
            self.fleet.end([maker])
        return path

    def target(self, name: str, **config: str) -> Server:
        """A server without data that stays for the whole run; the rows empty it."""
        if name not in self._targets:
            lines = {option.replace("_", "-"): value for option, value in config.items()}
            self._targets[name] = self.fleet.server(Options(config=lines))
        return self._targets[name]

    @contextmanager
    def cluster(self, primaries: int = 3) -> Iterator[Cluster]:
        made = cluster.build(self.fleet, primaries)
        try:
            yield made
        finally:
            self.fleet.end(made.nodes)

    @contextmanager
    def wan(self, server: Server, link: Link) -> Iterator[str]:
        """The endpoint of a proxy in front of this server."""
        port = free_port()
        words = [str(self._wan), str(port), str(server.port), str(link.round_trip_ms), str(link.rate)]
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin and process.stdout
        try:
            if process.stdout.readline() != b"ready\n":
                raise RuntimeError("the WAN proxy does not start")
            yield f"127.0.0.1:{port}"
        finally:
            process.stdin.close()
            process.stdout.close()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    # Copying

    def snapshot(self, source: object, target: object, expected: int, *options: str, through: str = "") -> Sample:
        """longhaul replicate into the emptied target; `through` is another endpoint that leads there."""
        target.flush()  # type: ignore[attr-defined]
        args = ["replicate", "--output", "json", "--progress", "none", "--quiet", "--compare", "none", *options,
                *tls_args("source", source), *tls_args("target", target), source.endpoint,  # type: ignore[attr-defined]
                through or target.endpoint]  # type: ignore[attr-defined]
        sample = self.program.run(args, source=pids(source), target=pids(target))
        sample.said = json.loads(str(sample.said["stdout"]))
        held = count(target)
        if held != expected:
            raise RuntimeError(f"{held} keys arrived, not {expected}")
        return sample

    def native(self, source: Server, target: Server, expected: int) -> Sample:
        """REPLICAOF into the emptied target, until its link is up and the source's child has ended."""
        target.flush()
        meter = Meter(source=pids(source), target=pids(target))
        began = time.monotonic()
        target.admin().execute_command("REPLICAOF", "127.0.0.1", source.port)
        wait.until(lambda: target.admin().info("replication").get("master_link_status") == "up", "the full sync", 300,
                   every=0.005)
        wall = time.monotonic() - began
        wait.until(lambda: not source.admin().info("persistence")["rdb_bgsave_in_progress"], "the child to end", 60)
        spent = meter.spent()
        detach(source, target)
        held = count(target)
        if held != expected:
            raise RuntimeError(f"{held} keys arrived by the native sync, not {expected}")
        return Sample(wall, spent)

    def compare(self, source: object, target: object, *options: str) -> Sample:
        args = ["compare", "--quiet", "--progress", "none", *options, source.endpoint,  # type: ignore[attr-defined]
                target.endpoint]  # type: ignore[attr-defined]
        return self.program.run(args, source=pids(source), target=pids(target))


def detach(source: Server, target: Server) -> None:
    """Ends a replication, and waits until no side keeps a backlog of it any more: each write would be fed to that, those of
    the ways that come later too."""
    target.admin().execute_command("REPLICAOF", "NO", "ONE")
    for server in (source, target):
        server.admin().config_set("repl-backlog-ttl", 1)
    wait.until(lambda: not any(server.admin().info("replication")["repl_backlog_active"] for server in (source, target)),
               "the backlogs to end", 30)


def count(side: object) -> int:
    return sum(server.admin().dbsize() for server in side.primaries())  # type: ignore[attr-defined]


def in_turns(ways: Dict[str, object], rounds: int) -> Dict[str, List[Sample]]:
    """Every way once in each of the rounds, beginning with another one each time."""
    samples: Dict[str, List[Sample]] = {name: [] for name in ways}
    for name in interleave(list(ways), rounds):
        samples[name].append(ways[name]())  # type: ignore[operator]
    return samples


def walls(samples: Sequence[Sample]) -> List[float]:
    return [sample.wall for sample in samples]


def copy_times(samples: Sequence[Sample]) -> List[float]:
    """Seconds of the copy itself, without start, checks and end of the program."""
    return [float(sample.said["duration_ms"]) / 1000 for sample in samples]  # type: ignore[arg-type]


def version_of(server: Server) -> Tuple[str, str]:
    return server.binary.flavour, ".".join(map(str, server.binary.version))
