"""Every way in which data change on a source, as a table, and which kind of capture is told of it.

Commands are written as one types them; `$` begins a key of the row's own, `@5 ` leads into database 5, a tuple has words
with spaces in it, and a change that takes more than one connection is a function. `polled` names the captures that are not
told, so that only polling finds it. All of this was measured on every version of the matrix.
"""
from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Callable, FrozenSet, Iterable, List, Sequence, Set, Tuple, Union

import redis

from . import oracle, wait
from .oracle import has_field_expiry
from .servers import Server

Step = Union[str, Tuple[object, ...], Callable[[Server, str], None]]
TRACKING, NOTIFICATIONS = "tracking", "notifications"
FAR = 4102444800000  # in 2100


@dataclass(frozen=True)
class Change:
    name: str
    before: Sequence[Step]
    act: Sequence[Step]
    polled: FrozenSet[str] = frozenset()
    since: Tuple[int, int, int] = (0, 0, 0)
    works: Callable[[Server], bool] = lambda server: True

    def on(self, server: Server) -> bool:
        """Whether this server has the commands. Valkey's versions begin where Redis 7.2 ended."""
        return server.binary.version >= self.since and self.works(server)

    def prepare(self, server: Server) -> None:
        _run(server, self.name, self.before)

    def do(self, server: Server) -> None:
        _run(server, self.name, self.act)


def _run(server: Server, row: str, steps: Iterable[Step]) -> None:
    for step in steps:
        if callable(step):
            step(server, row)
            continue
        words: List[object] = list(step.split()) if isinstance(step, str) else list(step)
        db = int(str(words.pop(0))[1:]) if str(words[0]).startswith("@") else 0
        server.command(str(words[0]), *(_own(word, row) for word in words[1:]), db=db)


def _own(word: object, row: str) -> object:
    return f"{row}:{word[1:]}" if isinstance(word, str) and len(word) > 1 and word[0] == "$" else word


# Changes of more than one command

def _transaction(server: Server, row: str) -> None:
    with server.admin().pipeline(transaction=True) as pipe:
        pipe.set(f"{row}:a", "1").rpush(f"{row}:b", "x", "y").delete(f"{row}:c")
        pipe.execute()


def _blocked(*words: str) -> Callable[[Server, str], None]:
    """A client that waits in a blocking command until a push serves it; the push is the next step."""
    def block(server: Server, row: str) -> None:
        def wait_for_it() -> None:
            with server.wire() as wire:
                wire.call(*(str(_own(word, row)) for word in words))
        threading.Thread(target=wait_for_it, daemon=True).start()
        wait.until(lambda: server.admin().info("clients")["blocked_clients"] > 0, "the client to block", 5)
    return block


def _restore(**options: object) -> Callable[[Server, str], None]:
    def do(server: Server, row: str) -> None:
        payload = server.command("DUMP", f"{row}:from")
        server.command("RESTORE", f"{row}:k", options.get("ttl", 0), payload, *options.get("words", ()))  # type: ignore
    return do


def _nothing_expires(off: bool) -> Callable[[Server, str], None]:
    return lambda server, row: server.command("DEBUG SET-ACTIVE-EXPIRE", 0 if off else 1) and None


def _read_when_expired(server: Server, row: str) -> None:
    wait.until(lambda: server.command("GET", f"{row}:k") is None, "the key to expire", 5)


def _fields(server: Server) -> bool:
    return has_field_expiry(server)


def _fields_set(server: Server) -> bool:
    return has_field_expiry(server) and (server.binary.flavour == "valkey" or server.binary.version >= (8, 0, 0))


def _vectors(server: Server) -> bool:
    try:
        return bool(server.command("COMMAND INFO", "VADD")[0])  # type: ignore[index]
    except redis.ResponseError:
        return False


BOTH = frozenset({TRACKING, NOTIFICATIONS})
NOT_TRACKED = frozenset({TRACKING})
NOT_NOTIFIED = frozenset({NOTIFICATIONS})

S, L, SET, H, Z = "SET $k value", "RPUSH $k a b c d", "SADD $k a b c", "HSET $k a 1 b 2", "ZADD $k 1 a 2 b 3 c"
X = "XADD $k 1-1 f v"
GROUP = [X, "XADD $k 2-1 f v", "XGROUP CREATE $k g 0", "XREADGROUP GROUP g c COUNT 1 STREAMS $k >"]
LIBRARY = "#!lua name=changes\nredis.register_function('changes', function() return 1 end)"

CHANGES: List[Change] = [
    # Strings
    Change("set", [], [S]),
    Change("set-other-value", [S], ["SET $k other"]),
    Change("set-other-type", [L], [S]),
    Change("set-expiring", [S], [f"SET $k value PXAT {FAR}"], since=(6, 2, 0)),
    Change("set-removes-expiry", [f"SET $k value EX 5000"], [S]),
    Change("mset", ["SET $a 1"], ["MSET $a 2 $b 2"]),
    Change("msetnx", [], ["MSETNX $a 2 $b 2"]),
    Change("append", [S], ["APPEND $k more"]),
    Change("incr", ["SET $k 5"], ["INCR $k"]),
    Change("incrbyfloat", ["SET $k 5"], ["INCRBYFLOAT $k 0.5"]),
    Change("setrange", [S], ["SETRANGE $k 1 xx"]),
    Change("setbit", [S], ["SETBIT $k 7 1"]),
    Change("bitfield", [S], ["BITFIELD $k SET u8 0 255"]),
    Change("bitop", [S], ["BITOP NOT $to $k"]),
    Change("getdel", [S], ["GETDEL $k"], since=(6, 2, 0)),
    Change("del", [S], ["DEL $k"]),
    Change("unlink", [L], ["UNLINK $k"]),
    # Expiry
    Change("expire", [S], [f"PEXPIREAT $k {FAR}"]),
    Change("persist", ["SET $k value EX 5000"], ["PERSIST $k"]),
    Change("getex", [S], [f"GETEX $k PXAT {FAR}"], since=(6, 2, 0)),
    Change("getex-persist", ["SET $k value EX 5000"], ["GETEX $k PERSIST"], since=(6, 2, 0)),
    Change("expire-in-the-past", [S], ["PEXPIREAT $k 1"]),
    Change("active-expiry", [S], ["PEXPIRE $k 80"]),
    Change("lazy-expiry", [S], [_nothing_expires(True), "PEXPIRE $k 30", _read_when_expired, _nothing_expires(False)]),
    # Names
    Change("rename", [S], ["RENAME $k $to"]),
    Change("rename-over", [S, "SET $to other"], ["RENAME $k $to"]),
    Change("renamenx", [S], ["RENAMENX $k $to"]),
    Change("copy", [S], ["COPY $k $to"], since=(6, 2, 0)),
    Change("copy-to-database", [S], ["COPY $k $to DB 2"], since=(6, 2, 0)),
    Change("move", [S], ["MOVE $k 1"]),
    Change("database-not-seen-before", [], ["@9 SET $k value"]),
    Change("same-name-in-two-databases", [S, "@2 SET $k other"], ["@2 DEL $k"]),
    Change("swapdb", ["@5 SET $k five", "@5 SET $only five"], ["SWAPDB 5 6"], BOTH),
    Change("flushdb", ["@7 SET $k value", "@7 RPUSH $l a"], ["@7 FLUSHDB"], NOT_NOTIFIED),
    # Dumps
    Change("restore", ["SET $from value"], [_restore()]),
    Change("restore-over", ["SET $from value", L], [_restore(words=("REPLACE",))]),
    Change("restore-expired", ["SET $from value", S], [_restore(ttl=1, words=("REPLACE", "ABSTTL"))]),
    # Lists
    Change("lpush", [L], ["LPUSH $k x"]),
    Change("rpush", [], [L]),
    Change("lpop", [L], ["LPOP $k"]),
    Change("rpop-last", ["RPUSH $k a"], ["RPOP $k"]),
    Change("lset", [L], ["LSET $k 1 x"]),
    Change("linsert", [L], ["LINSERT $k BEFORE b x"]),
    Change("lrem", [L], ["LREM $k 0 a"]),
    Change("ltrim", [L], ["LTRIM $k 0 1"]),
    Change("ltrim-to-nothing", [L], ["LTRIM $k 9 10"]),
    Change("rpoplpush", [L], ["RPOPLPUSH $k $to"]),
    Change("lmove", [L], ["LMOVE $k $to LEFT RIGHT"], since=(6, 2, 0)),
    Change("lmpop", [L], ["LMPOP 1 $k LEFT COUNT 2"], since=(7, 0, 0)),
    Change("sort-store", ["RPUSH $k 3 1 2"], ["SORT $k STORE $to"]),
    Change("sort-store-empties", ["RPUSH $to 3 1 2"], ["SORT $none STORE $to"]),
    Change("blpop-served", [], [_blocked("BLPOP", "$k", "5"), "RPUSH $k a b"]),
    Change("blmove-served", [], [_blocked("BRPOPLPUSH", "$k", "$to", "5"), "RPUSH $k a"]),
    # Sets
    Change("sadd", [SET], ["SADD $k x"]),
    Change("srem", [SET], ["SREM $k a"]),
    Change("spop", [SET], ["SPOP $k"]),
    Change("smove", [SET], ["SMOVE $k $to a"]),
    Change("sunionstore", [SET, "SADD $b x y"], ["SUNIONSTORE $to $k $b"]),
    Change("sinterstore-empties", [SET, "SADD $to x"], ["SINTERSTORE $to $k $none"]),
    Change("sdiffstore-over", [SET, "SET $to x"], ["SDIFFSTORE $to $k"]),
    # Hashes
    Change("hset", [H], ["HSET $k a 9"]),
    Change("hsetnx", [H], ["HSETNX $k new 9"]),
    Change("hdel", [H], ["HDEL $k a"]),
    Change("hdel-last", ["HSET $k a 1"], ["HDEL $k a"]),
    Change("hincrby", [H], ["HINCRBY $k a 5"]),
    Change("hincrbyfloat", [H], ["HINCRBYFLOAT $k a 0.5"]),
    Change("hexpire", [H], ["HEXPIRE $k 5000 FIELDS 1 a"], works=_fields),
    Change("hpersist", [H, "HEXPIRE $k 5000 FIELDS 1 a"], ["HPERSIST $k FIELDS 1 a"], works=_fields),
    Change("hpexpire-in-the-past", [H], ["HPEXPIREAT $k 1 FIELDS 1 a"], works=_fields),
    Change("field-expires", [H], ["HPEXPIRE $k 80 FIELDS 1 a"], works=_fields),
    Change("last-field-expires", ["HSET $k a 1"], ["HPEXPIRE $k 80 FIELDS 1 a"], works=_fields),
    Change("hsetex", [H], ["HSETEX $k EX 5000 FIELDS 1 a 9"], works=_fields_set),
    Change("hgetex", [H], ["HGETEX $k EX 5000 FIELDS 1 a"], works=_fields_set),
    # Sorted sets
    Change("zadd", [Z], ["ZADD $k 9 a"]),
    Change("zincrby", [Z], ["ZINCRBY $k 2 a"]),
    Change("zrem", [Z], ["ZREM $k a"]),
    Change("zpopmin", [Z], ["ZPOPMIN $k"]),
    Change("zremrangebyrank", [Z], ["ZREMRANGEBYRANK $k 0 1"]),
    Change("zunionstore", [Z], ["ZUNIONSTORE $to 1 $k WEIGHTS 3"]),
    Change("zinterstore-empties", [Z, "ZADD $to 1 x"], ["ZINTERSTORE $to 2 $k $none"]),
    Change("zrangestore", [Z], ["ZRANGESTORE $to $k 0 1"], since=(6, 2, 0)),
    Change("zmpop", [Z], ["ZMPOP 1 $k MIN COUNT 2"], since=(7, 0, 0)),
    Change("bzpopmin-served", [], [_blocked("BZPOPMIN", "$k", "5"), Z]),
    Change("geoadd", [], ["GEOADD $k 13.361389 38.115556 Palermo"]),
    Change("geosearchstore", ["GEOADD $k 13.361389 38.115556 Palermo"],
           ["GEORADIUS $k 15 37 200 km STORE $to"]),
    # Counting without members
    Change("pfadd", ["PFADD $k a"], ["PFADD $k b c d"]),
    Change("pfmerge", ["PFADD $k a", "PFADD $b b"], ["PFMERGE $to $k $b"]),
    # It changes nothing that PFCOUNT would show: notifications do not tell of it, and need not.
    Change("pfcount-writes-its-cache", ["PFADD $k a b"], ["PFCOUNT $k"], NOT_NOTIFIED),
    # Streams
    Change("xadd", [], [X]),
    Change("xadd-maxlen", [X, "XADD $k 2-1 f v"], ["XADD $k MAXLEN 1 3-1 f v"]),
    Change("xdel", [X], ["XDEL $k 1-1"]),
    Change("xtrim", [X, "XADD $k 2-1 f v"], ["XTRIM $k MAXLEN 1"]),
    Change("xgroup-create-mkstream", [], ["XGROUP CREATE $k g $ MKSTREAM"]),
    Change("xsetid", [X], ["XSETID $k 9-9"], NOT_TRACKED),
    Change("xgroup-create", [X], ["XGROUP CREATE $k g 0"], NOT_TRACKED),
    Change("xgroup-setid", GROUP, ["XGROUP SETID $k g 0"], NOT_TRACKED),
    Change("xgroup-createconsumer", GROUP, ["XGROUP CREATECONSUMER $k g new"], NOT_TRACKED, since=(6, 2, 0)),
    Change("xgroup-delconsumer", GROUP, ["XGROUP DELCONSUMER $k g c"], NOT_TRACKED),
    Change("xgroup-destroy", GROUP, ["XGROUP DESTROY $k g"], NOT_TRACKED),
    Change("xreadgroup-new-consumer", GROUP, ["XREADGROUP GROUP g new STREAMS $k >"], NOT_TRACKED, since=(7, 0, 0)),
    Change("xreadgroup", GROUP, ["XREADGROUP GROUP g c STREAMS $k >"], BOTH),
    Change("xreadgroup-noack", GROUP, ["XREADGROUP GROUP g c NOACK STREAMS $k >"], BOTH),
    Change("xack", GROUP, ["XACK $k g 1-1"], BOTH),
    Change("xclaim", GROUP, ["XREADGROUP GROUP g d COUNT 1 STREAMS $k >", "XCLAIM $k g d 0 1-1"], BOTH),
    Change("xautoclaim", GROUP, ["XAUTOCLAIM $k g c 0 0"], BOTH, since=(6, 2, 0)),
    # Many at once
    Change("transaction", ["SET $c gone"], [_transaction]),
    Change("script", [S, SET.replace("$k", "$s")],
           [("EVAL", "redis.call('del', KEYS[1]) redis.call('sadd', KEYS[2], 'z') redis.call('set', KEYS[3], 'x')", 3, "$k",
             "$s", "$n")]),
    # Changes of no key
    Change("function-load", [], [("FUNCTION LOAD", "REPLACE", LIBRARY)], BOTH, since=(7, 0, 0)),
    # Modules
    Change("vadd", [], ["VADD $k VALUES 2 1 2 element"], NOT_NOTIFIED, works=_vectors),
]


# Whether both sides are the same in everything that the table can change

def databases(server: Server) -> List[int]:
    return sorted(int(name[2:]) for name in server.admin().info("keyspace"))


def functions(server: Server) -> Set[str]:
    if server.binary.version < (7, 0, 0):
        return set()
    return {repr(library) for library in server.command("FUNCTION LIST", "WITHCODE")}  # type: ignore[attr-defined]


def what_differs(source: Server, target: Server, row: str = "") -> List[object]:
    """Everything, or the keys of one row."""
    found: List[object] = []
    for db in sorted({*databases(source), *databases(target)}):
        found += [each for each in oracle.differences(source, target, db=db) if each.key.startswith(row.encode())]
    return [*found, *(functions(source) - functions(target))]  # a library that only the target has stays


def wait_same(source: Server, target: Server, what: str, seconds: float = 10, row: str = "",
              alive: Callable[[], bool] = lambda: True) -> None:
    found: List[object] = []

    def same() -> bool:
        nonlocal found
        assert alive(), f"longhaul ended while waiting for {what}"
        try:
            found = what_differs(source, target, row)
        except AssertionError as moving:  # keys expired between SCAN and DBSIZE
            found = [moving]
        return not found
    try:
        wait.until(same, what, seconds)
    except TimeoutError as late:
        raise AssertionError(f"{late}: {found[:5]}") from late
