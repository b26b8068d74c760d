"""All keys of a server with their values, by the read commands of each type: the view of a client of that server.

The other judge, oracle.py, asks for digests, which is faster and says less: digests of different versions need not agree,
and leave out consumer groups and the expiry of fields.
"""
from __future__ import annotations

from typing import Any, Callable, Dict, List, NamedTuple, Sequence

from . import encodings
from .servers import Server
from .wire import Arg, Wire

Ask = Callable[[bytes], Sequence[Arg]]


class Seen(NamedTuple):
    """expiry: absolute milliseconds, -1 for none."""
    kind: bytes
    expiry: int
    value: Any


_ASKS: Dict[bytes, Ask] = {
    b"string": lambda key: ("GET", key), b"list": lambda key: ("LRANGE", key, 0, -1),
    b"set": lambda key: ("SMEMBERS", key), b"hash": lambda key: ("HGETALL", key),
    b"zset": lambda key: ("ZRANGE", key, 0, -1, "WITHSCORES"), b"stream": lambda key: ("XRANGE", key, "-", "+"),
    b"vectorset": lambda key: ("VRANDMEMBER", key, 1 << 20),
}


def everything(server: Server) -> Dict[bytes, Seen]:
    """The whole of database 0."""
    with server.wire() as wire:
        keys: List[bytes] = wire.call("KEYS", "*")  # type: ignore[assignment]
        kinds: List[bytes] = wire.batch([("TYPE", key) for key in keys])  # type: ignore[assignment]
        ends = expiries(server, wire, keys)
        values = wire.batch([_ASKS[kind](key) for key, kind in zip(keys, kinds)], window=50)
        return {key: Seen(kind, expiry, _value(server, wire, key, kind, value))
                for key, kind, expiry, value in zip(keys, kinds, ends, values)}


def expiries(server: Server, wire: Wire, keys: List[bytes]) -> List[int]:
    if server.binary.has_pexpiretime:
        return wire.batch([("PEXPIRETIME", key) for key in keys])  # type: ignore[return-value]
    left = wire.batch([("PTTL", key) for key in keys])
    seconds, micros = map(int, wire.call("TIME"))  # type: ignore[call-overload]
    return [each + seconds * 1000 + micros // 1000 if each >= 0 else each for each in left]  # type: ignore[operator,misc]


def _value(server: Server, wire: Wire, key: bytes, kind: bytes, value: Any) -> Any:
    assert not isinstance(value, Exception), (key, value)
    if kind == b"set":
        return sorted(value)
    if kind == b"hash":
        return _hash(server, wire, key, dict(zip(value[::2], value[1::2])))
    if kind == b"zset":
        return [(member, float(score)) for member, score in zip(value[::2], value[1::2])]
    if kind == b"stream":
        return {"entries": value, **_stream(wire, key)}
    if kind == b"vectorset":
        return {member: (list(map(float, wire.call("VEMB", key, member))),  # type: ignore[call-overload]
                         wire.call("VGETATTR", key, member)) for member in value}
    return value


def _hash(server: Server, wire: Wire, key: bytes, fields: Dict[bytes, bytes]) -> Dict[str, Any]:
    if not encodings.has_field_expiry(server.binary):
        return {"fields": fields}
    expiry: List[int] = wire.call("HPEXPIRETIME", key, "FIELDS", len(fields), *fields)  # type: ignore[assignment]
    return {"fields": fields, "expiry": {field: when for field, when in zip(fields, expiry) if when >= 0}}


def _pairs(flat: List[Any]) -> Dict[str, Any]:
    return {name.decode(): value for name, value in zip(flat[::2], flat[1::2])}


_STREAM_FACTS = ("length", "last-generated-id", "max-deleted-entry-id", "entries-added", "recorded-first-entry-id")


def _stream(wire: Wire, key: bytes) -> Dict[str, Any]:
    """The facts that do not depend on the version: not the trees inside, the lag (computed differently), nor when consumers were last
    seen, which only RESTORE can set."""
    told = _pairs(wire.call("XINFO", "STREAM", key, "FULL", "COUNT", 0))  # type: ignore[arg-type]
    facts = {name: told[name] for name in _STREAM_FACTS if name in told}
    return {**facts, "groups": [_stream_group(_pairs(group)) for group in told["groups"]]}


def _stream_group(group: Dict[str, Any]) -> Dict[str, Any]:
    facts = {name: group[name] for name in ("name", "last-delivered-id", "entries-read", "pending") if name in group}
    consumers = [_pairs(consumer) for consumer in group["consumers"]]
    return {**facts, "consumers": {each["name"]: each["pending"] for each in consumers}}


def differences(here: Dict[bytes, Seen], there: Dict[bytes, Seen], tolerance_ms: int = 0,
                delivery_ms: int = 0) -> Dict[bytes, str]:
    """By key, in words. Facts that only one side's version can tell are passed over; moments may lie so far apart,
    those in streams by delivery_ms more."""
    found: Dict[bytes, str] = {}
    for key in {*here, *there}:
        if key not in here or key not in there:
            found[key] = "missing" if key in here else "extra"
            continue
        a, b = here[key], there[key]
        if a.kind != b.kind:
            found[key] = f"{a.kind!r} {b.kind!r}"
        elif (a.expiry < 0) != (b.expiry < 0) or abs(a.expiry - b.expiry) > tolerance_ms:
            found[key] = f"expires {a.expiry} {b.expiry}"
        elif a.value != b.value:
            allowed = tolerance_ms + (delivery_ms if a.kind == b"stream" else 0)
            what = first_difference(common(a.value, b.value), common(b.value, a.value), allowed)
            found.update({key: what} if what else {})
    return found


def common(one: Any, other: Any) -> Any:
    """The parts of `one` that the other has too, by the names in dictionaries of facts (their names are str; data are bytes)."""
    if isinstance(one, dict) and isinstance(other, dict) and all(isinstance(name, str) for name in one):
        return {name: common(one[name], other[name]) for name in one if name in other}
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [common(a, b) for a, b in zip(one, other)]
    return one


def first_difference(a: Any, b: Any, tolerance_ms: int = 0) -> str:
    """Its place and both values; empty when there is none."""
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return next((f"{name!r} {what}" for name in a if (what := first_difference(a[name], b[name], tolerance_ms))), "")
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return next((f"[{i}] {what}" for i, (x, y) in enumerate(zip(a, b))
                     if (what := first_difference(x, y, tolerance_ms))), "")
    if a == b or (_is_moment(a) and _is_moment(b) and abs(a - b) <= tolerance_ms):
        return ""
    return f"{str(a)[:200]} / {str(b)[:200]}"


def _is_moment(value: Any) -> bool:
    """In milliseconds, of this century."""
    return isinstance(value, int) and 10 ** 12 < value < 10 ** 13
