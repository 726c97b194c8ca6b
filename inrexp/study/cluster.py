"""A study on a Dask cluster: workers compute the rows, and the process that the reader started claims and writes them.

Only one process writes, because a network file system is not safe with several. The workers therefore need no access
to the results folder. A worker that dies is replaced, and another worker computes its task again.
"""

import contextlib
import functools
import time
import tomllib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import torch

from inrexp.comparison import METHODS, Method
from inrexp.models.classifier import Classifier
from inrexp.models.registry import load_classifier
from inrexp.study.plan import StudyPlan, Task
from inrexp.study.run import POLL, Executor, Report, compute
from inrexp.study.scores import failed
from inrexp.study.store import Result

PLACES = "local:N (processes here), slurm:FILE.toml (SLURMCluster's keywords, and jobs = N) or dask:ADDRESS"
CONFIG = {
    "distributed.scheduler.allowed-failures": 5,  # a task fails once so many workers have died under it
    "distributed.comm.timeouts.connect": "120s",  # a busy machine takes longer than Dask's 30 s to load torch
    "distributed.comm.timeouts.tcp": "120s",
}


def on_cluster(
    plan: StudyPlan, place: str, *, device: str | None = None, classifier: Classifier | None = None
) -> Executor:
    """Compute tasks on a cluster.

    Each worker has one thread. On a machine with several GPUs, each worker uses a GPU of its own.
    place: "local:4", "slurm:cluster.toml" or "dask:tcp://host:8786".
    classifier: used instead of the plan's model, and sent with every task. By default each worker loads the plan's
        model once.
    Raises ValueError for another place, and RuntimeError if the optional packages are not installed.
    """
    kind, _, where = place.partition(":")
    if (
        kind not in ("local", "slurm", "dask")
        or not where
        or (kind == "local" and not (where.isdecimal() and int(where)))
    ):
        raise ValueError(f"cluster must be {PLACES}; got {place!r}")
    try:
        from dask.distributed import wait
    except ImportError as error:
        raise RuntimeError("a cluster needs Dask, an optional extra: pip install 'inrexp[cluster]'") from error

    def execute(tasks: Iterator[Task | None], report: Report) -> Generator[tuple[Task, list[Result]], None, None]:
        with _client(kind, where) as (client, renew):
            pending: dict[Any, Task] = {}
            more = True
            while more or pending:
                while more and len(pending) < 2 * max(1, sum(client.nthreads().values())):
                    task = next(tasks, ())
                    if not task:
                        more = task is None  # None: other processes have claimed all tasks that are left
                        break
                    method = METHODS[task[0].method]
                    pending[client.submit(_work, plan, method, classifier, device, task, pure=False)] = task
                renew()
                if not pending:
                    time.sleep(POLL if more else 0)
                    continue
                with contextlib.suppress(TimeoutError):
                    wait(list(pending), timeout=POLL, return_when="FIRST_COMPLETED")
                for future in [future for future in pending if future.done()]:
                    task = pending.pop(future)
                    yield task, _outcome(future, task)

    return execute


def _work(
    plan: StudyPlan, method: Method, classifier: Classifier | None, device: str | None, task: Task
) -> list[Result]:
    """What a worker does.

    The method is sent with the task, because a method that a reader registered is not in the worker's package.
    """
    METHODS[method.name] = method
    return compute(plan, classifier or _loaded(plan.model, device), task)


@functools.cache
def _loaded(model: str, device: str | None) -> Classifier:
    from dask.distributed import get_worker

    if device in (None, "cuda") and torch.cuda.is_available():
        name = get_worker().name  # 0, 1, ... on a local cluster; a job of a queue sees only its own GPUs
        device = f"cuda:{name % torch.cuda.device_count() if isinstance(name, int) else 0}"
    return load_classifier(model, device=device)


def _outcome(future: Any, task: Task) -> list[Result]:
    if future.status == "finished":
        return future.result()
    if future.status == "error":  # such as KilledWorker: several workers died on this task
        return [failed(row, future.exception()) for job in task for row in job.rows]
    raise RuntimeError(f"the cluster gave a task up ({future.status}). Finished rows are kept; run the command again")


@contextlib.contextmanager
def _client(kind: str, where: str) -> Iterator[tuple[Any, Callable[[], None]]]:
    """A client, and a function that replaces lost workers: busy machines lose them, and queues end their jobs."""
    import dask
    from dask.distributed import Client, LocalCluster

    if kind == "dask":
        with Client(where) as client:
            yield client, lambda: None
        return
    with dask.config.set(CONFIG):
        if kind == "local":
            wanted = int(where)
            cluster = LocalCluster(n_workers=wanted, threads_per_worker=1, memory_limit=0, dashboard_address=None)
            scale = functools.partial(cluster.scale, wanted)
        else:
            cluster, wanted = slurm_cluster(where)
            scale = functools.partial(cluster.scale, jobs=wanted)
        with cluster, Client(cluster) as client:
            yield client, lambda: scale() if len(client.nthreads()) < wanted else None


def slurm_cluster(file: "str | Path") -> tuple[Any, int]:
    """Makes dask-jobqueue's SLURMCluster from a TOML file.  Returns it with the number of jobs.

    file: holds SLURMCluster's keywords, and `jobs`, the number of jobs to keep queued or running.
    Raises FileNotFoundError without the file, and ValueError for a file whose `jobs` is no whole number of 1 or more.
    """
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError as error:
        raise RuntimeError("Slurm needs dask-jobqueue, an optional extra: pip install 'inrexp[cluster]'") from error
    keywords = tomllib.loads(Path(file).read_text())
    jobs = keywords.pop("jobs", None)
    if type(jobs) is not int or jobs < 1:
        raise ValueError(
            f"{file} must say how many jobs, 1 or more, such as jobs = 8, beside SLURMCluster's keywords (queue, "
            f"memory, ...); got {jobs!r}"
        )
    return SLURMCluster(**{"cores": 1, "processes": 1, **keywords}), jobs
