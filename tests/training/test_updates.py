"""Two networks against each other: who moves, what leaks, who sits out, and resuming."""

import copy

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from a2i_lib.attributes import Attribute, AttributeSchema
from a2i_lib.data.augment import Augment
from a2i_lib.data.dataset import AttributeImages, Batch
from a2i_lib.models import CGAN, CMMA
from a2i_lib.models.cgan import SampleOnly
from a2i_lib.objectives import discriminator_loss
from a2i_lib.training.checkpoint import read_tensors
from a2i_lib.training.loop import fit
from a2i_lib.training.updates import (
    Adam,
    AdversarialUpdate,
    Game,
    LearnedElboUpdate,
    frozen_weights,
    step_unless,
)

ADAM = Adam(1e-2, betas=(0.5, 0.999))


class Painter(SampleOnly):
    """Noise and attributes to one colour."""

    def __init__(self) -> None:
        super().__init__()
        self.latent, self.size = 3, 2
        self.paint = nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3), nn.Sigmoid())

    def forward(self, z, y):
        return self.paint(torch.cat([z, y], 1))[:, :, None, None].expand(-1, -1, 2, 2)


class Critic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.judge = nn.Sequential(
            nn.Linear(14, 6), nn.Dropout(0.2), nn.LeakyReLU(), nn.Linear(6, 1)
        )

    def forward(self, x, y):
        return self.judge(torch.cat([x.flatten(1), y], 1))[:, 0]


def players(game: Game | None = None, kind=AdversarialUpdate):
    torch.manual_seed(0)
    update = kind(Painter(), Critic(), game or Game(adam=ADAM), ADAM)
    accelerator = Accelerator(cpu=True)
    update.prepare(accelerator)
    return update, accelerator


def a_batch(n: int = 8) -> Batch:
    generator = torch.Generator().manual_seed(1)
    y = torch.randint(0, 2, (n, 2), generator=generator) * 2.0 - 1
    return Batch(torch.rand(n, 3, 2, 2, generator=generator), y)


def state(module: nn.Module) -> dict[str, torch.Tensor]:
    return copy.deepcopy(module.state_dict())


def same(a, b) -> bool:
    return all(torch.equal(a[key], b[key]) for key in a)


def without_gradients(module: nn.Module) -> bool:
    return all(p.grad is None for p in module.parameters())


class Watched(AdversarialUpdate):
    """Notes what moved after each of the two steps, and whose gradients are there."""

    def _descend(self, name, loss, accelerator, skip=None):
        other = self.modules["discriminator" if name == "model" else "model"]
        for p in other.parameters():
            p.grad = None
        before, still = state(self.modules[name]), state(other)
        super()._descend(name, loss, accelerator, skip)
        self.seen = getattr(self, "seen", {})
        self.seen[name] = {
            "moved": not same(before, self.modules[name].state_dict()),
            "other stood still": same(still, other.state_dict()),
            "nothing leaked": without_gradients(other),
        }


@pytest.mark.parametrize("mismatch", [0.0, 0.5])
def test_each_step_moves_one_network_and_leaves_nothing_on_the_other(mismatch):
    update, accelerator = players(Game(mismatch=mismatch, adam=ADAM), Watched)
    update.step(a_batch(), accelerator)
    good = {"moved": True, "other stood still": True, "nothing leaked": True}
    assert update.seen == {"discriminator": good, "model": good}
    assert all(p.requires_grad for m in update.modules.values() for p in m.parameters())


def test_the_gradients_are_those_of_two_separate_graphs():
    """Against a step written out with copies of both networks, which share nothing."""
    update, accelerator = players(Game(adam=Adam(1e-2, (0.0, 0.9))))
    update.discriminator.judge[1].p = 0.0  # no dropout: two passes would draw two masks
    batch = a_batch()
    painter, critic = copy.deepcopy(update.generator), copy.deepcopy(update.discriminator)
    torch.manual_seed(3)
    update.step(batch, accelerator)

    torch.manual_seed(3)
    fake = painter(painter.noise(batch.y), batch.y)
    fixed = fake.detach().clone()
    loss = discriminator_loss(critic(batch.x, batch.y), critic(fixed, batch.y)).total.mean()
    for p, gradient in zip(
        update.discriminator.parameters(),
        torch.autograd.grad(loss, list(critic.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(p.grad, gradient)
    moved = copy.deepcopy(update.discriminator)  # the generator meets the new discriminator
    loss = nn.functional.softplus(-moved(fake, batch.y)).mean()
    for p, gradient in zip(
        update.generator.parameters(),
        torch.autograd.grad(loss, list(painter.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(p.grad, gradient, atol=1e-7, rtol=1e-4)


def test_a_pair_with_the_same_attributes_is_not_wrong():
    update, _ = players(Game(mismatch=0.5, adam=ADAM))
    update.discriminator.eval()
    batch = a_batch()
    alike = Batch(batch.x, batch.y[:1].expand(8, -1))
    fake = torch.rand(8, 3, 2, 2)
    judged = update.discriminator_losses(alike, fake)
    d = update.discriminator
    plain = discriminator_loss(d(batch.x, alike.y), d(fake, alike.y))
    torch.testing.assert_close(judged.total, plain.total)
    others = batch.y.roll(1, 0)
    differ = (others != batch.y).any(1)
    assert 0 < int(differ.sum()) < 8
    by_hand = discriminator_loss(
        d(batch.x, batch.y), d(fake, batch.y), d(batch.x, others), 0.5 * differ.float()
    )
    torch.testing.assert_close(update.discriminator_losses(batch, fake).total, by_hand.total)


@pytest.mark.parametrize("limit", [0.01, 0.99])
def test_a_discriminator_that_is_too_good_sits_out(limit):
    update, accelerator = players(Game(skip_above=limit, adam=ADAM))
    with torch.no_grad():  # it knows drawn images by nothing: half of its answers are right
        update.discriminator.judge[-1].weight.zero_()
        update.discriminator.judge[-1].bias.fill_(1.0)
    before = state(update.discriminator), state(update.generator)
    logs = update.step(a_batch(), accelerator)
    skipped = limit < 0.5
    assert float(logs["accuracy"]) == 0.5 and float(logs["skipped"]) == float(skipped)
    assert same(before[0], update.discriminator.state_dict()) == skipped
    assert not same(before[1], update.generator.state_dict())


@pytest.mark.parametrize("fused", [False, True])
def test_a_skipped_step_is_as_if_it_had_never_been(fused):
    torch.manual_seed(0)
    gradients = torch.randn(5, 4)

    def after(skips: list[bool] | None) -> tuple[torch.Tensor, dict]:
        weight = nn.Parameter(torch.ones(4))
        adam = torch.optim.Adam([weight], 0.1, fused=fused)
        for i, gradient in enumerate(gradients):
            weight.grad = gradient.clone()
            if skips is not None:
                step_unless(torch.tensor(skips[i]), adam)
            elif i in (1, 3):
                adam.step()
        return weight.detach(), adam.state[weight]

    weight, moments = after([True, False, True, False, True])
    expected, reference = after(None)
    assert torch.equal(weight, expected)
    assert moments.keys() == reference.keys()
    assert all(torch.equal(moments[key], reference[key]) for key in reference)


def test_no_rule_no_skipping():
    update, accelerator = players()
    assert "skipped" not in update.step(a_batch(), accelerator)


def test_games_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="mismatch"):
        Game(mismatch=1.0)
    with pytest.raises(ValueError, match="skip_above"):
        Game(skip_above=1.2)


def test_frozen_weights_come_back_as_they_were():
    layer = nn.Linear(2, 2)
    layer.bias.requires_grad_(False)
    with frozen_weights(layer):
        assert not any(p.requires_grad for p in layer.parameters())
    assert layer.weight.requires_grad and not layer.bias.requires_grad


# ---------------------------------------------------------------- in the loop


def tiny_data(n: int = 48) -> AttributeImages:
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(0, 2, (n, 2), generator=generator) * 2.0 - 1
    noise = torch.randint(0, 60, (n, 3, 32, 32), generator=generator)
    images = (noise + 90 * (y[:, :1, None, None] + 1)).to(torch.uint8)
    schema = AttributeSchema([Attribute("A"), Attribute("B")])
    return AttributeImages(images, y, torch.zeros(n, dtype=torch.int8), schema, name="tiny")


def gan(game: Game | None = None) -> AdversarialUpdate:
    torch.manual_seed(5)
    generator = CGAN(2, latent=4, width=0.03, size=32, spectral=True)
    return AdversarialUpdate(generator, generator.discriminator(), game)


def run(path, steps, resume=False, update=None):
    rules = Game(mismatch=0.5, skip_above=0.6)
    return fit(
        update or gan(rules), tiny_data(), steps, 4, seed=3, log_every=4, checkpoint_every=3,
        progress=False, augment=Augment.lfw(), checkpoint=path, resume=resume,
    )  # fmt: skip


class Interrupted(AdversarialUpdate):
    left = 8

    def step(self, batch, accelerator):
        self.left -= 1
        if not self.left:
            raise InterruptedError
        return super().step(batch, accelerator)


def test_a_resumed_game_equals_an_unbroken_one_bit_for_bit(tmp_path):
    unbroken = run(tmp_path / "a.safetensors", 10)
    stopped = gan(Game(mismatch=0.5, skip_above=0.6))
    stopped.__class__ = Interrupted
    with pytest.raises(InterruptedError):
        run(tmp_path / "b.safetensors", 10, update=stopped)
    resumed = run(tmp_path / "b.safetensors", 10, resume=True)
    assert resumed.history.rows == unbroken.history.rows
    whole, _ = read_tensors(tmp_path / "a.safetensors")
    again, _ = read_tensors(tmp_path / "b.safetensors")
    assert whole.keys() == again.keys()
    assert any(key.startswith("optimizer.discriminator") for key in whole)
    assert all(torch.equal(whole[key], again[key]) for key in whole)
    assert set(unbroken.history.rows[0]) == {
        "step", "generator", "discriminator", "accuracy", "skipped",
    }  # fmt: skip
    assert set(unbroken.averaged) == {"model", "discriminator"}
    assert isinstance(unbroken.model, CGAN)


def test_bfloat16_plays_too():
    fitted = fit(gan(), tiny_data(), 2, 4, precision="bf16", progress=False)
    assert fitted.model.decoder.dense.weight.dtype == torch.float32


def test_cmma_learns():
    torch.manual_seed(0)
    model = CMMA(2, latent=4, width=0.03, size=32, min_std=0.05)
    fitted = fit(
        LearnedElboUpdate(model, adam=Adam(3e-3)), tiny_data(), 12, 8, log_every=3, progress=False
    )
    losses = fitted.history.column("loss")
    assert losses[-1] < losses[0] - 100
