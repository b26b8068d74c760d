"""The benchmark's arithmetic: run by pytest with the other tests of Python."""
from __future__ import annotations

import random

import data
import live
import measure
from rows import Row


def test_processor_time_of_a_stat_line_counts_children_and_survives_odd_names() -> None:
    fields = ["S"] + ["0"] * 10 + ["100", "50", "25", "25"] + ["0"] * 30
    assert measure.stat_seconds("12 (a) b) " + " ".join(fields)) == 200 * measure.TICK_S


def test_ratio_is_of_medians() -> None:
    assert measure.ratio([1, 100, 3], [2, 2, 90]) == 1.5
    assert measure.ratio([], [1]) is None
    assert measure.ratio([1], [0]) is None


def test_percentiles_are_values_that_occurred() -> None:
    assert [measure.percentile(list(range(1, 101)), share) for share in (0.5, 0.99, 1.0)] == [50, 99, 100]
    assert measure.percentile([7], 0.5) == 7


def test_every_way_has_its_turn_at_the_beginning() -> None:
    assert measure.interleave(["a", "b"], 3) == ["a", "b", "b", "a", "a", "b"]


def test_lag_that_grows_is_not_bounded() -> None:
    assert live.is_bounded([900, 400, 1000, 600, 900, 700])
    assert not live.is_bounded([500, 1000, 1500, 2000, 2500, 2900, 2950, 2990])
    assert not live.is_bounded([4000] * 8)


def test_a_row_without_a_number_is_not_complete() -> None:
    assert not Row("a").is_complete
    assert Row("a", skipped="not in this version").is_complete
    assert Row("a", ratio=1.0, values={"b": 2.0}).is_complete
    assert not Row("a", ratio=1.0, values={"b": None}).is_complete  # type: ignore[dict-item]


def test_every_kind_makes_commands() -> None:
    for kind in data.KINDS.values():
        assert kind.command(3, random.Random(1)).startswith(b"*")


def test_lag_is_of_the_job_that_wrote_last() -> None:
    jobs = [{"updated_us": 1, "watermark_us": 1}, {"updated_us": 5_000_000, "watermark_us": 4_000_000}]
    held = live.newest(jobs, 5_500_000)  # type: ignore[arg-type]
    assert held is not None and held["lag_ms"] == 1500
    assert live.newest([], 1) is None
