"""Every encoding that a server writes: the kinds of data.py under three settings of the encoding thresholds, and values at
the boundaries of the packed forms (lengths and integers at which a header grows, nodes of their own, gone entries).

    default   as servers come
    packed    thresholds so high that everything is packed into one piece
    spread    thresholds so low that nothing is

Names describe the key: "packed hash large", "list of lengths". The last words in brackets mark keys that not every server can
have: [field expiry], [vector set]. Half of the keys expire.
"""
from __future__ import annotations

import random
from typing import Dict, Iterator, List, Tuple

from . import data
from .data import Command, Item, Kind
from .servers import Binary, Server
from .wire import Arg, WireError

FIELD_EXPIRY, VECTOR_SET = b"[field expiry]", b"[vector set]"

_THRESHOLDS = {
    "hash-max-ziplist-entries": ("100000", "0"), "hash-max-ziplist-value": ("100000", "1"),
    "zset-max-ziplist-entries": ("100000", "0"), "zset-max-ziplist-value": ("100000", "1"),
    "set-max-listpack-entries": ("100000", "0"), "set-max-listpack-value": ("100000", "1"),
    "set-max-intset-entries": ("100000", "0"), "list-max-ziplist-size": ("-5", "1"), "list-compress-depth": ("1", "1"),
    "stream-node-max-bytes": ("0", "1"), "stream-node-max-entries": ("0", "1"), "hll-sparse-max-bytes": ("16000", "0"),
}
PROFILES = ("default", "packed", "spread")

LENGTHS = [0, 1, 2, 63, 64, 65, 127, 128, 253, 254, 255, 4094, 4095, 4096, 4097, 8191, 8192, 8193, *range(16376, 16386),
           65535, 65536]
_POWERS = [7, 8, 12, 15, 16, 23, 24, 31, 32, 63]
INTEGERS = sorted({sign * (1 << power) + off for power in _POWERS for sign in (1, -1) for off in (-2, -1, 0, 1)}
                  | {0, 1, 12, 13, -1, 10000})
SCORES: List[Arg] = [0, 1, -1, 127, 4096, -4097, 1 << 53, -(1 << 53), 1e17, 1e21, -1e300, 5e-324, 0.1, 1 / 3,
                     1.7976931348623157e308, "inf", "-inf", 4294967296.5]
LARGE = 1_200_000


def _filled(length: int) -> bytes:
    """Of that length, different from those of other lengths, not an integer, and not compressible away."""
    return random.Random(length).randbytes(length)


def _mixture() -> List[bytes]:
    return [_filled(length) for length in LENGTHS] + [b"%d" % number for number in INTEGERS]


def _pairs(words: List[bytes]) -> List[Arg]:
    """Each as a name and as a value."""
    return [part for index, word in enumerate(words) for part in (word, words[-1 - index])]


def _stream_of(words: List[bytes]) -> Kind:
    def make(rng: random.Random, key: bytes) -> List[Command]:
        made: List[Command] = [("XADD", key, f"{index + 1}-1", "f", word) for index, word in enumerate(words)]
        made += [("XADD", key, f"{index + 100_000}-1", word, "v", b"more", word) for index, word in enumerate(words[:60])]
        return made
    return make


def _numbers(low: int, high: int) -> Kind:
    return lambda rng, key: [("SADD", key, *(rng.randint(low, high) for _ in range(50)), low, high)]


def _group(key: bytes, name: bytes, read: int) -> List[Command]:
    return [("XGROUP", "CREATE", key, name, 0),
            ("XREADGROUP", "GROUP", name, b"reader", "COUNT", read, "STREAMS", key, ">"),
            ("XREADGROUP", "GROUP", name, b"has nothing", "COUNT", 1, "STREAMS", key, "0")]


def _entries(key: bytes, count: int) -> List[Command]:
    return [("XADD", key, f"{index}-{9 - index % 9}", "f", f"v{index}") for index in range(1, count + 1)]


def _stream_groups(rng: random.Random, key: bytes) -> List[Command]:
    """Claimed entries with times and counts of their own, a group that was set back, one that has read everything."""
    return [*_entries(key, 300), *_group(key, b"readers", 200), *_group(key, b"", 3), *_group(key, b"\xff\x00\r\n", 300),
            ("XCLAIM", key, "readers", "other", 0, "10-8", "11-7", "TIME", 1_600_000_000_000, "RETRYCOUNT", 7, "JUSTID"),
            ("XCLAIM", key, "readers", b"\xfe", 0, "12-6", "TIME", 1_600_000_000_001, "RETRYCOUNT", 1 << 40, "JUSTID"),
            ("XACK", key, "readers", "20-7", "21-6"), ("XGROUP", "SETID", key, b"", "100-8")]


def _stream_deleted(rng: random.Random, key: bytes) -> List[Command]:
    """Pending entries that are gone: at the front, between, and the last of the stream."""
    gone = [f"{index}-{9 - index % 9}" for index in (1, 2, 3, 50, 51, 119, 120)]
    return [*_entries(key, 120), *_group(key, b"readers", 120), ("XDEL", key, *gone)]


def _stream_trimmed(rng: random.Random, key: bytes) -> List[Command]:
    return [*_entries(key, 150), *_group(key, b"readers", 100), ("XTRIM", key, "MAXLEN", 60)]


def _stream_emptied(rng: random.Random, key: bytes) -> List[Command]:
    return [*_entries(key, 30), *_group(key, b"readers", 20), ("XTRIM", key, "MAXLEN", 0)]


def _stream_last(rng: random.Random, key: bytes) -> List[Command]:
    """The greatest ids there are, and one that was set."""
    most = (1 << 64) - 1
    return [("XADD", key, f"{most - 1}-5", "f", "v"), ("XADD", key, f"{most}-{most}", "f", "v"), *_group(key, b"g", 2)]


def _stream_set(rng: random.Random, key: bytes) -> List[Command]:
    return [*_entries(key, 3), *_group(key, b"g", 1), ("XSETID", key, "1000-0")]


def _text_list(rng: random.Random, key: bytes) -> List[Command]:
    return [("RPUSH", key, *(b"words that compress, %d of them, " % (index % 7) * 4 for index in range(900)))]


# Under every profile, beside data.KINDS.
BOUNDARIES: Dict[str, Kind] = {
    "list of lengths": lambda rng, key: [("RPUSH", key, *_mixture())],
    "list of integers": lambda rng, key: [("RPUSH", key, *INTEGERS)],
    "list of text": _text_list,
    "set of lengths": lambda rng, key: [("SADD", key, *_mixture())],
    "set of mixed": lambda rng, key: [("SADD", key, *INTEGERS, "word", "", "00", "+1")],
    "intset of 16 bits": _numbers(-(1 << 15), (1 << 15) - 1), "intset of 32 bits": _numbers(-(1 << 31), (1 << 31) - 1),
    "intset of 64 bits": _numbers(-(1 << 63), (1 << 63) - 1),
    "hash of lengths": lambda rng, key: [("HSET", key, *_pairs(_mixture()))],
    "hash of integers": lambda rng, key: [("HSET", key, *_pairs([b"%d" % each for each in INTEGERS]))],
    "zset of lengths": lambda rng, key: [("ZADD", key, *(
        part for index, word in enumerate(_mixture()) for part in (SCORES[index % len(SCORES)], word)))],
    "zset of scores": lambda rng, key: [("ZADD", key, *(part for score in SCORES for part in (score, f"m{score}")))],
    "stream of lengths": _stream_of([_filled(length) for length in LENGTHS]),
    "stream of integers": _stream_of([b"%d" % number for number in INTEGERS]),
    "stream with groups": _stream_groups, "stream with deleted pending": _stream_deleted,
    "stream trimmed": _stream_trimmed, "stream emptied": _stream_emptied, "stream of last ids": _stream_last,
    "stream with set id": _stream_set,
}


def _large_pair(command: str, *before: Arg) -> Kind:
    return lambda rng, key: [(command, key, *before, b"a", rng.randbytes(LARGE)), (command, key, *before, b"b", b"x" * LARGE)]


# Once: more than a mebibyte in one element, which no other way than in pieces can take to a foreign server.
ONCE: Dict[str, Kind] = {
    "string of a mebibyte": lambda rng, key: [("SET", key, rng.randbytes(LARGE))],
    "string of text": lambda rng, key: [("SET", key, b"compresses " * 130_000)],
    "list of mebibytes": _large_pair("RPUSH"), "hash of mebibytes": _large_pair("HSET"),
    "set of mebibytes": _large_pair("SADD"),
    "zset of mebibytes": lambda rng, key: [("ZADD", key, 1, rng.randbytes(LARGE), 2, b"b")],
    "stream of mebibytes": lambda rng, key: [("XADD", key, "1-1", "f", rng.randbytes(LARGE)),
                                             ("XADD", key, "1-2", "f", b"x" * LARGE), *_group(key, b"g", 1)],
}

_FIELDS_KEPT = ("HPERSIST", "FIELDS", 2, "goes", "also")
_EXPIRING: Dict[str, Kind] = {name: kind for name, (_, _, kind) in data.NEWER_KINDS.items() if "field expiry" in name}


def _expiry_taken_back(rng: random.Random, key: bytes) -> List[Command]:
    return [*_EXPIRING["hash with field expiry"](rng, key), (_FIELDS_KEPT[0], key, *_FIELDS_KEPT[1:])]


def _vectors(*options: Arg) -> Kind:
    return lambda rng, key: [("VADD", key, "VALUES", 3, rng.random(), rng.random(), rng.random(), f"v{index}", *options)
                             for index in range(20)]


def has_field_expiry(binary: Binary) -> bool:
    return binary.version >= ((9, 0, 0) if binary.flavour == "valkey" else (7, 4, 0))


def has_vector_sets(binary: Binary) -> bool:
    return binary.flavour == "redis" and binary.version >= (8, 0, 0)


def lacking(binary: Binary) -> Tuple[bytes, ...]:
    """Marks of the keys that this server cannot have."""
    return ((() if has_field_expiry(binary) else (FIELD_EXPIRY,))
            + (() if has_vector_sets(binary) else (VECTOR_SET,)))


def _newer(binary: Binary) -> Iterator[Tuple[str, Kind]]:
    if has_field_expiry(binary):
        yield from ((f"{name} {FIELD_EXPIRY.decode()}", kind) for name, kind in _EXPIRING.items())
        yield "hash whose expiry was taken back", _expiry_taken_back
    if has_vector_sets(binary):
        for name, options in (("plain", ()), ("binary", ("BIN",)), ("exact", ("NOQUANT",)), ("with attributes", ("SETATTR", '{"a": 1}'))):
            yield f"{name} {VECTOR_SET.decode()}", _vectors(*options)


def _numbered(binary: Binary) -> Iterator[Tuple[str, Kind]]:
    texts = [*map(str, INTEGERS), "007", "-0", "1.0", " 1", "+1", "1e3"]
    for text in texts:
        yield f"string {text}", lambda rng, key, text=text: [("SET", key, text)]  # type: ignore[misc]


def _plain_nodes(binary: Binary) -> Iterator[Tuple[str, Kind]]:
    yield "list of plain nodes", lambda rng, key: [("RPUSH", key, *_mixture(), *(rng.randbytes(9000) for _ in range(5)), "1")]


def _items(prefix: str, kinds: Iterator[Tuple[str, Kind]], seed: int) -> Iterator[Item]:
    rng = random.Random(seed)
    for index, (name, kind) in enumerate(kinds):
        key = f"{prefix}{name}".encode()
        commands = kind(rng, key)
        if index % 2:
            commands = [*commands, ("PEXPIREAT", key, data.in_future(rng))]
        yield Item(key, commands)


def _configure(server: Server, profile: str) -> Dict[str, str]:
    """Sets the thresholds that this server has; returns the former ones."""
    before: Dict[str, str] = {}
    with server.wire() as wire:
        for name, values in _THRESHOLDS.items():
            told = wire.call("CONFIG", "GET", name)
            if told and profile != "default":
                before[name] = told[1].decode()  # type: ignore[index]
                wire.call("CONFIG", "SET", name, values[PROFILES.index(profile) - 1])
    return before


def _set(server: Server, settings: Dict[str, str]) -> None:
    with server.wire() as wire:
        for name, value in settings.items():
            wire.call("CONFIG", "SET", name, value)


def _packed_threshold(server: Server, size: Arg) -> None:
    """From how many bytes on an element gets a node of its own, not packed; from 7.0 on."""
    with server.wire() as wire:
        try:
            wire.call("DEBUG", "QUICKLIST-PACKED-THRESHOLD", size)
        except WireError:
            assert server.binary.version < (7, 0, 0)


def load(server: Server, once: bool = True) -> int:
    """Everything that this server can have; how many keys. Without `once` nothing of a mebibyte."""
    binary, keys = server.binary, 0
    for number, profile in enumerate(PROFILES):
        before = _configure(server, profile)
        kinds = {**data.KINDS, **BOUNDARIES, **dict(_newer(binary))}
        try:
            keys += data.load(server, _items(f"{profile} ", iter(kinds.items()), 611 + number))
        finally:
            _set(server, before)
    _packed_threshold(server, "1000B")
    keys += data.load(server, _items("", _plain_nodes(binary), 614))
    _packed_threshold(server, 0)
    keys += data.load(server, _items("", _numbered(binary), 615))
    return keys + (data.load(server, _items("", iter(ONCE.items()), 616)) if once else 0)
