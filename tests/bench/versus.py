"""Two builds of longhaul beside each other: is this one slower? Every row runs both in turns, on the same servers and data.

The ratio is this build's time over the other's: 1.03 means three percent slower. Processor time is less noisy than the
clock on a machine that does other things, so both stand in each row.
"""
from __future__ import annotations

from typing import Callable, Dict, Iterator, List

import data
from bed import GBIT, Bed, Link, in_turns, pids, walls
from live import Writer, following
from measure import Meter, Program, Sample, median
from rows import Row, _about, _cpu, _row

GOAL = "at most 1.03"
WRITES_PER_S, WRITES_PER_S_QUICK = 60_000.0, 5_000.0


def _both(bed: Bed, other: Program, run: Callable[[], Sample], rounds: int) -> Dict[str, List[Sample]]:
    """Samples of "this" and of "other", as many rounds of each."""
    this = bed.program

    def by(program: Program) -> Callable[[], Sample]:
        def way() -> Sample:
            bed.program = program
            try:
                return run()
            finally:
                bed.program = this
        return way
    return in_turns({"this": by(this), "other": by(other)}, bed.rounds(rounds))


def _compared(bed: Bed, kind: data.Kind, name: str, samples: Dict[str, List[Sample]], options: str) -> Row:
    own = {way: median(_cpu(found, "longhaul")) for way, found in samples.items()}
    servers = {way: median([each.cpu["source"] + each.cpu["target"] for each in found]) for way, found in samples.items()}
    return _row(f"versus {name}: wall, this / other", walls(samples["this"]), walls(samples["other"]),
                "seconds of this build", "seconds of the other build", GOAL, data=_about(bed, kind), options=options,
                values={"this_s": round(median(walls(samples["this"])), 3),
                        "other_s": round(median(walls(samples["other"])), 3),
                        "this_fastest_s": round(min(walls(samples["this"])), 3),
                        "other_fastest_s": round(min(walls(samples["other"])), 3),
                        "own_processor_this_over_other": round(own["this"] / max(own["other"], 1e-9), 3),
                        "servers_processor_this_over_other": round(servers["this"] / max(servers["other"], 1e-9), 3)})


def rows(bed: Bed, other: Program) -> Iterator[Row]:
    for kind in data.KINDS.values():
        yield from _snapshots(bed, other, kind)
    kind, target = data.KINDS["strings-100"], bed.target("plain")
    with bed.source(kind) as source:
        with bed.wan(target, Link(20, GBIT)) as far:
            samples = _both(bed, other, lambda: bed.snapshot(source, target, bed.keys(kind), through=far), 7)
        yield _compared(bed, kind, "wan 20 ms", samples, "--compare none; the proxy is before the target")
        for options in ([], ["--digest"]):
            samples = _both(bed, other, lambda words=options: bed.compare(source, target, *words), 7)  # type: ignore
            yield _compared(bed, kind, " ".join(["compare", *options]), samples, " ".join(options) or "defaults")
        target.flush()
        yield _live(bed, other, kind, source, target)
        target.flush()


def _snapshots(bed: Bed, other: Program, kind: data.Kind) -> Iterator[Row]:
    target = bed.target("plain")
    with bed.source(kind) as source:
        samples = _both(bed, other, lambda: bed.snapshot(source, target, bed.keys(kind)), 9)
    target.flush()
    yield _compared(bed, kind, f"snapshot {kind.name}", samples, "--compare none")


def _live(bed: Bed, other: Program, kind: data.Kind, source: object, target: object) -> Row:
    """Seconds that the writer of a bounded rate needs, and the processor time that follows its writes."""
    seconds = 1.0 if bed.quick else 6.0
    rate = WRITES_PER_S_QUICK if bed.quick else WRITES_PER_S

    def follow() -> Sample:
        target.flush()  # type: ignore[attr-defined]
        with following(bed, source, target) as pid:  # type: ignore[arg-type]
            meter = Meter(longhaul=[pid], source=pids(source), target=pids(target))
            writer = Writer(source.port, rate, seconds)  # type: ignore[attr-defined]
            writer.start()
            took = writer.end()["seconds"]
            return Sample(took, meter.spent())
    return _compared(bed, kind, "live", _both(bed, other, follow, 5), f"--mode live; {rate:g} writes a second")
