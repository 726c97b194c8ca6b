"""Several explanations of one picture: algorithm 1, and what its masks share, keep and leave behind."""

import dataclasses
import json
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import torch
from safetensors.torch import load_file, save_file

from inrexp.explanation import CUT, PAPER_AREAS, Explanation
from inrexp.files import written_whole
from inrexp.models.classifier import Classifier
from inrexp.paper.fit import Problem, fit
from inrexp.paper.inr import MaskField
from inrexp.paper.masks import MaskSource
from inrexp.paper.objectives import dice_overlap
from inrexp.paper.settings import FitConfig

BASELINE_AREAS = ("smallest", "largest")
INDEX = "explanations.json"
FORMAT = 1
NumberedCallback = Callable[[int, int, dict[str, float], MaskSource], None]


def seed_of(seed: int, number: int) -> int:
    """The seed of explanation `number` (0, 1, ...): the first has `seed` itself, so that it equals `explain`'s."""
    return seed + 1_000_003 * number


def candidate_areas(area_range: tuple[float, float]) -> list[float]:
    """The areas at which an explanation may prove itself: the paper's four that lie in range, and the range's end."""
    low, high = area_range
    return [*(area for area in PAPER_AREAS if low - 1e-6 <= area < high - 1e-6), high]


def overlap_share(mask: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Share of each mask that lies on the others, sum(M M^b) / sum(M): 0 beside them, 1 within them.

    mask: (n, 1, h, w).  others: (n or 1, 1, h, w).  Returns (n,), NaN for an empty mask.
    """
    return (mask * others).flatten(1).sum(1) / mask.flatten(1).sum(1)


def coverage(masks: torch.Tensor, truths: Mapping[str, torch.Tensor]) -> list[dict[str, float]]:
    """What each mask covers: region -> share of the mask that lies on it (eq. 7 for every region).

    masks: (n, 1, h, w).  truths: (h, w) bool by name.
    The shares of a mask add up to 1 where the regions cover the picture once.
    """
    shares = {name: overlap_share(masks, truth.to(masks)[None, None]).tolist() for name, truth in truths.items()}
    return [{name: values[index] for name, values in shares.items()} for index in range(len(masks))]


class Explanations(Sequence[Explanation]):
    """{M^n} of algorithm 1: explanations of one picture in the order found, and the masks M^0 that they started from.

    Attributes: explanations; areas, the area of each one's mask M^n; stars, each one's a* as judged in the run, None
    where no area in range suffices (`smallest_areas`); initial, M^0 (m, 1, h, w) or None; image; threshold, Phi_0;
    cut, None where soft masks are judged; way, "in turn" (algorithm 1) or "joint"; status, "finished", "nothing more:
    ..." or "interrupted during explanation n".
    """

    def __init__(
        self,
        explanations: Sequence[Explanation],
        areas: Sequence[float],
        stars: Sequence[float | None],
        *,
        image: torch.Tensor,
        threshold: float,
        initial: torch.Tensor | None = None,
        cut: float | None = None,
        way: str = "in turn",
        status: str = "finished",
    ):
        self.explanations, self.areas, self.stars = tuple(explanations), tuple(areas), tuple(stars)
        self.image, self.threshold, self.initial, self.cut = image, threshold, initial, cut
        self.way, self.status = way, status

    def __len__(self) -> int:
        return len(self.explanations)

    @overload
    def __getitem__(self, index: int) -> Explanation: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Explanation, ...]: ...
    def __getitem__(self, index):
        return self.explanations[index]

    def __iter__(self) -> Iterator[Explanation]:
        return iter(self.explanations)

    def __repr__(self) -> str:
        label = self.explanations[0].target.label if self.explanations else "?"
        return f"<{len(self)} explanations of {label!r}, {self.way}, {sum(self.keeps)} keep the class; {self.status}>"

    @property
    def keeps(self) -> tuple[bool, ...]:
        """Whether each explanation, and what it adds, keeps the class at some area in range; False marks it as none."""
        return tuple(area is not None for area in self.stars)

    def smallest_areas(self, *, cut: float | None = None) -> tuple[float | None, ...]:
        """a* of each explanation (eq. 5), None where no area in range suffices.  cut: default as judged in the run.

        The mask must keep the class, and so must what it adds to the earlier ones, M (1 - M^b): one that only repeats
        them is none, and so is one that keeps the class only without the part it shares with them.
        """
        if cut is None or cut == self.cut:
            return self.stars
        before = self._baselines()[:-1].split(1)
        return tuple(_smallest(one, self.threshold, cut, past) for one, past in zip(self, before, strict=True))

    def masks(self, area: float | None = None, *, cut: float | None = None) -> torch.Tensor:
        """M^1 to M^n, each at its own area (a*, or what the run was asked), or all at `area`.  Returns (n, 1, h, w)."""
        if not self.explanations:
            return self.image.new_zeros(0, 1, *self.image.shape[-2:])
        areas = self.areas if area is None else [area] * len(self)
        return torch.cat([one.mask(own, cut=cut) for one, own in zip(self, areas, strict=True)])

    def union(self, area: float | None = None, *, first: int | None = None, cut: float | None = None) -> torch.Tensor:
        """M^b = clamp(M^0 + ... + M^first, 0, 1); all of them by default.  Returns (1, 1, h, w)."""
        count = len(self) if first is None else first
        if not 0 <= count <= len(self):
            raise ValueError(f"first must lie in 0 to {len(self)}, got {first}")
        return self._baselines(area, cut)[count : count + 1]

    def _baselines(self, area: float | None = None, cut: float | None = None) -> torch.Tensor:
        """M^b before each explanation and after the last.  (n + 1, 1, h, w)."""
        start = baseline_of(self.initial, self.image)
        start = start if cut is None else (start > cut).to(start.dtype)
        return torch.cat([start, self.masks(area, cut=cut)]).cumsum(0).clamp(0, 1)

    def remaining(self, *, cut: float | None = None) -> torch.Tensor:
        """The deletion game: Phi of the picture without the union of the first i masks, i = 0 to n.  Returns (n + 1,).

        The removed pixels are replaced as in the fit (eq. 1 with the mask 1 - M^b).
        """
        return self._first().probability_of_mask(1 - self._baselines(cut=cut))

    def table(self) -> list[dict[str, Any]]:
        """One row per explanation, soft and cut to 0/1 (`_cut`), for pandas.DataFrame.

        status: of its fit; a field that collapsed or diverged explains nothing, and says nothing about the picture.
        none: no area in range suffices.  a_star: smallest area where the mask and what it adds keep the class, or None.
        area: asked for M^n; area_kept: its mean.  probability: Phi under M^n.  overlap: share of M^n on the earlier
        masks; dice: eq. 6's term.  own: Phi under what M^n adds.  remaining: Phi once M^0 to M^n are removed.
        """
        if not self.explanations:
            return []
        rows: list[dict[str, Any]] = [
            {
                "number": number,
                "seed": one.seed,
                "none": a_star is None,
                "a_star": a_star,
                "area": area,
                "status": one.status,
            }
            for number, (one, a_star, area) in enumerate(zip(self, self.smallest_areas(), self.areas, strict=True), 1)
        ]
        for suffix, cut in (("", None), ("_cut", CUT)):
            masks, before = self.masks(cut=cut), self._baselines(cut=cut)[:-1]
            first = self._first()
            columns = {
                "area_kept": masks.mean((1, 2, 3)),
                "probability": first.probability_of_mask(masks),
                "overlap": overlap_share(masks, before),
                "dice": dice_overlap(masks, before),
                "own": first.probability_of_mask(masks * (1 - before)),
                "remaining": self.remaining(cut=cut)[1:],
            }
            for name, values in columns.items():
                for row, value in zip(rows, values.tolist(), strict=True):
                    row[name + suffix] = value
        for row, a_star in zip(rows, self.smallest_areas(cut=CUT), strict=True):
            row["a_star_cut"] = a_star
        return rows

    def _first(self) -> Explanation:
        if not self.explanations:
            raise ValueError(f"there is no explanation in it ({self.status}): nothing to measure or save")
        return self.explanations[0]

    def save(self, folder: "str | Path") -> Path:
        """Write one file per explanation, M^0 and an index into `folder`, which appears whole or not at all.

        An earlier save there is replaced. Raises FileExistsError for a folder that holds anything else.
        """
        folder = Path(folder)
        self._first()
        if folder.exists() and not (folder / INDEX).is_file():
            raise FileExistsError(f"{folder} exists and is no saved explanations: choose another folder, or remove it")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
            fresh = Path(scratch) / "new"
            fresh.mkdir()
            files = [f"explanation_{number}.safetensors" for number in range(1, len(self) + 1)]
            for one, file in zip(self, files, strict=True):
                one.save(fresh / file)
            if self.initial is not None:
                save_file({"initial": self.initial.contiguous().cpu()}, fresh / "initial.safetensors")
            facts = {name: getattr(self, name) for name in ("areas", "stars", "threshold", "cut", "way", "status")}
            with written_whole(fresh / INDEX) as temporary:
                temporary.write_text(json.dumps({"format": FORMAT, "files": files, **facts}, indent=2) + "\n")
            if folder.exists():
                folder.rename(Path(scratch) / "old")
            fresh.rename(folder)
        return folder

    @classmethod
    def load(cls, folder: "str | Path", *, classifier: Classifier | None = None) -> "Explanations":
        """Read what `save` wrote; a classifier known by name is loaded with it, another has to be passed.

        Raises FileNotFoundError, or ValueError for a folder that holds something else.
        """
        folder = Path(folder)
        if not (folder / INDEX).is_file():
            raise FileNotFoundError(f"no saved explanations in {folder}: wanted a folder with {INDEX}")
        try:
            facts = json.loads((folder / INDEX).read_text())
            files, version = facts.pop("files"), facts.pop("format")
        except (json.JSONDecodeError, KeyError, AttributeError) as error:
            raise ValueError(f"{folder / INDEX} is not an index written by inrexp: {error!r}") from error
        if version != FORMAT:
            raise ValueError(f"{folder} has format {version}, this version reads {FORMAT}: update inrexp")
        explanations: list[Explanation] = []
        for file in files:
            explanations.append(Explanation.load(folder / file, classifier=classifier))
            classifier = explanations[0].classifier
        image, initial = explanations[0].image, None
        if (folder / "initial.safetensors").is_file():
            initial = load_file(folder / "initial.safetensors")["initial"].to(image)
        return cls(explanations, facts.pop("areas"), facts.pop("stars"), image=image, initial=initial, **facts)


def baseline_of(initial: torch.Tensor | None, image: torch.Tensor) -> torch.Tensor:
    """clamp(sum of M^0), (1, 1, h, w); zeros for None.  Raises ValueError for masks that do not fit the image."""
    size = tuple(image.shape[-2:])
    if initial is None:
        return image.new_zeros(1, 1, *size)
    if initial.dim() != 4 or tuple(initial.shape[1:]) != (1, *size):
        raise ValueError(f"initial must be masks (m, 1, {size[0]}, {size[1]}), got {tuple(initial.shape)}")
    if not bool(((initial >= 0) & (initial <= 1)).all()):
        raise ValueError("initial must be masks in [0, 1]: 1 where the picture counts as explained already")
    return initial.to(image).sum(0, keepdim=True).clamp(0, 1)


def explain_in_turn(
    classifier: Classifier,
    problems: Sequence[Problem],
    config: FitConfig,
    *,
    n: int,
    preset: str,
    initial: torch.Tensor | None = None,
    baseline_area: "str | float" = "smallest",
    threshold: float | None = None,
    cut: float | None = None,
    stop: bool = True,
    max_batch: int = 64,
    progress: bool = True,
    callback: NumberedCallback | None = None,
) -> list[Explanations]:
    """Algorithm 1 on many pictures at once: round i fits explanation i of each picture that is not done yet.

    problems: images, targets and first seeds; their baselines are set here.  For the rest see `methods.explain_many`.
    """
    _check(n, baseline_area, config)
    runs = [_Run(classifier, problem, initial, threshold, cut) for problem in problems]
    for number in range(n):
        going = [run for run in runs if run.status == "finished"]
        if not going:
            break
        numbered = None if callback is None else _numbered(callback, number + 1)
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="fit interrupted")  # said below, for the whole run
                fitted = fit(
                    classifier,
                    [run.next_problem() for run in going],
                    config,
                    max_batch=max_batch,
                    progress=progress,
                    callback=numbered,
                )
            for run, one in zip(going, fitted, strict=False):  # an interrupted fit returns fewer
                if not one.status.startswith("interrupted"):
                    facts = {"config": config, "preset": preset, "seed": seed_of(run.problem.seed, number)}
                    found = Explanation.of_fit(one, classifier, run.problem.image, run.problem.target, **facts)
                    run.add(found, baseline_area, stop)
        except KeyboardInterrupt:
            pass
        if any(len(run.found) <= number for run in going):
            for run in (run for run in going if run.status == "finished" and len(run.found) < n):
                run.status = f"interrupted during explanation {len(run.found) + 1}"
            kept = sum(len(run.found) for run in runs)
            warnings.warn(f"interrupted during explanation {number + 1}: {kept} finished are kept", stacklevel=3)
            break
    return [run.result() for run in runs]


class _Run:
    """One picture's way through algorithm 1."""

    def __init__(
        self,
        classifier: Classifier,
        problem: Problem,
        initial: torch.Tensor | None,
        threshold: float | None,
        cut: float | None,
    ):
        self.problem, self.initial, self.cut = problem, initial, cut
        self.threshold = _threshold(classifier, problem, threshold)
        self.baseline = baseline_of(initial, problem.image)
        self.found: list[Explanation] = []
        self.areas: list[float] = []
        self.stars: list[float | None] = []
        self.status = "finished"

    def next_problem(self) -> Problem:
        """The same picture with M^b and a fresh field; without any earlier mask eq. 6 is eq. 2."""
        baseline = self.baseline if self.found or self.initial is not None else None
        return dataclasses.replace(self.problem, seed=seed_of(self.problem.seed, len(self.found)), baseline=baseline)

    def add(self, found: Explanation, baseline_area: "str | float", stop: bool) -> None:
        """Lines 2, 3 and 5: M^n at its area joins the baseline."""
        smallest = _smallest(found, self.threshold, self.cut, self.baseline)
        area = _area_of(found, smallest, baseline_area)
        self.baseline = (self.baseline + found.mask(area)).clamp(0, 1)
        self.found.append(found)
        self.areas.append(area)
        self.stars.append(smallest)
        if smallest is None and stop and found.status == "finished":  # a fit that failed is no sign of nothing more
            self.status = f"nothing more: what explanation {len(self.found)} adds keeps the class at no area in range"

    def result(self, way: str = "in turn") -> Explanations:
        return Explanations(
            self.found,
            self.areas,
            self.stars,
            image=self.problem.image,
            threshold=self.threshold,
            initial=self.initial,
            cut=self.cut,
            way=way,
            status=self.status,
        )


def explain_jointly(
    classifier: Classifier,
    problem: Problem,
    config: FitConfig,
    *,
    n: int,
    preset: str,
    area: "str | float" = "smallest",
    initial: torch.Tensor | None = None,
    threshold: float | None = None,
    cut: float | None = None,
    progress: bool = True,
    callback: NumberedCallback | None = None,
) -> Explanations:
    """n masks from one fit (beyond the paper): one field with n outputs, held apart by `pairwise_overlap`.

    A step sees n masks of one area, so it costs n classifier passes. The result is in the order of a*, then of
    probability. An interrupted fit is kept as it stands, as in `explain`; each explanation's status says so.
    """
    _check(n, area, config)
    config = dataclasses.replace(config, source_settings={**config.source_settings, "outputs": n})
    run = _Run(classifier, problem, initial, threshold, cut)
    if initial is not None:
        problem = dataclasses.replace(problem, baseline=run.baseline)
    numbered = None if callback is None else _numbered(callback, 1)
    fitted = fit(classifier, [problem], config, max_batch=max(64, n), progress=progress, callback=numbered)[0]
    field = fitted.source
    assert isinstance(field, MaskField)
    facts = {"config": config, "preset": preset, "seed": problem.seed}
    found = []
    for index in range(n):
        share = dataclasses.replace(fitted, source=field.output(index), seconds=fitted.seconds / n)
        one = Explanation.of_fit(share, classifier, problem.image, problem.target, **facts)
        smallest = _smallest(one, run.threshold, cut, run.baseline)
        own = _area_of(one, smallest, area)
        found.append((smallest or 1.0, -float(one.probability(own, cut=cut)), index, one))
    for *_, one in sorted(found):
        run.add(one, area, stop=False)
    return run.result("joint")


def _threshold(classifier: Classifier, problem: Problem, threshold: float | None) -> float:
    if threshold is None:
        return 0.5 * float(classifier.probability(problem.image, problem.target))
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold must be a probability in [0, 1], got {threshold}")
    return float(threshold)


def _smallest(explanation: Explanation, threshold: float, cut: float | None, baseline: torch.Tensor) -> float | None:
    """Smallest area (eq. 5) whose mask keeps the class, and what it adds to the baseline, M (1 - M^b), keeps it too."""
    areas = candidate_areas(explanation.area_range)
    masks = explanation.mask(areas, cut=cut)
    kept = explanation.probability_of_mask(masks)
    if bool(baseline.any()):
        taken = baseline if cut is None else (baseline > cut).to(baseline.dtype)
        kept = torch.minimum(kept, explanation.probability_of_mask(masks * (1 - taken)))
    return next((area for area, p in zip(areas, kept.tolist(), strict=True) if p >= threshold), None)


def _area_of(explanation: Explanation, smallest: float | None, rule: "str | float") -> float:
    if not isinstance(rule, str):
        return float(rule)
    return smallest if rule == "smallest" and smallest is not None else explanation.area_range[1]


def _numbered(callback: NumberedCallback, number: int) -> Callable[[int, dict[str, float], MaskSource], None]:
    return lambda step, report, source: callback(number, step, report, source)


def _check(n: int, area: "str | float", config: FitConfig) -> None:
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ValueError(f"n must be 1 explanation or more, got {n!r}")
    if config.source != "field":
        raise ValueError(f"several explanations need a field (config.source='field'), got {config.source!r}")
    low, high = config.area_range
    if isinstance(area, str):
        if area not in BASELINE_AREAS:
            raise ValueError(f"baseline_area must be one of {BASELINE_AREAS} or a number, got {area!r}")
    elif not low <= area <= high:
        raise ValueError(f"baseline_area must lie in the fitted range [{low:g}, {high:g}], got {area}")
