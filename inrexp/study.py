"""Methods x pictures x seeds -> rows and masks (sections 3.3 and 3.4), resumable, shared between processes.

What a row depends on is its key. What only says how the work is done (batch, shard, device, cluster) is not: these can
differ from one run to the next on the same folder. Batches are cut from the whole plan, never from what is missing, so
an interrupted study gives the uninterrupted one's table byte for byte on the same machine and number of threads.
"""

import contextlib
import dataclasses
import hashlib
import inspect
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from inrexp.classifiers import Classifier, load_classifier
from inrexp.datasets import load_dataset
from inrexp.explanation import CUT, PAPER_CUTS
from inrexp.fit import FitConfig, Problem
from inrexp.many import explain_in_turn
from inrexp.methods import DEFAULT_PRESET, EXTREMAL, METHODS, as_image, config_of, extremal_config
from inrexp.results import IDENTITY, Result, Results
from inrexp.samples import Dataset, Sample
from inrexp.scores import Judging, areas_of, failed, scored

FORMAT = 1  # of what a row means: raise it when a number is computed otherwise, and old rows are not taken for new ones
SEEDLESS = ("extremal_perturbation", "grad_cam")  # they draw no random number: one seed says all
NO_SETTING = ("seed", "progress", "callback", "batch")  # of a method's options: these do not change its answer
POLL = 1.0  # s between looks at what other processes have claimed


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
        """Every value that a row of the method depends on, the model's weights apart."""
        config = self.config(method)
        judging = dataclasses.asdict(self.judging)
        judging["threshold"] = "half of the unmasked probability" if self.threshold is None else self.threshold
        if config is not None:
            del judging["map_cut"]
            return {"fit": dataclasses.asdict(config), **judging}
        del judging["cut"]  # a map's masks are binary
        options = inspect.signature(METHODS[method]).parameters.values()
        own = {one.name: one.default for one in options if one.kind is one.KEYWORD_ONLY and one.name not in NO_SETTING}
        return own | self.options(method) | judging

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
Report = Callable[[dict[str, float]], None]


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
    count = len(dataset)
    wanted = count if plan.limit is None else min(plan.limit, count)
    tasks: list[Task] = []
    group: list[Job] = []
    for sample in (dataset.samples[index * count // wanted] for index in range(wanted)):
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


def compute(plan: StudyPlan, classifier: Classifier, task: Task, report: Report | None = None) -> list[Result]:
    """A task's rows.  What fails becomes a row with its error; in a group each job is then tried alone."""
    try:
        found = _inr(plan, classifier, task, report) if task[0].method == "inr" else _other(plan, classifier, task[0])
    except Exception as error:  # whatever a picture or a model does must not end the study
        if len(task) > 1:
            return [result for job in task for result in compute(plan, classifier, (job,), report)]
        return [failed(row, error) for row in task[0].rows]
    return found


def _inr(plan: StudyPlan, classifier: Classifier, task: Task, report: Report | None) -> list[Result]:
    """Algorithm 1 for all jobs at once.  A picture with nothing more to explain goes on: every iteration has a row."""
    config = plan.config("inr")
    assert config is not None
    targets = [job.sample.target(classifier) for job in task]
    images = [as_image(classifier, job.sample.picture) for job in task]
    problems = [Problem(image, target, job.seed) for image, target, job in zip(images, targets, task, strict=True)]
    runs = explain_in_turn(
        classifier,
        problems,
        config,
        n=plan.iterations,
        preset=config_of(plan.preset)[0],
        threshold=plan.threshold,
        stop=False,
        progress=False,
        callback=None if report is None else lambda _number, _step, losses, _source: report(losses),
    )
    if any(run.status.startswith("interrupted") for run in runs):  # half a fit is no result
        raise KeyboardInterrupt
    results = []
    for job, run in zip(task, runs, strict=True):
        stars, cut_stars = run.smallest_areas(), run.smallest_areas(cut=plan.cut)
        for row, found, star, cut_star in zip(job.rows, run, stars, cut_stars, strict=True):
            known = row | {"status": found.status, "threshold": run.threshold}
            results.append(scored(known, found, job.sample, plan.judging, star=star, cut_star=cut_star))
    return results


def _other(plan: StudyPlan, classifier: Classifier, job: Job) -> list[Result]:
    target = job.sample.target(classifier)
    options = {"seed": job.seed, "progress": False, **plan.options(job.method)}
    found = METHODS[job.method](classifier, job.sample.picture, target, **options)
    status = getattr(found, "status", "finished")
    if status.startswith("interrupted"):
        raise KeyboardInterrupt
    threshold = found.threshold if plan.threshold is None else plan.threshold
    star, cut_star = (found.smallest_area(threshold, areas=areas_of(found), cut=cut) for cut in (None, plan.cut))
    known = job.rows[0] | {"status": status, "threshold": threshold}
    return [scored(known, found, job.sample, plan.judging, star=star, cut_star=cut_star)]


Executor = Callable[[Iterator[Task | None], Report], Iterable[tuple[Task, list[Result]]]]


def in_turn(plan: StudyPlan, classifier: Classifier) -> Executor:
    """One task after another, in this process."""

    def execute(tasks: Iterator[Task | None], report: Report) -> Iterator[tuple[Task, list[Result]]]:
        for task in tasks:
            if task is None:
                time.sleep(POLL)
            else:
                yield task, compute(plan, classifier, task, report)

    return execute


def run_study(
    plan: StudyPlan,
    results: "str | Path",
    *,
    folder: "str | Path | None" = None,
    dataset: Dataset | None = None,
    classifier: Classifier | None = None,
    device: str | None = None,
    shard: tuple[int, int] = (1, 1),
    retry_failed: bool = False,
    executor: Executor | None = None,
    progress: bool = True,
) -> dict[str, int]:
    """Compute what is missing in the folder `results` and export its tables; safe to kill, to repeat and to share.

    folder: where the data set lies.  dataset, classifier: instead of those that the plan names.
    shard: (i, n), the i-th of n parts of about one size, 1 <= i <= n.  retry_failed: try again what failed before.
    executor: how tasks are computed, for instance `cluster.on_cluster`; None is one after another, here.
    Returns the number of rows by status: "finished", "failed", "collapsed to ...", "diverged ...".
    Ctrl-C raises KeyboardInterrupt with the finished rows kept and exported.  Raises OSError for a full disk.
    """
    part, parts = shard
    if not 1 <= part <= parts:
        raise ValueError(f"shard must be i/n with 1 <= i <= n, got {part}/{parts}")
    classifier = classifier or load_classifier(plan.model, device=device)
    dataset = (dataset or load_dataset(plan.dataset, folder)).known_to(classifier)
    tasks = tasks_of(plan, dataset, classifier)[part - 1 :: parts]
    keys = {key for task in tasks for job in task for key in job.keys}
    execute = executor or in_turn(plan, classifier)
    with Results(results) as store, tqdm(total=len(keys), unit="row", disable=not progress, smoothing=0) as bar:
        if retry_failed:
            store.forget_failed(sorted(keys))
        try:
            for task, found in execute(_claimed(tasks, store, bar), lambda losses: _show(bar, losses)):
                store.put(found)
                _count(bar, task, found)
        except BaseException:
            with contextlib.suppress(OSError):  # what ended the study is the message
                store.export()
            raise
        store.export()
        states = store.states()
    return dict(Counter(states[key] for key in keys))


def _claimed(tasks: Sequence[Task], store: Results, bar: tqdm) -> Iterator[Task | None]:
    """Tasks with missing rows, each claimed as it is handed out; None where others have all that is left.

    Ends when every row is there, whoever computed it.
    """
    waiting = list(tasks)
    while waiting:
        there = store.states().keys()
        if not bar.n:
            bar.update(len(there & {key for task in tasks for job in task for key in job.keys}))
            bar.initial = bar.n  # time left is judged by this run's rows
        later = []
        for task in waiting:
            missing = [key for job in task for key in job.keys if key not in there]
            if missing and store.claim(missing):
                yield task
            elif missing:
                later.append(task)
        if len(later) == len(waiting):
            yield None
        waiting = later


def _show(bar: tqdm, losses: dict[str, float]) -> None:
    bar.set_postfix({"loss": f"{losses['loss']:.3f}", "p": f"{losses['probability']:.3f}"})


def _count(bar: tqdm, task: Task, found: Sequence[Result]) -> None:
    for one in found:
        if one.row["status"] == "failed":
            bar.write(f"failed: {one.row['sample']}, {one.row['method']}, {one.row['error']}", file=sys.stderr)
    bar.set_description(f"{task[-1].sample.name} {task[0].method}")
    bar.update(len(found))
