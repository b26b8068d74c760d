"""A proxy before a source that makes the order of a server with I/O threads: the reply to a ROLE comes before the name of
a write that was acknowledged before the ROLE was sent; the name comes before the reply to the next ROLE.

    with LateNames(source.port) as proxy:
        proxy.stop_questions()      the questions of before are answered, the next one waits here
        source.admin().set(...)     acknowledged; its name is held here
        proxy.answer_one()          the question that waited is answered, and one that was asked after the acknowledgement
        ...                         nothing more comes, as on a busy server
        proxy.go_on()               the name, then everything else

Only the connection that tracks is concerned.
"""
from __future__ import annotations

import socket
import threading
from typing import List, Optional

from . import wait

CHUNK = 1 << 16
ROLE = b"*1\r\n$4\r\nROLE\r\n"
ROLE_REPLY = b"*3\r\n$6\r\nmaster\r\n"
NAMES = b">2\r\n$10\r\ninvalidate\r\n"


def frame_end(data: bytes, at: int = 0) -> Optional[int]:
    """Where the RESP value at this place ends; None: it is not complete."""
    line_end = data.find(b"\r\n", at)
    if line_end < 0:
        return None
    kind, rest, at = data[at:at + 1], data[at + 1:line_end], line_end + 2
    if kind in b"$=!":
        length = int(rest)
        end = at if length < 0 else at + length + 2
        return end if end <= len(data) else None
    elements = int(rest) * (2 if kind in b"%|" else 1) if kind in b"*>~%|" else 0
    for _ in range(elements):
        following = frame_end(data, at)
        if following is None:
            return None
        at = following
    return at


class LateNames:
    """`endpoint` leads to 127.0.0.1:target. Use as a context manager."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._changed = threading.Condition()
        self._stopped = False     # questions wait
        self._asked = 0           # questions under way
        self._waiting = False     # a question waits here
        self._names: List[bytes] = []
        self._answers: Optional[int] = None  # so many more may pass, then nothing
        self._ends: List[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> "LateNames":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.go_on()
        for end in [self._listener, *self._ends]:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()

    def stop_questions(self) -> None:
        with self._changed:
            self._stopped = True
        wait.until(lambda: self._waiting and self._asked == 0, "a question to wait in the proxy")

    def answer_one(self) -> None:
        wait.until(lambda: self._names, "the name of the write")
        with self._changed:
            self._answers, self._stopped = 2, False
            self._changed.notify_all()
        wait.until(lambda: self._answers == 0, "the question behind the write to be answered")

    def go_on(self) -> None:
        with self._changed:
            self._answers, self._stopped = None, False
            self._changed.notify_all()

    # Its threads

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._ends += [client, server]
            tracks = threading.Event()
            threading.Thread(target=self._forth, args=(client, server, tracks), daemon=True).start()
            threading.Thread(target=self._back, args=(server, client, tracks), daemon=True).start()

    def _forth(self, client: socket.socket, server: socket.socket, tracks: threading.Event) -> None:
        try:
            while data := client.recv(CHUNK):
                if b"TRACKING" in data:
                    tracks.set()
                if tracks.is_set() and ROLE in data:
                    with self._changed:
                        self._waiting = self._stopped
                        self._changed.wait_for(lambda: not self._stopped)
                        self._waiting = False
                        self._asked += data.count(ROLE)
                server.sendall(data)
        except OSError:
            pass
        _end(server)

    def _back(self, server: socket.socket, client: socket.socket, tracks: threading.Event) -> None:
        rest = b""
        try:
            while data := server.recv(CHUNK):
                rest += data
                while rest and (end := frame_end(rest)) is not None:
                    frame, rest = rest[:end], rest[end:]
                    if tracks.is_set():
                        self._pass(frame, client)
                    else:
                        client.sendall(frame)
        except OSError:
            pass
        _end(client)

    def _pass(self, frame: bytes, client: socket.socket) -> None:
        with self._changed:
            if frame.startswith(NAMES) and (self._stopped or self._answers is not None):
                self._names.append(frame)
                return
            self._changed.wait_for(lambda: self._answers != 0)
            names, self._names = (self._names, []) if self._answers is None and not self._stopped else ([], self._names)
            if frame.startswith(ROLE_REPLY):
                self._asked -= 1
                self._answers = None if self._answers is None else self._answers - 1
        for late in [*names, frame]:
            client.sendall(late)


def _end(one: socket.socket) -> None:
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
