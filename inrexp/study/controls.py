"""Controls of the masks of a finished study: what they keep elsewhere, removed, over other fills, for other networks.

`benchmarks/controls.py` runs them and writes data/results/controls.csv. Nothing is fitted: a study holds its masks in 8
bits (`store`), and here each is brought to exactly its area by its largest values. A mask that has found the class
keeps it (`kept`) and loses it when it is moved, or when it is what is removed. One that only suits the blur that it was
fitted under loses it over other fills, and one that only suits its network loses it for other networks.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from tqdm.auto import tqdm

from inrexp.datasets.samples import Dataset, Sample
from inrexp.methods import as_image
from inrexp.models.classifier import Classifier, Target
from inrexp.paper.masks import keep_largest
from inrexp.paper.perturb import BLUR_SIGMA, blend, blur, fade
from inrexp.seeds import generator
from inrexp.study.equal import RECOGNISED
from inrexp.study.intervals import interval
from inrexp.study.plan import digest_of
from inrexp.study.rows import read_rows, setting_of, settings_of
from inrexp.study.shared_rows import add_rows, rows_there
from inrexp.study.store import Results
from inrexp.study.tables import photograph

AREAS = (0.05, 0.1, 0.2)
CONTROLS = ("kept", "moved", "deleted", "black", "grey", "blur_half", "blur_double", "other_picture")
NETWORKS = {"lite1": "efficientnet_lite1", "lite2": "efficientnet_lite2"}  # control -> classifier's name
COLUMNS = ["picture", "dataset", "method", "area", "control", "probability", "unmasked", "key"]
COLUMNS += ["seed", "network", "setting"]
MADE = ["key", "area", "control", "seed", "network"]  # which masks a row is of, and how it was made


def moved(mask: torch.Tensor, *, seed: int = 0) -> torch.Tensor:
    """Each mask shifted, around the picture's border, to where it overlaps least with where it was.

    Of all shifts with the smallest overlap, one is drawn.  mask: (k, 1, h, w), 0 or 1.  Returns the same shape.
    """
    spectrum = torch.fft.rfft2(mask.double())
    overlap = torch.fft.irfft2(spectrum * spectrum.conj(), s=mask.shape[-2:]).round()[:, 0]  # (k, h, w), in pixels
    shifted = []
    for one, pixels in zip(mask, overlap, strict=True):
        least = (pixels == pixels.min()).nonzero()  # (n, 2)
        chosen = least[int(torch.randint(len(least), (), generator=generator(seed, "masks")))]
        shifted.append(one.roll(chosen.tolist(), (-2, -1)))
    return torch.stack(shifted)


def shown(
    image: torch.Tensor, mask: torch.Tensor, other: torch.Tensor, *, seed: int = 0, sigma: float = BLUR_SIGMA
) -> dict[str, torch.Tensor]:
    """What the classifier sees in each of CONTROLS, each (k, 3, h, w) in [0, 1].

    image, other: the picture and another one, (1, 3, h, w) in [0, 1].  mask: (k, 1, h, w), 0 or 1.
    seed: of where `moved` masks go.  sigma: px, of the blur that the masks are judged under.
    """
    blurred = blur(image, sigma)
    return {
        "kept": blend(image, blurred, mask),
        "moved": blend(image, blurred, moved(mask, seed=seed)),
        "deleted": blend(image, blurred, 1 - mask),
        "black": blend(image, fade(image), mask),
        "grey": blend(image, torch.full_like(image, 0.5), mask),
        "blur_half": blend(image, blur(image, sigma / 2), mask),
        "blur_double": blend(image, blur(image, 2 * sigma), mask),
        "other_picture": blend(image, blur(other, sigma), mask),
    }


def measured(
    classifier: Classifier,
    target: Target,
    image: torch.Tensor,
    masks: Mapping[float, torch.Tensor],
    other: torch.Tensor,
    networks: Mapping[str, tuple[Classifier, Target]],
    *,
    seed: int = 0,
) -> pd.DataFrame:
    """A row for each area and control: the target's probability, and the one of the whole picture.

    masks: by area, a ranking (1, 1, h, w) of the pixels.  other: (1, 3, h, w), the other picture.
    networks: by control, other classifiers with the target among their classes. They see the pixels that `classifier`
        sees, resized to their own input; their rows have their own unmasked probability.
    """
    mask = torch.cat([keep_largest(ranking, torch.tensor([area])) for area, ranking in masks.items()]).to(image)
    seen = shown(image, mask, other, seed=seed)
    unmasked = float(classifier.probability(image, target))
    found = {name: (classifier.probability(images, target), unmasked) for name, images in seen.items()}
    for name, (network, wanted) in networks.items():
        both = network.probability(resized(torch.cat([image, seen["kept"]]), network.size), wanted)
        found[name] = both[1:], float(both[0])
    rows = [
        {"area": area, "control": name, "probability": p, "unmasked": whole}
        for name, (probabilities, whole) in found.items()
        for area, p in zip(masks, probabilities.tolist(), strict=True)
    ]
    return pd.DataFrame(rows)


def resized(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Images (n, 3, h, w) in [0, 1] as another network's input (h, w), by bicubic interpolation."""
    return F.interpolate(images, size=size, mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)


def run_controls(
    results: "str | Path",
    dataset: Dataset,
    classifier: Classifier,
    out: "str | Path",
    *,
    samples: Sequence[str] | None = None,
    networks: Mapping[str, Classifier] | None = None,
    areas: Sequence[float] = AREAS,
    seed: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """Measure what is missing in the CSV file `out`, picture by picture, and return all its rows.

    The call can be killed and repeated, and several may add to one file at the same time. Rows of masks that the study
    has computed anew since are measured again.
    results: the study's folder. Its first explanations by seed 0 are controlled; fits that collapsed left none.
    dataset: holds the pictures of the study's rows; rows of pictures that it lacks are not controlled.
    samples: names of the pictures to control; None is all. The other pictures' blurs come from the whole data set.
    networks: by the name of a control, classifiers of other networks (NETWORKS).
    seed: of where `moved` masks go.
    In each row, seed is that one, network a digest of the classifier that saw the masks, and setting a hash of the
    method's settings, by which masks that were computed anew are known; all are empty in files of older versions, whose
    rows are taken for those of seed 0 and of these networks. method is what the study calls the method now.
    Raises LookupError if no row is of these pictures, and ValueError for rows of another picture or other weights, and
    for two settings that would have one name in `out`.
    """
    chosen = dataset if samples is None else dataset.only(samples)
    out, by_name = Path(out), {sample.name: sample for sample in chosen}
    rows = read_rows(results)
    rows = rows[rows["sample"].isin(by_name) & (rows["seed"] == 0) & (rows["iteration"] == 1)]
    rows = rows[rows["status"] == "finished"]
    if rows.empty:
        raise LookupError(f"{results} holds no finished row of a picture of {dataset.name}: wrong data set or folder?")
    _check_model(rows, classifier)
    rows["setting"] = [setting_of(row) for row in rows.to_dict("records")]
    judges = {control: digest_of(classifier) for control in CONTROLS}
    judges |= {control: digest_of(network) for control, network in (networks or {}).items()}
    done = _known(out, rows, judges)
    measured_so_far = set(done[MADE].itertuples(index=False, name=None))
    with Results(results, reading=True) as store:
        for name, runs in tqdm(rows.groupby("sample"), unit="picture", disable=not progress):
            todo = []
            for run in runs.to_dict("records"):
                masks = stored(store, run["key"], areas)
                wanted = {(run["key"], area, control, seed, by) for area in masks for control, by in judges.items()}
                todo += [(run, masks)] if wanted - measured_so_far else []
            if not todo:
                continue
            sample, image = by_name[name], as_image(classifier, by_name[name].picture)
            if set(runs["contents"]) != {sample.digest(classifier)}:
                raise ValueError(f"the picture {name} of {dataset.name} is not the one of the study's rows")
            other = as_image(classifier, another(sample, dataset).picture)
            targets = {key: (one, sample.target(one)) for key, one in (networks or {}).items()}
            found = []
            for run, masks in todo:
                new = measured(classifier, sample.target(classifier), image, masks, other, targets, seed=seed)
                new = new.assign(picture=name, dataset=run["dataset"], method=run["variant"], key=run["key"])
                found.append(new.assign(seed=seed, network=new["control"].map(judges), setting=run["setting"])[COLUMNS])
            done = add_rows(  # rows of these masks with another seed or network give way
                out,
                pd.concat(found, ignore_index=True),
                in_place_of=MADE[:3],
                read=lambda path: _known(path, rows, judges),
            )
    return done


def _known(out: Path, rows: pd.DataFrame, judges: Mapping[str, str]) -> pd.DataFrame:
    """The rows of the CSV file `out`, without those of masks that the study has computed anew.

    rows: of the study.  judges: by control, the digest of the network that sees it.
    """
    done = rows_there(out, COLUMNS, dtype={"key": str, "network": str, "setting": str})
    if done.empty:
        return done
    study = rows.set_index("key")
    own = done["key"].isin(study.index)
    filled = {"seed": 0, "network": done["control"].map(judges), "setting": done["key"].map(study["setting"])}
    for name, value in filled.items():
        there = done[name] if name in done else pd.Series(np.nan, done.index, dtype=object)
        done[name] = there.where(there.notna(), value)
    done["seed"], done["area"] = done["seed"].astype(int), done["area"].astype(float)
    done["method"] = done["method"].mask(own, done["key"].map(study["variant"]))  # the study's names change as it grows
    anew = _among(done, rows, "setting") | (done["setting"].isna() & _among(done, rows, "method"))
    done = done[own | ~anew]
    clash = ~done["key"].isin(study.index) & _among(done, rows, "method")
    if clash.any():
        name = done.loc[clash, "method"].iloc[0]
        raise ValueError(f"{out} has rows of {name!r} by other settings than the study's: give another --out")
    return done[COLUMNS]


def _among(done: pd.DataFrame, rows: pd.DataFrame, column: str) -> pd.Series:
    """Whether each row of `done` is of a data set and a picture of the study, with its setting or method there."""
    there = rows.assign(method=rows["variant"], picture=rows["sample"])
    runs = pd.MultiIndex.from_frame(done[["dataset", "picture", column]])
    return pd.Series(runs.isin(pd.MultiIndex.from_frame(there[["dataset", "picture", column]])), done.index)


def _check_model(rows: pd.DataFrame, classifier: Classifier) -> None:
    there = {settings_of(text).get("weights") for text in rows["settings"].unique()}
    if there != {digest_of(classifier)}:
        names = ", ".join(sorted(rows["model"].unique()))
        raise ValueError(f"the study's rows are of {names}, with other weights than those of {classifier.name}")


def stored(store: Results, key: str, areas: Sequence[float]) -> dict[float, torch.Tensor]:
    """A row's masks of these areas as rankings (1, 1, h, w), by area; those that it lacks are left out.

    Of equal values in 8 bits, `keep_largest` takes the upper left ones first.
    """
    there = store.masks(key)
    found = {area: there.get("map", there.get(f"{area:g}")) for area in areas}
    return {
        area: torch.from_numpy(np.array(mask, dtype=np.float32))[None, None]
        for area, mask in found.items()
        if mask is not None
    }


def another(sample: Sample, dataset: Dataset) -> Sample:
    """A sample of another picture and class: the first from half the data set on.  Raises LookupError without one."""
    samples = list(dataset)
    place = samples.index(sample) + len(samples) // 2
    for one in samples[place % len(samples) :] + samples[: place % len(samples)]:
        if one.label != sample.label and one.picture != sample.picture:
            return one
    raise LookupError(f"{dataset.name} has no picture of another class than {sample.label}, whose blur could be used")


def control_table(rows: pd.DataFrame) -> pd.DataFrame:
    """A line for each data set, area, method and control.

    relative: mean over pictures of the probability divided by the whole picture's, with its 95 % interval low to high.
    difference: the same less that of `kept`, paired by picture, with its interval difference_low to difference_high.
    pictures: their number. Pictures that a network does not recognise unmasked (p below 0.1) are left out there, since
        nothing can be kept of them; left_out is their number. Several classes of one picture of VOC are averaged first,
        and such a picture is left out if none of them is recognised.
    rows: those of `run_controls`.
    """
    rows = rows.assign(relative=rows["probability"] / rows["unmasked"])
    rows["photograph"] = rows["picture"].map(photograph)
    lines = []
    for (dataset, area, method), runs in rows.groupby(["dataset", "area", "method"], sort=False):
        known = runs[runs["unmasked"] >= RECOGNISED]
        means = {name: one.groupby("photograph")["relative"].mean() for name, one in known.groupby("control")}
        for control, one in runs.groupby("control", sort=False):
            found = means.get(control, pd.Series(dtype=float))
            less = (found - means.get("kept", found)).dropna()
            (low, high), (less_low, less_high) = interval(found), interval(less)
            low = max(low, 0.0)  # of the quotient of two probabilities
            line = {"dataset": dataset, "area": area, "method": method, "control": control, "relative": found.mean()}
            line |= {"low": low, "high": high, "difference": less.mean()}
            line |= {"difference_low": less_low, "difference_high": less_high, "pictures": len(found)}
            lines.append(line | {"left_out": one["photograph"].nunique() - len(found)})
    return pd.DataFrame(lines)
