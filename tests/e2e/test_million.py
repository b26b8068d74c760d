"""The whole promise at once: many keys of all types, every pair of shapes, plain and over TLS, while connections are
killed at random; equal by the servers' own digests, in little memory. 100,000 keys here; a million with the marker
`long`."""
from __future__ import annotations

import pytest

from conftest import Deployments
from harness import data, oracle
from harness.faults import Killer
from harness.run import EQUAL, is_sanitized, replicate

SHAPES = [("standalone", "standalone"), ("standalone", "cluster"), ("cluster", "standalone"), ("cluster", "cluster")]
PAIRS = pytest.mark.parametrize("shapes", SHAPES, ids=["-to-".join(shapes) for shapes in SHAPES])
PROFILES = pytest.mark.parametrize("profile", ["plain", "tls"])
MEMORY = 64 << 20


def copy_under_fire(deployments: Deployments, shapes: tuple[str, str], profile: str, count: int, every: float) -> None:
    source = deployments.get("source", shapes[0], profile)
    target = deployments.get("target", shapes[1], profile)
    data.load(source, data.many(501, count))
    with Killer([source, target], every, seed=502) as killer:
        result = replicate(source, target, timeout=300).expect(EQUAL)
    said = result.json
    assert killer.kills >= 3 and said["keys"]["given_up"] == 0
    assert said["compare"]["equal"] == said["compare"]["keys"] == count
    oracle.assert_equal(source, target, at_least=count)
    if not is_sanitized():
        assert result.peak_kib * 1024 < MEMORY, f"{result.peak_kib} KiB"
    target.flush()
    source.flush()


@PROFILES
@PAIRS
@pytest.mark.million
def test_hundred_thousand_keys_under_fire(deployments: Deployments, shapes: tuple[str, str], profile: str) -> None:
    copy_under_fire(deployments, shapes, profile, 100_000, every=0.05)


@PROFILES
@PAIRS
@pytest.mark.million
@pytest.mark.long
@pytest.mark.timeout(600)
def test_million_keys_under_fire(deployments: Deployments, shapes: tuple[str, str], profile: str) -> None:
    copy_under_fire(deployments, shapes, profile, 1_000_000, every=0.1)
