"""A proxy that counts round trips, so that no clock is needed to say how far a far server may be.

Requests pass at once. Replies are held until longhaul and the servers have nothing left to do: every thread of them sleeps,
and no byte has moved for a while. Then all held replies are delivered: that is one turn. All that longhaul can send without
waiting for a reply belongs to the same turn, however slow the machine is.

    with Turns(target, beside=[source]) as far, start_replicate(source, far.endpoint) as copy:
        far.watch(copy.pid)
        copy.wait()
    assert far.turns <= 3

Connecting costs no turn: the proxy accepts by itself.
"""
from __future__ import annotations

import asyncio
from pathlib import Path
from typing import List, Sequence, Tuple

from .listener import CHUNK, Listener
from .servers import Server

SAMPLES, SAMPLE_S = 6, 0.01  # so often in a row, so far apart, everything has to be seen asleep


def is_asleep(pid: int) -> bool:
    """Whether no thread of the process runs or wants to. A process that has ended sleeps."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        states = [(task / "stat").read_text().rpartition(")")[2].split()[0] for task in tasks]
    except OSError:
        return not Path(f"/proc/{pid}").exists()
    return all(state in "SIZX" for state in states)


class Turns(Listener):
    """`endpoint` leads to the server. `beside` are other servers that longhaul may wait for meanwhile."""

    def __init__(self, server: Server, beside: Sequence[Server] = ()) -> None:
        super().__init__()
        self._server_port = server.port
        self._pids = [each.process.pid for each in (server, *beside) if each.process]
        self.turns = 0
        self._watched = False
        self._moved = 0  # chunks so far, both ways
        self._held: List[Tuple[asyncio.StreamWriter, bytes]] = []

    def watch(self, pid: int) -> None:
        """The process of longhaul; before this is known nothing is delivered."""
        self._pids.append(pid)
        self._watched = True

    # In the thread of the loop

    async def _listen(self) -> None:
        await super()._listen()
        self._loop.create_task(self._deliver())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", self._server_port, limit=CHUNK)
        await asyncio.gather(self._send(reader, onward_writer), self._hold(onward_reader, writer))

    async def _send(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(CHUNK):
                self._moved += 1
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.close()

    async def _hold(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(CHUNK):
                self._moved += 1
                self._held.append((writer, data))
        except OSError:
            pass
        self._held.append((writer, b""))

    async def _deliver(self) -> None:
        seen, quiet = -1, 0
        while True:
            await asyncio.sleep(SAMPLE_S)
            asleep = self._watched and self._moved == seen and all(map(is_asleep, self._pids))
            seen, quiet = self._moved, quiet + 1 if asleep else 0
            if quiet >= SAMPLES and self._held:
                self._turn()
                quiet = 0

    def _turn(self) -> None:
        held, self._held = self._held, []
        self.turns += any(data for _, data in held)
        for writer, data in held:
            if data:
                writer.write(data)
            else:
                writer.close()
