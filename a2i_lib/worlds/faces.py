"""The `faces` world: portraits, head and shoulders, whose attributes bear CelebA's names.

Three tables say all there is to know about the attributes: how often each is on (`RATES`), how
they go together (`INFLUENCES`), and which cannot both be on (`EXCLUSIONS`). How they look is in
`face_drawing`.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from a2i_lib.attributes import Attribute, AttributeSchema
from a2i_lib.worlds import face_drawing
from a2i_lib.worlds.base import Factors, Rendered, World, uniforms

# How often each attribute is on, before EXCLUSIONS turn some off.
RATES: dict[str, float] = {
    "Male": 0.48,
    "Young": 0.60,
    "Pale_Skin": 0.28,
    "Chubby": 0.30,
    "Smiling": 0.50,
    "Mouth_Slightly_Open": 0.45,
    "Black_Hair": 0.38,
    "Brown_Hair": 0.38,
    "Blond_Hair": 0.36,
    "Gray_Hair": 0.32,
    "Bald": 0.22,
    "Receding_Hairline": 0.30,
    "Bangs": 0.34,
    "Wavy_Hair": 0.40,
    "Long_Hair": 0.45,
    "No_Beard": 0.70,
    "Goatee": 0.30,
    "Mustache": 0.25,
    "Bushy_Eyebrows": 0.38,
    "Arched_Eyebrows": 0.42,
    "Narrow_Eyes": 0.36,
    "Bags_Under_Eyes": 0.34,
    "Big_Nose": 0.38,
    "Big_Lips": 0.42,
    "Rosy_Cheeks": 0.32,
    "Heavy_Makeup": 0.34,
    "Wearing_Lipstick": 0.42,
    "Eyeglasses": 0.28,
    "Sunglasses": 0.22,
    "Wearing_Hat": 0.26,
    "Wearing_Earrings": 0.36,
    "Wearing_Necklace": 0.32,
    "Wearing_Necktie": 0.30,
}
NAMES = tuple(RATES)

# Of two that exclude each other, the stronger stays; see `_settle` and `FacesWorld.counterfactual`.
EXCLUSIONS: tuple[tuple[str, str], ...] = (
    ("Black_Hair", "Brown_Hair"),  # one colour at most; none of the four: red hair
    ("Black_Hair", "Blond_Hair"),
    ("Black_Hair", "Gray_Hair"),
    ("Brown_Hair", "Blond_Hair"),
    ("Brown_Hair", "Gray_Hair"),
    ("Blond_Hair", "Gray_Hair"),
    ("Bald", "Receding_Hairline"),
    ("Bald", "Bangs"),
    ("Bald", "Wavy_Hair"),
    ("Bald", "Long_Hair"),
    ("Bald", "Wearing_Hat"),
    ("Receding_Hairline", "Bangs"),
    ("Receding_Hairline", "Wearing_Hat"),
    ("Sunglasses", "Eyeglasses"),
    ("Sunglasses", "Narrow_Eyes"),
    ("Sunglasses", "Bags_Under_Eyes"),
    ("Sunglasses", "Heavy_Makeup"),
    ("No_Beard", "Goatee"),  # a beard that is no goatee is a full one
    ("Wearing_Necktie", "Wearing_Necklace"),
)

# What each attribute's latent score takes from others': effect, then cause and weight. The rest
# of its unit variance is its own. A cause stands above its effects. Signs as in CelebA.
INFLUENCES: dict[str, dict[str, float]] = {
    "Young": {"Male": -0.20},
    "Pale_Skin": {"Male": -0.10},
    "Chubby": {"Young": -0.25, "Male": 0.10},
    "Smiling": {"Male": -0.12},
    "Mouth_Slightly_Open": {"Smiling": 0.50},
    "Black_Hair": {"Young": 0.20, "Pale_Skin": -0.20},
    "Blond_Hair": {"Male": -0.25, "Pale_Skin": 0.15},
    "Gray_Hair": {"Young": -0.60, "Male": 0.15},
    "Bald": {"Male": 0.40, "Young": -0.30},
    "Receding_Hairline": {"Male": 0.25, "Young": -0.30},
    "Bangs": {"Male": -0.15, "Young": 0.15},
    "Long_Hair": {"Male": -0.60},
    "Wavy_Hair": {"Long_Hair": 0.25, "Male": -0.20},
    "No_Beard": {"Male": -0.60},
    "Goatee": {"Male": 0.30, "No_Beard": -0.35},
    "Mustache": {"Male": 0.30, "No_Beard": -0.25, "Goatee": 0.20},
    "Bushy_Eyebrows": {"Male": 0.35, "Black_Hair": 0.15},
    "Heavy_Makeup": {"Male": -0.60, "Young": 0.15},
    "Arched_Eyebrows": {"Male": -0.25, "Heavy_Makeup": 0.25},
    "Narrow_Eyes": {"Smiling": 0.15},
    "Bags_Under_Eyes": {"Male": 0.20, "Young": -0.30},
    "Big_Nose": {"Male": 0.25, "Young": -0.15, "Chubby": 0.15},
    "Rosy_Cheeks": {"Heavy_Makeup": 0.30, "Male": -0.15, "Smiling": 0.15},
    "Wearing_Lipstick": {"Male": -0.45, "Heavy_Makeup": 0.35},
    "Eyeglasses": {"Young": -0.30, "Male": 0.10},
    "Sunglasses": {"Male": 0.15},
    "Wearing_Hat": {"Male": 0.15},
    "Wearing_Earrings": {"Male": -0.35, "Wearing_Lipstick": 0.20},
    "Wearing_Necklace": {"Male": -0.25, "Wearing_Earrings": 0.20},
    "Wearing_Necktie": {"Male": 0.40, "Young": -0.25},
}

WEAKEST = 0.4  # a sampled strength lies in [-1, -WEAKEST] or [WEAKEST, 1]


@cache
def _correlation_matrix() -> Tensor:
    """K K, float64: the correlations of the latent scores that `INFLUENCES` imply."""
    matrix = torch.eye(len(NAMES), dtype=torch.float64)
    known = [NAMES.index(name) for name in NAMES if name not in INFLUENCES]
    for effect, causes in INFLUENCES.items():
        k = NAMES.index(effect)
        for j in known:
            with_causes = (w * matrix[NAMES.index(cause), j] for cause, w in causes.items())
            matrix[k, j] = matrix[j, k] = sum(with_causes)
        known.append(k)
    return matrix


def _correlate(scores: Tensor) -> Tensor:
    """Gives independent standard normals, n K, the correlations that `INFLUENCES` imply."""
    matrix, scores = _correlation_matrix(), scores.clone()
    for effect, causes in INFLUENCES.items():
        k = NAMES.index(effect)
        explained = sum(w * matrix[NAMES.index(cause), k] for cause, w in causes.items())
        scores[:, k] *= (1 - explained) ** 0.5
        for cause, weight in causes.items():
            scores[:, k] += weight * scores[:, NAMES.index(cause)]
    return scores


def _strengths(scores: Tensor) -> Tensor:
    """Normal scores to strengths, n K: positive as often as RATES says, evenly spread."""
    rates = torch.tensor(list(RATES.values()), dtype=scores.dtype)
    rank = torch.special.ndtr(scores)
    on = rank > 1 - rates
    share = torch.where(on, (rank - (1 - rates)) / rates, 1 - rank / (1 - rates))
    size = WEAKEST + (1 - WEAKEST) * share
    return torch.where(on, size, -size)


def _settle(strengths: Tensor) -> Tensor:
    """Turns off the weaker of each two that exclude each other, in the table's order."""
    settled = strengths.clone()
    for a, b in EXCLUSIONS:
        first, second = settled[:, NAMES.index(a)], settled[:, NAMES.index(b)]
        both = (first > 0) & (second > 0)
        loses = both & (first < second)
        first[loses] *= -1
        second[both & ~loses] *= -1
    return settled


def excluded_by(attribute: str) -> tuple[str, ...]:
    """The attributes that cannot be on while `attribute` is."""
    return tuple(b if a == attribute else a for a, b in EXCLUSIONS if attribute in (a, b))


class FacesWorld(World):
    """Portraits. 33 binary attributes; see this module's tables."""

    name = "faces"
    schema = AttributeSchema([Attribute(name) for name in NAMES])
    nuisance_names = face_drawing.NUISANCE

    @property
    def correlations(self) -> Tensor:
        """K K, float64: the correlations of the latent scores, in the schema's order."""
        return _correlation_matrix().clone()

    def sample(self, n: int, seed: int = 0, *, correlated: bool = True) -> Factors:
        """`n` faces. Attributes are on as often as `RATES` says, less what `EXCLUSIONS` turn off.

        With `correlated` false they are independent, but for the exclusions. Nuisances are
        independent and uniform in [0, 1).
        """
        u = torch.from_numpy(uniforms(n, len(NAMES) + len(self.nuisance_names), seed))
        scores = torch.special.ndtri(u[:, : len(NAMES)].clamp(1e-12, 1 - 1e-12))
        if correlated:
            scores = _correlate(scores)
        return Factors(_settle(_strengths(scores)).float(), u[:, len(NAMES) :].float())

    def counterfactual(self, factors: Factors, attribute: str, value: float | bool) -> Factors:
        """The same faces with `attribute` changed and nothing else.

        `value`: True or False for on or off at each face's own strength, or a strength in [-1, 1].
        Turning an attribute on turns off, at the same size, those that exclude it (`EXCLUSIONS`).

        Raises UnknownAttribute (with the nearest names), and ValueError for a strength beyond 1.
        """
        k = self.schema.index(attribute)
        strengths = factors.attributes.clone()
        if isinstance(value, bool):
            size = strengths[:, k].abs()
            strengths[:, k] = size if value else -size
        elif -1 <= value <= 1:
            strengths[:, k] = value
        else:
            raise ValueError(f"{attribute}: a strength lies in [-1, 1], not {value}")
        turned_on = strengths[:, k] > 0
        for other in excluded_by(attribute):
            j = self.schema.index(other)
            strengths[:, j] = torch.where(turned_on, -strengths[:, j].abs(), strengths[:, j])
        return Factors(strengths, factors.nuisance)

    def region(self, factors: Factors, attribute: str, size: int = 64) -> Tensor:
        """B 1 H W bool: where changing `attribute`, and what it excludes, may touch the picture."""
        self.schema.index(attribute)  # raises for an unknown name
        boxes = face_drawing.boxes((attribute, *excluded_by(attribute)))
        return face_drawing.inside(face_drawing.Sitter(factors, NAMES), boxes, size)

    def paint(self, factors: Factors, size: int) -> Rendered:
        """Draws one chunk of faces; see `face_drawing.portrait`."""
        return face_drawing.portrait(factors, NAMES, size)
