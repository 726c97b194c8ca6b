"""Several explanations of one picture: what their masks share, keep and leave behind."""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, overload

import torch
from safetensors.torch import load_file, save_file

from inrexp.attribution import CUT
from inrexp.explanation import Explanation
from inrexp.files import written_whole
from inrexp.models.checks import check_tensor
from inrexp.models.classifier import Classifier
from inrexp.paper.objectives import dice_overlap
from inrexp.paper.smallest_area import checked_threshold, smallest_area

INDEX = "explanations.json"
FORMAT = 2  # 1 kept its ending as a sentence


@dataclass(frozen=True)
class Ending:
    """How a run of algorithm 1 ended.

    kind: "finished", all that were asked for; "nothing more", what the last explanation adds keeps the class at no
        area; "interrupted", by Ctrl-C or `Cancelled`.
    during: the number of the explanation, from 1, at which it ended early.
    """

    kind: str = "finished"
    during: int | None = None

    def __str__(self) -> str:
        if self.kind == "nothing more":
            return f"nothing more: what explanation {self.during} adds keeps the class at no area in range"
        return self.kind if self.during is None else f"{self.kind} during explanation {self.during}"


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
    cut, None where soft masks are judged; way, "in turn" (algorithm 1) or "joint"; ending, how the run ended.
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
        ending: Ending | None = None,
    ):
        self.explanations, self.areas, self.stars = tuple(explanations), tuple(areas), tuple(stars)
        self.image, self.threshold, self.initial, self.cut = image, threshold, initial, cut
        self.way, self.ending = way, ending or Ending()
        self._stars = {None: self.stars, cut: self.stars}  # by cut: as judged in the run, later also under another

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
        return f"<{len(self)} explanations of {label!r}, {self.way}, {sum(self.keeps)} keep the class; {self.ending}>"

    @property
    def keeps(self) -> tuple[bool, ...]:
        """Whether each explanation, and what it adds, keeps the class at some area in range; False marks it as none."""
        return tuple(area is not None for area in self.stars)

    def smallest_areas(self, *, cut: float | None = None) -> tuple[float | None, ...]:
        """a* of each explanation (eq. 5), None where no area in range suffices.  cut: default as judged in the run.

        The mask must keep the class, and so must what it adds to the earlier ones, M (1 - M^b): one that only repeats
        them is none, and so is one that keeps the class only without the part it shares with them.
        """
        if cut not in self._stars:
            before = self._baselines()[:-1].split(1)
            judged = zip(self, before, strict=True)
            self._stars[cut] = tuple(smallest_beside(one, self.threshold, cut, past) for one, past in judged)
        return self._stars[cut]

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
        masks = self.masks(area, cut=cut)
        explains = torch.tensor([one.explains for one in self], dtype=masks.dtype, device=masks.device)
        masks = masks * explains.view(-1, 1, 1, 1)  # a fit that failed bars nothing
        return torch.cat([start, masks]).cumsum(0).clamp(0, 1)

    def remaining(self, *, cut: float | None = None) -> torch.Tensor:
        """The deletion game: Phi of the picture without the union of the first i masks, i = 0 to n.  Returns (n + 1,).

        The removed pixels are replaced as in the fit (eq. 1 with the mask 1 - M^b).
        """
        return self._first().probability_of_mask(1 - self._baselines(cut=cut))

    def table(self) -> list[dict[str, Any]]:
        """One row per explanation, soft and cut to 0/1 (`_cut`), for pandas.DataFrame.

        outcome: of its fit; a field that collapsed or diverged explains nothing, and says nothing about the picture.
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
                "outcome": str(one.outcome),
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
            raise ValueError(f"there is no explanation in it ({self.ending}): nothing to measure or save")
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
            facts = {name: getattr(self, name) for name in ("areas", "stars", "threshold", "cut", "way")}
            facts["ending"] = asdict(self.ending)
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
            cure = "update inrexp" if version > FORMAT else "explain the picture again"
            raise ValueError(f"{folder} has format {version}, this version reads {FORMAT}: {cure}")
        explanations: list[Explanation] = []
        for file in files:
            explanations.append(Explanation.load(folder / file, classifier=classifier))
            classifier = explanations[0].classifier
        image, initial = explanations[0].image, None
        if (folder / "initial.safetensors").is_file():
            initial = load_file(folder / "initial.safetensors")["initial"].to(image)
        facts["ending"] = Ending(**facts["ending"])
        return cls(explanations, facts.pop("areas"), facts.pop("stars"), image=image, initial=initial, **facts)


def baseline_of(initial: torch.Tensor | None, image: torch.Tensor) -> torch.Tensor:
    """clamp(sum of M^0), (1, 1, h, w); zeros for None.

    Raises TypeError for what is no tensor, and ValueError for masks that do not fit the image.
    """
    size = tuple(image.shape[-2:])
    if initial is None:
        return image.new_zeros(1, 1, *size)
    cure = "of a method's answer give its .mask(area), not the .saliency; of several their .masks()"
    check_tensor(initial, "initial", f"masks (m, 1, {size[0]}, {size[1]})", cure)
    if initial.dim() != 4 or tuple(initial.shape[1:]) != (1, *size):
        raise ValueError(f"initial must be masks (m, 1, {size[0]}, {size[1]}), got {tuple(initial.shape)}")
    if not bool(((initial >= 0) & (initial <= 1)).all()):
        raise ValueError("initial must be masks in [0, 1]: 1 where the picture counts as explained already")
    return initial.to(image).sum(0, keepdim=True).clamp(0, 1)


def smallest_beside(
    explanation: Explanation, threshold: float, cut: float | None, baseline: torch.Tensor
) -> float | None:
    """a* (eq. 5) of an explanation that others came before; None where no area suffices.

    The mask must keep the class, and so must what it adds to the earlier masks, M (1 - M^b).
    threshold: Phi_0.  cut: judge masks cut to 0/1.  baseline: M^b, (1, 1, h, w).
    """
    if not explanation.explains:
        return None
    threshold = checked_threshold(threshold)
    taken = baseline if cut is None else (baseline > cut).to(baseline.dtype)
    beside = bool(taken.any())
    areas, few = explanation.searched_areas, explanation.needed_classifier().at_once
    for first in range(0, len(areas), few):  # upwards, and no further than a*
        part = areas[first : first + few]
        masks = explanation.mask(part, cut=cut)
        kept = explanation.probability_of_mask(masks)
        if beside and bool((kept >= threshold).any()):
            kept = torch.minimum(kept, explanation.probability_of_mask(masks * (1 - taken)))
        found = smallest_area(part, kept.tolist(), threshold)
        if found is not None:
            return found
    return None
