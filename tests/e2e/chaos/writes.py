"""Random commands of every family that changes a key. All keys of one draw lie in one slot, so that commands of several
keys are possible in a cluster too.

A key's name says its kind ({t7}:zset:2), so that most commands meet the type that they are for. IDs of stream entries
are drawn here, so that XACK and XCLAIM can name entries that exist.
"""
from __future__ import annotations

import random
import time
from typing import Callable, Dict, List, Tuple

from harness.wire import Arg

TAGS = 40
PER_KIND = 2
Command = Tuple[Arg, ...]
Draw = Callable[["Writes", bytes], List[Command]]


def tag_of(number: int) -> bytes:
    return b"{t%d}" % number


class Writes:
    """An endless stream of groups of commands. `apart` keeps the stream entries of several writers apart."""

    def __init__(self, rng: random.Random, apart: int, databases: Tuple[int, ...], cached_counts: bool, groups: bool,
                 field_expiry: bool) -> None:
        self.rng = rng
        self.databases = databases
        self.entry = apart
        families: Dict[str, List[Draw]] = dict(FAMILIES)
        if cached_counts:
            families["hyperloglog"] = [*HYPERLOGLOG, lambda w, t: [("PFCOUNT", w.key(t, b"hll"))]]
        if field_expiry:
            families["field expiry"] = FIELD_EXPIRY
        if len(databases) > 1:
            families["databases"] = DATABASES
        if not groups:
            families.pop("groups")
        self.families = list(families.values())

    def draw(self) -> List[Command]:
        """One command, or a few that belong together: a transaction, or two in a row."""
        tag = tag_of(self.rng.randrange(TAGS))
        if self.rng.random() < 0.1:
            inner = [command for _ in range(self.rng.randint(2, 5)) for command in self._one(tag)]
            return [("MULTI",), *inner, ("EXEC",)]
        return self._one(tag)

    def _one(self, tag: bytes) -> List[Command]:
        return self.rng.choice(self.rng.choice(self.families))(self, tag)

    # The families draw from these

    def key(self, tag: bytes, kind: bytes) -> bytes:
        return b"%b:%b:%d" % (tag, kind, self.rng.randrange(PER_KIND))

    def any(self, tag: bytes) -> bytes:
        return self.key(tag, self.rng.choice(KEY_KINDS))

    def value(self) -> bytes:
        return self.rng.randbytes(self.rng.choice([1, 8, 60, 200]))

    def member(self) -> bytes:
        return b"m%d" % self.rng.randrange(200)

    def members(self) -> List[bytes]:
        """Sometimes so many that the key changes its encoding."""
        return [self.member() for _ in range(self.rng.choice([1, 1, 2, 5, 180]))]

    def soon(self) -> int:
        return self.rng.choice([1, 50, 300, 1500, 600_000])

    def new_entry(self) -> bytes:
        self.entry += 1000
        return b"%d-%d" % (self.entry, 1)

    def recent_entry(self) -> bytes:
        return b"%d-%d" % (max(1, self.entry - 1000 * self.rng.randrange(60)), 1)

    def at(self) -> int:
        return int(time.time() * 1000) + self.soon()


KEY_KINDS = (b"str", b"num", b"list", b"set", b"zset", b"hash", b"stream", b"hll", b"geo", b"bits")


def _pairs(w: Writes) -> List[Arg]:
    return [part for member in w.members() for part in (member, w.value())]


def _scored(w: Writes) -> List[Arg]:
    return [part for member in w.members() for part in (w.rng.randint(-1000, 1000), member)]


def _same_kind(w: Writes, t: bytes) -> Tuple[bytes, bytes]:
    kind = w.rng.choice(KEY_KINDS)
    return w.key(t, kind), w.key(t, kind)


STRING: List[Draw] = [
    lambda w, t: [("SET", w.key(t, b"str"), w.value())],
    lambda w, t: [("SET", w.key(t, b"str"), w.value(), "PX", w.soon())],
    lambda w, t: [("SET", w.key(t, b"str"), w.value(), "KEEPTTL")],
    lambda w, t: [("SET", w.key(t, b"str"), w.rng.randbytes(9000))],
    lambda w, t: [("MSET", w.key(t, b"str"), w.value(), w.key(t, b"num"), 17)],
    lambda w, t: [("MSETNX", w.key(t, b"str"), w.value(), w.key(t, b"num"), 18)],
    lambda w, t: [("APPEND", w.key(t, b"str"), w.value())],
    lambda w, t: [("SETRANGE", w.key(t, b"str"), w.rng.randrange(300), w.value())],
    lambda w, t: [("INCRBY", w.key(t, b"num"), w.rng.randint(-9, 9))],
    lambda w, t: [("INCRBYFLOAT", w.key(t, b"num"), "0.5")],
    lambda w, t: [("GETDEL", w.key(t, b"str"))],
    lambda w, t: [("GETEX", w.key(t, b"str"), "PX", w.soon())],
    lambda w, t: [("GETSET", w.key(t, b"str"), w.value())],
]
BITS: List[Draw] = [
    lambda w, t: [("SETBIT", w.key(t, b"bits"), w.rng.randrange(4000), w.rng.randrange(2))],
    lambda w, t: [("BITFIELD", w.key(t, b"bits"), "SET", "u8", w.rng.randrange(4000), w.rng.randrange(256))],
    lambda w, t: [("BITFIELD", w.key(t, b"bits"), "INCRBY", "i5", w.rng.randrange(100), 1)],
    lambda w, t: [("BITOP", w.rng.choice(["AND", "OR", "XOR"]), w.key(t, b"bits"), w.key(t, b"bits"), w.key(t, b"str"))],
]
ANY_KEY: List[Draw] = [
    lambda w, t: [(w.rng.choice(["DEL", "UNLINK"]), w.any(t))],
    lambda w, t: [("DEL", w.any(t), w.any(t), w.any(t))],
    lambda w, t: [("PEXPIRE", w.any(t), w.soon())],
    lambda w, t: [("PEXPIREAT", w.any(t), w.at())],
    lambda w, t: [("PEXPIREAT", w.any(t), 1000)],
    lambda w, t: [("EXPIRE", w.any(t), w.rng.choice([1, 900]))],
    lambda w, t: [("PERSIST", w.any(t))],
    lambda w, t: [("RENAME", *_same_kind(w, t))],
    lambda w, t: [("RENAMENX", *_same_kind(w, t))],
    lambda w, t: [("COPY", *_same_kind(w, t), "REPLACE")],
    lambda w, t: [("TOUCH", w.any(t))],
    lambda w, t: [("SET", w.key(t, b"str"), "1", "PX", 1), ("GET", w.key(t, b"str"))],
]
DATABASES: List[Draw] = [
    lambda w, t: [("MOVE", w.any(t), w.rng.choice(w.databases))],
    lambda w, t: [("COPY", *_same_kind(w, t), "DB", w.rng.choice(w.databases), "REPLACE")],
]
LIST: List[Draw] = [
    lambda w, t: [("RPUSH", w.key(t, b"list"), *w.members())],
    lambda w, t: [("LPUSH", w.key(t, b"list"), *w.members())],
    lambda w, t: [("RPUSH", w.key(t, b"wait"), w.value())],
    lambda w, t: [(w.rng.choice(["LPOP", "RPOP"]), w.key(t, b"list"), w.rng.choice([1, 3]))],
    lambda w, t: [("LSET", w.key(t, b"list"), 0, w.value())],
    lambda w, t: [("LINSERT", w.key(t, b"list"), "BEFORE", w.member(), w.value())],
    lambda w, t: [("LREM", w.key(t, b"list"), 1, w.member())],
    lambda w, t: [("LTRIM", w.key(t, b"list"), 0, w.rng.choice([0, 20, 400]))],
    lambda w, t: [("LMOVE", w.key(t, b"list"), w.key(t, b"list"), "LEFT", "RIGHT")],
    lambda w, t: [("LMPOP", 2, w.key(t, b"list"), w.key(t, b"list"), "LEFT", "COUNT", 2)],
]
SET: List[Draw] = [
    lambda w, t: [("SADD", w.key(t, b"set"), *w.members())],
    lambda w, t: [("SADD", w.key(t, b"set"), *(w.rng.randrange(500) for _ in range(4)))],
    lambda w, t: [("SREM", w.key(t, b"set"), *w.members())],
    lambda w, t: [("SPOP", w.key(t, b"set"), w.rng.choice([1, 3]))],
    lambda w, t: [("SMOVE", w.key(t, b"set"), w.key(t, b"set"), w.member())],
    lambda w, t: [(w.rng.choice(["SINTERSTORE", "SUNIONSTORE", "SDIFFSTORE"]), w.key(t, b"set"), w.key(t, b"set"),
                   w.key(t, b"set"))],
]
ZSET: List[Draw] = [
    lambda w, t: [("ZADD", w.key(t, b"zset"), *_scored(w))],
    lambda w, t: [("ZADD", w.key(t, b"zwait"), 1, w.member())],
    lambda w, t: [("ZINCRBY", w.key(t, b"zset"), "1.25", w.member())],
    lambda w, t: [("ZREM", w.key(t, b"zset"), *w.members())],
    lambda w, t: [(w.rng.choice(["ZPOPMIN", "ZPOPMAX"]), w.key(t, b"zset"))],
    lambda w, t: [("ZREMRANGEBYRANK", w.key(t, b"zset"), 0, 3)],
    lambda w, t: [(w.rng.choice(["ZUNIONSTORE", "ZINTERSTORE", "ZDIFFSTORE"]), w.key(t, b"zset"), 2, w.key(t, b"zset"),
                   w.key(t, b"zset"))],
    lambda w, t: [("ZRANGESTORE", w.key(t, b"zset"), w.key(t, b"zset"), 0, w.rng.choice([5, 100]))],
    lambda w, t: [("SORT", w.key(t, b"set"), "ALPHA", "STORE", w.key(t, b"list"))],
    lambda w, t: [("GEOADD", w.key(t, b"geo"), w.rng.uniform(-90, 90), w.rng.uniform(-80, 80), w.member())],
    lambda w, t: [("GEOSEARCHSTORE", w.key(t, b"geo"), w.key(t, b"geo"), "FROMLONLAT", 0, 0, "BYRADIUS", 9000, "km")],
]
HASH: List[Draw] = [
    lambda w, t: [("HSET", w.key(t, b"hash"), *_pairs(w))],
    lambda w, t: [("HSETNX", w.key(t, b"hash"), w.member(), w.value())],
    lambda w, t: [("HDEL", w.key(t, b"hash"), *w.members())],
    lambda w, t: [("HINCRBY", w.key(t, b"hash"), "count", 2)],
    lambda w, t: [("HINCRBYFLOAT", w.key(t, b"hash"), "float", "0.25")],
]
FIELD_EXPIRY: List[Draw] = [
    lambda w, t: [("HPEXPIRE", w.key(t, b"hash"), w.soon(), "FIELDS", 1, w.member())],
    lambda w, t: [("HPERSIST", w.key(t, b"hash"), "FIELDS", 1, w.member())],
]
HYPERLOGLOG: List[Draw] = [
    lambda w, t: [("PFADD", w.key(t, b"hll"), *w.members())],
    lambda w, t: [("PFMERGE", w.key(t, b"hll"), w.key(t, b"hll"))],
]
STREAM: List[Draw] = [
    lambda w, t: [("XADD", w.key(t, b"stream"), w.new_entry(), "f", w.value())],
    lambda w, t: [("XADD", w.key(t, b"stream"), "MAXLEN", 30, w.new_entry(), "f", w.value(), "g", "2")],
    lambda w, t: [("XDEL", w.key(t, b"stream"), w.recent_entry(), w.recent_entry())],
    lambda w, t: [("XTRIM", w.key(t, b"stream"), "MAXLEN", 20)],
    lambda w, t: [("XSETID", w.key(t, b"stream"), w.new_entry())],
]
def _grouped(w: Writes, t: bytes, act: Callable[[bytes, bytes], Command]) -> List[Command]:
    """On a group that may have to be made, and may have nothing to deliver."""
    key, group = w.key(t, b"stream"), w.rng.choice([b"one", b"two"])
    made: List[Command] = [("XGROUP", "CREATE", key, group, 0, "MKSTREAM"), ("XADD", key, w.new_entry(), "f", w.value())]
    return [*made[:w.rng.choice([0, 1, 2])], act(key, group)]


def _read(w: Writes, t: bytes, *extra: str) -> List[Command]:
    return _grouped(w, t, lambda key, group: ("XREADGROUP", "GROUP", group, _consumer(w), "COUNT", 3, *extra, "STREAMS",
                                              key, ">"))


GROUPS: List[Draw] = [
    lambda w, t: [("XGROUP", "CREATE", w.key(t, b"stream"), "rare", 0, "MKSTREAM")],
    lambda w, t: [("XGROUP", "DESTROY", w.key(t, b"stream"), "rare")],
    lambda w, t: _grouped(w, t, lambda key, group: ("XGROUP", "SETID", key, group, w.recent_entry())),
    lambda w, t: _grouped(w, t, lambda key, group: ("XGROUP", "CREATECONSUMER", key, group, _consumer(w))),
    lambda w, t: _grouped(w, t, lambda key, group: ("XGROUP", "DELCONSUMER", key, group, _consumer(w))),
    lambda w, t: _read(w, t),
    lambda w, t: _read(w, t),
    lambda w, t: _read(w, t, "NOACK"),
    lambda w, t: _grouped(w, t, lambda key, group: ("XACK", key, group, *_entries(w, 10))),
    lambda w, t: _grouped(w, t, lambda key, group: ("XCLAIM", key, group, _consumer(w), 0, *_entries(w, 5))),
    lambda w, t: _grouped(w, t, lambda key, group: ("XAUTOCLAIM", key, group, _consumer(w), 0, 0, "COUNT", 3)),
]


def _entries(w: Writes, count: int) -> List[bytes]:
    return [w.recent_entry() for _ in range(count)]


def _consumer(w: Writes) -> bytes:
    return w.rng.choice([b"ann", b"bob"])


_MANY = "for i, key in ipairs(KEYS) do redis.call('SET', key, ARGV[1] .. i) end return redis.call('DEL', KEYS[1])"
_ACK = ("for _, p in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 2)) do "
        "redis.call('XACK', KEYS[1], ARGV[1], p[1]) end")
_UNDO = "redis.call('SET', KEYS[1], ARGV[1]) redis.call('DEL', KEYS[1]) return redis.call('RPUSH', KEYS[2], ARGV[1])"
SCRIPT: List[Draw] = [
    lambda w, t: [("EVAL", _MANY, 3, w.key(t, b"str"), w.key(t, b"str"), w.key(t, b"bits"), w.member())],
    lambda w, t: _grouped(w, t, lambda key, group: ("EVAL", _ACK, 1, key, group)),
    lambda w, t: [("EVAL", _UNDO, 2, w.key(t, b"str"), w.key(t, b"list"), w.member())],
]
FAMILIES: Dict[str, List[Draw]] = {
    "string": STRING, "bits": BITS, "any key": ANY_KEY, "list": LIST, "set": SET, "zset": ZSET, "hash": HASH,
    "hyperloglog": HYPERLOGLOG, "stream": STREAM, "groups": GROUPS, "script": SCRIPT,
}
