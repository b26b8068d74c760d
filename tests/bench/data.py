"""The data of the benchmarks: made once per run, kept as an RDB file that source servers load.

Values come from random bytes, so that no compression helps anybody, except where they are to look like JSON. Half of
the strings of 100 bytes expire, in hours or days: none while the benchmark runs.
"""
from __future__ import annotations

import os
import random
import socket
import time
from dataclasses import dataclass
from typing import Callable, Dict, Iterator, List

Encoded = bytes


def bulk(*words: bytes) -> Encoded:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


@dataclass(frozen=True)
class Kind:
    """A sort of data: how many keys in a full run and in a quick one, the words for the table, and command i."""
    name: str
    keys: int
    quick_keys: int
    words: str
    command: Callable[[int, random.Random], Encoded]


def _key(i: int) -> bytes:
    return b"key:%012d" % (i * 2654435761 % 10 ** 12)


def _expiry(chance: random.Random) -> bytes:
    return b"%d" % (int(time.time() * 1000) + chance.randrange(6 * 3600_000, 96 * 3600_000))


def _string(i: int, chance: random.Random) -> Encoded:
    value = os.urandom(100)
    if i % 2:
        return bulk(b"SET", _key(i), value, b"PXAT", _expiry(chance))
    return bulk(b"SET", _key(i), value)


_NAMES = ("customer", "address", "order", "status", "created", "updated", "total", "currency", "items", "reference")


def _json_text(chance: random.Random) -> bytes:
    parts: List[str] = []
    size = 2
    while size < 1000:
        part = f'"{chance.choice(_NAMES)}_{chance.randrange(40)}":"{chance.getrandbits(64):x}"'
        parts.append(part)
        size += len(part) + 1
    return ("{" + ",".join(parts) + "}").encode()[:1024]


class _Pool:
    """Some thousand bodies, made once: making each anew would take longer than the benchmark."""

    def __init__(self, make: Callable[[random.Random], List[bytes]], count: int = 2000) -> None:
        self._make, self._count = make, count
        self._made: List[List[bytes]] = []

    def pick(self, chance: random.Random) -> List[bytes]:
        if not self._made:
            own = random.Random(7)
            self._made = [self._make(own) for _ in range(self._count)]
        return self._made[chance.randrange(self._count)]


def _fields(chance: random.Random) -> List[bytes]:
    return [word for n in range(20) for word in (b"field%02d" % n, b"%x" % chance.getrandbits(48))]


def _members(chance: random.Random) -> List[bytes]:
    return [word for n in range(50) for word in (b"%d" % chance.randrange(10 ** 6), b"member%02d:%x" %
                                                 (n, chance.getrandbits(32)))]


_jsons = _Pool(lambda chance: [_json_text(chance)], 5000)
_hashes = _Pool(_fields)
_zsets = _Pool(_members)


def _json(i: int, chance: random.Random) -> Encoded:
    return bulk(b"SET", _key(i), *_jsons.pick(chance))


def _hash(i: int, chance: random.Random) -> Encoded:
    return bulk(b"HSET", _key(i), *_hashes.pick(chance))


def _zset(i: int, chance: random.Random) -> Encoded:
    return bulk(b"ZADD", _key(i), *_zsets.pick(chance))


def _mixed(i: int, chance: random.Random) -> Encoded:
    part = chance.randrange(10)
    if part < 5:
        return _string(i, chance)
    return _json(i, chance) if part < 7 else _hash(i, chance) if part < 9 else _zset(i, chance)


KINDS: Dict[str, Kind] = {kind.name: kind for kind in (
    Kind("strings-100", 1_000_000, 60_000, "strings of 100 random bytes, half with expiry", _string),
    Kind("json-1k", 300_000, 20_000, "strings of 1 KB like JSON", _json),
    Kind("hash-20", 300_000, 20_000, "hashes of 20 fields", _hash),
    Kind("zset-50", 150_000, 10_000, "sorted sets of 50 members", _zset),
    Kind("mixed", 400_000, 20_000, "half strings of 100 bytes, a fifth JSON, a fifth hashes, a tenth sorted sets",
         _mixed),
)}


def _payloads(kind: Kind, count: int) -> Iterator[bytes]:
    chance = random.Random(kind.name)
    for first in range(0, count, 1000):
        yield b"".join(kind.command(i, chance) for i in range(first, min(first + 1000, count)))


def load(port: int, kind: Kind, count: int) -> None:
    """Fills the empty server on this port. Replies are switched off, so the count at the end proves that all came."""
    with socket.create_connection(("127.0.0.1", port), 60) as plain:
        plain.sendall(bulk(b"CLIENT", b"REPLY", b"OFF"))
        for payload in _payloads(kind, count):
            plain.sendall(payload)
        plain.sendall(bulk(b"CLIENT", b"REPLY", b"ON") + bulk(b"DBSIZE"))
        reader = plain.makefile("rb")
        lines = [reader.readline(), reader.readline()]
    if lines != [b"+OK\r\n", b":%d\r\n" % count]:
        raise RuntimeError(f"loading {kind.name}: {lines}, expected {count} keys")
