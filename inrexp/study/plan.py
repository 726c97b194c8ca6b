"""What a study is: its plan, cut into tasks, each row with a key that holds whatever its numbers depend on."""

import dataclasses
import hashlib
import inspect
import json
from dataclasses import dataclass
from typing import Any

from inrexp.datasets.samples import Dataset, Sample
from inrexp.explanation import CUT, PAPER_CUTS
from inrexp.methods import DEFAULT_PRESET, EXTREMAL, METHODS, config_of, extremal_config
from inrexp.models.classifier import Classifier
from inrexp.paper.settings import FitConfig
from inrexp.study.scores import Judging
from inrexp.study.store import IDENTITY

FORMAT = 1  # of what a row means: raise it when a number is computed otherwise, also by another default (test_plan.py)
SEEDLESS = ("extremal_perturbation", "grad_cam")  # they draw no random number: one seed says all
NO_SETTING = ("seed", "progress", "callback", "batch")  # of a method's options: these do not change its answer


@dataclass(frozen=True)
class StudyPlan:
    """What a study is: every field but `batch` and `limit` is part of a result's key.

    dataset: a name that `datasets.load_dataset` knows.  model: one that `load_classifier` knows.
    methods: names in METHODS.  seeds: 0 to seeds - 1, each a row (a single one for a method without random numbers).
    iterations: explanations of algorithm 1 for the INR; the other methods have one.
    preset, steps: the INR's; a FitConfig counts as preset "custom".  extremal_preset, extremal_steps: the same for
        extremal perturbations; their steps are rescaled as `extremal_config` says.
    rise_masks: 8000 with its authors.
    threshold: Phi_0 of eq. 5; None is half of the unmasked probability.  cut: where masks are cut to 0/1.
    map_cut: where saliency maps scaled to [0, 1] are cut; None is section 3.4's, 0.2 or for VOC 0.5.
    curve_steps: of insertion and deletion.
    limit: this many samples, evenly spread over the data set (which is sorted by class), not its first ones.
    batch: INR fits in one call; faster on a GPU, and the last bits of a row may depend on it.
    """

    dataset: str = "packaged"
    methods: tuple[str, ...] = tuple(METHODS)
    seeds: int = 5
    iterations: int = 1
    preset: str | FitConfig = DEFAULT_PRESET
    steps: int | None = None
    extremal_preset: str = EXTREMAL
    extremal_steps: int | None = None
    rise_masks: int = 8000
    threshold: float | None = None
    cut: float = CUT
    map_cut: float | None = None
    curve_steps: int = 20
    model: str = "efficientnet_lite0"
    limit: int | None = None
    batch: int = 1

    def __post_init__(self) -> None:
        unknown = [name for name in self.methods if name not in METHODS]
        if unknown or not self.methods or len(set(self.methods)) < len(self.methods):
            raise ValueError(f"methods must be some of {', '.join(METHODS)}, each once; got {', '.join(self.methods)}")
        for name in ("seeds", "iterations", "rise_masks", "curve_steps", "batch", "limit", "steps", "extremal_steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be 1 or more, got {value}")
        for name in ("threshold", "cut", "map_cut"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise ValueError(f"{name} must lie in [0, 1), got {value}")
        self.config("inr"), self.config("extremal_perturbation")

    def config(self, method: str) -> FitConfig | None:
        """The fit's settings; None for a method that is not fitted."""
        if method == "extremal_perturbation":
            return extremal_config(self.extremal_preset, steps=self.extremal_steps)
        if method != "inr":
            return None
        _, config = config_of(self.preset)
        return config if self.steps is None else dataclasses.replace(config, steps=self.steps)

    def preset_of(self, method: str) -> str | None:
        names = {"inr": config_of(self.preset)[0], "extremal_perturbation": self.extremal_preset}
        return names.get(method)

    @property
    def judging(self) -> Judging:
        map_cut = PAPER_CUTS["voc" if self.dataset.startswith("voc") else "imagenet"]
        return Judging(
            threshold=self.threshold,
            cut=self.cut,
            map_cut=map_cut if self.map_cut is None else self.map_cut,
            curve_steps=self.curve_steps,
        )

    def settings(self, method: str) -> dict[str, Any]:
        """What a row of the method depends on, the model's weights apart: of a fit its steps and every value that is
        not FitConfig's default, so that a FitConfig with one more option leaves finished rows as they are."""
        config = self.config(method)
        judging = dataclasses.asdict(self.judging)
        judging["threshold"] = "half of the unmasked probability" if self.threshold is None else self.threshold
        if config is not None:
            del judging["map_cut"]
            usual = dataclasses.asdict(FitConfig())
            own = {name: value for name, value in dataclasses.asdict(config).items() if value != usual[name]}
            return {"fit": {"steps": config.steps, **own}, **judging}
        del judging["cut"]  # a map's masks are binary
        options = inspect.signature(METHODS[method]).parameters.values()
        held = {one.name: one.default for one in options if one.kind is one.KEYWORD_ONLY and one.name not in NO_SETTING}
        return held | self.options(method) | judging

    def options(self, method: str) -> dict[str, Any]:
        """Keywords for the method's function."""
        if method == "extremal_perturbation":
            return {"preset": self.extremal_preset, "steps": self.extremal_steps}
        return {"masks": self.rise_masks} if method == "rise" else {}


@dataclass(frozen=True)
class Job:
    """One method on one sample with one seed; a row for each iteration."""

    sample: Sample
    method: str
    seed: int
    keys: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]  # what is known of each row before it is computed


Task = tuple[Job, ...]  # computed in one call


def digest_of(classifier: Classifier) -> str:
    """A hash of the weights and of how pictures are prepared: two models of one name do not share rows."""
    facts = [classifier.size, classifier.resize, classifier.interpolation, classifier.activation]
    found = hashlib.sha256(repr([*facts, classifier._mean.tolist(), classifier._std.tolist()]).encode())
    for name, tensor in classifier.model.state_dict().items():
        found.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:12]


def tasks_of(plan: StudyPlan, dataset: Dataset, classifier: Classifier) -> list[Task]:
    """The whole plan, picture by picture; INR jobs in groups of `plan.batch`, in this order."""
    weights = digest_of(classifier)
    settings = {
        method: json.dumps({**plan.settings(method), "weights": weights}, sort_keys=True) for method in plan.methods
    }
    tasks: list[Task] = []
    group: list[Job] = []
    for sample in dataset.spread(plan.limit):
        for method in plan.methods:
            for seed in range(1 if method in SEEDLESS else plan.seeds):
                known = {
                    "dataset": dataset.name,
                    "sample": sample.name,
                    "label": sample.label,
                    "model": classifier.name,
                    "method": method,
                    "preset": plan.preset_of(method),
                    "settings": settings[method],
                    "seed": seed,
                }
                job = _job(sample, known, plan.iterations if method == "inr" else 1)
                if method != "inr":
                    tasks.append((job,))
                    continue
                group.append(job)
                if len(group) == plan.batch:
                    tasks.append(tuple(group))
                    group = []
    return [*tasks, tuple(group)] if group else tasks


def _job(sample: Sample, known: dict[str, Any], iterations: int) -> Job:
    rows = []
    for iteration in range(1, iterations + 1):
        row = {**known, "iteration": iteration}
        identity = json.dumps([FORMAT, *(row[name] for name in IDENTITY)])
        rows.append({"key": hashlib.sha256(identity.encode()).hexdigest()[:20], **row})
    return Job(sample, known["method"], known["seed"], tuple(row["key"] for row in rows), tuple(rows))
