"""What a fit answers: masks at any area, the probability they keep, the smallest area that suffices; kept in a file."""

import dataclasses
import json
import platform
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from inrexp.attribution import Attribution, as_areas
from inrexp.files import written_whole
from inrexp.models.classifier import Classifier, Target
from inrexp.models.registry import classifier_names, load_classifier
from inrexp.paper.fit import Fitted, make_source
from inrexp.paper.lattice import MaskLattice
from inrexp.paper.masks import MaskSource
from inrexp.paper.outcome import Outcome
from inrexp.paper.settings import FitConfig, from_plain
from inrexp.paper.smallest_area import checked_cut

FORMAT = 2  # 1 had flat settings
SAME = 0.02  # in probability; machines and versions of torch differ by less
AT_ONCE = 8  # areas that a field is evaluated for in one pass, which bounds the memory


class Explanation(Attribution):
    """What a fit answers for one picture: a field, or a lattice of extremal perturbations, and how it came about.

    Attributes beside those of an `Attribution`: source, what was fitted; config, its settings; history, loss,
    probability, penalty and area by step; outcome, how the fit ended; versions, of inrexp, torch and Python.
    """

    def __init__(
        self,
        *,
        source: MaskSource,
        image: torch.Tensor,
        target: Target,
        config: FitConfig,
        classifier: Classifier | None,
        classifier_name: str,
        seed: int,
        history: dict[str, torch.Tensor],
        outcome: Outcome,
        seconds: float,
        unmasked: float,
        versions: dict[str, str] | None = None,
    ):
        self.source, self.image, self.target, self.config = source, image, target, config
        self.classifier, self.classifier_name = classifier, classifier_name
        self.seed, self.history, self.outcome = seed, history, outcome
        self.seconds, self.unmasked = seconds, unmasked
        self.perturbation, self.blur_sigma = config.perturbation, config.blur_sigma
        self.versions = versions or {
            "inrexp": version("inrexp"),
            "torch": torch.__version__,
            "python": platform.python_version(),
        }

    @classmethod
    def of_fit(
        cls, fitted: Fitted, classifier: Classifier, image: torch.Tensor, target: Target, config: FitConfig, seed: int
    ) -> "Explanation":
        """What `fit` left of one problem, as an answer."""
        return cls(
            source=fitted.source,
            image=image,
            target=target,
            config=config,
            classifier=classifier,
            classifier_name=classifier.name,
            seed=seed,
            history=fitted.history,
            outcome=fitted.outcome,
            seconds=fitted.seconds,
            unmasked=float(classifier.probability(image, target)),
        )

    @property
    def preset(self) -> str:
        """The settings' name."""
        return self.config.name

    @property
    def explains(self) -> bool:
        return not self.outcome.failed

    @property
    def _made(self) -> str:
        return f"{self.preset}, {self.outcome}"

    @property
    def area_range(self) -> tuple[float, float]:
        return self.source.area_range

    @property
    def held_areas(self) -> tuple[float, ...] | None:
        return self.source.settings.areas if isinstance(self.source, MaskLattice) else None

    def mask(self, area: "float | Sequence[float]", *, cut: float | None = None) -> torch.Tensor:
        """M_a for one area or several.  Returns (k, 1, h, w) in [0, 1]; with `cut`, 0 or 1.

        Raises ValueError for an area outside the fitted range or one that a lattice does not hold, and for a cut that
        is no level in [0, 1).
        """
        areas = self._areas(area)
        level = None if cut is None else checked_cut(cut)
        with torch.no_grad():
            mask = torch.cat([self.source(part)[0] for part in areas.split(AT_ONCE, dim=1)])
        return mask if level is None else (mask > level).to(mask.dtype)

    @property
    def saliency(self) -> torch.Tensor:  # type: ignore[override]
        """One ranking out of all masks: their mean over the searched areas.  (1, 1, h, w)."""
        return self.mask(self.searched_areas).mean(0, keepdim=True)

    def _areas(self, area: "float | Sequence[float]") -> torch.Tensor:
        wanted = as_areas(area)
        if self.held_areas is not None:
            held = torch.tensor(self.held_areas, dtype=torch.float64)
            if wanted.numel() == 0 or bool(((wanted[:, None] - held).abs().min(1).values > 1e-6).any()):
                raise ValueError(
                    f"area must be one that the lattice holds, {self.held_areas}, got {area}: fit again with it "
                    "among LatticeSettings(areas=...)"
                )
        low, high = self.area_range
        if wanted.numel() == 0 or not bool(((wanted >= low - 1e-6) & (wanted <= high + 1e-6)).all()):
            raise ValueError(
                f"area must lie in the fitted range [{low:g}, {high:g}] (a fraction of the picture), got {area}: fit "
                "again with dataclasses.replace(explanation.config, area_range=(low, high)) as the preset"
            )
        return wanted.to(self.image.dtype).to(self.image.device)[None]  # in this order: MPS has no float64

    def save(self, path: "str | Path") -> Path:
        """Write everything but the classifier to one .safetensors file (tensors and JSON, no code)."""
        path = Path(path)
        tensors = {f"source.{key}": value.contiguous().cpu() for key, value in self.source.state_dict().items()}
        tensors |= {f"history.{key}": value.contiguous() for key, value in self.history.items()}
        tensors["image"] = self.image.contiguous().cpu()
        facts = {
            "format": FORMAT,
            "target": dataclasses.asdict(self.target),
            "config": dataclasses.asdict(self.config),
            "outcome": dataclasses.asdict(self.outcome),
            "classifier": self.classifier_name,
            **{name: getattr(self, name) for name in ("seed", "seconds", "unmasked", "versions")},
        }
        with written_whole(path) as temporary:
            save_file(tensors, temporary, metadata={"inrexp": json.dumps(facts)})
        return path

    @classmethod
    def load(cls, path: "str | Path", *, classifier: Classifier | None = None) -> "Explanation":
        """Read what `save` wrote; a classifier known by name is loaded with it, another has to be passed.

        A classifier known by name is loaded onto the CPU. If its weights have to be fetched and cannot be, a warning
        says so and the explanation comes without it: its masks are there, the probability that they keep is not.
        Raises FileNotFoundError, or ValueError for a file that is no explanation or that another version wrote, and for
        a classifier without the class that was explained.
        """
        path = Path(path)
        facts, tensors = _read(path)
        config = from_plain(facts["config"])
        if classifier is None and facts["classifier"] in classifier_names():
            classifier = _named(facts["classifier"])
        device = classifier.device if classifier is not None else torch.device("cpu")
        stored = tensors["image"]
        image = (stored if classifier is None else stored.to(classifier.dtype)).to(device)
        source = make_source(config, (image.shape[-2], image.shape[-1]), [0]).to(stored.dtype)
        source.load_state_dict({key[7:]: value for key, value in tensors.items() if key.startswith("source.")})
        target = Target(tuple(facts["target"]["indices"]), facts["target"]["label"])
        if classifier is not None:
            _compare(classifier, image, target, facts["unmasked"])
        return cls(
            source=source.to(image.dtype).to(device),
            image=image,
            target=target,
            config=config,
            classifier=classifier,
            classifier_name=facts["classifier"],
            history={key[8:]: value for key, value in tensors.items() if key.startswith("history.")},
            outcome=Outcome(**facts["outcome"]),
            **{name: facts[name] for name in ("seed", "seconds", "unmasked", "versions")},
        )


def _named(name: str) -> Classifier | None:
    """The classifier of this name on the CPU, or None, with a warning, where its weights are not to be had."""
    try:
        return load_classifier(name, device="cpu")
    except FileNotFoundError as error:
        warnings.warn(f"The explanation comes without its classifier: {error}", stacklevel=3)
        return None


def _compare(classifier: Classifier, image: torch.Tensor, target: Target, unmasked: float) -> None:
    """Warns for a classifier that gives the picture another probability than the fit's, or has not its classes."""
    own = "Pass the one that was explained: load(path, classifier=...)."
    classes = classifier.probabilities(image).shape[1]
    if max(target.indices) >= classes:
        raise ValueError(
            f"{classifier.name} has {classes} classes, the explanation is of class {target.indices}. {own}"
        )
    now = float(classifier.probability(image, target))
    if not abs(now - unmasked) < SAME:
        said = f"{classifier.name} gives this picture p = {now:.3f}, the fit's classifier gave {unmasked:.3f}."
        warnings.warn(f"{said} {own}", stacklevel=3)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The facts and the tensors of a saved explanation."""
    if not path.is_file():
        raise FileNotFoundError(f"no explanation at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})["inrexp"])
            form = facts["format"]
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not an explanation saved by inrexp: {error}") from error
    if form != FORMAT:
        cure = "update inrexp" if form > FORMAT else "explain the picture again"
        raise ValueError(f"{path} has format {form}, this version reads {FORMAT}: {cure}")
    return facts, tensors
