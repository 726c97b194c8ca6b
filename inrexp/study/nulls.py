"""What chance alone does to a fit: beside another one, on a picture changed by rounding, with another seed.

A fit is chaotic: differences in the last digit grow over its steps until its masks lie elsewhere. So a statement on
seeds, or on anything else that changes a mask, needs these nulls beside it. `benchmarks/nulls.py` measures them and
writes data/results/nulls.csv.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from inrexp.attribution import Attribution
from inrexp.datasets.samples import Sample
from inrexp.methods import Wanted, as_image, explain, explain_batch
from inrexp.metrics import pairwise_iou
from inrexp.models.classifier import Classifier
from inrexp.paper.masks import keep_largest
from inrexp.paper.presets import named
from inrexp.paper.settings import FitConfig
from inrexp.seeds import generator
from inrexp.study.intervals import share_interval
from inrexp.study.plan import digest_of, fit_of
from inrexp.study.scores import sound, status_of
from inrexp.study.shared_rows import add_rows, rows_there

AREAS = (0.05, 0.1, 0.2)
NOISE = 1e-6  # standard deviation of what is added to a picture in [0, 1]; float32 resolves 6e-8 there
KINDS = ("beside", "noise", "seed")
COLUMNS = ["picture", "preset", "kind", "area", "iou", "area_star_difference", "status", "fit"]


def noisy(image: torch.Tensor, *, seed: int = 0, scale: float | None = None) -> torch.Tensor:
    """The image with Gaussian noise of standard deviation `scale` (NOISE), in [0, 1] as before."""
    noise = torch.randn(image.shape, generator=generator(seed, "masks"), dtype=torch.float64)
    return (image + (NOISE if scale is None else scale) * noise.to(image)).clamp(0, 1)


def nulls(
    classifier: Classifier,
    image: torch.Tensor,
    target: Wanted,
    preset: str | FitConfig,
    *,
    areas: Sequence[float] = AREAS,
    seed: int = 0,
) -> pd.DataFrame:
    """A row for each of KINDS and each area: what `compared` says of that fit and the lone fit of the same seed.

    beside: the same problem, in one batch with the next seed's.  noise: on the picture changed by `noisy`.
    seed: the next seed's fit of that batch, which differs from the lone one by rounding too.
    The four fits take the time of four.  image: (1, 3, h, w) in [0, 1].
    """
    lone = explain(classifier, image, target, preset=preset, seed=seed, progress=False)
    both = explain_batch(classifier, [image], [target], preset=preset, seeds=[seed, seed + 1], progress=False)
    changed = explain(classifier, noisy(image, seed=seed), target, preset=preset, seed=seed, progress=False)
    found = dict(zip(KINDS, (both[0], changed, both[1]), strict=True))
    return pd.concat([compared(lone, one, areas).assign(kind=kind) for kind, one in found.items()], ignore_index=True)


def compared(lone: Attribution, other: Attribution, areas: Sequence[float] = AREAS) -> pd.DataFrame:
    """A row for each area: how far another fit's masks are from the lone fit's.

    iou: intersection over union of the two masks, each brought to exactly the area; NaN if a fit collapsed.
    area_star_difference: the other's a* less the lone one's. A fit without an a* counts as the largest area searched.
    status: "finished", or how the first of the two that failed did.
    """
    failed = next((one for one in (lone, other) if not sound(one)), None)
    wanted = torch.tensor(areas)
    masks = [keep_largest(one.mask(areas), wanted) for one in (lone, other)]
    iou = [float(pairwise_iou(torch.stack(pair))[0, 1]) for pair in zip(*masks, strict=True)]
    first, second = (_star(one) for one in (lone, other))
    return pd.DataFrame(
        {
            "area": list(areas),
            "iou": iou if failed is None else np.nan,
            "area_star_difference": second - first,
            "status": status_of(failed or lone),
        }
    )


def _star(found: Attribution) -> float:
    star = found.smallest_area()
    return max(found.searched_areas) if star is None else star


def run_nulls(
    samples: Sequence[Sample],
    classifier: Classifier,
    preset: str | FitConfig,
    out: "str | Path",
    *,
    progress: bool = True,
) -> pd.DataFrame:
    """Measure the pictures that the CSV file `out` lacks for this preset, and return all its rows.

    The call can be killed and repeated, and several may add to one file at the same time. Rows of another picture,
    model or settings under the same names are replaced.
    fit: a hash of all three, in every row.
    """
    out, config = Path(out), named(preset)
    done = _read(out)
    weights = digest_of(classifier)
    for sample in tqdm(samples, unit="picture", disable=not progress):
        fit = fit_of(sample, classifier, dataclasses.asdict(config), weights)
        if fit in set(done["fit"]):
            continue
        new = nulls(classifier, as_image(classifier, sample.picture), sample.target(classifier), config)
        new = new.assign(picture=sample.name, preset=config.name, fit=fit)[COLUMNS]
        done = add_rows(out, new, in_place_of=["picture", "preset"], read=_read)
    return done


def _read(path: Path) -> pd.DataFrame:
    return rows_there(path, COLUMNS, dtype={"fit": str})


def null_table(rows: pd.DataFrame) -> pd.DataFrame:
    """A line for each preset, kind and area.

    iou: mean over pictures, with its 95 % interval low to high.  star: mean of |area_star_difference|.
    pictures: number of pictures in `iou`.  collapsed: number of those left out, in which one of the two fits failed.
    """
    lines = []
    for (preset, kind, area), runs in rows.groupby(["preset", "kind", "area"], sort=False):
        values = runs["iou"].dropna()
        low, high = share_interval(values)
        line = {"preset": preset, "kind": kind, "area": area, "iou": values.mean(), "low": low, "high": high}
        line |= {"star": runs["area_star_difference"].abs().mean(), "pictures": len(values)}
        lines.append(line | {"collapsed": len(runs) - len(values)})
    return pd.DataFrame(lines)
