"""Differences to plant, one of each kind: the key that carries it, made on both sides, and the commands that make the
target's another one. All commands exist from Redis 6.0 on, save those of features that a plant names.

Each plant has a key of its own, so that any number of them can be planted at once, and there is an untouched key of each
kind. Values are made by commands and not by copying, so that both sides of any two versions hold the same.
"""
from __future__ import annotations

from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Sequence, Tuple

from . import data, encodings
from .servers import Binary
from .wire import slot_of

Command = Tuple[Any, ...]
HOURS_AWAY = 4102444800000
LARGE = 3000
KEY = object()  # stands for the plant's key

FIELD_EXPIRY, VECTOR_SETS = "field expiry", "vector sets"


def _elements(count: int) -> List[str]:
    return [f"element {i}" for i in range(count)]


def _fields(count: int) -> List[str]:
    return [word for i in range(count) for word in (f"field {i}", f"value {i}")]


def _stream(count: int) -> List[Command]:
    return [("XADD", KEY, f"{i + 1}-1", "field", f"value {i}") for i in range(count)]


def _of_size(count: int, size: str) -> Dict[str, List[Command]]:
    return {f"{size} list": [("RPUSH", KEY, *_elements(count))],
            f"{size} set": [("SADD", KEY, *_elements(count))],
            f"{size} set of numbers": [("SADD", KEY, *range(count))],
            f"{size} hash": [("HSET", KEY, *_fields(count))],
            f"{size} zset": [("ZADD", KEY, *[word for i in range(count) for word in (i + 0.1, f"element {i}")])]}


_EXPIRES: Command = ("HPEXPIREAT", KEY, HOURS_AWAY, "FIELDS", 1, "field 1")

BASES: Dict[str, List[Command]] = {
    "string": [("SET", KEY, "value"), ("PEXPIREAT", KEY, HOURS_AWAY)],
    "number": [("SET", KEY, 1234567)],
    "large string": [("SET", KEY, "x" * 300_000)],
    "empty string": [("SET", KEY, "")],
    "hyperloglog": [("PFADD", KEY, *_elements(100))],
    **_of_size(3, "small"), **_of_size(LARGE, "large"),
    "small stream": [*_stream(3), ("XGROUP", "CREATE", KEY, "readers", "0"),
                     *[("XREADGROUP", "GROUP", "readers", who, "COUNT", "1", "STREAMS", KEY, ">") for who in ("one", "two")]],
    "large stream": _stream(LARGE),
    "small expiring hash": [("HSET", KEY, *_fields(3)), _EXPIRES],
    "large expiring hash": [("HSET", KEY, *_fields(LARGE)), _EXPIRES],
    "vector set": [*[("VADD", KEY, "VALUES", 3, i, i % 7, 1, f"element {i}") for i in range(50)],
                   ("VSETATTR", KEY, "element 1", '{"year": 1}')],
}
NEEDS = {"small expiring hash": FIELD_EXPIRY, "large expiring hash": FIELD_EXPIRY, "vector set": VECTOR_SETS}


class Plant(NamedTuple):
    kind: str
    base: str  # of the source's key; empty: it has none
    change: List[Command]
    feature: str = ""

    @property
    def needs(self) -> str:
        return self.feature or NEEDS.get(self.base, "")


PLANTS: Dict[str, Plant] = {
    "key missing": Plant("missing", "string", [("DEL", KEY)]),
    "key extra": Plant("extra", "", [("SET", KEY, "1")]),
    "type": Plant("type", "string", [("DEL", KEY), ("RPUSH", KEY, "value"), ("PEXPIREAT", KEY, HOURS_AWAY)]),
    "expiry off by a second": Plant("ttl", "string", [("PEXPIREAT", KEY, HOURS_AWAY + 1000)]),
    "expiry gone": Plant("ttl", "string", [("PERSIST", KEY)]),
    "expiry new": Plant("ttl", "small hash", [("PEXPIREAT", KEY, HOURS_AWAY)]),
    "byte": Plant("value", "string", [("SETRANGE", KEY, 2, "L")]),
    "number": Plant("value", "number", [("INCR", KEY)]),
    "byte in a large string": Plant("value", "large string", [("SETRANGE", KEY, 290_000, "L")]),
    "length": Plant("value", "empty string", [("APPEND", KEY, "x")]),
    "order of a list": Plant("value", "small list", [("RPOPLPUSH", KEY, KEY)]),
    "element of a large list": Plant("value", "large list", [("LSET", KEY, 2500, "other")]),
    "member of a set": Plant("value", "small set", [("SREM", KEY, "element 1"), ("SADD", KEY, "other")]),
    "member of a large set": Plant("value", "large set", [("SREM", KEY, "element 7")]),
    "number in a set": Plant("value", "small set of numbers", [("SREM", KEY, 1), ("SADD", KEY, 7)]),
    "number in a large set": Plant("value", "large set of numbers", [("SREM", KEY, 1), ("SADD", KEY, 9999)]),
    "field": Plant("value", "small hash", [("HSET", KEY, "field 1", "other")]),
    "field of a large hash": Plant("value", "large hash", [("HDEL", KEY, "field 7"), ("HSET", KEY, "x", "y")]),
    "score": Plant("value", "small zset", [("ZINCRBY", KEY, "0.000001", "element 1")]),
    "score in a large zset": Plant("value", "large zset", [("ZADD", KEY, 99999, "element 7")]),
    "hyperloglog": Plant("value", "hyperloglog", [("PFADD", KEY, *[f"more {i}" for i in range(100)])]),
    "stream entry": Plant("value", "large stream", [("XDEL", KEY, "7-1")]),
    "last id": Plant("value", "large stream", [("XSETID", KEY, "99999-1")]),
    "group": Plant("value", "small stream", [("XGROUP", "CREATE", KEY, "more", "0")]),
    "position of a group": Plant("value", "small stream", [("XGROUP", "SETID", KEY, "readers", "1-1")]),
    "consumer": Plant("value", "small stream", [("XCLAIM", KEY, "readers", who, 0, "1-1", "JUSTID") for who in ("three", "one")]),
    "owner of a pending entry": Plant("value", "small stream", [("XCLAIM", KEY, "readers", "two", 0, "1-1", "JUSTID")]),
    "acknowledged entry": Plant("value", "small stream", [("XACK", KEY, "readers", "1-1")]),
    "expiry of a field": Plant("value", "small expiring hash",
                               [("HPEXPIREAT", KEY, HOURS_AWAY + 1000, "FIELDS", 1, "field 1")]),
    "expiry of a field gone": Plant("value", "small expiring hash", [("HPERSIST", KEY, "FIELDS", 1, "field 1")]),
    "expiry of a field new": Plant("value", "small hash", [_EXPIRES], FIELD_EXPIRY),
    "expiry of a field of a large hash": Plant("value", "large expiring hash",
                                               [("HPEXPIREAT", KEY, HOURS_AWAY + 1000, "FIELDS", 1, "field 1")]),
    "vector": Plant("value", "vector set", [("VADD", KEY, "VALUES", 3, 9, 9, 9, "element 7")]),
    "attribute of a vector": Plant("value", "vector set", [("VSETATTR", KEY, "element 1", '{"year": 2}')]),
}


def features(*binaries: Binary) -> List[str]:
    """The kinds that all of them have, of those that not every version has."""
    tests = {FIELD_EXPIRY: encodings.has_field_expiry, VECTOR_SETS: encodings.has_vector_sets}
    return [name for name, has in tests.items() if all(map(has, binaries))]


def possible(*binaries: Binary) -> List[str]:
    """The plants for servers of these versions; without any, those for all."""
    have = features(*binaries) if binaries else []
    return [name for name, each in PLANTS.items() if not each.needs or each.needs in have]


def _of(key: str, commands: Sequence[Command]) -> List[Command]:
    return [tuple(key if word is KEY else word for word in command) for command in commands]


def items(names: Iterable[str], have: Sequence[str]) -> Iterator[data.Item]:
    """The keys of these plants, unplanted, and one of each base."""
    for base, commands in BASES.items():
        if base not in NEEDS or NEEDS[base] in have:
            yield data.Item(b"untouched " + base.encode(), _of(f"untouched {base}", commands))
    for name in names:
        if PLANTS[name].base:
            yield data.Item(name.encode(), _of(name, BASES[PLANTS[name].base]))


def plant(target: Any, names: Iterable[str]) -> None:
    for name in names:
        owner = target.owner(slot_of(name.encode()))
        for command in _of(name, PLANTS[name].change):
            owner.command(*command)
