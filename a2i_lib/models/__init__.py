"""One file per model, named as its chapter. `build` makes a model from a name and plain numbers
(recipes, cards).
"""

from __future__ import annotations

import difflib
from typing import Any

from torch import nn

from a2i_lib.models.cgan import CGAN
from a2i_lib.models.classifier import AttributeClassifier
from a2i_lib.models.cmma import CMMA, MatchedCVAE
from a2i_lib.models.cvae import CVAE, ConditionalPriorCVAE, ShallowCVAE
from a2i_lib.models.discvae import DisCVAE
from a2i_lib.models.vae import VAE

MODELS: dict[str, type[nn.Module]] = {
    "vae": VAE,
    "cvae": CVAE,
    "shallow-cvae": ShallowCVAE,
    "discvae": DisCVAE,
    "conditional-prior-cvae": ConditionalPriorCVAE,
    "cmma": CMMA,
    "matched-cvae": MatchedCVAE,
    "cgan": CGAN,
    "classifier": AttributeClassifier,
}


def build(name: str, attributes: int, size: int, **settings: Any) -> nn.Module:
    """A fresh model; `attributes` is ignored by models that take none.

    Raises:
        ValueError: unknown model name, with the closest one.
    """
    if name not in MODELS:
        close = difflib.get_close_matches(name, MODELS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"unknown model {name!r}{hint} (known: {', '.join(MODELS)})")
    if name == "vae":
        return VAE(size=size, **settings)
    return MODELS[name](attributes, size=size, **settings)


__all__ = [
    "CGAN",
    "CMMA",
    "CVAE",
    "MODELS",
    "VAE",
    "AttributeClassifier",
    "ConditionalPriorCVAE",
    "DisCVAE",
    "MatchedCVAE",
    "ShallowCVAE",
    "build",
]
