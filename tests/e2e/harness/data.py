"""Seeded data sets: every type in its small and its large encoding, odd keys, large values, expiry; and a loader.

A data set is a stream of items: a key and the commands that make it. The same seed gives the same items, except that
expiries lie a fixed distance from the moment of loading.
"""
from __future__ import annotations

import random
import time
from collections import defaultdict
from typing import Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple

from .oracle import Deployment
from .wire import Arg, Wire, encode, slot_of

Command = Tuple[Arg, ...]
Kind = Callable[[random.Random, bytes], List[Command]]


class Item(NamedTuple):
    key: bytes
    commands: List[Command]


def _bytes(rng: random.Random, low: int, high: int) -> bytes:
    return rng.randbytes(rng.randint(low, high))


def _words(rng: random.Random, count: int, size: int = 12) -> List[bytes]:
    return [b"m%d-" % index + rng.randbytes(size) for index in range(count)]


def _string(low: int, high: int) -> Kind:
    return lambda rng, key: [("SET", key, _bytes(rng, low, high))]


def _text(rng: random.Random, key: bytes) -> List[Command]:
    return [("SET", key, b"the same words compress well " * rng.randint(10, 400))]


def _integer(rng: random.Random, key: bytes) -> List[Command]:
    return [("SET", key, rng.choice([0, 7, -1, 9999, 1 << 40, -(1 << 63), (1 << 63) - 1]))]


def _list(low: int, high: int, size: int = 12) -> Kind:
    return lambda rng, key: [("RPUSH", key, *_words(rng, rng.randint(low, high), size))]


def _set(low: int, high: int) -> Kind:
    return lambda rng, key: [("SADD", key, *_words(rng, rng.randint(low, high)))]


def _intset(rng: random.Random, key: bytes) -> List[Command]:
    return [("SADD", key, *(rng.randint(-(1 << 40), 1 << 40) for _ in range(rng.randint(1, 200))))]


def _hash(low: int, high: int, size: int = 12) -> Kind:
    def make(rng: random.Random, key: bytes) -> List[Command]:
        fields = _words(rng, rng.randint(low, high))
        return [("HSET", key, *(part for field in fields for part in (field, rng.randbytes(size))))]
    return make


def _zset(low: int, high: int) -> Kind:
    def make(rng: random.Random, key: bytes) -> List[Command]:
        scores: List[Arg] = [0, -1.5, "inf", "-inf", 1e300, 3.141592653589793, 5e-324]
        members = _words(rng, rng.randint(low, high))
        return [("ZADD", key, *(part for member in members
                                for part in (rng.choice(scores) if rng.random() < 0.1 else rng.random(), member)))]
    return make


def _stream(entries: int) -> Kind:
    """Entries with gaps, two groups with consumers and pending entries, one of them behind, one entry claimed."""
    def make(rng: random.Random, key: bytes) -> List[Command]:
        made: List[Command] = [("XADD", key, f"{index + 1}-{rng.randint(0, 9)}", b"f", rng.randbytes(8), b"g", index)
                               for index in range(entries)]
        made += [("XGROUP", "CREATE", key, "readers", 0), ("XGROUP", "CREATE", key, b"\xffgroup", "$"),
                 ("XREADGROUP", "GROUP", "readers", "first", "COUNT", max(1, entries // 2), "STREAMS", key, ">"),
                 ("XREADGROUP", "GROUP", "readers", "second", "COUNT", 1, "STREAMS", key, ">"),
                 ("XDEL", key, "1-0", "1-1", "1-2", "1-3", "1-4")]
        return made
    return make


def _empty_stream(rng: random.Random, key: bytes) -> List[Command]:
    return [("XGROUP", "CREATE", key, "idle", "$", "MKSTREAM"), ("XADD", key, "5-5", "a", "b"), ("XDEL", key, "5-5")]


def _hyperloglog(rng: random.Random, key: bytes) -> List[Command]:
    return [("PFADD", key, *_words(rng, rng.choice([3, 2000])))]


def _bitmap(rng: random.Random, key: bytes) -> List[Command]:
    return [("SETBIT", key, rng.randint(0, 80000), 1) for _ in range(5)]


def _geo(rng: random.Random, key: bytes) -> List[Command]:
    return [("GEOADD", key, rng.uniform(-180, 180), rng.uniform(-85, 85), b"place%d" % index) for index in range(5)]


KINDS: Dict[str, Kind] = {
    "string integer": _integer, "string embstr": _string(1, 44), "string raw": _string(45, 2000),
    "string text": _text, "string empty": lambda rng, key: [("SET", key, b"")], "string large": _string(40000, 90000),
    "hyperloglog": _hyperloglog, "bitmap": _bitmap,
    "list small": _list(1, 20), "list large": _list(600, 1500, 40), "list with large element": _list(3, 3, 20000),
    "set of integers": _intset, "set small": _set(1, 20), "set large": _set(300, 800),
    "hash small": _hash(1, 20), "hash large": _hash(300, 800), "hash with large field": _hash(2, 2, 20000),
    "zset small": _zset(1, 20), "zset large": _zset(300, 800), "geo": _geo,
    "stream small": _stream(6), "stream large": _stream(400), "stream empty": _empty_stream,
}


def without_streams() -> Dict[str, Kind]:
    return {name: kind for name, kind in KINDS.items() if not name.startswith("stream")}


# Kinds that only newer servers have: the first version of each family (None: never).
NEWER_KINDS: Dict[str, Tuple[Optional[Tuple[int, int]], Optional[Tuple[int, int]], Kind]] = {
    "hash with field expiry": ((7, 4), (9, 0), lambda rng, key: [
        ("HSET", key, "stays", "1", "goes", "2", "also", "3"),
        ("HPEXPIREAT", key, in_future(rng), "FIELDS", 2, "goes", "also")]),
    "large hash with field expiry": ((7, 4), (9, 0), lambda rng, key: [
        *_hash(600, 700)(rng, key), ("HSET", key, "goes", "2"),
        ("HPEXPIREAT", key, in_future(rng), "FIELDS", 1, "goes")]),
    "vector set": ((8, 0), None, lambda rng, key: [
        ("VADD", key, "VALUES", 3, rng.random(), rng.random(), rng.random(), f"v{index}") for index in range(20)]),
}

ODD_KEYS: List[bytes] = [
    b"", b" ", b"\x00", b"\r\n", b"with space", b"\xff\xfe\x00binary\r\n$5\r\n", "schlüssel-ключ".encode(), b"{", b"}",
    b"{}", b"{}{tag}", b"a{tag}b", b"k" * 65536, b"*", b"?[a-z]", b'"quoted"', b"'", b"\\"]


def in_future(rng: random.Random) -> int:
    """An expiry hours away, with odd milliseconds."""
    return int(time.time() * 1000) + 3_600_000 + rng.randint(0, 36_000_000)


def kinds_of(binary: object) -> Dict[str, Kind]:
    """All kinds that this server can hold."""
    made = dict(KINDS)
    for name, (redis_from, valkey_from, kind) in NEWER_KINDS.items():
        first = valkey_from if binary.flavour == "valkey" else redis_from  # type: ignore[attr-defined]
        if first and binary.version[:2] >= first:  # type: ignore[attr-defined]
            made[name] = kind
    return made


def mixed(seed: int, count: int, prefix: bytes = b"", kinds: Optional[Dict[str, Kind]] = None,
          expiring: float = 0.5) -> Iterator[Item]:
    """`count` keys going round through all kinds; a share of them expires."""
    rng = random.Random(seed)
    made = list((kinds or KINDS).items())
    for index in range(count):
        name, kind = made[index % len(made)]
        key = b"%b%b:%d" % (prefix, name.replace(" ", "-").encode(), index)
        commands = kind(rng, key)
        if rng.random() < expiring:
            commands.append(("PEXPIREAT", key, in_future(rng)))
        yield Item(key, commands)


def odd(seed: int = 1) -> Iterator[Item]:
    """Odd keys in all types that a key may have, those that expire among them."""
    rng = random.Random(seed)
    for key in ODD_KEYS:
        yield Item(key, [("SET", key, b"odd" + key[:20])])
        for suffix, kind in ((b"h", "hash small"), (b"l", "list small")):
            yield Item(key + suffix, [*KINDS[kind](rng, key + suffix), ("PEXPIREAT", key + suffix, in_future(rng))])


def plain(seed: int, count: int, prefix: bytes = b"k", size: int = 100, expiring: float = 0.5) -> Iterator[Item]:
    """Strings of random bytes."""
    rng = random.Random(seed)
    for index in range(count):
        key = b"%b:%d" % (prefix, index)
        value = rng.randbytes(size)
        expiry = ("PXAT", in_future(rng)) if rng.random() < expiring else ()
        yield Item(key, [("SET", key, value, *expiry)])


def many(seed: int, count: int) -> Iterator[Item]:
    """For a million: small values of every type, in the proportions of a cache (four fifths strings)."""
    rng = random.Random(seed)
    small = [KINDS[name] for name in ("hash small", "list small", "set small", "zset small", "set of integers")]
    base = int(time.time() * 1000) + 3_600_000
    for index in range(count):
        key = b"key:%d" % index
        if index % 5:
            value = rng.randbytes(20 + index % 100)
            yield Item(key, [("SET", key, value, "PXAT", base + index) if index % 2 else ("SET", key, value)])
        else:
            kind = _stream(3) if index % 500 == 0 else small[index // 5 % len(small)]
            commands = kind(rng, key)
            yield Item(key, [*commands, ("PEXPIREAT", key, base + index)] if index % 2 else commands)


def load(side: Deployment, items: Iterable[Item], db: int = 0) -> int:
    """Writes the items to the side, each to the owner of its slot; how many keys."""
    owners = side.slots() if side.is_cluster else None  # type: ignore[attr-defined]
    only = side.primaries()[0]
    wires: Dict[object, Wire] = {}
    waiting: Dict[object, List[bytes]] = defaultdict(list)
    sizes: Dict[object, int] = defaultdict(int)

    def send(server: object) -> None:
        if server not in wires:
            wires[server] = server.wire()  # type: ignore[attr-defined]
            if db:
                wires[server].call("SELECT", db)
        wires[server].send_encoded(waiting[server], window=len(waiting[server]))
        waiting[server], sizes[server] = [], 0

    keys = 0
    try:
        for item in items:
            server = owners[slot_of(item.key)] if owners else only
            encoded = [encode(command) for command in item.commands]
            waiting[server] += encoded
            sizes[server] += sum(map(len, encoded))
            keys += 1
            if len(waiting[server]) >= 1000 or sizes[server] >= 1 << 20:
                send(server)
        for server in [server for server, rest in waiting.items() if rest]:
            send(server)
    finally:
        for wire in wires.values():
            wire.close()
    return keys
