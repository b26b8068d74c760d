"""Whether two deployments hold the same data, by the words of their own servers, never by longhaul.

Per key: DEBUG DIGEST-VALUE (which does not depend on the encoding), TYPE and PEXPIRETIME, read in batches of a thousand
keys from both sides at once; for streams XINFO STREAM FULL too, since the digest leaves consumer groups out; for hashes
the expiry of fields where both servers have it; for vector sets the vectors. Keys are named by SCAN on every primary of
both sides, and DBSIZE has to agree with the count of SCAN. The keys that a live job keeps on its target for itself are no data.
"""
from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Protocol, Set, Tuple

from .servers import Server
from .wire import Wire, WireError, encode, slot_of

BATCH = 1000
NO_EXPIRY, GONE = -1, -2
OWN_KEYS = b"longhaul:{"
_EXPIRE_MARK = int.from_bytes(hashlib.sha1(b"!!expire!!").digest(), "big")


class Deployment(Protocol):
    """A server, a cluster, or servers under sentinels."""

    @property
    def is_cluster(self) -> bool: ...

    def primaries(self) -> List[Server]: ...

    def owner(self, slot: int) -> Server: ...


class Facts(NamedTuple):
    """The answers of a server about one key; expiry in absolute milliseconds, NO_EXPIRY or GONE."""
    kind: bytes
    digest: int
    expiry: int


@dataclass(frozen=True)
class Difference:
    """One finding: kind is missing, extra, type, ttl, value, group or field."""
    kind: str
    db: int
    key: bytes
    detail: str = ""


class _Reader:
    """One connection to one server, in one database."""

    def __init__(self, server: Server, db: int) -> None:
        self.server = server
        self.wire: Wire = server.wire()
        self.debug = server.name_of("debug")
        if db:
            self.wire.call("SELECT", db)

    def names(self) -> Iterable[bytes]:
        cursor = b"0"
        while True:
            cursor, keys = self.wire.call("SCAN", cursor, "COUNT", 1000)  # type: ignore[misc]
            yield from keys
            if cursor == b"0":
                return

    def ask(self, keys: List[bytes]) -> None:
        """Sends the questions of one batch; answers() reads the replies."""
        parts = [encode([self.debug, "DIGEST-VALUE", *keys])]
        head = b"$11\r\nPEXPIRETIME\r\n" if self.server.binary.has_pexpiretime else b"$4\r\nPTTL\r\n"
        quoted = [b"$%d\r\n%b\r\n" % (len(key), key) for key in keys]
        parts += [b"*2\r\n$4\r\nTYPE\r\n" + name for name in quoted]
        parts.append(encode(["TIME"]))
        parts += [b"*2\r\n" + head + name for name in quoted]
        self.wire.send(b"".join(parts))

    def answers(self, count: int) -> List[Facts]:
        lines = self.wire.read_lines(1 + count + count + 5 + count)
        if not lines[0].startswith(b"*"):
            raise WireError(lines[0].decode())
        digests, kinds = lines[1:1 + count], lines[1 + count:1 + 2 * count]
        clock = lines[1 + 2 * count:6 + 2 * count]  # TIME: *2, $n, seconds, $n, microseconds
        base = 0 if self.server.binary.has_pexpiretime else int(clock[2]) * 1000 + int(clock[4]) // 1000
        expiries = [int(line[1:-2]) for line in lines[6 + 2 * count:]]
        return [_facts(kind[1:-2], digest, expiry + base if expiry >= 0 else expiry)
                for kind, digest, expiry in zip(kinds, digests, expiries)]


def _facts(kind: bytes, digest_line: bytes, expiry: int) -> Facts:
    digest = int(digest_line[1:-2], 16)
    return Facts(kind, digest ^ _EXPIRE_MARK if expiry >= 0 else digest, expiry)


def _batches(keys: Iterable[bytes], owner_of: Callable[[bytes], Server]) -> Iterable[Tuple[Server, List[bytes]]]:
    """Keys in batches of one owner each."""
    waiting: Dict[Server, List[bytes]] = defaultdict(list)
    for key in keys:
        owner = owner_of(key)
        batch = waiting[owner]
        batch.append(key)
        if len(batch) >= BATCH:
            yield owner, batch
            waiting[owner] = []
    yield from ((owner, batch) for owner, batch in waiting.items() if batch)


def _owner_finder(side: Deployment) -> Callable[[bytes], Server]:
    if not side.is_cluster:
        only = side.primaries()[0]
        return lambda key: only
    owners = side.slots()  # type: ignore[attr-defined]
    return lambda key: owners[slot_of(key)]


class Comparison:
    """One run over both sides; see differences()."""

    def __init__(self, source: Deployment, target: Deployment, ttl: bool, ttl_tolerance_ms: int) -> None:
        self.source, self.target = source, target
        self.ttl, self.ttl_tolerance_ms = ttl, ttl_tolerance_ms
        self.found: List[Difference] = []
        self.keys = 0
        self.kinds: Dict[bytes, int] = defaultdict(int)
        self.doubtful: List[bytes] = []
        servers = (*source.primaries(), *target.primaries())
        self.versions_differ = len({(server.binary.flavour, server.binary.version) for server in servers}) > 1

    def run(self, db: int, target_db: int, only: Callable[[bytes], bool]) -> None:
        source_readers = {server: _Reader(server, db) for server in self.source.primaries()}
        target_readers = {server: _Reader(server, target_db) for server in self.target.primaries()}
        try:
            present = {name for name in self._names(target_readers) if not name.startswith(OWN_KEYS)}
            owner_of = _owner_finder(self.target)
            for reader in source_readers.values():
                names = {name for name in reader.names() if only(name)}
                self.keys += len(names)
                self.found += [Difference("missing", db, name) for name in names - present]
                for owner, batch in _batches(names & present, owner_of):
                    self._compare(db, reader, target_readers[owner], batch)
                present -= names
            self.found += [Difference("extra", db, name) for name in present]
        finally:
            for reader in (*source_readers.values(), *target_readers.values()):
                reader.wire.close()

    @staticmethod
    def _names(readers: Dict[Server, _Reader]) -> Set[bytes]:
        names: Set[bytes] = set()
        for server, reader in readers.items():
            own = set(reader.names())
            size = reader.wire.call("DBSIZE")
            assert size == len(own), f"port {server.port}: DBSIZE {size}, SCAN found {len(own)}"
            names |= own
        return names

    def _compare(self, db: int, source: _Reader, target: _Reader, batch: List[bytes]) -> None:
        source.ask(batch)
        target.ask(batch)
        here, there = source.answers(len(batch)), target.answers(len(batch))
        streams, hashes = [], []
        for key, a, b in zip(batch, here, there):
            self.kinds[a.kind] += 1
            if a != b and a.expiry != GONE:
                self._judge(db, key, a, b)
            if a.kind == b"stream":
                streams.append(key)
            elif a.kind == b"hash":
                hashes.append(key)
            elif a.kind == b"vectorset":
                self._compare_vectors(db, source, target, key)
        self._compare_scores(db, source, target)
        self._compare_streams(db, source, target, streams)
        if has_field_expiry(source.server) and has_field_expiry(target.server):
            self._compare_fields(db, source, target, hashes)

    def _judge(self, db: int, key: bytes, a: Facts, b: Facts) -> None:
        if a.kind != b.kind:
            self.found.append(Difference("type", db, key, f"{a.kind!r} {b.kind!r}"))
        elif a.digest != b.digest and a.kind == b"zset" and self.versions_differ:
            self.doubtful.append(key)
        elif a.digest != b.digest:
            self.found.append(Difference("value", db, key, f"{a.digest:040x} {b.digest:040x}"))
        both_expire = a.expiry >= 0 and b.expiry >= 0
        off = abs(a.expiry - b.expiry) if both_expire else int(a.expiry != b.expiry) << 40
        if self.ttl and off > self.ttl_tolerance_ms:
            self.found.append(Difference("ttl", db, key, f"{a.expiry} {b.expiry}"))
        if not self.ttl and b.expiry != NO_EXPIRY:
            self.found.append(Difference("ttl", db, key, f"has an expiry: {b.expiry}"))

    def _compare_scores(self, db: int, source: _Reader, target: _Reader) -> None:
        """Digests contain scores as text, which Redis 8 writes shorter: between versions the numbers decide."""
        asks = [["ZRANGE", key, 0, -1, "WITHSCORES"] for key in self.doubtful]
        answers = zip(self.doubtful, source.wire.batch(asks, 100), target.wire.batch(asks, 100))
        self.found += [Difference("value", db, key, "scores or members") for key, a, b in answers
                       if _scores(a) != _scores(b)]
        self.doubtful = []

    def _compare_streams(self, db: int, source: _Reader, target: _Reader, keys: List[bytes]) -> None:
        asks = [["XINFO", "STREAM", key, "FULL", "COUNT", 0] for key in keys]
        for key, a, b in zip(keys, source.wire.batch(asks, 100), target.wire.batch(asks, 100)):
            told_a, told_b = _told(a), _told(b)
            if told_a != told_b and _common(told_a, told_b) != _common(told_b, told_a):
                self.found.append(Difference("group", db, key, _unlike(told_a, told_b)))

    def _compare_vectors(self, db: int, source: _Reader, target: _Reader, key: bytes) -> None:
        """Their digest says nothing: the members and their vectors do."""
        told = []
        for reader in (source, target):
            members = sorted(reader.wire.call("VRANDMEMBER", key, 1 << 20))  # type: ignore[call-overload]
            vectors = reader.wire.batch([["VEMB", key, member] for member in members])
            told.append((members, [list(map(float, vector)) for vector in vectors]))  # type: ignore[call-overload]
        if told[0] != told[1]:
            self.found.append(Difference("value", db, key, f"{told[0]} {told[1]}"))

    def _compare_fields(self, db: int, source: _Reader, target: _Reader, keys: List[bytes]) -> None:
        names = source.wire.batch([["HKEYS", key] for key in keys], 100)
        asks = [["HPEXPIRETIME", key, "FIELDS", len(fields), *fields]  # type: ignore[arg-type,misc]
                for key, fields in zip(keys, names) if fields]
        answers = zip(asks, source.wire.batch(asks, 100), target.wire.batch(asks, 100))
        self.found += [Difference("field", db, ask[1], f"{a} {b}") for ask, a, b in answers if a != b]


def _scores(reply: object) -> Dict[bytes, float]:
    flat: List[bytes] = reply  # type: ignore[assignment]
    return {member: float(score) for member, score in zip(flat[::2], flat[1::2])}


def has_field_expiry(server: Server) -> bool:
    return server.binary.version >= ((9, 0, 0) if server.binary.flavour == "valkey" else (7, 4, 0))


_NOT_DATA = (b"radix-tree-keys", b"radix-tree-nodes")


def _told(reply: object) -> object:
    """XINFO's flat name-value lists as dictionaries, without those that are no data."""
    if isinstance(reply, list):
        if reply and len(reply) % 2 == 0 and all(isinstance(name, bytes) for name in reply[::2]) and \
                reply[0] in (b"length", b"name"):
            return {name: _told(value) for name, value in zip(reply[::2], reply[1::2]) if name not in _NOT_DATA}
        return [_told(each) for each in reply]
    return str(reply) if isinstance(reply, WireError) else reply


def _unlike(one: object, other: object) -> str:
    """Only the parts of two answers that differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
        return "{" + ", ".join(f"{name!r}: {_unlike(one.get(name), other.get(name))}" for name in names) + "}"
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return "[" + ", ".join(_unlike(a, b) for a, b in zip(one, other) if a != b) + "]"
    return f"{one} / {other}"


def _common(one: object, other: object) -> object:
    """The parts of `one` that a server of the other's version could say too."""
    if isinstance(one, dict) and isinstance(other, dict):
        return {name: _common(one[name], other[name]) for name in one if name in other}
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [_common(a, b) for a, b in zip(one, other)]
    return one


def differences(source: Deployment, target: Deployment, *, db: int = 0, target_db: Optional[int] = None,
                ttl: bool = True, ttl_tolerance_ms: Optional[int] = None,
                only: Callable[[bytes], bool] = lambda key: True) -> List[Difference]:
    """Everything that differs. `only` says which keys of the source are meant to be on the target; ttl=False means
    that nothing may expire on the target. Servers before 7.0 cannot say an absolute expiry: PTTL and TIME of one
    batch, within 100 ms."""
    return compare(source, target, db=db, target_db=target_db, ttl=ttl, ttl_tolerance_ms=ttl_tolerance_ms,
                   only=only).found


def compare(source: Deployment, target: Deployment, *, db: int = 0, target_db: Optional[int] = None, ttl: bool = True,
            ttl_tolerance_ms: Optional[int] = None, only: Callable[[bytes], bool] = lambda key: True) -> Comparison:
    if ttl_tolerance_ms is None:
        exact = all(server.binary.has_pexpiretime for server in (*source.primaries(), *target.primaries()))
        ttl_tolerance_ms = 0 if exact else 100
    comparison = Comparison(source, target, ttl, ttl_tolerance_ms)
    comparison.run(db, db if target_db is None else target_db, only)
    return comparison


def assert_equal(source: Deployment, target: Deployment, *, at_least: int = 1, **kwargs: object) -> Comparison:
    """Fails with the first findings; also when there were fewer keys than the test meant to have."""
    comparison = compare(source, target, **kwargs)  # type: ignore[arg-type]
    found = comparison.found
    assert not found, f"{len(found)} differences, first: " + "; ".join(map(str, found[:5]))[:2000]
    assert comparison.keys >= at_least, f"only {comparison.keys} keys on the source"
    return comparison


def count(side: Deployment, db: int = 0) -> int:
    """DBSIZE over all primaries."""
    return sum(int(server.command("DBSIZE", db=db)) for server in side.primaries())  # type: ignore[call-overload]
