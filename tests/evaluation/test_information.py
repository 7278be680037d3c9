"""Information in a latent against channels whose information is known."""

import math

import pytest
import torch

from a2i_lib.evaluation.information import readable_information


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
