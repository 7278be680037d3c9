"""Information in a latent against channels whose information is known."""

import math

import pytest
import torch

from a2i_lib.evaluation.information import information, readable_information
from a2i_lib.gaussians import DiagonalGaussian


def gaussian_channel(strength: float) -> float:
    """I(y; z) of z = strength * y + N(0, 1) with y = -1/+1 alike likely, by quadrature."""
    z = torch.linspace(-12, 12, 100_001, dtype=torch.float64)
    both = torch.stack(
        [torch.distributions.Normal(m, 1.0).log_prob(z) for m in (strength, -strength)]
    )
    marginal = both.logsumexp(0) - math.log(2)
    return float(torch.trapezoid(both[0].exp() * (both[0] - marginal), z))


def test_it_finds_the_information_of_a_gaussian_channel():
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(0, 2, (20_000, 3), generator=generator) * 2.0 - 1
    strengths = torch.tensor([0.5, 1.5, 0.0])
    z = y * strengths + torch.randn(20_000, 3, generator=generator)
    found = readable_information(100 + 7 * z, y)  # whatever the units of z
    expected = torch.tensor([gaussian_channel(s) for s in strengths.tolist()])
    torch.testing.assert_close(found, expected, atol=0.012, rtol=0)


def test_a_reader_that_learns_by_heart_finds_nothing():
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(60, 40, generator=generator)
    y = torch.randint(0, 2, (60, 2), generator=generator) * 2.0 - 1
    for penalty in (1e-3, 1.0):
        assert float(readable_information(z, y, penalty).max()) < 0.1


def test_an_attribute_that_never_varies_carries_nothing():
    z = torch.randn(40, 3, generator=torch.Generator().manual_seed(2))
    assert float(readable_information(z, torch.ones(40, 1))) < 1e-3
    with pytest.raises(ValueError, match="at least four"):
        readable_information(z[:3], torch.ones(3, 1))


def test_a_sum_over_attributes_does_not_collect_chance_finds():
    """Unclamped, each is a bound of 0 from below; clamped, their mean would rise above it."""
    generator = torch.Generator().manual_seed(3)
    z = torch.randn(400, 32, generator=generator)
    y = torch.randint(0, 2, (400, 24), generator=generator) * 2.0 - 1
    found = readable_information(z, y, penalty=100.0, clamp=False)
    assert float(found.mean()) < 3 * float(found.std()) / 24**0.5
    clamped = readable_information(z, y, penalty=100.0)
    torch.testing.assert_close(clamped, found.clamp(min=0))
    assert float(clamped.mean()) > max(0.0, float(found.mean()))


def mixture(rows: int) -> DiagonalGaussian:
    """Rows -1 and +1 in turn of z = 1.2 y + N(0, 1), beside a dimension that knows nothing."""
    mu = torch.tensor([[1.2, 0.0], [-1.2, 0.0]], dtype=torch.float64).repeat(rows // 2, 1)
    return DiagonalGaussian(mu, torch.zeros_like(mu))


def test_information_of_known_densities_needs_no_reader():
    generator = torch.Generator().manual_seed(4)
    each = torch.stack([information(mixture(200), generator) for _ in range(20)]).flatten()
    error = float(each.std()) / len(each) ** 0.5
    assert float(each.mean()) == pytest.approx(gaussian_channel(1.2), abs=4 * error)
    assert error < 0.02


def test_information_is_nothing_where_all_rows_are_one_and_log_n_where_none_meet():
    same = DiagonalGaussian.standard(30, 3)
    assert float(information(same).abs().max()) < 1e-5
    apart = torch.arange(30.0)[:, None] * 100
    found = information(DiagonalGaussian(apart, torch.zeros_like(apart)))
    torch.testing.assert_close(found, torch.full((30,), math.log(30)))
