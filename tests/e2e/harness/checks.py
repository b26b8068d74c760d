"""Checks that several tests share: the report of a run is right, and the oracle agrees."""
from __future__ import annotations

from typing import Any, Dict

from . import oracle
from .run import EQUAL, Result, replicate

COUNTS = ("scanned", "copied", "vanished", "skipped", "given_up")


def assert_report(result: Result, copied: int) -> Dict[str, Any]:
    """The JSON of a run that went well: its numbers fit each other and the data."""
    said = result.json
    assert said["command"] == "replicate" and said["result"] == "done" and said["error"] is None, result
    keys = said["keys"]
    assert keys["copied"] == copied, keys
    assert keys["given_up"] == len(said["given_up"]) == 0, said["given_up"][:3]
    assert sum(kind["keys"] for kind in said["types"].values()) == copied, said["types"]
    assert said["bytes"] > 0 and said["peak_memory_bytes"] > 0 and said["duration_ms"] >= 0
    return said


def assert_found_equal(said: Dict[str, Any], keys: int) -> None:
    """The comparison after the copy saw every key and no difference."""
    compared = said["compare"]
    assert compared and compared["equal"] == compared["keys"] == keys, compared
    assert compared["missing"] == compared["type"] == compared["ttl"] == compared["value"] == 0, compared
    assert compared["differences"] == []


def assert_copies(source: Any, target: Any, keys: int, *args: object, timeout: float = 60, **kwargs: Any) -> Result:
    """Replicates; exit status, report and oracle say that all `keys` arrived."""
    result = replicate(source, target, *args, timeout=timeout).expect(EQUAL)
    said = assert_report(result, keys)
    if said["compare"]:
        assert_found_equal(said, keys)
    oracle.assert_equal(source, target, at_least=keys, **kwargs)
    return result
