"""Each slip that book/slips.md explains, shown by a computation; numbered as on that page."""

import math
import re
from pathlib import Path

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from a2i_lib.gaussians import DiagonalGaussian
from a2i_lib.models import CMMA
from a2i_lib.models.layers import ImageDecoder, UpConv
from a2i_lib.worlds import get_world


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def test_every_slip_of_the_page_has_a_check(root: Path) -> None:
    told = re.findall(r"^### Slip (\d+):", (root / "book" / "slips.md").read_text(), re.M)
    checked = re.findall(r"^def test_slip_(\d+)", Path(__file__).read_text(), re.M)
    assert told and sorted(set(checked), key=int) == told


def layers(n: int = 1000) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Foreground and background in [0, 1], and a gate of zeros and ones."""
    return torch.rand(n), torch.rand(n), torch.rand(n).round()


def test_slip_1_a_sum_needs_black_to_be_nothing() -> None:
    x_f, x_b, g = layers()
    black = (1 - g) * x_f  # the layer on a black ground
    scaled = 2 * black - 1 + g * (2 * x_b - 1)  # eq. 4 on [-1, 1]
    assert scaled[g == 1].max() <= 0 < (2 * x_b - 1).max()
    assert ((black + g * x_b) - (black * (1 - g) + x_b * g)).abs().max() == 0  # eq. 4 on [0, 1]


def test_slip_1_a_mean_of_layers_survives_rescaling() -> None:
    x_f, x_b, g = layers()
    mixed = (1 - g) * x_f + g * x_b
    mixed_after = (1 - g) * (2 * x_f - 1) + g * (2 * x_b - 1)
    torch.testing.assert_close(mixed_after, 2 * mixed - 1)


def test_slip_1_cut_out_after_scaling_a_sum_holds_there_too() -> None:
    x_f, x_b, g = layers()
    x = (1 - g) * x_f + g * x_b
    cut_after = (1 - g) * (2 * x_f - 1)  # its outside is 0, mid-grey
    torch.testing.assert_close(cut_after + g * (2 * x_b - 1), 2 * x - 1)


def test_slip_2_a_bound_with_a_weight_passes_what_it_should_bound() -> None:
    """One gate pixel, two latents: the largest value over q is log sum p(z) p(g | z)^lambda."""
    s, prior = torch.tensor([0.9, 0.2]), torch.tensor([0.5, 0.5])
    log_p_g = (prior * s).sum().log()
    largest = {weight: (prior * s**weight).sum().log() for weight in (0.3, 1.0)}
    torch.testing.assert_close(largest[1.0], log_p_g)
    assert largest[0.3] > log_p_g + 0.3


def test_slip_2_a_power_of_a_probability_does_not_sum_to_one() -> None:
    s = torch.linspace(0.1, 0.9, 9)

    def total(power: float) -> torch.Tensor:
        return s**power + (1 - s) ** power

    torch.testing.assert_close(total(1.0), torch.ones(9))
    assert (total(0.3) > 1.3).all()
    assert total(0.3)[4].item() == pytest.approx(1.62, abs=0.005)


def test_slip_3_same_place_other_value() -> None:
    """p(z) = N(0, 1), p(x | z) = N(2z, 1): all is known in closed form."""
    z, x = torch.linspace(-4, 4, 8001), torch.tensor(1.5)
    posterior = Normal(2 * x / 5, math.sqrt(1 / 5)).log_prob(z)
    unnormalised = Normal(2 * z, 1.0).log_prob(x) + Normal(0.0, 1.0).log_prob(z)
    assert posterior.argmax() == unnormalised.argmax()
    log_evidence = Normal(0.0, math.sqrt(5)).log_prob(x)
    torch.testing.assert_close(unnormalised.max() - posterior.max(), log_evidence)
    assert log_evidence.abs() > 1


def test_slip_3_a_prior_that_sees_the_attributes_moves_the_place() -> None:
    z, x = torch.linspace(-4, 4, 8001), torch.tensor(1.5)
    likelihood = Normal(2 * z, 1.0).log_prob(x)
    with_y = (likelihood + Normal(2.0, 1.0).log_prob(z)).argmax()  # p(z | y) = N(2, 1)
    without = (likelihood + Normal(0.0, 1.0).log_prob(z)).argmax()
    assert (z[with_y] - z[without]).abs() > 0.3


@pytest.mark.parametrize("sigma", [0.1, 0.5])
def test_slip_4_lambda_is_the_variance_of_the_noise(sigma: float) -> None:
    """The exact posterior mean of x = W z + noise is the ridge solution at sigma^2 alone."""
    w, x = torch.randn(12, 3).double(), torch.randn(12).double()
    both = torch.eye(15).double()  # covariance of (x, z), from x = W z + sigma n
    both[:12, :12] = w @ w.T + sigma**2 * torch.eye(12)
    both[:12, 12:], both[12:, :12] = w, w.T
    mean = both[12:, :12] @ torch.linalg.solve(both[:12, :12], x)  # E(z | x): Gaussian conditioning

    def minimiser(penalty: float) -> torch.Tensor:
        return torch.linalg.solve(w.T @ w + penalty * torch.eye(3).double(), w.T @ x)

    torch.testing.assert_close(minimiser(sigma**2), mean)
    assert (minimiser(2 * sigma**2) - mean).abs().max() > 1e-3
    torch.testing.assert_close(  # pixels twice as wide, as on [-1, 1]: lambda is 4 sigma^2
        torch.linalg.solve(4 * w.T @ w + 4 * sigma**2 * torch.eye(3), 4 * w.T @ x), mean
    )


def test_slip_4_a_patch_in_the_loss_is_not_a_hidden_one() -> None:
    w, x = torch.randn(12, 3).double(), torch.randn(12).double()
    hidden = torch.arange(12) >= 8
    conditioned = torch.linalg.solve(  # E(z | the eight that are seen), noise of variance 0.04
        w[:8] @ w[:8].T + 0.04 * torch.eye(8), x[:8]
    )
    mean = w[:8].T @ conditioned
    left_out = w[~hidden]
    solved = torch.linalg.solve(left_out.T @ left_out + 0.04 * torch.eye(3), left_out.T @ x[:8])
    torch.testing.assert_close(solved, mean)
    zeroed = torch.linalg.solve(w.T @ w + 0.04 * torch.eye(3), w.T @ x.masked_fill(hidden, 0))
    assert (zeroed - mean).abs().max() > 0.05


def test_slip_5_three_doublings() -> None:
    decoder = ImageDecoder(256, width=0.1, size=64)
    doublings = [module for module in decoder.modules() if isinstance(module, UpConv)]
    assert 8 * 2 ** len(doublings) == 64 and len(doublings) == 3
    assert 8 * 2**5 == 256


def test_slip_6_no_mean_squared_error_on_that_range_reaches_the_table() -> None:
    worst = (torch.tensor(1.0) - torch.tensor(-1.0)) ** 2
    assert worst < 11.8


def test_slip_6_no_unit_fits_both_halves_of_the_table() -> None:
    faces = {"VAE": (13.0, 12.1, 13.1), "CVAE": (12.0, 12.0, 12.3), "disCVAE": (10.3, 10.3, 10.9)}
    for eye, mouth, face in faces.values():  # face contains eye and mouth
        assert face < math.hypot(eye, mouth) < eye + mouth  # neither sum nor root of one
    birds = {"VAE": (14.5, 1.8, 4.6), "CVAE": (14.3, 1.8, 4.4), "disCVAE": (12.9, 1.8, 4.4)}
    for seen, small, large in birds.values():
        assert small < seen / 7  # an unseen block cannot be known so much better: no mean
        assert 2 < large / small < 4  # four times the values: a root of a sum, no sum


def longest_prediction(cosine: float, error: float) -> float:
    """Length of v for |u| = 1, this cosine between u and v, and |u - v|^2 = error."""
    return cosine + math.sqrt(cosine**2 - 1 + error)


def test_slip_6_seventeen_a_score_needs_predictions_five_times_too_long() -> None:
    assert longest_prediction(0.9054, 17.20) > 5
    assert longest_prediction(0.9054, 17.20 / 73) < 1.2  # read as a sum: an ordinary length


def test_slip_6_the_best_of_ten_lets_a_worse_model_win() -> None:
    """1.54 deviations are won by choosing: with twice the spread a lower mean comes out on top."""
    xi = torch.randn(200_000, 10)
    assert xi.amax(1).mean().item() == pytest.approx(1.54, abs=0.01)
    steady, erratic = 0.80 + 0.03 * xi, 0.77 + 0.06 * torch.randn_like(xi)
    assert steady.mean() > erratic.mean() + 0.02
    assert erratic.amax(1).mean() > steady.amax(1).mean() + 0.01


def test_slip_7_lowering_a_bound_leaves_the_likelihood() -> None:
    """The gap is KL(q || posterior): a worse q lowers the bound, log p(x) stays."""
    posterior, log_p_x = Normal(0.6, 0.45), -1.5
    bounds = [log_p_x - kl_divergence(Normal(m, 0.45), posterior) for m in (0.6, 1.0, 2.0)]
    assert bounds[0] == log_p_x and bounds[0] > bounds[1] > bounds[2]


def test_slip_8_without_its_minus_one_a_divergence_of_nothing_is_250_nats() -> None:
    f_mu, f_sigma = torch.randn(500), torch.randn(500)
    h_mu, h_sigma = f_mu, f_sigma  # the posterior is the prior
    spread = (h_sigma - f_sigma).exp() + (h_mu - f_mu) ** 2 / f_sigma.exp()
    printed = 0.5 * (f_sigma - h_sigma + spread).sum()  # eq. 7
    q, p = Normal(h_mu, (h_sigma / 2).exp()), Normal(f_mu, (f_sigma / 2).exp())
    assert kl_divergence(q, p).sum() == 0
    assert printed.item() == pytest.approx(250)


def test_slip_9_the_best_variance_is_a_squared_residual() -> None:
    """A grid of variances: eq. 8 as printed, and a density's logarithm."""
    v = torch.logspace(-4, 0, 20_001, dtype=torch.float64)[:, None]
    r = torch.tensor([0.02, 0.1, 0.3], dtype=torch.float64)
    printed = r**2 / (2 * v) + v
    meant = -Normal(torch.zeros(1, dtype=torch.float64), v.sqrt()).log_prob(r)
    torch.testing.assert_close(v[printed.argmin(0), 0], r / math.sqrt(2), rtol=1e-3, atol=0)
    torch.testing.assert_close(v[meant.argmin(0), 0], r**2, rtol=1e-3, atol=0)


def test_slip_9_as_printed_it_does_not_integrate_to_one() -> None:
    x = torch.linspace(-60, 60, 200_001, dtype=torch.float64)
    for v in (0.1, 1.0):
        density = torch.exp(-(x**2 / (2 * v) + v))
        assert abs(float(torch.trapezoid(density, x)) - 1) > 0.05


def test_slip_10_a_log_variance_used_as_a_scale() -> None:
    noise = torch.randn(100_000, dtype=torch.float64)
    for h_sigma in (-6.0, 0.0):
        log_var = torch.full((100_000, 1), h_sigma, dtype=torch.float64)
        q = DiagonalGaussian(torch.zeros_like(log_var), log_var)
        meant = q.rsample().std()
        assert abs(float(meant) / math.exp(h_sigma / 2) - 1) < 0.02
        assert abs(float((noise * h_sigma).std()) - abs(h_sigma)) < 0.1


def test_slip_11_what_the_constants_are_worth() -> None:
    m, j = 3 * 64 * 64, 500
    with_all = -Normal(0.0, 1.0).log_prob(torch.zeros(m, dtype=torch.float64)).sum()
    assert round(float(with_all)) == 11_292 and j / 2 == 250
    assert round(float(with_all)) - 250 == 11_042
    assert 11_042 > 17_973 / 2


def test_slip_12_with_a_constant_prior_the_terms_are_one() -> None:
    q = Normal(torch.randn(5, 8), torch.rand(5, 8) + 0.1)
    cvae = kl_divergence(q, Normal(0.0, 1.0)).sum(1)
    constant = Normal(torch.zeros(5, 8), torch.ones(5, 8))  # f(y), the same for every y
    torch.testing.assert_close(kl_divergence(q, constant).sum(1), cvae)
    assert (cvae > 0).all()


def test_slip_13_three_filters_of_192_channels() -> None:
    with torch.device("meta"):
        model = CMMA(73)
        heads = model.decoder.stack[-1].weight
        assert heads.shape == (2 * 3, 192, 5, 5)
        assert model.encoder.features == model.decoder.dense.out_features == 48 * 10 * 10
        assert model.decode(torch.empty(1, 500), torch.empty(1, 73)).shape == (1, 3, 64, 64)
    assert torch.nn.Conv2d(3, 192, 5).weight.shape == (192, 3, 5, 5)  # as printed: from 3 to 192


def test_slip_14_new_attributes_change_nothing_that_ignores_them() -> None:
    x, old, new = torch.rand(2, 3, 32, 32), -torch.ones(2, 5), torch.ones(2, 5)
    for sees_y in (False, True):
        model = CMMA(5, latent=4, width=0.1, size=32, sees_y=sees_y)
        told = torch.equal(model.encode(x, old), model.encode(x, new))
        assert told != sees_y


def test_slip_14_five_hundred_epochs_in_a_day() -> None:
    day = 24 * 3600
    assert day / 500 > 120  # seconds for one step
    assert round(500 * 10_000 / day) == 58  # images a second


def test_slip_23_a_ratio_of_logarithms_is_no_divergence() -> None:
    q = Normal(0.0, 1.0)
    z = q.sample((10_000,))
    ratio = (q.log_prob(z) / q.log_prob(z)).mean()
    assert ratio == 1 and (q.log_prob(z) - q.log_prob(z)).mean() == 0
    p = Normal(1.0, 2.0)
    printed = (q.log_prob(z) / p.log_prob(z)).mean()
    meant = (q.log_prob(z) - p.log_prob(z)).mean()
    torch.testing.assert_close(meant, kl_divergence(q, p), atol=0.03, rtol=0)
    assert (printed - kl_divergence(q, p)).abs() > 0.3


def test_slip_23_without_the_logarithm_everything_is_nothing() -> None:
    near, far = torch.tensor(-3000.0).exp(), torch.tensor(-30000.0).exp()
    assert near == far == 0


def test_slip_24_a_density_above_one() -> None:
    assert Normal(0.0, 0.1).log_prob(torch.tensor(0.0)).exp() > 3.98
    pixels = torch.rand(12_288)
    drawn = Normal(pixels + 0.01 * torch.randn(12_288), 0.1)
    assert drawn.log_prob(pixels).sum() > 16_800


def test_slip_25_two_priors_two_losses() -> None:
    q = Normal(torch.randn(8), torch.rand(8) + 0.1)
    mu, log_var = q.loc, 2 * q.scale.log()
    printed = -0.5 * (1 + log_var - mu**2 - log_var.exp()).sum()  # eq. 10
    torch.testing.assert_close(printed, kl_divergence(q, Normal(0.0, 1.0)).sum())
    assert (printed - kl_divergence(q, Normal(1.0, 1.0)).sum()).abs() > 0.5


@pytest.mark.parametrize(("beta", "weight"), [(0.25, 0.17), (0.5, 0.5), (0.75, 1.5), (0.9, 4.5)])
def test_slip_26_the_weight_that_beta_means(beta: float, weight: float) -> None:
    error, kl = torch.tensor(37.0), torch.tensor(11.0)
    w = beta / (2 * (1 - beta))
    assert w == pytest.approx(weight, abs=0.005)
    printed = (1 - beta) * error + beta * kl
    torch.testing.assert_close(printed, 2 * (1 - beta) * (error / 2 + w * kl))


def test_slip_26_the_plain_bound_sits_at_two_thirds() -> None:
    """There the loss has the gradient of -log p(x | z) + KL, up to a factor."""
    beta, x = 2 / 3, torch.randn(6)

    def gradient(weighted: bool) -> torch.Tensor:
        x_hat = torch.linspace(-1, 1, 6).requires_grad_()
        kl = (x_hat**2).sum()  # any function of the weights
        if weighted:
            loss = (1 - beta) * ((x - x_hat) ** 2).sum() + beta * kl
        else:
            loss = -MultivariateNormal(x_hat, torch.eye(6)).log_prob(x) + kl
        return torch.autograd.grad(loss, x_hat)[0]

    torch.testing.assert_close(gradient(True), 2 * (1 - beta) * gradient(False))


def test_slip_26_another_variance_another_place() -> None:
    """The plain bound sits where beta / (2 sigma^2 (1 - beta)) is 1: anywhere, for some sigma."""
    for beta in (0.25, 0.5, 0.9):
        sigma = math.sqrt(beta / (2 * (1 - beta)))
        x, x_hat = torch.randn(6), torch.linspace(-1, 1, 6).requires_grad_()
        loss = (1 - beta) * ((x - x_hat) ** 2).sum() + beta * (x_hat**2).sum()
        bound = -Normal(x_hat, sigma).log_prob(x).sum() + (x_hat**2).sum()
        torch.testing.assert_close(
            torch.autograd.grad(loss, x_hat)[0], beta * torch.autograd.grad(bound, x_hat)[0]
        )


def test_slip_27_no_single_image_is_that_wrong() -> None:
    values = 178 * 218 * 3
    assert 70_444 / values == pytest.approx(0.61, abs=0.006)
    blackest = torch.zeros(values)  # as far from grey as a picture can be
    assert ((blackest - 0.5) ** 2).mean() == 0.25
    assert math.ceil(70_444 / values / 0.25) == 3


def test_slip_27_a_face_with_two_attributes_is_not_one_hot() -> None:
    assert get_world("faces").schema.encode("Smiling, Eyeglasses").gt(0).sum() == 2
