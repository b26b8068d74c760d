"""A small RESP2 client for whole batches: the oracle and the loader send thousands of commands at a time with it.

python3-redis is the client for single commands; at a million keys it costs minutes where this costs seconds. Nothing
here interprets values: bulk strings and status lines are bytes, numbers int, errors WireError (returned, not raised,
by batch()).
"""
from __future__ import annotations

import binascii
import socket
import ssl
from dataclasses import dataclass
from typing import Iterable, Iterator, List, Optional, Sequence, Union

Arg = Union[bytes, str, int, float]
CLIENT_NAME = b"harness"  # the fault injectors spare connections of this name


class WireError(Exception):
    """An error reply of the server."""


@dataclass(frozen=True)
class Tls:
    """Files of a TLS client; cert and key may be None."""
    ca: str
    cert: Optional[str] = None
    key: Optional[str] = None


@dataclass(frozen=True)
class Address:
    """Where a server is and how to get in."""
    host: str = "127.0.0.1"
    port: int = 0
    path: Optional[str] = None
    user: Optional[str] = None
    password: Optional[str] = None
    tls: Optional[Tls] = None


def to_bytes(arg: Arg) -> bytes:
    if isinstance(arg, bytes):
        return arg
    if isinstance(arg, str):
        return arg.encode()
    return repr(arg).encode()


def encode(args: Sequence[Arg]) -> bytes:
    """One command as the array of bulk strings that servers read."""
    parts = [b"*%d\r\n" % len(args)]
    for arg in args:
        raw = to_bytes(arg)
        parts.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(parts)


class Wire:
    """One connection. Not shared between threads."""

    def __init__(self, address: Address, timeout: float = 60.0) -> None:
        self._socket = self._connect(address, timeout)
        self._reader = self._socket.makefile("rb", buffering=1 << 18)
        if address.password is not None:
            self.call("AUTH", *([address.user] if address.user else []), address.password)
        self.call("CLIENT", "SETNAME", CLIENT_NAME)

    @staticmethod
    def _connect(address: Address, timeout: float) -> socket.socket:
        if address.path:
            plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            plain.settimeout(timeout)
            plain.connect(address.path)
            return plain
        plain = socket.create_connection((address.host, address.port), timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not address.tls:
            return plain
        context = ssl.create_default_context(cafile=address.tls.ca)
        context.check_hostname = False
        if address.tls.cert and address.tls.key:
            context.load_cert_chain(address.tls.cert, address.tls.key)
        return context.wrap_socket(plain)

    def close(self) -> None:
        self._reader.close()
        self._socket.close()

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, *args: Arg) -> object:
        """One command, one reply; an error reply is raised."""
        self._socket.sendall(encode(args))
        reply = self._reply()
        if isinstance(reply, WireError):
            raise reply
        return reply

    def batch(self, commands: Iterable[Sequence[Arg]], window: int = 1000) -> List[object]:
        """Pipelines the commands; their replies in order, errors among them."""
        replies: List[object] = []
        for payload, count in _windows(map(encode, commands), window):
            self._socket.sendall(payload)
            replies.extend(self._reply() for _ in range(count))
        return replies

    def send_encoded(self, commands: Iterable[bytes], window: int = 2000) -> int:
        """Pipelines encoded commands whose replies only matter when they are errors; how many there were."""
        total = 0
        for payload, count in _windows(commands, window):
            self._socket.sendall(payload)
            for _ in range(count):
                reply = self._reply()
                if isinstance(reply, WireError):
                    raise reply
            total += count
        return total

    def send(self, payload: bytes) -> None:
        self._socket.sendall(payload)

    def read_lines(self, count: int) -> List[bytes]:
        """The next `count` lines of replies that are lines throughout (status, number, error, array header)."""
        readline = self._reader.readline
        lines = [readline() for _ in range(count)]
        if not lines[-1:] or not lines[-1].endswith(b"\n"):
            raise EOFError("the server closed the connection")
        return lines

    def _reply(self) -> object:
        line = self._reader.readline()
        if not line.endswith(b"\r\n"):
            raise EOFError("the server closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest
        if kind == b"$":
            size = int(rest)
            return None if size < 0 else self._exactly(size + 2)[:-2]
        if kind == b":":
            return int(rest)
        if kind == b"*":
            return None if int(rest) < 0 else [self._reply() for _ in range(int(rest))]
        if kind == b"-":
            return WireError(rest.decode("utf-8", "replace"))
        raise EOFError(f"not RESP2: {line[:60]!r}")

    def _exactly(self, size: int) -> bytes:
        data = self._reader.read(size)
        if len(data) != size:
            raise EOFError("the server closed the connection")
        return data


def _windows(commands: Iterable[bytes], window: int) -> Iterator[tuple[bytes, int]]:
    """Joins encoded commands into payloads of at most `window` commands or about 1 MiB."""
    parts: List[bytes] = []
    size = 0
    for command in commands:
        parts.append(command)
        size += len(command)
        if len(parts) >= window or size >= 1 << 20:
            yield b"".join(parts), len(parts)
            parts, size = [], 0
    if parts:
        yield b"".join(parts), len(parts)


def slot_of(key: bytes) -> int:
    """The slot of a key (CRC-16/XMODEM): of the text in its first {braces} unless that is empty."""
    begin = key.find(b"{")
    if begin >= 0:
        end = key.find(b"}", begin + 1)
        if end > begin + 1:
            key = key[begin + 1:end]
    return binascii.crc_hqx(key, 0) % 16384
