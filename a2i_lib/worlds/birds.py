"""The drawn world of birds: many attributes in groups, sparse, with CUB's names.

A bird has one primary colour, one bill shape, one kind of tail: each such choice is a *group* of
one-hot members, and the crest alone is a plain binary. The drawing is in `bird_drawing`; here are
the attributes, how often they occur and together with what. Names are CUB's (Wah et al. 2011), but
for `barred`, which CUB counts among its stripes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from a2i_lib.attributes import Attribute, AttributeSchema
from a2i_lib.worlds import bird_drawing
from a2i_lib.worlds.base import Factors, Rendered, World, uniforms
from a2i_lib.worlds.bird_drawing import NUISANCE

#: Group -> member -> how often a bird without a reason to be otherwise has it (the rows sum to 1).
MEMBERS: dict[str, dict[str, float]] = {
    "has_primary_color": {
        "blue": 0.11, "brown": 0.12, "grey": 0.11, "yellow": 0.10, "green": 0.09, "black": 0.11,
        "white": 0.11, "red": 0.09, "orange": 0.08, "purple": 0.08,
    },
    "has_wing_color": {
        "blue": 0.13, "brown": 0.14, "grey": 0.13, "yellow": 0.11, "green": 0.11, "black": 0.14,
        "white": 0.12, "red": 0.12,
    },
    "has_belly_color": {
        "white": 0.17, "yellow": 0.14, "buff": 0.13, "grey": 0.12, "orange": 0.11, "red": 0.11,
        "black": 0.11, "blue": 0.11,
    },
    "has_crown_color": {
        "blue": 0.12, "brown": 0.13, "grey": 0.12, "yellow": 0.12, "green": 0.11, "black": 0.14,
        "white": 0.12, "red": 0.14,
    },
    "has_bill_shape": {
        "curved_(up_or_down)": 0.16, "dagger": 0.17, "hooked": 0.17, "needle": 0.16,
        "spatulate": 0.15, "cone": 0.19,
    },
    "has_bill_length": {
        "shorter_than_head": 0.36, "about_the_same_as_head": 0.34, "longer_than_head": 0.30,
    },
    "has_bill_color": {"black": 0.28, "yellow": 0.25, "red": 0.22, "grey": 0.25},
    "has_tail_shape": {
        "forked_tail": 0.20, "rounded_tail": 0.20, "notched_tail": 0.20, "fan-shaped_tail": 0.20,
        "pointed_tail": 0.20,
    },
    "has_tail_pattern": {"solid": 0.6, "striped": 0.4},
    "has_wing_pattern": {"solid": 0.34, "spotted": 0.22, "striped": 0.22, "barred": 0.22},
    "has_breast_pattern": {
        "solid": 0.34, "spotted": 0.22, "striped": 0.22, "barred": 0.22,
    },
    "has_head_pattern": {"plain": 0.34, "masked": 0.22, "eyebrow": 0.22, "eyering": 0.22},
    "has_eye_color": {"black": 0.40, "yellow": 0.30, "red": 0.30},
    "has_leg_color": {"black": 0.36, "yellow": 0.34, "red": 0.30},
    "has_size": {
        "small_(5_-_9_in)": 0.34, "medium_(9_-_16_in)": 0.34, "large_(16_-_32_in)": 0.32,
    },
    "crest": {"": 0.65, "has_head_pattern::crested": 0.35},
}  # fmt: skip

#: Child group -> (parent group, how often the child follows it, parent's member -> child's member).
#: A child that does not follow, or whose parent's member is not listed, falls back on `MEMBERS`.
#: Each group has one parent at most, drawn before it, so every pair's correlation is exact.
_SAME = {c: c for c in ("blue", "brown", "grey", "yellow", "green", "black", "white", "red")}
FOLLOWS: dict[str, tuple[str, float, dict[str, str]]] = {
    "has_wing_color": (
        "has_primary_color", 0.35, _SAME | {"orange": "brown", "purple": "blue"},
    ),
    "has_belly_color": (
        "has_primary_color", 0.40,
        {"blue": "orange", "brown": "buff", "grey": "white", "yellow": "yellow", "green": "yellow",
         "black": "white", "white": "white", "red": "buff", "orange": "yellow", "purple": "grey"},
    ),
    "has_crown_color": (
        "has_primary_color", 0.35, _SAME | {"orange": "black", "purple": "blue"},
    ),
    "has_bill_length": (
        "has_bill_shape", 0.40,
        {"needle": "longer_than_head", "dagger": "longer_than_head",
         "curved_(up_or_down)": "longer_than_head", "cone": "shorter_than_head",
         "hooked": "shorter_than_head", "spatulate": "about_the_same_as_head"},
    ),
    "has_size": (
        "has_bill_length", 0.35,
        {"shorter_than_head": "small_(5_-_9_in)", "about_the_same_as_head": "medium_(9_-_16_in)",
         "longer_than_head": "large_(16_-_32_in)"},
    ),
    "has_tail_pattern": ("has_wing_pattern", 0.45, {"solid": "solid", "barred": "striped"}),
    "has_breast_pattern": (
        "has_wing_pattern", 0.35, {m: m for m in ("solid", "spotted", "striped", "barred")},
    ),
    "has_leg_color": (
        "has_bill_color", 0.50, {"black": "black", "yellow": "yellow", "red": "red"},
    ),
    "has_eye_color": ("has_size", 0.30, {"small_(5_-_9_in)": "black",
                                         "large_(16_-_32_in)": "yellow"}),
    "crest": ("has_crown_color", 0.40, {"red": "has_head_pattern::crested", "white": ""}),
}  # fmt: skip


def _order() -> list[str]:
    """The groups, each after its parent."""
    order: list[str] = []

    def visit(group: str) -> None:
        if group in FOLLOWS:
            visit(FOLLOWS[group][0])
        if group not in order:
            order.append(group)

    for group in MEMBERS:
        visit(group)
    return order


def _schema() -> AttributeSchema:
    attributes = [
        Attribute(f"{group}::{member}", "one-hot", group)
        for group, members in MEMBERS.items()
        if group != "crest"
        for member in members
    ]
    return AttributeSchema([*attributes, Attribute("has_head_pattern::crested", "binary")])


class BirdsWorld(World):
    """Birds, perched or flying, in front of sky, leaves or water.

    Of every group a bird has one member. The strength of that member, in [0.5, 1], says how
    plainly it shows (how pure the colour, how bold the pattern, how extreme the shape); the other
    members carry the same number with a minus. So `labels` are signs, as in every world.
    """

    name = "birds"
    schema = _schema()
    nuisance_names = tuple(NUISANCE)

    def sample(self, n: int, seed: int = 0, *, correlated: bool = True) -> Factors:
        """`n` factors; `sample(100, s)[:10]` equals `sample(10, s)`.

        Group by group: with the stated probability a child follows its parent (`FOLLOWS`), else it
        is drawn from `MEMBERS`. Without `correlated` the groups are independent.
        """
        order = _order()
        noise = uniforms(n, 3 * len(order) + len(NUISANCE), seed)
        chosen: dict[str, np.ndarray] = {}
        attributes = torch.full((n, len(self.schema)), -1.0)
        for i, group in enumerate(order):
            follow, pick, strength = noise[:, 3 * i : 3 * i + 3].T
            chosen[group] = self._draw(group, chosen, pick, follow if correlated else None)
            self._write(
                attributes, group, torch.from_numpy(chosen[group]), torch.from_numpy(strength)
            )
        nuisance = bird_drawing.nuisance(noise[:, 3 * len(order) :])
        return Factors(attributes, torch.from_numpy(nuisance).float())

    @staticmethod
    def _draw(
        group: str, chosen: dict[str, np.ndarray], pick: np.ndarray, follow: np.ndarray | None
    ) -> np.ndarray:
        """Which member of `group` each bird has, n."""
        limits = np.cumsum(list(MEMBERS[group].values()))
        member = np.minimum((pick[:, None] >= limits).sum(1), len(limits) - 1)
        if follow is None or group not in FOLLOWS:
            return member
        parent, chance, _ = FOLLOWS[group]
        wanted = _wanted(group)[chosen[parent]]
        return np.where((follow < chance) & (wanted >= 0), wanted, member)

    def _write(self, attributes: Tensor, group: str, member: Tensor, strength: Tensor) -> None:
        """Sets a group's columns, in place; `strength` in [0, 1) is spread over [0.5, 1]."""
        value = (0.5 + 0.5 * strength).float()
        if group == "crest":
            attributes[:, -1] = torch.where(member == 1, value, -value)
            return
        columns = self.schema.groups[group]
        attributes[:, columns] = -value[:, None].expand(-1, len(columns))
        attributes[torch.arange(len(member)), torch.tensor(columns)[member]] = value

    def counterfactual(self, factors: Factors, attribute: str, value: float | bool) -> Factors:
        """The same birds with one attribute changed and nothing else.

        A one-hot group moves to the member `attribute`, with strength `value`, or with the strength
        the group had where `value` is True.

        Raises:
            UnknownAttribute: there is no such attribute.
            ValueError: `value` is not in [-1, 1], or is 0; or it takes from a bird the member it
                has, which leaves open what it should have instead.
        """
        position = self.schema.index(attribute)
        if value is not False and not 0 < abs(value) <= 1:
            raise ValueError(f"{attribute}: a strength lies in [-1, 1] and is not 0, not {value}")
        changed = factors.attributes.clone()
        group = self.schema[position].group
        if group is None:
            size = changed[:, position].abs()
            changed[:, position] = size.copysign(torch.tensor(1.0 if value else -1.0))
            if not isinstance(value, bool):
                changed[:, position] = value
            return Factors(changed, factors.nuisance)
        columns = self.schema.groups[group]
        if value <= 0:
            if bool((changed[:, position] > 0).any()):
                names = ", ".join(self.schema.names[c] for c in columns if c != position)
                raise ValueError(f"{attribute}: name what to have instead, one of {names}")
            return factors
        strength = (
            changed[:, columns].amax(1) if value is True else torch.full((len(changed),), value)
        )
        changed[:, columns] = -strength[:, None].to(changed)
        changed[:, position] = strength.to(changed)
        return Factors(changed, factors.nuisance)

    def region(self, factors: Factors, attribute: str, size: int = 64) -> Tensor:
        """B 1 H W bool: the pixels that changing `attribute` may touch; all of them for size."""
        group = self.schema[self.schema.index(attribute)].group or "crest"
        return bird_drawing.region(self._choices(factors), factors.nuisance, group, size)

    def paint(self, factors: Factors, size: int) -> Rendered:
        """Draws one chunk of factors."""
        return bird_drawing.draw(self._choices(factors), factors.nuisance, size)

    def _choices(self, factors: Factors) -> bird_drawing.Choices:
        """Per group, the names of its members, which one each bird has, and how strongly."""
        rows = factors.attributes.double().cpu()
        choices: bird_drawing.Choices = {"crest": ([""], rows[:, -1] * 0, rows[:, -1])}
        for group, columns in self.schema.groups.items():
            strength, member = rows[:, columns].max(1)
            choices[group] = (list(MEMBERS[group]), member, strength)
        return choices

    @property
    def correlations(self) -> Tensor:
        """K K: the correlations between labels that `MEMBERS` and `FOLLOWS` imply, exactly."""
        return _label_correlations(self.schema)


def _wanted(group: str) -> np.ndarray:
    """For each member of the parent of `group`, the member that a follower takes, -1 for none."""
    parent, _, mapping = FOLLOWS[group]
    names = list(MEMBERS[group])
    return np.array([names.index(mapping[m]) if m in mapping else -1 for m in MEMBERS[parent]])


def _transition(group: str) -> np.ndarray:
    """P(member of `group` | member of its parent): parent's members x members."""
    _, chance, _ = FOLLOWS[group]
    base = np.array(list(MEMBERS[group].values()))
    rows = []
    for wanted in _wanted(group):
        follow = chance * np.eye(len(base))[wanted] if wanted >= 0 else chance * base
        rows.append((1 - chance) * base + follow)
    return np.stack(rows)


def _label_correlations(schema: AttributeSchema) -> Tensor:
    """From pairwise joint probabilities, which a tree of groups gives one transition at a time."""
    marginal: dict[str, np.ndarray] = {}
    joint: dict[tuple[str, str], np.ndarray] = {}
    for group in _order():
        base = np.array(list(MEMBERS[group].values()))
        if group not in FOLLOWS:
            marginal[group] = base
            pairs = {other: np.outer(marginal[other], base) for other in marginal if other != group}
        else:
            parent, step = FOLLOWS[group][0], _transition(group)
            marginal[group] = marginal[parent] @ step
            pairs = {o: joint[o, parent] @ step for o in marginal if o != group}
        joint[group, group] = np.diag(marginal[group])
        for other, table in pairs.items():
            joint[other, group], joint[group, other] = table, table.T
    groups = list(schema.groups)
    both = np.block([[joint[a, b] for b in [*groups, "crest"]] for a in [*groups, "crest"]])
    keep = [i for i in range(len(both)) if i != len(both) - 2]  # all but "no crest"
    both = both[np.ix_(keep, keep)]
    covariance = both - np.outer(np.diag(both), np.diag(both))
    spread = np.sqrt(np.diag(covariance))
    return torch.from_numpy(covariance / np.outer(spread, spread)).float()
