"""The smallest area that suffices, a* (eq. 5).

a* is searched among 36 areas that lie evenly over the range, every half percent from 2.5 to 20 %: the paper's four
(section 3.4) are among them, masks often begin to suffice between those four, and a finer search would resolve no more
than rounding. A method that holds masks of a few areas only, such as extremal perturbations, is searched at these.
"""

from collections.abc import Sequence

from inrexp.paper.conditions import checked_number

PAPER_AREAS = (0.025, 0.05, 0.1, 0.2)  # section 3.4
SEARCHED = 36


def searched_areas(low: float = PAPER_AREAS[0], high: float = PAPER_AREAS[-1]) -> tuple[float, ...]:
    """The areas among which eq. 5 looks for a*: 36, evenly from `low` to `high`, fractions of the picture."""
    return tuple(round(low + (high - low) * i / (SEARCHED - 1), 6) for i in range(SEARCHED))


def checked_threshold(threshold: float) -> float:
    """Phi_0 as a number.  Raises TypeError for what is no number, and ValueError for one that is no probability."""
    value = checked_number(threshold, "threshold")
    if not 0 <= value <= 1:
        raise ValueError(f"threshold must be a probability in [0, 1], got {threshold}")
    return value


def checked_cut(cut: float) -> float:
    """The level above which a mask counts as 1, as a number.

    Raises TypeError for what is no number, and ValueError for one that no mask can be cut at.
    """
    value = checked_number(cut, "cut")
    if not 0 <= value < 1:
        raise ValueError(f"cut must be a level in [0, 1), above which a mask becomes 1, got {cut}")
    return value


def smallest_area(areas: Sequence[float], probabilities: Sequence[float], threshold: float) -> float | None:
    """a* = min {a : Phi(M_a I + (1 - M_a) I') >= Phi_0} (eq. 5); None where no area suffices.

    areas: fractions of the picture, in any order.  probabilities: what the mask of each keeps.  threshold: Phi_0.
    """
    threshold = checked_threshold(threshold)
    enough = [area for area, p in zip(areas, probabilities, strict=True) if p >= threshold]
    return min(enough, default=None)
