"""A TCP proxy on loopback that stands between longhaul and a server and is a bad network.

It runs in a thread of its own. Its state can change at any time: delay each way, cut every connection, cut one at
random every so often (by a seed), go silent (bytes are swallowed by nobody: they just stop moving), refuse connections.
"""
from __future__ import annotations

import asyncio
import random
import socket
from typing import Callable, Optional, Set

from .listener import CHUNK, Listener
from .servers import Server

IN_FLIGHT = 64  # chunks that wait for their delay, per direction


class Proxy(Listener):
    """`port` on 127.0.0.1 leads to 127.0.0.1:target. Use as a context manager."""

    def __init__(self, target: int, delay: float = 0.0) -> None:
        super().__init__()
        self.target = target
        self.delay = delay
        self.accepted = 0
        self.cuts = 0
        self._moving: Optional[asyncio.Event] = None
        self._refusing = False
        self._open: Set[asyncio.StreamWriter] = set()
        self._gates: Set[asyncio.Event] = set()  # of connections, open while nothing is held
        self._random_task: Optional[asyncio.Task[None]] = None

    @classmethod
    def before(cls, server: Server, **kwargs: float) -> "Proxy":
        return cls(server.tls_port or server.port, **kwargs)

    # Faults

    def cut(self) -> int:
        """Breaks every connection with a reset; how many."""
        return self._ask(self._cut_all)

    def cut_at_random(self, every: float, seed: int) -> None:
        """From now on breaks one connection about every so many seconds."""
        self._ask(lambda: self._start_cutting(every, seed))

    def calm(self) -> None:
        """No more cuts at random."""
        self._ask(self._stop_cutting)

    def silence(self) -> None:
        """Connections stay open and are accepted, and nothing moves."""
        self._ask(lambda: self._moving.clear())  # type: ignore[union-attr]

    def speak(self) -> None:
        self._ask(lambda: self._moving.set())  # type: ignore[union-attr]

    def hold(self) -> None:
        """Bytes that the connections of this moment still send to the server are kept back, as on a path that has become
        slow; later connections are not concerned."""
        self._ask(lambda: [gate.clear() for gate in self._gates] and None)

    def release(self) -> None:
        """Held bytes go on their way, also those of connections whose client has gone meanwhile."""
        self._ask(lambda: [gate.set() for gate in self._gates] and None)

    @property
    def held(self) -> int:
        """Connections that hold something back, or have not delivered it yet."""
        return self._ask(lambda: len(self._gates))

    def refuse(self, on: bool = True) -> None:
        """New connections are reset at once; those that are there are cut."""
        self._refusing = on
        if on:
            self.cut()

    # In the thread of the loop

    def _ask(self, action: Callable[[], Optional[int]]) -> int:
        async def do() -> int:
            return action() or 0
        return asyncio.run_coroutine_threadsafe(do(), self._loop).result(10)

    async def _listen(self) -> None:
        self._moving = asyncio.Event()
        self._moving.set()
        await super()._listen()

    async def _end(self) -> None:
        self._close_all()
        await super()._end()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self._refusing:
            _reset(writer)
            return
        try:
            onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", self.target, limit=CHUNK)
        except OSError:
            _reset(writer)
            return
        self._open |= {writer, onward_writer}
        gate, always = asyncio.Event(), asyncio.Event()
        gate.set()
        always.set()
        self._gates.add(gate)
        await asyncio.gather(self._pump(reader, onward_writer, gate), self._pump(onward_reader, writer, always))
        self._gates.discard(gate)
        for end in (writer, onward_writer):
            self._open.discard(end)
            _reset(end)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gate: asyncio.Event) -> None:
        """Bytes in order, each chunk `delay` after it came, without waiting for the chunk before it to be due."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(IN_FLIGHT)
        sender = asyncio.ensure_future(self._send(queue, writer, gate))
        try:
            while data := await reader.read(CHUNK):
                await queue.put((self._loop.time() + self.delay, data))
        except OSError:
            pass
        await queue.put((0.0, b""))
        await sender

    async def _send(self, queue: "asyncio.Queue[tuple[float, bytes]]", writer: asyncio.StreamWriter,
                    gate: asyncio.Event) -> None:
        broken = False
        while True:
            due, data = await queue.get()
            if not data:
                break
            if (early := due - self._loop.time()) > 0:
                await asyncio.sleep(early)
            await self._moving.wait()  # type: ignore[union-attr]
            await gate.wait()
            try:
                if not broken:
                    writer.write(data)
                    await writer.drain()
            except OSError:
                broken = True
        _reset(writer) if broken else writer.close()

    def _cut_all(self) -> int:
        cut = len(self._open) // 2
        self._close_all()
        self.cuts += cut
        return cut

    def _close_all(self) -> None:
        for writer in list(self._open):
            _reset(writer)
        self._open.clear()

    def _start_cutting(self, every: float, seed: int) -> None:
        self._stop_cutting()
        self._random_task = self._loop.create_task(self._cut_now_and_then(every, random.Random(seed)))

    def _stop_cutting(self) -> None:
        if self._random_task:
            self._random_task.cancel()
            self._random_task = None

    async def _cut_now_and_then(self, every: float, rng: random.Random) -> None:
        while True:
            await asyncio.sleep(every * rng.uniform(0.5, 1.5))
            if self._open:
                _reset(rng.choice(sorted(self._open, key=id)))
                self.cuts += 1


def _reset(writer: asyncio.StreamWriter) -> None:
    """Ends a connection the hard way, so that bytes in flight are lost as on a real failure."""
    transport = writer.transport
    end = transport.get_extra_info("socket")
    if end is not None and not transport.is_closing():
        try:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        except OSError:
            pass
    transport.abort()
