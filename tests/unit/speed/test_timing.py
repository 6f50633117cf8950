"""Rounds of paired timing: what is discarded, when a variant is decided, and what one round's clocks say."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
import torch

from benchmarks.speed import timing
from benchmarks.speed.timing import median_interval, time_variants
from benchmarks.suites.speed import Speed
from results.format.documents.speed import Discarded, Latency

BATCHES = [{"input_ids": torch.zeros(1, 4, dtype=torch.int64)}]


class Clock:
    """A clock that calls move: each call takes what its schedule says, and nothing else takes any time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.asleep = 100.0, 0.0
        monkeypatch.setattr(timing.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(timing, "clocks", lambda: (self.now, self.now + self.asleep))

    def call(self, *seconds: float, slept: dict[int, float] | None = None):
        """Takes `seconds` in turn, over and over; in the n-th call the machine sleeps for `slept[n]`."""
        durations, count = itertools.cycle(seconds), itertools.count()

        def run(inputs: object) -> None:
            self.now += next(durations)
            self.asleep += (slept or {}).get(next(count), 0.0)

        return run


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def timed(calls: dict, **speed: object) -> dict:
    settings = {"min_rounds": 10, "max_rounds": 40, **speed}
    return time_variants(calls, BATCHES, Speed(**settings), "cpu")


def test_a_steady_ratio_is_decided_at_the_first_look(clock):
    found = timed({"eager": {"predecessor": clock.call(2.0), "successor": clock.call(1.0)}})["eager"]
    assert (found.ratio, found.decided, found.rounds) == (2.0, True, 10)
    assert found.predecessor == Latency(2.0, 2.0, 2.0)
    assert found.over_eager.ratio == 2.0
    assert found.discarded == Discarded(0, 0)


def test_a_wide_interval_is_undecided_when_the_rounds_are_spent(clock):
    shaky = clock.call(1.0, 2.0, 3.0, 1.5)
    found = timed({"eager": {"predecessor": shaky, "successor": clock.call(1.0)}})["eager"]
    assert (found.decided, found.rounds) == (False, 40)
    assert found.ratio_high - found.ratio_low > 0.02 * found.ratio


def test_the_gain_over_eager_is_paired_with_the_eager_predecessor(clock):
    calls = {
        "eager": {"predecessor": clock.call(8.0), "successor": clock.call(4.0)},
        "onnx": {"predecessor": clock.call(6.0), "successor": clock.call(2.0)},
    }
    found = timed(calls)
    assert (found["eager"].ratio, found["onnx"].ratio) == (2.0, 3.0)
    assert found["onnx"].over_eager.ratio == 4.0
    assert timed({"onnx": calls["onnx"]})["onnx"].over_eager is None


def test_a_decided_variant_leaves_the_rounds_and_the_others_go_on(clock):
    calls = {
        "eager": {"predecessor": clock.call(2.0), "successor": clock.call(1.0)},
        "onnx": {"predecessor": clock.call(1.0, 2.0, 3.0, 1.5), "successor": clock.call(1.0)},
    }
    found = timed(calls)
    assert (found["eager"].rounds, found["onnx"].rounds) == (10, 40)
    assert found["onnx"].over_eager.decided is True
    assert found["onnx"].decided is False


def test_a_round_in_which_the_machine_slept_is_discarded_and_counted(clock):
    predecessor = clock.call(2.0, slept={5: 3600.0})
    found = timed({"eager": {"predecessor": predecessor, "successor": clock.call(1.0)}})["eager"]
    assert found.discarded == Discarded(1, 0)
    assert (found.rounds, found.ratio) == (9, 2.0)
    assert found.decided is True


def test_a_round_of_more_than_twenty_medians_is_discarded_and_counted(clock):
    predecessor = clock.call(*[2.0] * 6, 41.0, *[2.0] * 40)
    found = timed({"eager": {"predecessor": predecessor, "successor": clock.call(1.0)}})["eager"]
    assert found.discarded == Discarded(0, 1)
    assert max(found.predecessor_seconds) == 2.0
    assert len(found.predecessor_seconds) == len(found.ratios) == found.rounds


def test_the_allowance_ends_a_measurement_undecided(clock):
    found = timed({"eager": {"predecessor": clock.call(2.0), "successor": clock.call(1.0)}}, max_seconds=20)["eager"]
    assert (found.rounds, found.decided) == (5, False)
    assert found.ratio == 2.0


def test_without_rounds_there_is_no_ratio(clock):
    asleep = clock.call(2.0, slept=dict.fromkeys(range(100), 60.0))
    found = timed({"eager": {"predecessor": asleep, "successor": clock.call(1.0)}}, max_rounds=10)["eager"]
    assert (found.ratio, found.ratio_low, found.decided, found.rounds) == (None, None, False, 0)
    assert found.predecessor == Latency(None, None, None)
    assert found.discarded.clock_gaps == 10


def test_the_bootstrap_interval_of_a_median():
    values = np.random.default_rng(0).normal(2.0, 0.1, 200)
    low, high = median_interval(values)
    assert low < np.median(values) < high
    assert high - low < 0.06
    assert median_interval(np.full(9, 2.0)) == (2.0, 2.0)


def test_the_clocks_agree_while_nothing_sleeps():
    before = timing.clocks()
    time.sleep(0.01)
    steady, *others = (after - earlier for after, earlier in zip(timing.clocks(), before, strict=True))
    assert others
    assert all(abs(other - steady) < timing.CLOCK_GAP for other in others)
