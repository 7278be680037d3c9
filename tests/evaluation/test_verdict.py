"""Verdicts: seeds and test rows both count, and the quantiles are Student's."""

import math

import pytest
import torch

from a2i_lib.evaluation.verdict import STUDENT, verdict


def test_a_verdict_weighs_seeds_and_test_rows():
    # three seeds: deviation 1, so the margin is 4.30 / sqrt 3 = 2.48 where the rows add nothing
    assert verdict([1.5, 2.5, 3.5], 0) == "holds"
    assert verdict([-1.4, -2.4, -3.4], 0) == "cannot be told"
    assert verdict([-1.5, -2.5, -3.5], 0) == "does not"
    assert verdict([1.5, 2.5, 3.5], 0.5) == "cannot be told"
    # nothing trained: two standard errors
    assert verdict([0.5], 0.24) == "holds" and verdict([0.5], 0.26) == "cannot be told"
    with pytest.raises(ValueError, match="one difference at least"):
        verdict([], 0)


def test_students_quantiles_leave_two_and_a_half_percent_above():
    for degrees, quantile in enumerate(STUDENT, 1):
        x = torch.linspace(quantile, 3000, 3_000_001, dtype=torch.float64)
        scale = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)
        density = math.exp(scale) / math.sqrt(degrees * math.pi)
        density = density * (1 + x**2 / degrees) ** (-(degrees + 1) / 2)
        assert float(torch.trapezoid(density, x)) == pytest.approx(0.025, abs=3e-4)
