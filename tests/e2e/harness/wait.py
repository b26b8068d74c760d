"""Waiting for a condition with a deadline: the only way in which these tests wait.

Deadlines are written for a machine that has nothing else to do, and multiplied here by PATIENCE, so that tests pass on a
busy one. They only matter when a test fails."""
from __future__ import annotations

import time
from typing import Callable, Optional, TypeVar

T = TypeVar("T")
PATIENCE = 4


def until(condition: Callable[[], Optional[T]], what: str, seconds: float = 15.0, every: float = 0.02) -> T:
    """The first true value of condition(). Exceptions of connections in the meantime count as "not yet"."""
    deadline = time.monotonic() + seconds * PATIENCE
    last: Optional[BaseException] = None
    while True:
        try:
            value = condition()
            if value:
                return value
            last = None
        except (OSError, EOFError) as problem:
            last = problem
        except Exception as problem:  # redis.RedisError is no OSError
            if type(problem).__module__.split(".")[0] != "redis":
                raise
            last = problem
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds * PATIENCE:g} s for {what}" + (f"; last: {last!r}" if last else ""))
        time.sleep(every)
