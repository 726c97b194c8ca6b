"""Runs a study: every method on every picture with every seed gives rows and masks (sections 3.3 and 3.4).

A study can be interrupted and resumed, and several processes can share it. There are two ways to share the work.
Claims (`store`) need no setup: start the same command several times on one results folder. With Dask (`cluster`), one
command starts the workers, gives each GPU a worker of its own, fills a queue such as Slurm's, and replaces lost ones.

The device and the cluster are not part of a row's key, so they may change between two runs on the same folder. An
interrupted study that is resumed gives the same table, byte for byte, as one that was never interrupted, provided that
the kind of machine and the number of threads stay the same.
"""

import contextlib
import dataclasses
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from inrexp.comparison import METHODS
from inrexp.datasets.named import load_dataset
from inrexp.datasets.samples import Dataset
from inrexp.models.classifier import Classifier
from inrexp.models.registry import load_classifier
from inrexp.study.plan import StudyPlan, Task, tasks_of
from inrexp.study.scores import FAILED, failed, interrupted, scored
from inrexp.study.store import Result, Results

POLL = 1.0  # s between looks at what other processes have claimed
Report = Callable[[dict[str, float]], None]


def compute(plan: StudyPlan, classifier: Classifier, task: Task, report: Report | None = None) -> list[Result]:
    """The rows of a task.

    A job that fails gives a row with its error. If a group fails, each of its jobs is first tried alone. Such a row has
    the key of the group, by which a resumed study finds it; its column `error` says that it was fitted alone.
    """
    answer = _in_turn if METHODS[task[0].method].in_turn else _alone
    try:
        return answer(plan, classifier, task, report)
    except Exception as error:  # whatever a picture or a model does must not end the study
        if len(task) > 1:
            alone = [result for job in task for result in compute(plan, classifier, (job,), report)]
            why = f"fitted alone, since the group failed: {type(error).__name__}"
            return [result if result.row["status"] == FAILED else _noted(result, why) for result in alone]
        return [failed(row, error) for row in task[0].rows]


def _noted(result: Result, why: str) -> Result:
    return dataclasses.replace(result, row=result.row | {"error": why})


def _in_turn(plan: StudyPlan, classifier: Classifier, task: Task, report: Report | None) -> list[Result]:
    """Algorithm 1 for all jobs at once.

    Every iteration has a row, so a picture goes on even where nothing is left to explain.
    """
    method = METHODS[task[0].method]
    assert method.in_turn is not None
    runs = method.in_turn(
        classifier,
        [job.sample.picture for job in task],
        [job.sample.target(classifier) for job in task],
        seeds=[job.seed for job in task],
        n=len(task[0].rows),
        threshold=plan.threshold,
        callback=None if report is None else lambda _number, _step, losses, _source: report(losses),
        **plan.options_of(method.name),
    )
    results = []
    for job, run in zip(task, runs, strict=True):
        if interrupted(run):  # an unfinished fit is not a result
            raise KeyboardInterrupt
        stars, cut_stars = run.smallest_areas(), run.smallest_areas(cut=plan.cut)
        for row, found, star, cut_star in zip(job.rows, run, stars, cut_stars, strict=True):
            known = row | {"threshold": run.threshold}
            results.append(scored(known, found, job.sample, plan.judging, star=star, cut_star=cut_star))
    return results


def _alone(plan: StudyPlan, classifier: Classifier, task: Task, _: Report | None) -> list[Result]:
    (job,) = task
    method = METHODS[job.method]
    target = job.sample.target(classifier)
    options = plan.options_of(method.name)
    found = method(classifier, job.sample.picture, target, seed=job.seed, progress=False, **options)
    if interrupted(found):
        raise KeyboardInterrupt
    threshold = found.threshold if plan.threshold is None else plan.threshold
    star, cut_star = (found.smallest_area(threshold, cut=cut) for cut in (None, plan.cut))
    known = job.rows[0] | {"threshold": threshold}
    return [scored(known, found, job.sample, plan.judging, star=star, cut_star=cut_star)]


Executor = Callable[[Iterator[Task | None], Report], Generator[tuple[Task, list[Result]], None, None]]


def in_turn(plan: StudyPlan, classifier: Classifier) -> Executor:
    """Computes one task after another in this process."""

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
    replace: bool = False,
    executor: Executor | None = None,
    progress: bool = True,
) -> dict[str, int]:
    """Compute the rows that are missing in the folder `results`, and export its rows as CSV.

    The call can be killed, repeated, and made by several processes at once, without harm to the results.
    folder: where the data set lies.
    dataset, classifier: used instead of those that the plan names.
    retry_failed: compute the rows again that failed in an earlier run.
    replace: drop rows of the same runs if their picture, truth or class has changed since, or if they were fitted
        beside other fits.
    executor: computes the tasks, for instance `cluster.on_cluster`. None computes them one after another here.
    Returns the number of rows by status: "finished", "failed", "collapsed to ...", "diverged ...".
    Ctrl-C raises KeyboardInterrupt; the finished rows are kept and exported. Raises OSError for a full disk,
    LookupError for a name in `plan.samples` that the data set lacks, and ValueError for rows that `replace` would drop.
    """
    classifier = classifier or load_classifier(plan.model, device=device)
    whole = dataset or load_dataset(plan.dataset, folder)
    whole = whole if plan.samples is None else whole.only(plan.samples)
    dataset = whole.known_to(classifier)
    if len(dataset) < len(whole):
        warnings.warn("; ".join(dataset.facts[len(whole.facts) :]), stacklevel=2)
    called = plan.called
    if called is None and plan.dataset == "folder" and folder is not None:
        called = f"folder {Path(folder).resolve().name}"
    tasks = tasks_of(plan, dataclasses.replace(dataset, name=called or dataset.name), classifier)
    planned = [row for task in tasks for job in task for row in job.rows]
    keys = {row["key"] for row in planned}
    execute = executor or in_turn(plan, classifier)
    with Results(results) as store, tqdm(total=len(keys), unit="row", disable=not progress, smoothing=0) as bar:
        _drop_outdated(store, planned, replace)
        if retry_failed:
            store.forget(key for key, status in store.states().items() if key in keys and status == FAILED)
        try:
            stream = execute(_claimed(tasks, store, bar), lambda losses: _show(bar, losses))
            with contextlib.closing(stream):  # so that a cluster is shut down however the study ends
                for task, found in stream:
                    store.put(found)
                    _count(bar, task, found)
        except BaseException:
            with contextlib.suppress(OSError):  # the error that ended the study is the one to show
                store.export()
            raise
        store.export()
        states = store.states()
    return dict(Counter(states[key] for key in keys))


def _drop_outdated(store: Results, planned: list[dict[str, Any]], replace: bool) -> None:
    """Drop outdated rows: failed ones always, since they hold no numbers, and the others only with `replace`."""
    outdated = store.outdated(planned)
    kept = [row for row in outdated if row["status"] != FAILED]
    if kept and not replace:
        first = ", ".join(kept[0][name] for name in ("dataset", "sample", "method"))
        raise ValueError(
            f"{store.folder} holds {len(kept)} rows of the same runs, but they were computed on another picture, truth "
            f"or class, or beside other fits; the first: {first}. Use another results folder, or drop those rows with "
            "replace=True (--replace)"
        )
    store.forget(row["key"] for row in outdated)


def _claimed(tasks: Sequence[Task], store: Results, bar: tqdm) -> Iterator[Task | None]:
    """Hand out the tasks that miss rows, and claim each one as it is handed out.

    Yields None while other processes have claimed all tasks that are left. Ends when every row is there, whichever
    process computed it.
    """
    waiting = list(tasks)
    while waiting:
        there = store.states().keys()
        if not bar.n:
            bar.update(len(there & {key for task in tasks for job in task for key in job.keys}))
            bar.initial = bar.n  # the time left is estimated from this run's rows
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
        if one.row["status"] == FAILED:
            bar.write(f"failed: {one.row['sample']}, {one.row['method']}, {one.row['error']}", file=sys.stderr)
    bar.set_postfix(refresh=False)  # the loss was of this fit
    bar.set_description(f"{task[-1].sample.name} {task[0].method}")
    bar.update(len(found))
