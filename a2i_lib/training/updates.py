"""Updates: what happens to one batch. The loop knows nothing of models, and models know nothing of
the loop.

An update holds its networks (`modules`, by name), their optimisers (by name) and computes one
step. The loop moves the batches, averages the weights, writes checkpoints and keeps the time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from a2i_lib.attributes import AttributeSchema
from a2i_lib.data.dataset import Batch
from a2i_lib.objectives import (
    Loss,
    attribute_loss,
    discriminator_loss,
    generator_loss,
    layered_negative_elbo,
    learned_negative_elbo,
    negative_elbo,
    weighted_loss,
)


@dataclass(frozen=True)
class Adam:
    """Adam's settings, with Attribute2Image's defaults (section 5; weight decay from its code is
    0.004, coupled).

    Args:
        rate: learning rate.
        betas: decay of the two moments.
        weight_decay: coupled L2 penalty.
        clip: largest norm of the gradient; 0 leaves it alone.
    """

    rate: float = 3e-4
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    clip: float = 0.0

    def build(self, module: nn.Module) -> torch.optim.Adam:
        return torch.optim.Adam(
            module.parameters(),
            self.rate,
            (self.betas[0], self.betas[1]),
            weight_decay=self.weight_decay,
            fused=True,
        )


class Update(Protocol):
    """What `fit` calls. With `needs_masks` it first makes sure that each image has one."""

    needs_masks: bool
    modules: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]

    def prepare(self, accelerator: Accelerator) -> None:
        """Hands networks and optimisers to Accelerate, once, before the first step."""

    def step(self, batch: Batch, accelerator: Accelerator) -> Mapping[str, Tensor]:
        """One step; returns detached scalars to log, on the device."""


class GradientUpdate:
    """One network, one optimiser, one per-image loss: the mean over the batch goes down.

    A subclass defines `loss(batch)`.
    """

    needs_masks = False

    def __init__(self, model: nn.Module, adam: Adam | None = None) -> None:
        self.adam = adam or Adam()
        self.model = model
        self.modules: dict[str, nn.Module] = {"model": model}
        self.optimizers: dict[str, Any] = {"model": self.adam.build(model)}
        self._wrapped: nn.Module = model

    def prepare(self, accelerator: Accelerator) -> None:
        self._wrapped = accelerator.prepare_model(self.model)
        self.optimizers["model"] = accelerator.prepare_optimizer(self.optimizers["model"])

    def loss(self, batch: Batch) -> Loss:
        """Per-image loss of a batch."""
        raise AttributeError(f"{type(self).__name__} defines no loss")

    def step(self, batch: Batch, accelerator: Accelerator) -> dict[str, Tensor]:
        with accelerator.autocast():
            loss = self.loss(batch)
        mean = loss.total.mean()
        optimizer = self.optimizers["model"]
        optimizer.zero_grad(set_to_none=True)
        accelerator.backward(mean)
        if self.adam.clip:
            accelerator.clip_grad_norm_(self.model.parameters(), self.adam.clip)
        optimizer.step()
        return {"loss": mean.detach(), **{k: v.detach().mean() for k, v in loss.terms.items()}}


class ElboUpdate(GradientUpdate):
    """Maximises the variational bound of an auto-encoder (Attribute2Image eq. 1).

    Args:
        model: whose forward pass gives `Pass(x_hat, z, q, p)`.
        sigma: standard deviation of p(x | z, y), in pixel units.
        kl_weight: 1 for the bound.
        adam: the optimiser's settings.
    """

    def __init__(
        self, model: nn.Module, sigma: float, kl_weight: float = 1.0, adam: Adam | None = None
    ) -> None:
        super().__init__(model, adam)
        self.sigma, self.kl_weight = sigma, kl_weight

    def loss(self, batch: Batch) -> Loss:
        x_hat, _, q, p = self._wrapped(batch.x, batch.y)
        return negative_elbo(batch.x, x_hat, q, p, sigma=self.sigma, kl_weight=self.kl_weight)


class LearnedElboUpdate(GradientUpdate):
    """Maximises the bound of an auto-encoder with a variance of its own for each pixel (CMMA
    eq. 6).

    Args:
        model: whose forward pass gives a `GaussianPass`.
        kl_weight: 1 for the bound.
        adam: the optimiser's settings.
    """

    def __init__(self, model: nn.Module, kl_weight: float = 1.0, adam: Adam | None = None) -> None:
        super().__init__(model, adam)
        self.kl_weight = kl_weight

    def loss(self, batch: Batch) -> Loss:
        made = self._wrapped(batch.x, batch.y)
        return learned_negative_elbo(batch.x, made, kl_weight=self.kl_weight)


class LayeredElboUpdate(GradientUpdate):
    """Maximises the bound of a layered auto-encoder (Attribute2Image eq. 7).

    Args:
        model: whose forward pass of (x, y, mask) gives a `LayeredPass`.
        sigma: standard deviation of p(x | z, y) and p(x_f | z_f, y), in pixel units.
        gate_weight: lambda_g; 1 for the bound.
        adam: the optimiser's settings.
    """

    needs_masks = True

    def __init__(
        self, model: nn.Module, sigma: float, gate_weight: float = 1.0, adam: Adam | None = None
    ) -> None:
        super().__init__(model, adam)
        self.sigma, self.gate_weight = sigma, gate_weight

    def loss(self, batch: Batch) -> Loss:
        if batch.mask is None:
            raise ValueError("a layered model learns from masks, and these images have none")
        made = self._wrapped(batch.x, batch.y, batch.mask)
        return layered_negative_elbo(
            batch.x, batch.mask, made, sigma=self.sigma, gate_weight=self.gate_weight
        )


class WeightedUpdate(GradientUpdate):
    """Minimises Debbagh's weighted loss (eq. 9).

    Args:
        model: whose forward pass gives `Pass(x_hat, z, q, p)`.
        beta: weight of the KL term, between 0 and 1; the squared error has 1 - beta.
        adam: the optimiser's settings.
    """

    def __init__(self, model: nn.Module, beta: float, adam: Adam | None = None) -> None:
        super().__init__(model, adam)
        self.beta = beta

    def loss(self, batch: Batch) -> Loss:
        x_hat, _, q, p = self._wrapped(batch.x, batch.y)
        return weighted_loss(batch.x, x_hat, q, p, beta=self.beta)


class AttributeUpdate(GradientUpdate):
    """Trains an attribute predictor (Attribute2Image, appendix C).

    Args:
        model: images -> (B, K).
        schema: says which entries are scores.
        adam: the optimiser's settings.
    """

    def __init__(self, model: nn.Module, schema: AttributeSchema, adam: Adam | None = None) -> None:
        super().__init__(model, adam)
        self.scores = torch.tensor([kind == "score" for kind in schema.kinds])

    def loss(self, batch: Batch) -> Loss:
        prediction = self._wrapped(batch.x)
        return attribute_loss(prediction, batch.y, self.scores.to(batch.y.device))


# ---------------------------------------------------------------- two networks against each other


@dataclass(frozen=True)
class Game:
    """How a discriminator is trained against its generator.

    Args:
        mismatch: weight of real images with another's attributes among what is not real; 0 leaves
            them out (`discriminator_loss`).
        skip_above: the discriminator misses its step in every batch of which it already answers a
            larger share right than this, mismatched pairs not counted; None: it never does.
        adam: its optimiser's settings.

    Raises:
        ValueError: a weight or a share that is none.
    """

    mismatch: float = 0.0
    skip_above: float | None = None
    adam: Adam = Adam(rate=2e-4, betas=(0.5, 0.999))

    def __post_init__(self) -> None:
        if not 0 <= self.mismatch < 1:
            raise ValueError(f"mismatch must lie between 0 and 1, 1 not included: {self.mismatch}")
        if self.skip_above is not None and not 0 < self.skip_above < 1:
            raise ValueError(f"skip_above is a share of answers, not {self.skip_above}")


class AdversarialUpdate:
    """Two networks, two optimisers: the discriminator steps, then the generator, on one batch.

    Each step's gradient reaches one network and no other: the discriminator learns from images
    that are cut from the generator's graph, and stands still, weights frozen, while the generator
    learns through it. The generator's loss is the non-saturating one. Models with more than this
    build on `drawn`, `discriminator_losses` and `generator_losses`.

    Args:
        generator: G, whose forward pass of (z, y) gives images, with `noise(y)`.
        discriminator: D, whose forward pass of (x, y) gives logits (B,).
        game: how D is trained.
        adam: the settings of G's optimiser.
    """

    needs_masks = False

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        game: Game | None = None,
        adam: Adam | None = None,
    ) -> None:
        self.game = game or Game()
        self.generator, self.discriminator = generator, discriminator
        self.modules: dict[str, nn.Module] = {"model": generator, "discriminator": discriminator}
        self.adams = {"model": adam or Adam(2e-4, (0.5, 0.999)), "discriminator": self.game.adam}
        self.optimizers: dict[str, Any] = {
            name: self.adams[name].build(module) for name, module in self.modules.items()
        }
        self._wrapped = dict(self.modules)

    def prepare(self, accelerator: Accelerator) -> None:
        for name, module in self.modules.items():
            self._wrapped[name] = accelerator.prepare_model(module)
            self.optimizers[name] = accelerator.prepare_optimizer(self.optimizers[name])

    def drawn(self, batch: Batch) -> Tensor:
        """The generator's images for a batch's attributes, (B, 3, H, W), with their graph."""
        return self._wrapped["model"](self.generator.noise(batch.y), batch.y)  # type: ignore[operator]

    def discriminator_losses(self, batch: Batch, fake: Tensor) -> Loss:
        """Per-image loss of the discriminator; `fake` comes without a graph."""
        images, attributes = [batch.x, fake], [batch.y, batch.y]
        others = batch.y.roll(1, 0)
        if self.game.mismatch:
            images, attributes = [*images, batch.x], [*attributes, others]
        answers = self._wrapped["discriminator"](torch.cat(images), torch.cat(attributes))
        on_real, on_fake, *on_wrong = answers.split(len(batch.x))
        # two images may show the same attributes: then the pair is not wrong
        mismatch = self.game.mismatch * (others != batch.y).any(1).float()
        return discriminator_loss(on_real, on_fake, on_wrong[0] if on_wrong else None, mismatch)

    def generator_losses(self, batch: Batch, fake: Tensor) -> Loss:
        """Per-image loss of the generator; the discriminator's weights are frozen meanwhile."""
        return generator_loss(self.discriminator(fake, batch.y))

    def step(self, batch: Batch, accelerator: Accelerator) -> dict[str, Tensor]:
        with accelerator.autocast():
            fake = self.drawn(batch)
            judged = self.discriminator_losses(batch, fake.detach())
        skip = self._skips(judged, accelerator)
        self._descend("discriminator", judged, accelerator, skip)
        with frozen_weights(self.discriminator):
            with accelerator.autocast():
                made = self.generator_losses(batch, fake)
            self._descend("model", made, accelerator)
        logs = {"generator": made.total, "discriminator": judged.total}
        logs |= judged.terms | made.terms
        if skip is not None:
            logs["skipped"] = skip.float()
        return {name: value.detach().mean() for name, value in logs.items()}

    def _skips(self, judged: Loss, accelerator: Accelerator) -> Tensor | None:
        """Whether the discriminator is too good already, over all processes: a bool on the
        device, for which the host does not wait. None where there is no rule.
        """
        if self.game.skip_above is None:
            return None
        mean = judged.terms["accuracy"].detach().mean()
        return accelerator.reduce(mean, "mean") > self.game.skip_above

    def _descend(
        self, name: str, loss: Loss, accelerator: Accelerator, skip: Tensor | None = None
    ) -> None:
        optimizer = self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        accelerator.backward(loss.total.mean())
        if clip := self.adams[name].clip:
            accelerator.clip_grad_norm_(self.modules[name].parameters(), clip)
        if skip is None:
            optimizer.step()
        else:
            step_unless(skip, optimizer)


@contextmanager
def frozen_weights(module: nn.Module) -> Iterator[None]:
    """Gradients pass through a module and none stays at its weights; as it was afterwards."""
    wanted = [(p, p.requires_grad) for p in module.parameters()]
    module.requires_grad_(False)
    try:
        yield
    finally:
        for parameter, requires in wanted:
            parameter.requires_grad_(requires)


@torch.no_grad()
def step_unless(skip: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """One step of Adam; where `skip`, a bool on the device, is true, none, as if never called.

    Weights and moments are put back on the device, which the host does not wait for. Before its
    first step Adam has no moments: it would start them at 0.
    """
    weights = [p for group in optimizer.param_groups for p in group["params"]]
    moments = [{k: v.clone() for k, v in optimizer.state[p].items()} for p in weights]
    before = [p.clone() for p in weights]
    optimizer.step()
    for p, weight, state in zip(weights, before, moments, strict=True):
        p.copy_(torch.where(skip, weight, p))
        for key, value in optimizer.state[p].items():
            old = state.get(key, torch.zeros_like(value))
            value.copy_(torch.where(skip.to(value.device), old, value))
