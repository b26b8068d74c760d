"""The meaning of a seed. Everything random is drawn here or from generators seeded here."""
from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import List, Optional, Sequence, Tuple

SHAPES = ("standalone", "cluster", "sentinel")
PAIRS = tuple(f"{source}-{target}" for source in SHAPES for target in SHAPES)
CAPTURES = ("tracking", "notifications", "auto")
POLICIES = ("noeviction", "allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-ttl", "volatile-lru")
ANY = frozenset(SHAPES)
ALONE, CLUSTER, SENTINEL = frozenset({"standalone"}), frozenset({"cluster"}), frozenset({"sentinel"})
REPLICATED = CLUSTER | SENTINEL
NETWORKED = ALONE | CLUSTER  # sentinels name the ports of servers: no proxy stands between


@dataclass(frozen=True)
class Kind:
    """A kind of fault: on which side, in which shapes, how likely, for how many seconds at least and at most."""
    name: str
    sides: Tuple[str, ...]
    shapes: frozenset = ANY
    weight: float = 1.0
    seconds: Tuple[float, float] = (0.0, 0.0)
    deceptive: bool = False  # makes evidence false, or is a mistake of an operator: drawn only where asked for


BOTH, SOURCE, TARGET = ("source", "target"), ("source",), ("target",)
KINDS = (
    Kind("stop longhaul", SOURCE, seconds=(0.3, 4.0)),
    Kind("kill longhaul", SOURCE, weight=1.5, seconds=(0.0, 1.5)),
    Kind("kill longhaul, state lost", SOURCE, seconds=(0.0, 1.0)),
    Kind("end longhaul in order", SOURCE, weight=0.7, seconds=(0.0, 1.0)),
    Kind("standby takes over", SOURCE, weight=0.7),
    Kind("overflow", SOURCE, weight=1.5, seconds=(0.5, 1.5)),
    Kind("silence", BOTH, NETWORKED, seconds=(0.5, 4.0)),
    Kind("refuse", BOTH, NETWORKED, seconds=(0.2, 2.0)),
    Kind("delay", BOTH, NETWORKED, seconds=(1.0, 3.0)),
    Kind("hold", BOTH, NETWORKED, seconds=(0.5, 3.0)),
    Kind("cuts", BOTH, NETWORKED, seconds=(1.0, 3.0)),
    Kind("restart", SOURCE, NETWORKED, weight=1.5),
    Kind("restart", TARGET, NETWORKED, weight=1.5),
    Kind("restart empty", TARGET, NETWORKED),
    Kind("primary dies", BOTH, CLUSTER | SENTINEL, weight=1.5, seconds=(0.0, 1.0)),
    Kind("fail over in order", BOTH, CLUSTER, weight=1.0),
    Kind("migrate slots", BOTH, CLUSTER, weight=3.0, seconds=(0.1, 2.0)),
    Kind("out of memory", TARGET, weight=1.2, seconds=(0.3, 2.5)),
    Kind("eviction", SOURCE, weight=1.2),
    Kind("flush", SOURCE, weight=0.8),
    Kind("swap databases", SOURCE, ALONE, weight=0.8),
    Kind("burst", SOURCE),
    Kind("clock steps", BOTH, weight=4.0, seconds=(0.0, 3.0), deceptive=True),
    Kind("clock of longhaul steps", SOURCE, weight=2.0, seconds=(0.0, 3.0), deceptive=True),
    Kind("machine of longhaul is suspended", SOURCE, weight=2.0, seconds=(1.0, 4.0), deceptive=True),
    Kind("pause", BOTH, weight=1.5, seconds=(0.5, 5.0), deceptive=True),
    Kind("replica resynchronised", BOTH, REPLICATED, weight=3.0, deceptive=True),
    Kind("replica promoted that was cut off", BOTH, REPLICATED, weight=2.0, seconds=(0.5, 3.0), deceptive=True),
    Kind("policy for a moment", SOURCE, weight=2.0, seconds=(0.2, 1.5), deceptive=True),
    Kind("statistics reset", BOTH, weight=2.0, deceptive=True),
    Kind("notifications off", SOURCE, weight=1.5, seconds=(0.3, 2.5), deceptive=True),
    Kind("foreign writer", TARGET, weight=1.5, seconds=(0.5, 2.0), deceptive=True),
    Kind("second job", TARGET, deceptive=True),
    Kind("job in the other direction", TARGET, deceptive=True),
    Kind("eviction", TARGET, weight=1.5, deceptive=True),
    Kind("lease lost", TARGET, weight=2.0, seconds=(0.0, 2.0), deceptive=True),
    Kind("lease lost beside a standby", TARGET, weight=1.5, deceptive=True),
    Kind("flush", TARGET, weight=1.5, deceptive=True),
    Kind("flush of an unused database", BOTH, ALONE | SENTINEL, deceptive=True),
)
QUICK = ("kill connections", "cut", "nothing")


@dataclass(frozen=True)
class Fault:
    """Comes `after` seconds behind the end of the one before it in the same row."""
    after: float
    name: str
    side: str
    seconds: float
    seed: int

    def __str__(self) -> str:
        lasting = f" {self.seconds:.1f} s" if self.seconds else ""
        return f"+{self.after:.1f} s {self.name} ({self.side}){lasting}"


@dataclass
class Plan:
    seed: int
    pair: str
    capture: str
    policy: str
    guarded: bool  # the deletion guard at its default: a hold may come, and is released
    options: List[str] = field(default_factory=list)
    databases: Tuple[int, ...] = (0,)
    rows: List[List[Fault]] = field(default_factory=list)
    deceptive: bool = False
    only: List[str] = field(default_factory=list)

    def has(self, name: str, side: str = "") -> bool:
        return any(fault.name == name and side in ("", fault.side) for row in self.rows for fault in row)

    @property
    def shapes(self) -> Tuple[str, str]:
        source, _, target = self.pair.partition("-")
        return source, target

    def __str__(self) -> str:
        rows = "".join(f"\n  row {number}: " + "; ".join(map(str, row)) for number, row in enumerate(self.rows))
        return (f"seed {self.seed}, {self.pair}, capture {self.capture}, {self.policy}, databases "
                f"{','.join(map(str, self.databases))}, options {' '.join(self.options)}{rows}")

    @property
    def again(self) -> str:
        return (f"make chaos SEEDS=1 FIRST={self.seed} PAIR={self.pair} CAPTURE={self.capture}"
                + (" DECEPTIVE=1" if self.deceptive else "") + (f" ONLY='{','.join(self.only)}'" if self.only else ""))


def draw(seed: int, pair: Optional[str] = None, capture: Optional[str] = None, faults: int = 4, deceptive: bool = False,
         only: Sequence[str] = ()) -> Plan:
    """pair and capture are drawn too where they are not given, without a change to the rest of the plan's draws.
    `deceptive` draws from all kinds of faults; `only` from the named ones."""
    rng = random.Random(seed)
    drawn_pair, drawn_capture = rng.choice(PAIRS), rng.choice(CAPTURES)
    plan = Plan(seed, pair or drawn_pair, capture or drawn_capture, rng.choice(POLICIES), rng.random() < 0.15)
    plan.options = _options(rng, plan.guarded)
    if "cluster" not in plan.shapes:
        plan.databases = (0, 1, 2, 5)
    plan.deceptive, plan.only = deceptive or bool(only), list(only)
    plan.rows = [_heavy(rng, plan.shapes, faults, plan.deceptive, only), _quick(rng, plan.shapes, faults)]
    if plan.deceptive and plan.shapes[0] in SENTINEL and rng.random() < 0.4:  # not every primary of a cluster has a replica
        plan.options += ["--source-read-from", "replica"]
    return plan


def _options(rng: random.Random, guarded: bool) -> List[str]:
    options = ["--threads", str(rng.choice([1, 2, 3])), "--timeout", "2s", "--lease", "4s", "--poll", "1s"]
    if not guarded:
        options += ["--max-delete", "100"]
    if rng.random() < 0.3:
        options += ["--big-key", "4KB"]
    if rng.random() < 0.2:
        options += ["--type", "struct"]
    if rng.random() < 0.3:
        options += ["--scan-count", "10"]
    return options


def _heavy(rng: random.Random, shapes: Tuple[str, str], count: int, deceptive: bool, only: Sequence[str]) -> List[Fault]:
    """Faults that come one after the other, each healed before the next begins."""
    possible = [(kind, side) for kind in KINDS for side in kind.sides
                if shapes[0 if side == "source" else 1] in kind.shapes and (deceptive or not kind.deceptive)
                and (not only or kind.name in only)]
    if not possible:
        return []
    chosen = rng.choices(possible, [kind.weight / len(kind.sides) for kind, _ in possible], k=count)
    return [Fault(rng.uniform(0.1, 1.0), kind.name, side, rng.uniform(*kind.seconds), rng.getrandbits(32))
            for kind, side in chosen]


def _quick(rng: random.Random, shapes: Tuple[str, str], count: int) -> List[Fault]:
    """Faults of a moment, which may fall into the others."""
    return [Fault(rng.uniform(0.3, 1.8), rng.choice(QUICK), rng.choice(BOTH), 0.0, rng.getrandbits(32))
            for _ in range(count)]
