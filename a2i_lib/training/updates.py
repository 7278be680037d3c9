"""Updates: what happens to one batch. The loop knows nothing of models, and models know nothing of
the loop.

An update holds its networks (`modules`, by name), their optimisers (by name) and computes one
step. The loop moves the batches, averages the weights, writes checkpoints and keeps the time.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    layered_negative_elbo,
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
    """What `fit` calls."""

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


class LayeredElboUpdate(GradientUpdate):
    """Maximises the bound of a layered auto-encoder (Attribute2Image eq. 7).

    Args:
        model: whose forward pass of (x, y, mask) gives a `LayeredPass`.
        sigma: standard deviation of p(x | z, y) and p(x_f | z_f, y), in pixel units.
        gate_weight: lambda_g; 1 for the bound.
        adam: the optimiser's settings.
    """

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
