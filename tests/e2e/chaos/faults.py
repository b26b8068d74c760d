"""The faults, by the names of plan.py. Each begins, lasts, and heals itself, also when something fails in between.

Those that make evidence false, and the mistakes of operators, are in deceptions.py."""
from __future__ import annotations

import random
import time
from typing import Callable, Dict, List

from harness import server_faults, wait
from harness.cluster import Cluster
from harness.sentinel import Sentinels
from harness.servers import Fleet, Server
from harness.wire import slot_of

from .job import Job
from .plan import Fault
from .sides import Side
from .writes import TAGS, tag_of

LONG_NAME = 4096  # bytes of a key's name: names fill an output buffer
LONG_NAMES = 4000
EVICTED_OF = 50  # keys that a server has at least before some are evicted


class Stage:
    """Everything that a fault can reach. The clock of the time line starts with it."""

    def __init__(self, sides: Dict[str, Side], job: Job, fleet: Fleet, say: Callable[[str], None]) -> None:
        self.sides, self.job, self.fleet, self.say = sides, job, fleet, say
        self.databases: tuple = (0,)
        self.foreign: Dict[bytes, bytes] = {}  # keys of somebody else on the target

    def play(self, fault: Fault) -> None:
        self.say(f"{fault.name} ({fault.side})" + (f" for {fault.seconds:.1f} s" if fault.seconds else ""))
        FAULTS[fault.name](self, self.sides[fault.side], fault, random.Random(fault.seed))
        self.job.check_alive()


Play = Callable[[Stage, Side, Fault, random.Random], None]
FAULTS: Dict[str, Play] = {}


def fault(name: str) -> Callable[[Play], Play]:
    def register(play: Play) -> Play:
        FAULTS[name] = play
        return play
    return register


# longhaul itself

@fault("stop longhaul")
def _stop(stage: Stage, side: Side, fault: Fault, rng: random.Random) -> None:
    stage.job.pause()
    time.sleep(fault.seconds)
    stage.job.resume()


@fault("kill longhaul")
def _kill(stage: Stage, side: Side, fault: Fault, rng: random.Random) -> None:
    stage.job.kill()
    time.sleep(fault.seconds)
    stage.job.start()


@fault("kill longhaul, state lost")
def _kill_and_lose(stage: Stage, side: Side, fault: Fault, rng: random.Random) -> None:
    stage.job.kill()
    stage.job.move_away()
    time.sleep(fault.seconds)
    stage.job.start()


@fault("end longhaul in order")
def _end(stage: Stage, side: Side, fault: Fault, rng: random.Random) -> None:
    stage.job.stop()
    time.sleep(fault.seconds)
    stage.job.start()


@fault("standby takes over")
def _take_over(stage: Stage, side: Side, fault: Fault, rng: random.Random) -> None:
    stage.job.hand_over()


@fault("overflow")
def _overflow(stage: Stage, side: Side, fault: Fault, rng: random.Random) -> None:
    """More names than the output buffer of a reader that does not read may hold."""
    side.configure(client_output_buffer_limit="pubsub 256kb 128kb 1")
    stage.job.pause()
    try:
        burst(side, rng, LONG_NAMES, LONG_NAME)
        time.sleep(fault.seconds)
    finally:
        stage.job.resume()
        side.configure(client_output_buffer_limit="pubsub 32mb 8mb 60")


@fault("burst")
def _burst(stage: Stage, side: Side, fault: Fault, rng: random.Random) -> None:
    """Many new keys at once, half of which go again."""
    burst(side, rng, 20000, 20)


def burst(side: Side, rng: random.Random, count: int, name_size: int) -> None:
    for number, primary in enumerate(side.primaries()):
        mine = _tags_of(side, primary)
        if not mine:
            continue
        names = [b"%b:burst:%d:%b" % (rng.choice(mine), rng.getrandbits(24), b"n" * name_size)
                 for _ in range(count // len(side.primaries()))]
        with primary.wire() as wire:
            wire.batch((("SET", name, "1", "PX", 600_000) for name in names), 500)
            wire.batch((("UNLINK", name) for name in names[len(names) // 10:]), 500)


def _tags_of(side: Side, primary: Server) -> List[bytes]:
    tags = [tag_of(number) for number in range(TAGS)]
    if not isinstance(side.made, Cluster):
        return tags
    owners = side.made.slots()
    return [tag for tag in tags if owners[slot_of(tag)] is primary]


# Connections

@fault("kill connections")
def _kill_connections(stage: Stage, side: Side, fault: Fault, rng: random.Random) -> None:
    """One of longhaul's connections, or all, or those that listen, at one server or at all of them."""
    which = rng.choice(["one", "all", "listening"])
    for server in side.servers() if rng.random() < 0.5 else [rng.choice(side.servers())]:
        clients = [each for each in server.admin().client_list() if each["name"].startswith("longhaul")]
        if which == "listening":
            clients = [each for each in clients if set("tP") & set(each["flags"])]
        for each in clients if which == "all" else rng.sample(clients, min(1, len(clients))):
            server.command("CLIENT", "KILL", "ID", each["id"])


@fault("cut")
def _cut(stage: Stage, side: Side, fault: Fault, rng: random.Random) -> None:
    for proxy in side.proxies.values():
        proxy.cut()


@fault("nothing")
def _nothing(stage: Stage, side: Side, fault: Fault, rng: random.Random) -> None:
    pass


# The network

def _network(begin: str, end: str) -> Play:
    def play(stage: Stage, side: Side, fault: Fault, rng: random.Random) -> None:
        """All of a side, or the way to one node."""
        proxies = list(side.proxies.values())
        if rng.random() < 0.4:
            proxies = [rng.choice(proxies)]
        try:
            for proxy in proxies:
                NETWORK[begin](proxy, rng)
            time.sleep(fault.seconds)
        finally:
            for proxy in proxies:
                NETWORK[end](proxy, rng)
    return play


NETWORK: Dict[str, Callable] = {
    "silence": lambda proxy, rng: proxy.silence(),
    "speak": lambda proxy, rng: proxy.speak(),
    "refuse": lambda proxy, rng: proxy.refuse(),
    "accept": lambda proxy, rng: proxy.refuse(False),
    "slow": lambda proxy, rng: setattr(proxy, "delay", rng.uniform(0.02, 0.15)),
    "fast": lambda proxy, rng: setattr(proxy, "delay", 0.0),
    "hold": lambda proxy, rng: proxy.hold(),
    "release": lambda proxy, rng: proxy.release(),
    "cut at random": lambda proxy, rng: proxy.cut_at_random(0.1, rng.getrandbits(32)),
    "calm": lambda proxy, rng: proxy.calm(),
}
for _name, _begin, _finish in (("silence", "silence", "speak"), ("refuse", "refuse", "accept"), ("delay", "slow", "fast"),
                               ("hold", "hold", "release"), ("cuts", "cut at random", "calm")):
    FAULTS[_name] = _network(_begin, _finish)


# Servers

@fault("restart")
def _restart(stage: Stage, side: Side, fault: Fault, rng: random.Random) -> None:
    """With its data as of a moment before: later writes are lost."""
    server = rng.choice(side.primaries())
    wait.until(lambda: server.command("SAVE"), "SAVE", 20)
    time.sleep(rng.uniform(0, 0.5))
    server.stop()
    time.sleep(rng.choice([0.0, 0.3]))
    server.revive()
    side.wait_whole()


@fault("restart empty")
def _restart_empty(stage: Stage, side: Side, fault: Fault, rng: random.Random) -> None:
    server = rng.choice(side.primaries())
    server.restart(keep=False)
    side.wait_whole()


@fault("primary dies")
def _primary_dies(stage: Stage, side: Side, fault: Fault, rng: random.Random) -> None:
    """Without a warning; its replica takes over with its own data; the old primary comes back as a replica."""
    wait.until(side.fail_over_candidates, "a primary with a replica in step", 30)
    if isinstance(side.made, Sentinels):
        side.made.wait_replicated()
        old = side.made.primary()
        new = side.made.kill_primary()
        time.sleep(fault.seconds)
        old.revive()
        wait.until(lambda: old.command("REPLICAOF", "127.0.0.1", new.port), "the old primary to follow", 20)
        wait.until(lambda: old.admin().info("replication").get("master_link_status") == "up", "it to be in step", 20)
    elif isinstance(side.made, Cluster):
        old = rng.choice(side.fail_over_candidates())
        side.made.kill_primary(old)
        time.sleep(fault.seconds)
        old.revive()
    side.wait_whole()


@fault("fail over in order")
def _fail_over(stage: Stage, side: Side, fault: Fault, rng: random.Random) -> None:
    assert isinstance(side.made, Cluster)
    primary = rng.choice(wait.until(side.fail_over_candidates, "a primary with a replica in step", 30))
    side.made.fail_over(primary)
    side.wait_whole()


@fault("migrate slots")
def _migrate(stage: Stage, side: Side, fault: Fault, rng: random.Random) -> None:
    """Slots with keys, one after the other, each left half moved for a while."""
    made = side.made
    assert isinstance(made, Cluster)
    for tag in rng.sample(range(TAGS), 3):
        slot = slot_of(tag_of(tag))
        target = rng.choice([node for node in side.primaries() if node is not made.owner(slot)])
        source = made.begin_migration(slot, target)
        made.move_keys(slot, source, target, at_most=rng.randint(0, 10))
        time.sleep(fault.seconds / 3)
        wait.until(lambda: _finish_migration(made, slot, source, target), "the slot to be moved", 20)
    side.wait_whole()


def _finish_migration(made: Cluster, slot: int, source: Server, target: Server) -> bool:
    made.move_keys(slot, source, target)
    made.end_migration(slot, source, target)
    return True


@fault("out of memory")
def _out_of_memory(stage: Stage, side: Side, fault: Fault, rng: random.Random) -> None:
    try:
        side.configure(maxmemory=1)
        time.sleep(fault.seconds)
    finally:
        side.configure(maxmemory=0)


@fault("eviction")
def _evict(stage: Stage, side: Side, fault: Fault, rng: random.Random) -> None:
    """On the source more keys than there is memory for, so that it drops keys by its policy, or refuses writes. On the
    target keys that the job has copied."""
    if side.role == "target":
        for primary in side.primaries():
            if int(primary.command("DBSIZE")) > EVICTED_OF:  # type: ignore[call-overload]
                server_faults.evict(primary)
        return
    try:
        for primary in side.primaries():
            used = int(primary.admin().info("memory")["used_memory"])
            primary.command("CONFIG", "SET", "maxmemory", used + (1 << 18))
            mine = _tags_of(side, primary)
            with primary.wire() as wire:
                wire.batch((("SET", b"%b:evict:%d" % (rng.choice(mine), number), rng.randbytes(1000), "EX", 600)
                            for number in range(600)), 100)
    finally:
        side.configure(maxmemory=0)


@fault("flush")
def _flush(stage: Stage, side: Side, fault: Fault, rng: random.Random) -> None:
    command = rng.choice(["FLUSHDB", "FLUSHALL"])
    for primary in side.primaries():
        primary.admin(rng.choice(stage.databases)).execute_command(command)


@fault("swap databases")
def _swap(stage: Stage, side: Side, fault: Fault, rng: random.Random) -> None:
    if len(stage.databases) > 2:
        side.made.command("SWAPDB", *rng.sample(stage.databases[1:], 2))  # type: ignore[union-attr]
