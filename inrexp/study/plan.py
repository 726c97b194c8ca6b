"""The plan of a study, and how it is cut into tasks. The key of a row holds everything that its numbers depend on."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from inrexp.attribution import CUT
from inrexp.comparison import METHODS
from inrexp.datasets.samples import Dataset, Sample
from inrexp.models.classifier import Classifier
from inrexp.saliency import PAPER_CUTS
from inrexp.study.scores import Judging
from inrexp.study.store import FORMAT, KEYED, key_of


@dataclass(frozen=True)
class StudyPlan:
    """What a study computes.

    The key of a row holds every setting here except `samples`, `limit`, `seeds` and `iterations`, which only decide
    which rows there are.

    dataset: a name that `datasets.load_dataset` knows.
    called: what rows and tables call the data set. None is the data set's own name, or "folder NAME" for a folder of
        the reader's.
    model: a name that `load_classifier` knows.
    methods: names in METHODS.
    options: for the name of a method, the options that differ from its defaults.
    seeds: number of seeds, 0 to seeds - 1, each with its own row. A method without random numbers has one row.
    iterations: number of explanations by algorithm 1, for methods that have it. Other methods give one.
    threshold: Phi_0 of eq. 5, in [0, 1). None is half of the unmasked probability.
    cut: the mask value in [0, 1) above which a pixel of a binary mask is 1.
    map_cut: the value at which saliency maps, scaled to [0, 1], are cut. None is section 3.4's value: 0.2, and 0.5 for
        VOC.
    curve_steps: number of steps of the insertion and deletion curves.
    samples: use only the samples of these names. None is all of them.
    limit: use only so many samples of those. They are spread evenly over the data set, which is sorted by class.
    batch: number of fits in one call, for methods that can share one. The fits beside it change a fit's rounding, and
        small differences can grow during the fit, so the key of such a row also names the fits beside it.
    Raises TypeError for a value of another kind, ValueError for one out of range, and LookupError for an option that a
    method does not have.
    """

    dataset: str = "packaged"
    called: str | None = None
    methods: tuple[str, ...] = tuple(METHODS)
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    seeds: int = 5
    iterations: int = 1
    threshold: float | None = None
    cut: float = CUT
    map_cut: float | None = None
    curve_steps: int = 20
    model: str = "efficientnet_lite0"
    samples: tuple[str, ...] | None = None
    limit: int | None = None
    batch: int = 1

    def __post_init__(self) -> None:
        self._check_names()
        for name in ("methods", "samples"):
            if isinstance(value := getattr(self, name), str):
                raise TypeError(f"{name} must be a tuple of names, got the text {value!r}: write ({value!r},) for one")
        if self.samples is not None and not self.samples:
            raise ValueError("samples must hold a name or more, or be None for all samples; got none")
        unknown = [name for name in (*self.methods, *self.options) if name not in METHODS]
        if unknown or not self.methods or len(set(self.methods)) < len(self.methods):
            got = ", ".join(unknown or self.methods) or "none"
            raise ValueError(f"methods must be some of {', '.join(METHODS)}, each once; got {got}")
        for name in ("seeds", "iterations", "curve_steps", "batch", "limit"):
            value = getattr(self, name)
            if value is None and name == "limit":
                continue
            if type(value) is not int:
                raise TypeError(f"{name} must be a whole number, got {value!r}")
            if value < 1:
                raise ValueError(f"{name} must be 1 or more, got {value}")
        for name in ("threshold", "cut", "map_cut"):
            value = getattr(self, name)
            if value is None and name != "cut":
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise TypeError(f"{name} must be a number, got {value!r}")
            if not 0 <= value < 1:
                raise ValueError(f"{name} must lie in [0, 1), got {value}")
        for name in (*self.methods, *self.options):
            METHODS[name].checked(self.options_of(name))

    def _check_names(self) -> None:
        """Check the data set, what it is called, and that the options of each method are named."""
        for name in ("dataset", "called"):
            value = getattr(self, name)
            if not isinstance(value, str) and not (value is None and name == "called"):
                raise TypeError(f"{name} must be a text, got {value!r}")
        if self.called is not None and not self.called.strip():
            raise ValueError(f"called must be a text that is not empty, or None; got {self.called!r}")
        if not isinstance(self.options, Mapping):
            raise TypeError(f"options must be a mapping from a method to its options, got {self.options!r}")
        for method, chosen in self.options.items():
            if not isinstance(chosen, Mapping):
                raise TypeError(f"options of {method} must be a mapping from an option to its value, got {chosen!r}")

    def options_of(self, method: str) -> Mapping[str, Any]:
        """The method's options that are not the defaults."""
        return self.options.get(method, {})

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
        """The settings that a row of this method depends on, apart from the model's weights and the sample."""
        record, judging = METHODS[method], dataclasses.asdict(self.judging)
        judging["threshold"] = "half of the unmasked probability" if self.threshold is None else self.threshold
        del judging["map_cut" if record.answers == "masks" else "cut"]  # a map's masks are binary
        return record.settings(self.options_of(method)) | judging


@dataclass(frozen=True)
class Job:
    """One method on one sample with one seed. It gives a row for each iteration."""

    sample: Sample
    method: str
    seed: int
    rows: tuple[dict[str, Any], ...]  # the columns that are known before a row is computed

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(row["key"] for row in self.rows)


Task = tuple[Job, ...]  # jobs that are computed in one call


def digest_of(classifier: Classifier) -> str:
    """A hash of the weights and of how pictures are prepared, so that two models of one name do not share rows."""
    facts = [classifier.size, classifier.resize, classifier.interpolation, classifier.activation]
    found = hashlib.sha256(repr([*facts, classifier._mean.tolist(), classifier._std.tolist()]).encode())
    for name, tensor in classifier.model.state_dict().items():
        found.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:12]


def fit_of(sample: Sample, classifier: Classifier, *settings: Any) -> str:
    """A hash of everything that a fit depends on, for rows that are kept outside a study; 12 hexadecimal digits.

    settings: as values that JSON can hold, `digest_of(classifier)` among them.
    """
    plain = json.dumps(list(settings), sort_keys=True) + sample.digest(classifier)
    return hashlib.sha256(plain.encode()).hexdigest()[:12]


def tasks_of(plan: StudyPlan, dataset: Dataset, classifier: Classifier) -> list[Task]:
    """All tasks of the plan, picture by picture.

    Methods that can fit several problems in one call get groups of `plan.batch` jobs. The groups are formed from the
    whole plan and not from the rows still missing, so that a resumed study has the same groups.
    """
    weights = digest_of(classifier)
    of_method = {
        name: {
            "method": name,
            "preset": METHODS[name].preset(plan.options_of(name)),
            "settings": json.dumps({**plan.settings(name), "weights": weights}, sort_keys=True),
        }
        for name in plan.methods
    }
    tasks: list[Task] = []
    groups: dict[str, list[Job]] = {}
    for sample in dataset.spread(plan.limit):
        known = {
            "format": FORMAT,
            "dataset": dataset.name,
            "sample": sample.name,
            "label": sample.label,
            "contents": sample.digest(classifier),
            "model": classifier.name,
        }
        for method in plan.methods:
            record = METHODS[method]
            for seed in range(plan.seeds if record.draws else 1):
                group = groups.setdefault(method, [])
                count = plan.iterations if record.in_turn else 1
                rows = tuple(
                    {**known, **of_method[method], "seed": seed, "iteration": number} for number in range(1, count + 1)
                )
                group.append(Job(sample, method, seed, rows))
                if len(group) == (plan.batch if record.in_turn else 1):
                    tasks.append(_keyed(groups.pop(method)))
    return [*tasks, *(_keyed(group) for group in groups.values())]


def _keyed(group: Sequence[Job]) -> Task:
    """The group with the keys of its rows.  In a group of several jobs, each key names all of them (`beside`)."""
    first = [json.dumps([job.rows[0][name] for name in KEYED if name != "beside"]) for job in group]
    beside = hashlib.sha256("\n".join(first).encode()).hexdigest()[:12] if len(group) > 1 else ""
    whole = []
    for job in group:
        rows = [{**row, "beside": beside} for row in job.rows]
        whole.append(dataclasses.replace(job, rows=tuple({"key": key_of(row), **row} for row in rows)))
    return tuple(whole)
