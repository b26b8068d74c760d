#!/usr/bin/python3
"""Writes to a server at a rate, or as fast as it answers: writer.py PORT WRITES_PER_SECOND SECONDS KEYS (rate 0: as fast
as possible). A process of its own, so that nothing else of the benchmark takes its turn. Prints one JSON document: the
writes that were answered, and in how many seconds.

The commands (SET of 100 random bytes to random ones of KEYS keys) are made before the clock starts, in batches.
"""
from __future__ import annotations

import json
import os
import random
import select
import socket
import sys
import time
from typing import List

from data import bulk

BATCH = 50
BATCHES = 2000
OUTSTANDING = 16  # batches that are not answered yet: enough to keep the server busy
ANSWER = len(b"+OK\r\n")


def prepare(keys: int) -> List[bytes]:
    chance = random.Random(11)
    return [b"".join(bulk(b"SET", b"live:%011d" % chance.randrange(keys), os.urandom(100)) for _ in range(BATCH))
            for _ in range(BATCHES)]


def write(port: int, rate: float, seconds: float, batches: List[bytes]) -> dict[str, float]:
    with socket.create_connection(("127.0.0.1", port), 30) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        began = time.monotonic()
        sent = received = 0  # writes, bytes of answers
        while (now := time.monotonic()) < began + seconds:
            behind = rate == 0 or sent < (now - began) * rate
            if behind and sent - received // ANSWER < OUTSTANDING * BATCH:
                plain.sendall(batches[sent // BATCH % BATCHES])
                sent += BATCH
                wait = 0.0
            else:
                wait = 0.1 if behind else min(0.1, sent / rate - (now - began))
            if select.select([plain], [], [], wait)[0]:
                received += take(plain)
        while received < sent * ANSWER:
            received += take(plain)
        return {"writes": sent, "seconds": time.monotonic() - began}


def take(plain: socket.socket) -> int:
    answers = plain.recv(1 << 16)
    if not answers or b"-" in answers:
        raise RuntimeError(f"the server refuses the writes: {answers[:200]!r}")
    return len(answers)


def main() -> None:
    port, rate, seconds, keys = sys.argv[1:]
    batches = prepare(int(keys))
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(write(int(port), float(rate), float(seconds), batches)), flush=True)


if __name__ == "__main__":
    main()
