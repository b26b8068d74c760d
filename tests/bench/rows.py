"""The rows about copying and comparing. Each yields Row values; live.py has those of live replication."""
from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Callable, Dict, Iterator, List, Optional, Sequence

from harness.servers import Options

import data
from bed import GBIT, Bed, Link, copy_times, in_turns, walls
from measure import Sample, median, ratio, rounded

DISKLESS = "repl-diskless-load on-empty-db"


@dataclass
class Row:
    """name, and ratio = median(over) / median(under). `over` and `under` describe the two; `values` holds further
    numbers by name; skipped says why there is no number."""
    name: str
    over: str = ""
    under: str = ""
    ratio: Optional[float] = None
    goal: str = ""
    data: str = ""
    options: str = ""
    values: Dict[str, float] = field(default_factory=dict)
    rounds: Dict[str, List[float]] = field(default_factory=dict)
    skipped: str = ""

    @property
    def is_complete(self) -> bool:
        return bool(self.skipped) or (self.ratio is not None and self.ratio > 0 and all(
            isinstance(value, (int, float)) and value >= 0 for value in self.values.values()))

    def json(self) -> Dict[str, object]:
        return asdict(self)


def _row(name: str, over: Sequence[float], under: Sequence[float], over_is: str, under_is: str, goal: str = "",
         **more: object) -> Row:
    return Row(name, over_is, under_is, ratio(over, under), goal, rounds={"over": rounded(over), "under":
                                                                          rounded(under)}, **more)  # type: ignore


def _about(bed: Bed, kind: data.Kind) -> str:
    return f"{bed.keys(kind)} {kind.words}"


def _cpu(samples: Sequence[Sample], role: str) -> List[float]:
    return [sample.cpu[role] for sample in samples]


def _per_key_us(seconds: Sequence[float], keys: int) -> float:
    return round(median(seconds) * 1e6 / keys, 3)


# Snapshot against the servers' own full synchronisation, and the cost of each

def snapshot(bed: Bed) -> Iterator[Row]:
    for kind in data.KINDS.values():
        yield from _snapshot_of(bed, kind)


def _snapshot_of(bed: Bed, kind: data.Kind) -> Iterator[Row]:
    keys = bed.keys(kind)
    plain, diskless = bed.target("plain"), bed.target("diskless", repl_diskless_load="on-empty-db")
    with bed.source(kind) as source:
        samples = in_turns({
            "longhaul": lambda: bed.snapshot(source, plain, keys),
            "native": lambda: bed.native(source, plain, keys),
            "diskless": lambda: bed.native(source, diskless, keys),
        }, bed.rounds(5 if kind.name == "strings-100" else 3))
    plain.flush()
    diskless.flush()
    main = kind.name == "strings-100"
    values = {"longhaul_s": round(median(walls(samples["longhaul"])), 3),
              "longhaul_keys_per_s": round(keys / median(walls(samples["longhaul"])))}
    for way, what, goal in (("native", "native full sync, default settings", "at most 1.0"),
                            ("diskless", f"native full sync, {DISKLESS}", "at most 1.4")):
        yield _row(f"snapshot {kind.name}: wall, longhaul / {way}", walls(samples["longhaul"]), walls(samples[way]),
                   "seconds of longhaul replicate, whole process", f"seconds of the {what}", goal if main else "",
                   data=_about(bed, kind), options="defaults, --compare none",
                   values={**values, f"{way}_s": round(median(walls(samples[way])), 3)})
    yield from _cost_of(bed, kind, samples)


def _cost_of(bed: Bed, kind: data.Kind, samples: Dict[str, List[Sample]]) -> Iterator[Row]:
    keys, main = bed.keys(kind), kind.name == "strings-100"
    own = _cpu(samples["longhaul"], "longhaul")
    servers = [sample.cpu["source"] + sample.cpu["target"] for sample in samples["longhaul"]]
    values = {f"{way}_{role}_us_per_key": _per_key_us(_cpu(samples[way], role), keys)
              for way, roles in (("longhaul", ("longhaul", "source", "target")), ("native", ("source", "target")),
                                 ("diskless", ("source", "target"))) for role in roles}
    values["longhaul_peak_mib"] = round(max(sample.peak for sample in samples["longhaul"]) / 2 ** 20, 1)
    yield _row(f"cost {kind.name}: processor, longhaul / both servers", own, servers,
               "processor seconds of longhaul", "processor seconds of both servers meanwhile",
               "at most 0.1; 0.5 us per key, 64 MiB" if main else "", data=_about(bed, kind),
               options="defaults, --compare none", values=values)


# Through a WAN, against itself on loopback

def wan(bed: Bed) -> Iterator[Row]:
    kind = data.KINDS["strings-100"]
    keys, target = bed.keys(kind), bed.target("plain")
    with bed.source(kind) as source, \
            bed.wan(target, Link(0, 0)) as near, bed.wan(target, Link(0, GBIT)) as gigabit, \
            bed.wan(target, Link(20, GBIT)) as far, bed.wan(target, Link(80, GBIT)) as further:
        ways = {"direct": "", "0 ms": near, "0 ms 1 Gbit/s": gigabit, "20 ms": far, "80 ms": further}
        samples = in_turns({name: lambda through=through: bed.snapshot(source, target, keys, through=through)
                            for name, through in ways.items()}, bed.rounds(5))
    target.flush()
    goals = {"20 ms": "at least 0.9", "80 ms": "at least 0.8"}
    for name in list(ways)[1:]:
        over, under = samples["direct"], samples[name]
        yield _row(f"wan {name}: speed, proxy / direct", copy_times(over), copy_times(under),
                   "seconds of the copy on loopback", f"seconds of the copy through a proxy with {name}",
                   goals.get(name, "the proxy's own cost"), data=_about(bed, kind),
                   options="defaults, --compare none; the proxy is before the target",
                   values={"wall_direct_s": round(median(walls(over)), 3), "wall_s": round(median(walls(under)), 3),
                           "keys_per_s": round(keys / median(copy_times(under))),
                           "speed_to_proxy_without_delay": round(
                               median(copy_times(samples["0 ms 1 Gbit/s"])) / median(copy_times(under)), 3),
                           "peak_mib": round(max(sample.peak for sample in under) / 2 ** 20, 1)})


# Comparing

def compare(bed: Bed) -> Iterator[Row]:
    kind = data.KINDS["strings-100"]
    keys, target = bed.keys(kind), bed.target("plain")
    with bed.source(kind) as source:
        copies = [bed.snapshot(source, target, keys) for _ in range(bed.rounds(3))]
        samples = in_turns({"full": lambda: bed.compare(source, target),
                            "digest": lambda: bed.compare(source, target, "--digest")}, bed.rounds(3))
    target.flush()
    for way, goal in (("full", "at least 1.0"), ("digest", "")):
        yield _row(f"compare {way}: keys/s, compare / snapshot", walls(copies), walls(samples[way]),
                   "seconds of longhaul replicate", f"seconds of longhaul compare, {way}", goal,
                   data=_about(bed, kind), options="--digest" if way == "digest" else "defaults",
                   values={"keys_per_s": round(keys / median(walls(samples[way]))),
                           **{f"{role}_us_per_key": _per_key_us(_cpu(samples[way], role), keys)
                              for role in ("longhaul", "source", "target")},
                           "peak_mib": round(max(sample.peak for sample in samples[way]) / 2 ** 20, 1)})


# Threads, and TLS

def threads(bed: Bed) -> Iterator[Row]:
    kind = data.KINDS["strings-100"]
    keys = bed.keys(kind)
    with bed.cluster() as source, bed.cluster() as target:
        with bed.source(kind) as maker:
            bed.snapshot(maker, source, keys)
        samples = in_turns({n: lambda n=n: bed.snapshot(source, target, keys, "--threads", n) for n in ("1", "2")},
                           bed.rounds(3))
    yield _row("threads 2: speed, 2 threads / 1 thread", walls(samples["1"]), walls(samples["2"]),
               "seconds with 1 thread", "seconds with 2 threads", data=_about(bed, kind),
               options="--compare none; three primaries to three primaries",
               values={f"threads_{n}_keys_per_s": round(keys / median(walls(samples[n]))) for n in ("1", "2")})


def encrypted(bed: Bed) -> Iterator[Row]:
    kind = data.KINDS["strings-100"]
    keys = bed.keys(kind)
    safe = Options(tls=bed.certificates())
    plain_target = bed.target("plain")
    safe_target = bed.fleet.server(Options(tls=bed.certificates()))
    with bed.source(kind) as plain_source, bed.source(kind, safe) as safe_source:
        samples = in_turns({"plain": lambda: bed.snapshot(plain_source, plain_target, keys),
                            "tls": lambda: bed.snapshot(safe_source, safe_target, keys)}, bed.rounds(3))
    plain_target.flush()
    bed.fleet.end([safe_target])
    yield _row("tls: speed, TLS on both sides / plain", walls(samples["plain"]), walls(samples["tls"]),
               "seconds without TLS", "seconds with TLS on both sides", "at least 0.6", data=_about(bed, kind),
               options="--compare none",
               values={"tls_keys_per_s": round(keys / median(walls(samples["tls"]))),
                       **{f"tls_{role}_us_per_key": _per_key_us(_cpu(samples["tls"], role), keys)
                          for role in ("longhaul", "source", "target")}})


ROWS: Dict[str, Callable[[Bed], Iterator[Row]]] = {"snapshot": snapshot, "wan": wan, "compare": compare,
                                                   "threads": threads, "tls": encrypted}
