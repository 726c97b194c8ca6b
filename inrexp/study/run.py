"""Methods x pictures x seeds -> rows and masks (sections 3.3 and 3.4), resumable, shared between processes.

There are two ways to share a study's work. Claims (`store`): start the same command any number of times on one results
folder, with nothing to set up. Dask (`cluster`): one command starts workers itself, gives each GPU its own, fills a
queue such as Slurm's, and replaces workers that die.

How the work is done (device, cluster) is no part of a row's key and may differ from one run to the next on the same
folder. An interrupted study that is run again gives the uninterrupted one's table byte for byte, on one kind of machine
with the same number of threads.
"""

import contextlib
import dataclasses
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path

from tqdm.auto import tqdm

from inrexp.datasets.named import load_dataset
from inrexp.datasets.samples import Dataset
from inrexp.methods import METHODS, as_image, config_of
from inrexp.models.classifier import Classifier
from inrexp.models.registry import load_classifier
from inrexp.paper.algorithm1 import explain_in_turn
from inrexp.paper.fit import Problem
from inrexp.study.plan import Job, StudyPlan, Task, tasks_of
from inrexp.study.scores import areas_of, failed, scored
from inrexp.study.store import Result, Results

POLL = 1.0  # s between looks at what other processes have claimed
Report = Callable[[dict[str, float]], None]


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


Executor = Callable[[Iterator[Task | None], Report], Generator[tuple[Task, list[Result]], None, None]]


def in_turn(plan: StudyPlan, classifier: Classifier) -> Executor:
    """One task after another, in this process."""

    def execute(tasks: Iterator[Task | None], report: Report) -> Generator[tuple[Task, list[Result]], None, None]:
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
    retry_failed: bool = False,
    executor: Executor | None = None,
    progress: bool = True,
) -> dict[str, int]:
    """Compute what is missing in the folder `results` and export its tables; safe to kill, to repeat and to share.

    folder: where the data set lies.  dataset, classifier: instead of those that the plan names.
    retry_failed: try again what failed before.
    executor: how tasks are computed, for instance `cluster.on_cluster`; None is one after another, here.
    Returns the number of rows by status: "finished", "failed", "collapsed to ...", "diverged ...".
    Ctrl-C raises KeyboardInterrupt with the finished rows kept and exported.  Raises OSError for a full disk.
    """
    classifier = classifier or load_classifier(plan.model, device=device)
    whole = dataset or load_dataset(plan.dataset, folder)
    dataset = whole.known_to(classifier)
    if len(dataset) < len(whole):
        warnings.warn("; ".join(dataset.facts[len(whole.facts) :]), stacklevel=2)
    if plan.dataset == "folder" and folder is not None:  # two readers' folders must not share rows
        dataset = dataclasses.replace(dataset, name=f"folder {Path(folder).resolve().name}")
    tasks = tasks_of(plan, dataset, classifier)
    keys = {key for task in tasks for job in task for key in job.keys}
    execute = executor or in_turn(plan, classifier)
    with Results(results) as store, tqdm(total=len(keys), unit="row", disable=not progress, smoothing=0) as bar:
        if retry_failed:
            store.forget_failed(sorted(keys))
        try:
            stream = execute(_claimed(tasks, store, bar), lambda losses: _show(bar, losses))
            with contextlib.closing(stream):  # a cluster ends with the study, whatever ends it
                for task, found in stream:
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
