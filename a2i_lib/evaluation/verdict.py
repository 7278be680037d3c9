"""Does a claim hold, or not, or can it not be told? One rule for every chapter."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, stdev

# Student's t at 97.5 %, for 1, 2, ... degrees of freedom: how far the mean of few runs may stray.
STUDENT = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26)


def verdict(better: Sequence[float], error: float = 0.0) -> str:
    """Is a claimed order true? "holds", "does not", or "cannot be told".

    Two things make a difference uncertain: the seed of a training, and the finite test set. The
    margin is sqrt((t s / sqrt(S))^2 + (2 error)^2), with s the deviation over S seeds and t from
    `STUDENT`; a difference inside it, in either direction, tells nothing.

    Args:
        better: by how much the claimed winner leads, one value a seed; a single value where nothing
            was trained, and then the seeds add nothing to the margin. Or, of one training, one
            value a test row, and `error` 0.
        error: standard error of that lead from the choice of test rows.

    Raises:
        ValueError: no value.
    """
    if not better:
        raise ValueError("a verdict needs one difference at least")
    of_seeds = 0.0
    if len(better) > 1:
        t = STUDENT[min(len(better) - 2, len(STUDENT) - 1)]
        of_seeds = t * stdev(better) / len(better) ** 0.5
    lead, margin = mean(better), (of_seeds**2 + (2 * error) ** 2) ** 0.5
    if abs(lead) <= margin:
        return "cannot be told"
    return "holds" if lead > 0 else "does not"
