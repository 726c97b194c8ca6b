"""RISE (Petsiuk, Das, Saenko 2018): the mean of random masks, each weighted by the probability that it keeps."""

import torch
import torch.nn.functional as F
from tqdm.auto import tqdm

from inrexp.models.classifier import Classifier, Target, frozen
from inrexp.seeds import generator


def rise_masks(cells: torch.Tensor, shifts: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """The masks of RISE.

    Each is a coarse grid of 0 and 1, enlarged by bilinear interpolation to one cell more than the picture, and cropped
    to the picture at a shift.
    cells: (n, s, s), 0 or 1.  shifts: (n, 2) in [0, 1), as shares of a cell.  Returns (n, 1, h, w) in [0, 1].
    """
    side = cells.shape[-1]
    cell = [-(-pixels // side) for pixels in size]  # px, rounded up
    large = F.interpolate(
        cells[:, None], size=[(side + 1) * pixels for pixels in cell], mode="bilinear", align_corners=False
    )
    crops = []
    for one, shift in zip(large, shifts.tolist(), strict=True):
        top, left = (int(share * pixels) for share, pixels in zip(shift, cell, strict=True))
        crops.append(one[:, top : top + size[0], left : left + size[1]])
    return torch.stack(crops)


def check_rise(*, masks: int, cells: int, keep: float) -> None:
    """Raises ValueError for numbers below 1, and for a `keep` outside (0, 1)."""
    if masks < 1 or cells < 1:
        raise ValueError(f"masks and cells must be 1 or more, got {masks} and {cells}")
    if not 0 < keep < 1:
        raise ValueError(f"keep must be a probability in (0, 1), got {keep}")


def rise_map(
    classifier: Classifier,
    image: torch.Tensor,
    target: Target,
    *,
    masks: int = 8000,
    cells: int = 7,
    keep: float = 0.5,
    seed: int = 0,
    progress: bool = True,
) -> torch.Tensor:
    """RISE (Petsiuk, Das, Saenko 2018): the mean of random masks, each weighted by the probability that it keeps.

    As in the authors' code, the weighted sum is divided by keep * masks. What a mask removes becomes the mean colour of
    the training pictures, which is 0 after normalisation.
    masks: number of masks; the authors use 8000.  cells: cells along each side of a mask.
    keep: the probability that a cell is kept.
    Returns (1, 1, h, w).  Raises ValueError as `check_rise`.
    """
    check_rise(masks=masks, cells=cells, keep=keep)
    size = (image.shape[-2], image.shape[-1])
    drawn = generator(seed, "masks")
    kept = (torch.rand(masks, cells, cells, generator=drawn) < keep).to(image)
    shifts = torch.rand(masks, 2, generator=drawn)
    inputs = classifier.normalise(image)
    total = torch.zeros(1, 1, *size, device=image.device, dtype=image.dtype)
    with (
        frozen(classifier.model),
        torch.no_grad(),
        tqdm(total=masks, desc="RISE", unit="mask", disable=not progress) as bar,
    ):
        for grid, shift in zip(kept.split(classifier.at_once), shifts.split(classifier.at_once), strict=True):
            mask = rise_masks(grid, shift, size)  # (b, 1, h, w)
            weight = classifier.probability(inputs * mask, target, normalised=True)
            total += torch.einsum("n,nchw->chw", weight, mask)
            bar.update(len(mask))
    return total / (masks * keep)
