"""Large values: made by the server itself, named by their slots' temporary keys, watched while they are copied."""
from __future__ import annotations

import threading
from typing import Any, Callable, Dict, List, Tuple

from .servers import Server
from .wire import slot_of

TEMPORARY = b"longhaul:tmp:"
LENGTHS = {"string": "STRLEN", "list": "LLEN", "set": "SCARD", "hash": "HLEN", "zset": "ZCARD", "stream": "XLEN"}

_FILL = """
local kind, key, from, to = ARGV[1], KEYS[1], tonumber(ARGV[2]), tonumber(ARGV[3])
for i = from, to do
    if kind == 'list' then redis.call('RPUSH', key, 'element:' .. i)
    elseif kind == 'set' then redis.call('SADD', key, 'member:' .. i)
    elseif kind == 'hash' then redis.call('HSET', key, 'field:' .. i, 'value:' .. i)
    elseif kind == 'zset' then redis.call('ZADD', key, i / 7, 'member:' .. i)
    elseif kind == 'stream' then redis.call('XADD', key, i .. '-1', 'field', 'value:' .. i)
    else redis.call('APPEND', key, string.rep(string.format('%09d,', i), 100)) end
end
"""


def fill(server: Server, kind: str, key: bytes, elements: int, step: int = 20_000) -> None:
    """Elements 1 .. elements; of a string, a thousand bytes each."""
    with server.wire() as wire:
        wire.batch([("EVAL", _FILL, 1, key, kind, first, min(first + step - 1, elements))
                    for first in range(1, elements + 1, step)], 4)


def add_groups(server: Server, key: bytes, pending: int) -> None:
    """Two groups; one has two consumers and entries that they have not acknowledged, of different ages and counts."""
    with server.wire() as wire:
        wire.call("XGROUP", "CREATE", key, "readers", "0")
        wire.call("XGROUP", "CREATE", key, b"\xffidle", "5-1")
        wire.call("XREADGROUP", "GROUP", "readers", "first", "COUNT", pending, "STREAMS", key, ">")
        wire.call("XREADGROUP", "GROUP", "readers", "second", "COUNT", 3, "STREAMS", key, ">")
        wire.call("XREADGROUP", "GROUP", "readers", "second", "COUNT", 3, "STREAMS", key, "0")
        wire.call("XREADGROUP", "GROUP", "readers", "idler", "COUNT", 1, "STREAMS", key, "0")


def _pairs(flat: List[Any]) -> Dict[bytes, Any]:
    return dict(zip(flat[::2], flat[1::2]))


def stream_facts(server: Server, key: bytes) -> Dict[str, Any]:
    """The answer of XINFO for a stream, without the trees and without when its consumers were last seen: no command sets that."""
    said = _pairs(server.command("XINFO", "STREAM", key, "FULL", "COUNT", 0))  # type: ignore[arg-type]
    facts: Dict[str, Any] = {name.decode(): value for name, value in said.items()
                             if name not in (b"groups", b"entries", b"radix-tree-keys", b"radix-tree-nodes")}
    facts["groups"] = [_group(_pairs(group)) for group in said[b"groups"]]
    return facts


def _group(group: Dict[bytes, Any]) -> Dict[str, Any]:
    pending = [(row[0], row[1], row[3]) for row in group[b"pending"]]
    consumers = [(c[b"name"], [row[0] for row in c[b"pending"]]) for c in map(_pairs, group[b"consumers"])]
    return {"name": group[b"name"], "last": group[b"last-delivered-id"], "read": group.get(b"entries-read"),
            "pending": pending, "consumers": sorted(consumers), "times": [row[2] for row in group[b"pending"]]}


def assert_same_stream(source: Server, target: Server, key: bytes) -> None:
    """Delivery times are told as ages, so they are right within the moment between two commands."""
    a, b = stream_facts(source, key), stream_facts(target, key)
    for one, other in zip(a["groups"], b["groups"]):
        assert all(abs(x - y) <= 50 for x, y in zip(one.pop("times"), other.pop("times")))
    assert a == b


def temporary_keys(server: Server) -> List[bytes]:
    return [key for key in server.admin().scan_iter(match=TEMPORARY + b"*", count=1000)]


def temporary_name(key: bytes) -> bytes:
    """The temporary key in the slot of this key: the smallest number that lies there."""
    slot, number = slot_of(key), 0
    while slot_of(b"%d" % number) != slot:
        number += 1
    return TEMPORARY + b"{%d}" % number


class Background:
    """Calls something again and again in a thread until the end of the block; an exception there fails the test."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._stop = threading.Event()
        self._problem: List[BaseException] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.rounds = 0

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._work()
                self.rounds += 1
        except BaseException as problem:  # pylint: disable=broad-except
            self._problem.append(problem)

    def __enter__(self) -> "Background":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)
        if self._problem:
            raise self._problem[0]


def seen_commands_over(server: Server, microseconds: int) -> List[Tuple[int, bytes]]:
    """From the slow log: commands of longhaul that took longer."""
    entries = server.command("SLOWLOG", "GET", 1000)
    return [(entry[2], b" ".join(entry[3][:4])[:120]) for entry in entries  # type: ignore[union-attr]
            if entry[2] > microseconds and entry[5] == b"longhaul"]


def worst_by_command(server: Server) -> Dict[str, float]:
    """The 99.9th percentile of each command's duration in microseconds since CONFIG RESETSTAT, as the server counts it."""
    prefix = "latency_percentiles_usec_"
    return {name[len(prefix):]: values["p99.9"] for name, values in server.admin().info("latencystats").items()
            if name.startswith(prefix)}
