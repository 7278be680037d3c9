"""What an attribute vector means: names, kinds, groups, and the way from words to numbers and back.

Every data set and every drawn world of the book carries an `AttributeSchema`; every checkpoint
stores its fingerprint, so that a model is never asked for attributes it was not trained on.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

KINDS = ("binary", "score", "one-hot")


class UnknownAttribute(KeyError):
    """A name that the schema does not have; the message suggests the closest ones."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(name)
        self.name = name
        self.known = list(known)

    def __str__(self) -> str:
        lowered = {known.lower(): known for known in self.known}
        close = difflib.get_close_matches(_canonical(self.name).lower(), lowered, n=3, cutoff=0.5)
        hint = (
            f"did you mean {', '.join(lowered[c] for c in close)}?" if close else "no close match"
        )
        return f"unknown attribute {self.name!r}: {hint} (the schema has {len(self.known)} names)"


@dataclass(frozen=True)
class Attribute:
    """One entry of `y`.

    Args:
        name: CelebA's, LFW's or CUB's name wherever the attribute shows the same thing.
        kind: "binary" (-1/+1), "score" (standardised real value) or "one-hot" (-1/+1, one +1 a
            group).
        group: the group a one-hot member belongs to (or a heading that several binaries share).
        low, high: range of the entry in the training split, as the model sees it.
        mean, deviation: a raw score is `mean + deviation * y`; 0 and 1 for other kinds.
        predicted: its values are a predictor's answers, not annotations.
    """

    name: str
    kind: str = "binary"
    group: str | None = None
    low: float = -1.0
    high: float = 1.0
    mean: float = 0.0
    deviation: float = 1.0
    predicted: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"attribute {self.name!r}: kind {self.kind!r} is none of {KINDS}")
        if self.kind == "one-hot" and self.group is None:
            raise ValueError(f"attribute {self.name!r}: a one-hot member needs a group")


def _canonical(name: str) -> str:
    return name.strip().replace(" ", "_")


class AttributeSchema(Sequence[Attribute]):
    """An ordered, immutable list of `Attribute`s.

    Raises:
        ValueError: two attributes with the same name (the message names them).
    """

    def __init__(self, attributes: Sequence[Attribute]) -> None:
        self._attributes = tuple(attributes)
        self._index: dict[str, int] = {}
        for position, attribute in enumerate(self._attributes):
            if attribute.name in self._index:
                raise ValueError(f"duplicate attribute name {attribute.name!r}")
            self._index[attribute.name] = position
        self._loose = {_canonical(name).lower(): i for name, i in self._index.items()}

    def __len__(self) -> int:
        return len(self._attributes)

    def __getitem__(self, index: Any) -> Any:
        return self._attributes[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AttributeSchema) and self._attributes == other._attributes

    def __hash__(self) -> int:
        return hash(self._attributes)

    def __repr__(self) -> str:
        head = ", ".join(self.names[:4]) + (", ..." if len(self) > 4 else "")
        return f"AttributeSchema({len(self)}: {head})"

    @property
    def names(self) -> list[str]:
        return [attribute.name for attribute in self._attributes]

    @property
    def kinds(self) -> list[str]:
        return [attribute.kind for attribute in self._attributes]

    @property
    def groups(self) -> dict[str, list[int]]:
        """Group name -> positions of its members, in order."""
        groups: dict[str, list[int]] = {}
        for position, attribute in enumerate(self._attributes):
            if attribute.group is not None:
                groups.setdefault(attribute.group, []).append(position)
        return groups

    @property
    def fingerprint(self) -> str:
        """SHA-256 over names, kinds and groups in order: what decides the meaning of y."""
        rows = [[a.name, a.kind, a.group] for a in self._attributes]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()

    def index(self, name: str, *_: Any) -> int:
        """Position of `name`; spaces count as underscores and case is ignored.

        Raises:
            UnknownAttribute: with the closest names.
        """
        if name in self._index:
            return self._index[name]
        loose = _canonical(name).lower()
        if loose in self._loose:
            return self._loose[loose]
        raise UnknownAttribute(name, self._index)

    def encode(
        self,
        request: str | Mapping[str, bool | float],
        base: Tensor | None = None,
    ) -> Tensor:
        """Words or a mapping -> `y`, shape (K,).

        `"Smiling, not Male"` sets Smiling to its high end and Male to its low end; a mapping may
        also give numbers, in the units of `y`. What is not named keeps the value in `base`
        (default: the low end of binaries and one-hot members, 0 for scores). Naming a one-hot
        member moves its whole group to that member.

        Raises:
            UnknownAttribute: an unknown name.
            ValueError: a value that is not finite, or a `base` of the wrong shape.
        """
        y = self._base(base)
        wanted = _parse(request) if isinstance(request, str) else dict(request)
        for name, value in wanted.items():
            position = self.index(name)
            attribute = self._attributes[position]
            if isinstance(value, bool):
                number = attribute.high if value else attribute.low
            else:
                number = float(value)
            if not torch.isfinite(torch.tensor(number)):
                raise ValueError(f"attribute {name!r}: value {value!r} is not finite")
            if attribute.kind == "one-hot" and attribute.group is not None and number > 0:
                for member in self.groups[attribute.group]:
                    y[member] = self._attributes[member].low
            y[position] = number
        return y

    def _base(self, base: Tensor | None) -> Tensor:
        if base is None:
            return torch.tensor([0.0 if a.kind == "score" else a.low for a in self._attributes])
        if base.shape != (len(self),):
            raise ValueError(f"base has shape {tuple(base.shape)}, the schema needs ({len(self)},)")
        return base.detach().clone().float()

    def describe(self, y: Tensor, threshold: float = 0.0) -> list[str]:
        """Names of the attributes whose entry of `y` (K,) lies above `threshold`, strongest first.

        For scores the threshold is in training deviations above the mean.
        """
        order = sorted(range(len(self)), key=lambda i: -float(y[i]))
        return [self.names[i] for i in order if float(y[i]) > threshold]

    def to_dict(self) -> dict[str, Any]:
        """Plain values; `predicted` only where it is so, as cards are older than that field."""
        entries = [asdict(attribute) for attribute in self._attributes]
        for entry in entries:
            if not entry["predicted"]:
                del entry["predicted"]
        return {"attributes": entries}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> AttributeSchema:
        return cls([Attribute(**entry) for entry in data["attributes"]])

    def require_same(self, other: AttributeSchema, what: str) -> None:
        """Raises ValueError naming the first difference if `other` orders or names its attributes
        differently.
        """
        if self.fingerprint == other.fingerprint:
            return
        if len(self) != len(other):
            raise ValueError(f"{what}: {len(other)} attributes where {len(self)} are expected")
        for position, (mine, theirs) in enumerate(zip(self, other, strict=True)):
            if (mine.name, mine.kind, mine.group) != (theirs.name, theirs.kind, theirs.group):
                raise ValueError(
                    f"{what}: attribute {position} is {theirs.name!r} ({theirs.kind}), "
                    f"expected {mine.name!r} ({mine.kind})"
                )


def _parse(words: str) -> dict[str, bool | float]:
    """`"Smiling, not Male, Bangs=0.5"` -> {"Smiling": True, "Male": False, "Bangs": 0.5}."""
    request: dict[str, bool | float] = {}
    for part in filter(None, (piece.strip() for piece in words.split(","))):
        if "=" in part:
            name, _, value = part.partition("=")
            try:
                request[name.strip()] = float(value)
            except ValueError:
                raise ValueError(f"{part!r}: {value!r} is not a number") from None
        elif part.lower().startswith("not "):
            request[part[4:].strip()] = False
        else:
            request[part] = True
    return request
