"""What a method answers: masks at any area, the probability they keep, the smallest area that suffices (eq. 5)."""

import dataclasses
import functools
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

from inrexp.files import written_whole
from inrexp.models.classifier import Classifier, Target
from inrexp.models.registry import classifier_names, load_classifier
from inrexp.paper.fit import Fitted
from inrexp.paper.inr import MaskField
from inrexp.paper.lattice import MaskLattice
from inrexp.paper.masks import MaskSource
from inrexp.paper.perturb import BLUR_SIGMA, blend, blend_levels, blur, blur_levels, fade
from inrexp.paper.settings import LEVELS, FitConfig

PAPER_AREAS = (0.025, 0.05, 0.1, 0.2)  # section 3.4
CUT = 0.5  # mask values above it are 1 in a binary mask; the paper gives no value for the INR
PAPER_CUTS = {"imagenet": 0.2, "voc": 0.5}  # section 3.4, for saliency maps scaled to [0, 1]
FORMAT = 1
SAME = 0.02  # in probability; machines and versions of torch differ by less


class Attribution:
    """What every method's answer can do: masks of an area, the probability they keep, the smallest that suffices.

    Attributes: image (1, 3, h, w), target, classifier (None after loading one that has no name), classifier_name,
    seed, seconds, unmasked (probability of the whole image).
    """

    image: torch.Tensor
    target: Target
    classifier: Classifier | None
    classifier_name: str
    seed: int
    seconds: float
    unmasked: float
    perturbation: str = "blur"
    blur_sigma: float = BLUR_SIGMA
    saliency: torch.Tensor  # (1, 1, h, w), scores that rank the pixels

    def __repr__(self) -> str:
        low, high = self.area_range
        return (
            f"<{type(self).__name__} of {self.target.label!r}, p = {self.unmasked:.2f} unmasked by "
            f"{self.classifier_name}: {self._made}, seed {self.seed}, areas {low:g} to {high:g}>"
        )

    @property
    def _made(self) -> str:
        """By what, for `repr`."""
        raise NotImplementedError

    @property
    def area_range(self) -> tuple[float, float]:
        """Smallest and largest area that there is a mask for."""
        raise NotImplementedError

    def mask(self, area: "float | Sequence[float]", *, cut: float | None = None) -> torch.Tensor:
        """The mask of one area or several.  Returns (k, 1, h, w) in [0, 1]; with `cut`, 0 or 1."""
        raise NotImplementedError

    @property
    def held_areas(self) -> tuple[float, ...] | None:
        """The areas that there are masks for; None for every area in the range."""
        return None

    def probability(self, area: "float | Sequence[float]", *, cut: float | None = None) -> torch.Tensor:
        """Phi of the image under M_a (eq. 1), for each area; with `cut`, under the mask cut to 0/1.  Returns (k,)."""
        return self.probability_of_mask(self.mask(area, cut=cut))

    def probability_of_mask(self, mask: torch.Tensor) -> torch.Tensor:
        """Phi(M * I + (1 - M) * I') for any mask (k, 1, h, w), with this method's perturbation.  Returns (k,)."""
        classifier = self.needed_classifier()
        kept = []
        for part in mask.to(self.image).split(16):
            kept.append(classifier.probability(self.blended(part), self.target))
        return torch.cat(kept)

    def blended(self, mask: torch.Tensor) -> torch.Tensor:
        """What the classifier sees through a mask (eq. 1).  mask: (k, 1, h, w).  Returns (k, 3, h, w) in [0, 1]."""
        if self.perturbation == "levels":
            return blend_levels(self.perturbed, mask[None])[0]
        return blend(self.image, self.perturbed, mask)

    @functools.cached_property
    def perturbed(self) -> torch.Tensor:
        """I' of eq. 1, (1, 3, h, w); extremal perturbations' blur levels, (1, 8, 3, h, w)."""
        if self.perturbation == "levels":
            return blur_levels(self.image, LEVELS)
        return fade(self.image) if self.perturbation == "fade" else blur(self.image, self.blur_sigma)

    def needed_classifier(self) -> Classifier:
        if self.classifier is None:
            raise RuntimeError(
                f"this explanation was loaded without its classifier {self.classifier_name!r}: "
                "pass it, Explanation.load(path, classifier=...)"
            )
        return self.classifier

    @property
    def threshold(self) -> float:
        """Phi_0's default, half of the unmasked probability; the paper gives no value."""
        return 0.5 * self.unmasked

    def smallest_area(
        self,
        threshold: float | None = None,
        *,
        areas: Sequence[float] | None = PAPER_AREAS,
        cut: float | None = None,
        tolerance: float = 1e-3,
    ) -> float | None:
        """a*, the smallest area whose mask keeps the probability at `threshold` or above (eq. 5); None if none does.

        areas: the paper's four by default (those in the fitted range); None searches the whole range: 36 areas, then
        bisection down to `tolerance`.  cut: judge masks cut to 0/1.
        """
        wanted = self.threshold if threshold is None else threshold
        if not 0 <= wanted <= 1:
            raise ValueError(f"threshold must be a probability in [0, 1], got {wanted}")
        low, high = self.area_range
        if areas is None:
            areas = self.held_areas
        if areas is not None:
            within = sorted(area for area in areas if low - 1e-6 <= area <= high + 1e-6)
            if self.held_areas is not None:
                within = [area for area in within if min(abs(area - one) for one in self.held_areas) < 1e-6]
            if not within:
                raise ValueError(f"areas must hold one that there is a mask for, [{low:g}, {high:g}]; got {areas}")
            return next(
                (a for a, p in zip(within, self.probability(within, cut=cut), strict=True) if p >= wanted), None
            )
        grid = torch.linspace(low, high, 36, dtype=torch.float64).tolist()
        keeps = (self.probability(grid, cut=cut) >= wanted).tolist()
        if True not in keeps:
            return None
        first = keeps.index(True)
        if first == 0:
            return grid[0]
        below, above = grid[first - 1], grid[first]
        while above - below > tolerance:
            middle = (below + above) / 2
            below, above = (below, middle) if self.probability(middle, cut=cut) >= wanted else (middle, above)
        return above


class Explanation(Attribution):
    """Masks M_a of one image for one target, for every area in the fitted range.

    Attributes beside Attribution's: config, preset, history (name -> (steps,)), status, versions.
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
        preset: str,
        seed: int,
        history: dict[str, torch.Tensor],
        status: str,
        seconds: float,
        unmasked: float,
        versions: dict[str, str] | None = None,
    ):
        self.source, self.image, self.target, self.config = source, image, target, config
        self.classifier, self.classifier_name = classifier, classifier_name
        self.preset, self.seed, self.history, self.status = preset, seed, history, status
        self.seconds, self.unmasked = seconds, unmasked
        self.perturbation, self.blur_sigma = config.perturbation, config.blur_sigma
        self.versions = versions or {
            "inrexp": version("inrexp"),
            "torch": torch.__version__,
            "python": platform.python_version(),
        }

    @classmethod
    def of_fit(
        cls, fitted: Fitted, classifier: Classifier, image: torch.Tensor, target: Target, **facts: Any
    ) -> "Explanation":
        unmasked = float(classifier.probability(image, target))
        return cls(
            source=fitted.source,
            image=image,
            target=target,
            classifier=classifier,
            classifier_name=classifier.name,
            history=fitted.history,
            status=fitted.status,
            seconds=fitted.seconds,
            unmasked=unmasked,
            **facts,
        )

    @property
    def _made(self) -> str:
        return f"{self.preset}, {self.status}"

    @property
    def area_range(self) -> tuple[float, float]:
        if isinstance(self.source, MaskLattice):
            return min(self.source.areas), max(self.source.areas)
        return self.config.area_range

    @property
    def held_areas(self) -> tuple[float, ...] | None:
        return self.source.areas if isinstance(self.source, MaskLattice) else None

    def mask(self, area: "float | Sequence[float]", *, cut: float | None = None) -> torch.Tensor:
        """M_a for one area or several.  Returns (k, 1, h, w) in [0, 1]; with `cut`, 0 or 1.

        Raises ValueError for an area outside the fitted range.
        """
        areas = self._areas(area)
        with torch.no_grad():
            mask = torch.cat([self.source(part)[0] for part in areas.split(8, dim=1)])  # bounds the memory
        return mask if cut is None else (mask > cut).to(mask.dtype)

    @property
    def saliency(self) -> torch.Tensor:  # type: ignore[override]
        """One ranking out of all masks: their mean over the areas held, or over 36 of the range.  (1, 1, h, w)."""
        low, high = self.area_range
        areas = self.held_areas or torch.linspace(low, high, 36, dtype=torch.float64).tolist()
        return self.mask(areas).mean(0, keepdim=True)

    def _areas(self, area: "float | Sequence[float]") -> torch.Tensor:
        wanted = torch.as_tensor(area, dtype=torch.float64).flatten().cpu()
        low, high = self.area_range
        if wanted.numel() == 0 or not bool(((wanted >= low - 1e-6) & (wanted <= high + 1e-6)).all()):
            raise ValueError(
                f"area must lie in the fitted range [{low:g}, {high:g}] (a fraction of the picture), got {area}: "
                "fit again with FitConfig(area_range=...)"
            )
        if isinstance(self.source, MaskLattice):
            known = torch.tensor(self.source.areas, dtype=torch.float64)
            if bool(((wanted[:, None] - known).abs().min(1).values > 1e-6).any()):
                raise ValueError(f"extremal perturbations hold the areas {self.source.areas} only, got {area}")
        return wanted.to(self.image)[None]

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
            "source_settings": self.source.settings,
            "classifier": self.classifier_name,
            **{name: getattr(self, name) for name in ("preset", "seed", "status", "seconds", "unmasked", "versions")},
        }
        with written_whole(path) as temporary:
            save_file(tensors, temporary, metadata={"inrexp": json.dumps(facts)})
        return path

    @classmethod
    def load(cls, path: "str | Path", *, classifier: Classifier | None = None) -> "Explanation":
        """Read what `save` wrote; a classifier known by name is loaded with it, another has to be passed.

        Raises FileNotFoundError, or ValueError for a file that is no explanation.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"no explanation at {path}")
        try:
            with safe_open(path, framework="pt") as file:
                facts = json.loads((file.metadata() or {})["inrexp"])
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except (SafetensorError, KeyError, json.JSONDecodeError) as error:
            raise ValueError(f"{path} is not an explanation saved by inrexp: {error}") from error
        if facts["format"] != FORMAT:
            raise ValueError(f"{path} has format {facts['format']}, this version reads {FORMAT}: update inrexp")
        config = FitConfig(**_tuples(facts["config"]))
        kind = MaskLattice if config.source == "lattice" else MaskField
        image = tensors["image"]
        source = kind(tuple(image.shape[-2:]), [0], **_tuples(facts["source_settings"]))
        source.to(image.dtype).load_state_dict(
            {key[7:]: value for key, value in tensors.items() if key.startswith("source.")}
        )
        if classifier is None and facts["classifier"] in classifier_names():
            classifier = load_classifier(facts["classifier"], device="cpu")
        device = classifier.device if classifier is not None else torch.device("cpu")
        target = Target(tuple(facts["target"]["indices"]), facts["target"]["label"])
        if classifier is not None:
            now = float(classifier.probability(image.to(device=device, dtype=classifier.dtype), target))
            if not abs(now - facts["unmasked"]) < SAME:
                warnings.warn(
                    f"{classifier.name} gives this picture p = {now:.3f}, the classifier of the fit gave "
                    f"{facts['unmasked']:.3f}: pass the one that was explained, Explanation.load(path, classifier=...)",
                    stacklevel=2,
                )
        return cls(
            source=source.to(device),
            image=image.to(device),
            target=target,
            config=config,
            classifier=classifier,
            classifier_name=facts["classifier"],
            history={key[8:]: value for key, value in tensors.items() if key.startswith("history.")},
            **{name: facts[name] for name in ("preset", "seed", "status", "seconds", "unmasked", "versions")},
        )


def _tuples(settings: dict[str, Any]) -> dict[str, Any]:
    """JSON knows lists only."""
    return {
        key: tuple(value) if isinstance(value, list) else _tuples(value) if isinstance(value, dict) else value
        for key, value in settings.items()
    }
