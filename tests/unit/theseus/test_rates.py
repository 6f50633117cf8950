"""Replacing rates: values, when they reach 1, domains, and the warning of a missing successor phase."""

from __future__ import annotations

import math

import pytest

from theseus import AntiLinearRate, ConstantRate, LinearRate, TheseusError, unreached_warning


def test_linear_follows_the_papers_equation():
    rate = LinearRate(base=0.3, k=0.0006)
    assert [rate(t) for t in (0, 1, 500)] == pytest.approx([0.3, 0.3006, 0.6])
    assert rate(1167) == 1.0  # facts: the README's ramp is full at step 1,167
    assert rate(1166) < 1.0
    assert rate.full_from() == 1167 == math.ceil(0.7 / 0.0006)


@pytest.mark.parametrize(("base", "steps"), [(b, s) for b in (0.1, 0.3) for s in (1000, 5000, 10000, 30000)])
def test_the_papers_grid_is_full_exactly_where_it_says(base, steps):
    rate = LinearRate.reaching(base, steps)
    assert rate(0) == base
    assert rate(steps - 1) < 1.0 == rate(steps)
    assert rate.full_from() == steps


def test_constant_is_p_then_one():
    rate = ConstantRate(p=0.5, steps=3)
    assert [rate(t) for t in range(5)] == [0.5, 0.5, 0.5, 1.0, 1.0]
    assert rate.full_from() == 3
    assert ConstantRate(p=1.0, steps=3).full_from() == 0


def test_anti_curriculum_mirrors_the_curriculum():
    up, down = LinearRate(0.3, 0.01), AntiLinearRate(0.3, 0.01)
    assert [down(t) for t in (0, 10, 70, 200)] == pytest.approx([1 - up(t) for t in (0, 10, 70, 200)])
    assert down(200) == 0.0
    assert down.full_from() is None


@pytest.mark.parametrize(
    "make",
    [
        lambda: ConstantRate(p=1.1, steps=5),
        lambda: ConstantRate(p=-0.1, steps=5),
        lambda: ConstantRate(p=float("nan"), steps=5),
        lambda: ConstantRate(p=0.5, steps=-1),
        lambda: LinearRate(base=1.5, k=0.1),
        lambda: LinearRate(base=0.3, k=0.0),
        lambda: LinearRate(base=0.3, k=-0.1),
        lambda: LinearRate(base=0.3, k=float("inf")),
        lambda: AntiLinearRate(base=-0.3, k=0.1),
        lambda: LinearRate.reaching(1.0, 10),
        lambda: LinearRate.reaching(0.3, 0),
        lambda: LinearRate(0.3, 0.1)(-1),
    ],
)
def test_values_outside_their_domain_are_refused(make):
    with pytest.raises(TheseusError):
        make()


def test_a_rate_without_successor_phase_is_warned_about():
    readme = ConstantRate(p=0.5, steps=2500)  # the released README, on MRPC: 115 steps x 15 epochs
    assert "only 1,725 steps are planned" in str(unreached_warning(readme, 1725))
    assert unreached_warning(readme, 2501) is None
    assert "never reaches 1" in str(unreached_warning(AntiLinearRate(0.3, 0.1), 10**6))
