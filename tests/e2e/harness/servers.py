"""Real redis-server and valkey-server processes on loopback, one Server object each.

A server gets a directory, a configuration file and free ports of its own, so that tests may run beside each other. It
is ended by its pid; should the test process die first, the kernel ends it (setpriv --pdeathsig). Every server has,
besides the user that a test gives to longhaul, the user `harness` with all rights, so that the oracle can ask
questions that longhaul may not.
"""
from __future__ import annotations

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

import redis

from . import wait
from .tls import Certificates
from .wire import Address, Wire

ADMIN_USER, ADMIN_PASSWORD = "harness", "harness-has-all-rights"
PORTS = range(20000, 32000)  # below the ports that the kernel hands out for outgoing connections


@dataclass(frozen=True)
class Binary:
    """An executable, its family and its version."""
    name: str
    path: str
    flavour: str
    version: Tuple[int, int, int]

    @property
    def has_debug_switch(self) -> bool:
        return self.version >= (7, 0, 0)

    @property
    def has_cluster_port(self) -> bool:
        return self.version >= (7, 0, 0)

    @property
    def has_pexpiretime(self) -> bool:
        return self.version >= (7, 0, 0)


def probe_binary(name: str, path: str) -> Binary:
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    numbers = re.search(r"v=(\d+)\.(\d+)\.(\d+)", said)
    if not numbers:
        raise RuntimeError(f"{path} --version says {said!r}")
    flavour = "valkey" if "valkey" in said.lower() else "redis"
    return Binary(name, path, flavour, tuple(map(int, numbers.groups())))  # type: ignore[arg-type]


def installed_binary() -> Binary:
    """The machine's own redis-server (or LONGHAUL_TEST_SERVER)."""
    path = os.environ.get("LONGHAUL_TEST_SERVER") or shutil.which("redis-server")
    if not path:
        raise RuntimeError("redis-server is not installed (package redis-server)")
    return probe_binary("installed", path)


def _worker_ports() -> range:
    """Workers of pytest-xdist look for ports in ranges of their own, so that their probes do not race."""
    worker = int(re.sub(r"\D", "", os.environ.get("PYTEST_XDIST_WORKER", "")) or 0) % 8
    size = len(PORTS) // 8
    return PORTS[worker * size:(worker + 1) * size]


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
            return True
        except OSError:
            return False


_next_port = random.SystemRandom()


def free_port(also: int = 0) -> int:
    """A port of 127.0.0.1 that nobody listens on; with `also`, port + also is free too."""
    ports = _worker_ports()
    for _ in range(2000):
        port = _next_port.choice(ports)
        if is_free(port) and (not also or is_free(port + also)):
            return port
    raise RuntimeError("no free port")


@dataclass
class Options:
    """How a server differs from the plain one. `renamed` maps a command to its secret name; `config` holds further
    lines of the configuration, `users` the rules of ACL users by name, `env` variables of the process (clock.Clock)."""
    password: Optional[str] = None
    users: Dict[str, str] = field(default_factory=dict)
    tls: Optional[Certificates] = None
    tls_certificate: str = "server"
    tls_clients: bool = False
    unix: bool = False
    cluster: bool = False
    renamed: Dict[str, str] = field(default_factory=dict)
    default_user: str = "on nopass ~* &* +@all"
    config: Dict[str, str] = field(default_factory=dict)
    env: Dict[str, str] = field(default_factory=dict)


class Server:
    """One process. `port` speaks plain RESP, `tls_port` TLS where asked for."""

    def __init__(self, directory: Path, binary: Binary, options: Optional[Options] = None) -> None:
        self.directory = directory
        self.binary = binary
        self.options = options or Options()
        self.port = 0
        self.tls_port = 0
        self.bus_port = 0
        self.sentinel = False
        self.process: Optional[subprocess.Popen[bytes]] = None
        self._client: Dict[int, redis.Redis] = {}
        directory.mkdir(parents=True, exist_ok=True)

    # Life

    def start(self) -> "Server":
        for attempt in range(8):
            if not self.port or attempt:
                self._choose_ports()
            self._spawn()
            if self._came_up():
                return self
            self.kill9()
            if "in use" not in self.log():
                break
        raise RuntimeError(f"{self.binary.path} does not start:\n{self.log()}")

    def stop(self) -> None:
        """In order, then by force."""
        self._drop_clients()
        if not self.process:
            return
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def kill9(self) -> None:
        self._drop_clients()
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def restart(self, keep: bool = False) -> None:
        """Ends and starts again on the same ports; with keep the data survive, else it comes back empty."""
        if keep:
            self.admin().execute_command(self.name_of("save"))
        else:
            (self.directory / "dump.rdb").unlink(missing_ok=True)
        self.stop()
        self.revive()

    def launch(self) -> None:
        """Starts a stopped server on the ports it had, and does not wait until it answers."""
        self._spawn()

    def revive(self) -> None:
        """Starts a stopped server on the ports it had."""
        def again() -> bool:
            self._spawn()
            return self._came_up() or bool(self.kill9())
        wait.until(again, f"port {self.port} to be free again", 10)

    def pause(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGCONT)

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def log(self) -> str:
        path = self.directory / "server.log"
        return path.read_text(errors="replace")[-4000:] if path.exists() else ""

    # How to reach it

    def admin(self, db: int = 0) -> redis.Redis:
        """python3-redis as the user with all rights, never over TLS."""
        client = self._client.get(db)
        if client is None:
            client = redis.Redis(port=self.port, db=db, username=ADMIN_USER, password=ADMIN_PASSWORD, client_name="harness",
                                 socket_timeout=30)
            self._client[db] = client
        return client

    def wire(self, timeout: float = 60.0) -> Wire:
        return Wire(Address(port=self.port, user=ADMIN_USER, password=ADMIN_PASSWORD), timeout)

    def command(self, name: str, *args: object, db: int = 0) -> object:
        """A command by its official name, also where it is renamed away; the reply as it is on the wire."""
        words = name.split()
        pool = self.admin(db).connection_pool
        connection = pool.get_connection(words[0])
        try:
            connection.send_command(self.name_of(words[0]), *words[1:], *args)
            return connection.read_response()
        except redis.ConnectionError:
            connection.disconnect()
            raise
        finally:
            pool.release(connection)

    def name_of(self, command: str) -> str:
        return self.options.renamed.get(command.lower(), command)

    @property
    def endpoint(self) -> str:
        """host:port as a user types it; over TLS the name in the certificate."""
        return f"localhost:{self.tls_port}" if self.options.tls else f"127.0.0.1:{self.port}"

    @property
    def socket_path(self) -> str:
        return str(self.directory / "s.sock")

    def url(self, db: Optional[int] = None, user: str = "", password: Optional[str] = None, query: str = "") -> str:
        login = ""
        if password is not None:
            login = f"{urllib.parse.quote(user, safe='')}:{urllib.parse.quote(password, safe='')}@"
        path = "" if db is None else f"/{db}"
        return f"redis{'s' if self.options.tls else ''}://{login}{self.endpoint}{path}{query}"

    # A deployment of one server, as oracle and loader see it

    def primaries(self) -> List["Server"]:
        return [self]

    def owner(self, slot: int) -> "Server":
        return self

    def servers(self) -> List["Server"]:
        return [self]

    @property
    def is_cluster(self) -> bool:
        return False

    def flush(self) -> None:
        self.admin().flushall()

    # Inside

    def _choose_ports(self) -> None:
        own_bus = self.options.cluster and self.binary.has_cluster_port
        self.port = free_port(10000 if self.options.cluster and not own_bus else 0)
        self.tls_port = free_port() if self.options.tls else 0
        self.bus_port = free_port() if own_bus else self.port + 10000

    def _configuration(self) -> Dict[str, str]:
        lines = {"port": str(self.port), "bind": "127.0.0.1", "dir": f'"{self.directory}"', "save": '""',
                 "appendonly": "no", "logfile": '"server.log"', "daemonize": "no", "databases": "16",
                 "repl-diskless-sync-delay": "0", "masteruser": ADMIN_USER, "masterauth": ADMIN_PASSWORD}
        if self.binary.has_debug_switch:
            lines["enable-debug-command"] = "yes"
        if self.options.unix:
            lines["unixsocket"] = f'"{self.socket_path}"'
        if self.options.tls:
            lines.update(self._tls_configuration(self.options.tls))
        if self.options.cluster:
            lines.update({"cluster-enabled": "yes", "cluster-config-file": "nodes.conf", "cluster-node-timeout": "2000",
                          "cluster-migration-barrier": "100", "cluster-require-full-coverage": "no"})
            if self.binary.has_cluster_port:
                lines["cluster-port"] = str(self.bus_port)
        lines.update(self.options.config)
        return lines

    def _tls_configuration(self, certificates: Certificates) -> Dict[str, str]:
        lines = {"tls-port": str(self.tls_port), "tls-ca-cert-file": certificates.path("ca.crt"),
                 "tls-cert-file": certificates.path(f"{self.options.tls_certificate}.crt"),
                 "tls-key-file": certificates.path(f"{self.options.tls_certificate}.key"),
                 "tls-auth-clients": "yes" if self.options.tls_clients else "no"}
        if self.options.cluster:
            lines["tls-cluster"] = "yes"
            lines["tls-replication"] = "yes"
        return lines

    def _users(self) -> List[str]:
        default = f"on >{self.options.password} ~* &* +@all" if self.options.password else self.options.default_user
        channels = "&*" if self.binary.version >= (6, 2, 0) else ""
        rules = {ADMIN_USER: f"on >{ADMIN_PASSWORD} ~* &* +@all", "default": default, **self.options.users}
        return [f"user {name} {rule.replace('&*', channels)}" for name, rule in rules.items()]

    def _spawn(self) -> None:
        lines = [f"{key} {value}" for key, value in self._configuration().items()]
        lines += self._users()
        lines += [f"rename-command {name} {secret}" for name, secret in self.options.renamed.items()]
        file = self.directory / "server.conf"
        file.write_text("\n".join(lines) + "\n")
        guard = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        role = ["--sentinel"] if self.sentinel else []
        with open(self.directory / "output.log", "ab") as output:
            self.process = subprocess.Popen([*guard, self.binary.path, str(file), *role], stdin=subprocess.DEVNULL,
                                            stdout=output, stderr=output, cwd=self.directory,
                                            env={**os.environ, **self.options.env})

    def _came_up(self) -> bool:
        """Whether this process (not somebody else on the port) answers."""
        def answers() -> Optional[str]:
            if not self.running:
                return "ended"
            info = self.admin().info()
            return "up" if info["process_id"] == self.process.pid and not info.get("loading") else None  # type: ignore
        try:
            return wait.until(answers, f"{self.binary.name} on port {self.port}", 20) == "up"
        except TimeoutError:
            return False

    def _drop_clients(self) -> None:
        clients, self._client = self._client, {}
        for client in clients.values():
            client.connection_pool.disconnect(inuse_connections=False)  # others belong to threads that wait for a reply


class Fleet:
    """Makes servers and ends all of them, also after a failure."""

    def __init__(self, directory: Path, binary: Optional[Binary] = None) -> None:
        self.directory = directory
        self.binary = binary or installed_binary()
        self.servers: List[Server] = []

    def server(self, options: Optional[Options] = None, binary: Optional[Binary] = None, start: bool = True) -> Server:
        server = Server(self.directory / f"s{len(self.servers)}", binary or self.binary, options)
        self.servers.append(server)
        return server.start() if start else server

    def end(self, some: Optional[Sequence[Server]] = None) -> None:
        for server in list(self.servers if some is None else some):
            server.kill9()
            if server in self.servers and some is not None:
                shutil.rmtree(server.directory, ignore_errors=True)

    def logs(self) -> str:
        """The tails of the logs of the servers that run, for the report of a failed test."""
        return "\n".join(f"--- {s.directory.name} port {s.port}\n" + "\n".join(s.log().splitlines()[-5:])
                         for s in self.servers if s.process)

