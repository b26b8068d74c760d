"""python3 -m chaos: seeds by hand."""
from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from pathlib import Path

from .job import Job, OneCopy
from .plan import CAPTURES, PAIRS, draw
from .play import Run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python3 -m chaos", description="Writers, faults, and a comparison, by seed.")
    parser.add_argument("--seeds", type=int, default=10, help="how many")
    parser.add_argument("--first", type=int, default=int(time.time()) % 1_000_000, help="the first; default: by the clock")
    parser.add_argument("--pair", choices=PAIRS, help="source-target; default: drawn by each seed")
    parser.add_argument("--capture", choices=CAPTURES, help="default: drawn by each seed")
    parser.add_argument("--faults", type=int, default=6, help="faults of each row")
    parser.add_argument("--deceptive", action="store_true", help="draw also faults that make evidence false, and mistakes")
    parser.add_argument("--only", type=lambda text: text.split(","), default=[], help="draw from these faults, by comma")
    parser.add_argument("--one-copy", action="store_true", help="copy once at the end instead of following")
    parser.add_argument("--keep-going", action="store_true", help="play the other seeds too when one fails")
    args = parser.parse_args()
    failed = []
    for seed in range(args.first, args.first + args.seeds):
        if not _play(seed, args):
            failed.append(seed)
            if not args.keep_going:
                break
    played = seed - args.first + 1
    print(f"chaos: {played - len(failed)} of {played} seeds passed" + (f"; failed: {failed}" if failed else ""))
    return 1 if failed else 0


def _play(seed: int, args: argparse.Namespace) -> bool:
    plan = draw(seed, args.pair, args.capture, args.faults, args.deceptive, args.only)
    print(plan, flush=True)
    with tempfile.TemporaryDirectory(prefix="longhaul-chaos-") as directory:
        try:
            job = OneCopy if args.one_copy else Job
            Run(plan, Path(directory), lambda text: print(text, flush=True), job).go()
            return True
        except AssertionError as problem:
            print(f"FAILED {problem}", flush=True)
        except Exception:
            traceback.print_exc()
    return False


sys.exit(main())
