"""A proxy before a source that can hold back longhaul's samples of it (TIME, INFO, INFO commandstats, once a second), and
nothing else: a change that no capture announces is then known by nothing but the counters that come with each barrier.

    with HeldSamples(source.port) as proxy, Live(proxy.endpoint, target) as live:
        with proxy.holding():
            source.command("SWAPDB", 0, 1)
            ...                              no sample tells of it
"""
from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import Iterator, Optional

from .listener import CHUNK, Listener

SAMPLE = b"*1\r\n$4\r\nTIME\r\n*1\r\n$4\r\nINFO\r\n"


class HeldSamples(Listener):
    """`endpoint` leads to 127.0.0.1:target. Use as a context manager."""

    def __init__(self, target: int) -> None:
        super().__init__()
        self._target = target
        self._open: Optional[asyncio.Event] = None
        self.held = 0  # samples that were held back so far

    @contextmanager
    def holding(self) -> Iterator[None]:
        """A sample that is under way when the block begins is still answered."""
        self._loop.call_soon_threadsafe(self._open.clear)  # type: ignore[union-attr]
        try:
            yield
        finally:
            self._loop.call_soon_threadsafe(self._open.set)  # type: ignore[union-attr]

    # In the thread of the loop

    async def _listen(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        await super()._listen()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back, forth = await asyncio.open_connection("127.0.0.1", self._target, limit=CHUNK)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self._pump(reader, forth), self._pump(back, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._open
        try:
            while data := await reader.read(CHUNK):
                if SAMPLE in data and not self._open.is_set():
                    self.held += 1
                    await self._open.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.close()
