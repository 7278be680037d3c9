"""`Source`: a data set as it was downloaded. Its labels are in memory, its pictures stay where they
are until `prepare` opens them, one at a time and in any process.

A reader, one for each layout, checks the labels, decides which rows are usable, and says so in its
`Report`; what is done to pictures is the same for all of them and lives in `prepare`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from PIL import Image

from a2i_lib.attributes import AttributeSchema
from a2i_lib.data.dataset import DataError

EXAMPLES = 3  # places named for each reason


@dataclass
class Report:
    """What a reader, and then `prepare`, made of a download: rows read, and rows dropped with the
    reason and the first places.

    `print(report)` is what a person needs to see; `to_dict` goes into the data set's provenance.
    """

    read: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    places: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def kept(self) -> int:
        return self.read - sum(self.dropped.values())

    def drop(self, reason: str, place: str) -> None:
        """One row cannot be used: `place` is file and row or path."""
        self.dropped[reason] += 1
        examples = self.places.setdefault(reason, [])
        if len(examples) < EXAMPLES:
            examples.append(place)

    def note(self, text: str) -> None:
        """Something that a person should know and that drops nothing."""
        self.notes.append(text)

    def require(self, share: float) -> None:
        """Raises DataError, with the whole report, if more than `share` of the rows are dropped."""
        lost = self.read - self.kept
        if lost > share * self.read:
            raise DataError(
                f"{lost:,} of {self.read:,} rows cannot be used, more than {share:.0%}:\n{self}"
            )

    def to_dict(self) -> dict[str, Any]:
        return {
            "read": self.read,
            "kept": self.kept,
            "dropped": dict(self.dropped),
            "places": self.places,
            "notes": self.notes,
        }

    def __str__(self) -> str:
        lines = [f"{self.read:,} rows read, {self.kept:,} kept"]
        for reason, count in self.dropped.most_common():
            lines.append(f"  {count:,} dropped: {reason} ({'; '.join(self.places[reason])})")
        return "\n".join(lines + [f"  {note}" for note in self.notes])


class Source(Protocol):
    """What `prepare` turns into a folder of `AttributeImages`.

    It can be pickled: each worker process opens files and archives for itself.

    Attributes:
        name: of the data set.
        schema: what the K columns of `attributes` mean.
        attributes: float32, (N, K), as the model sees them.
        split: int8, (N,): 0 train, 1 val, 2 test.
        has_masks: whether `mask` gives one for each picture.
        provenance: where it comes from, under which terms, and what was decided.
        report: rows read and dropped so far.
    """

    name: str
    schema: AttributeSchema
    attributes: np.ndarray
    split: np.ndarray
    has_masks: bool
    provenance: dict[str, Any]
    report: Report

    def where(self, i: int) -> str:
        """File and row, or path, of the i-th row, for messages."""
        ...

    def picture(self, i: int) -> Image.Image:
        """The i-th picture, RGB, upright, cropped to a square, of any size.

        Raises:
            ValueError, OSError: it cannot be had; `prepare` drops the row, and counts it.
        """
        ...

    def mask(self, i: int) -> Image.Image:
        """The mask that goes with `picture(i)`: mode L, cropped like it, 255 on the subject."""
        ...
