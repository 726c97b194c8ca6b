"""Which condition of a fitted field gives the mask of an area: the area's own, or a neighbour's (beyond the paper).

A field holds a mask for every area. The mask of a neighbouring area, cut to this one, may keep more of the class than
the area's own: it was fitted to something else, and what matters is only known once both have been looked at. So after
the fit each of `CHOICES` areas takes the best of its neighbours' masks. The chosen conditions never fall while the area
grows, so that masks still lie in one another, and between these areas they are interpolated.
"""

from collections.abc import Callable

import torch

from inrexp.paper.inr import MaskField
from inrexp.paper.masks import keep_largest
from inrexp.paper.settings import CHOICES

TIE = 1e-4  # in p and a place: where nothing is won, the area's own mask stays


def choose(source: MaskField, judge: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Set the field's conditions, for each of its p problems alone.

    judge: masks (p, 1, 1, h, w), 0 or 1, one for each problem -> what each keeps of its class, (p, 1). It is asked for
        every area and every neighbour in the field's reach.
    """
    reach, problems = source.settings.reach, len(source.conditions)
    low, high = source.area_range
    areas = torch.linspace(low, high, CHOICES).to(source.conditions)
    worth = areas.new_full((problems, CHOICES, CHOICES), -torch.inf)  # of an area's mask by another one's condition
    with torch.no_grad():
        masks = torch.cat([source.soft(area.expand(problems, 1))[0] for area in areas], dim=1)  # (p, CHOICES, 1, h, w)
        for place, area in enumerate(areas):
            for other in range(max(0, place - reach), min(CHOICES, place + reach + 1)):
                cut = keep_largest(masks[:, other], area.expand(problems))
                worth[:, place, other] = judge(cut[:, None])[:, 0].nan_to_num() - TIE * abs(place - other)
        chosen = torch.tensor([nondecreasing(one) for one in worth.cpu()])
        source.conditions.copy_(areas[chosen.to(areas.device)])


def nondecreasing(worth: torch.Tensor) -> list[int]:
    """The column of each row, never left of the one before, that makes the sum largest.  worth: (rows, columns)."""
    best, came_from = worth[0], []
    for row in worth[1:]:
        before, column = best.cummax(0)
        came_from.append(column)
        best = before + row
    path = [int(best.argmax())]
    for column in reversed(came_from):
        path.append(int(column[path[-1]]))
    return path[::-1]
