"""The study on a Dask cluster: a worker that is killed, one table whoever computed it, places that are not there."""

import builtins
import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from test_comparison import notebook_13
from test_run import PLAN, PLANTED, go, masks_in, planted_dataset, rows_in, table

from inrexp.comparison import METHODS, load_methods
from inrexp.study import cluster
from inrexp.study.cluster import on_cluster, slurm_cluster
from inrexp.study.plan import StudyPlan, tasks_of

pytest.importorskip("dask.distributed", reason="no Dask: pip install 'inrexp[cluster]'")


@pytest.mark.slow
def test_a_worker_killed_midway_changes_nothing_in_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from dask.distributed import LocalCluster

    clusters, killed = [], []

    class Watched(LocalCluster):
        def __init__(self, **options) -> None:
            super().__init__(**options)
            clusters.append(self)

    def kill() -> None:
        while rows_in(tmp_path / "cluster") < 3:
            time.sleep(0.05)
        nanny = clusters[0].workers[0]
        killed.append(nanny.pid)
        os.kill(nanny.pid, signal.SIGKILL)

    monkeypatch.setattr("dask.distributed.LocalCluster", Watched)
    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    on_two = on_cluster(PLAN, "local:2", classifier=PLANTED.classifier)
    dataset = planted_dataset(broken=True)
    assert go(tmp_path / "cluster", dataset=dataset, executor=on_two) == {"finished": 24, "failed": 8}
    killer.join()
    assert len(killed) == 1
    go(tmp_path / "plain", dataset=dataset)
    assert table(tmp_path / "cluster") == table(tmp_path / "plain")
    assert masks_in(tmp_path / "cluster") == masks_in(tmp_path / "plain")


@pytest.mark.slow
def test_a_method_of_ones_own_travels_to_a_clusters_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(METHODS, "integrated_gradients", None)  # so that it is gone after the test
    (tmp_path / "mine.py").write_text(notebook_13())
    load_methods(tmp_path / "mine.py")
    plan = StudyPlan(
        dataset="packaged",
        methods=("integrated_gradients",),
        options={"integrated_gradients": {"steps": 2}},
        curve_steps=2,
    )
    on_one = on_cluster(plan, "local:1", classifier=PLANTED.classifier)
    dataset = planted_dataset(pictures=1)
    assert go(tmp_path / "cluster", plan, dataset=dataset, executor=on_one) == {"finished": 1}


@dataclass
class Ended:
    """A future that has ended without a result."""

    status: str

    def exception(self) -> Exception:
        return ChildProcessError("KilledWorker: the task took 5 workers with it")


def test_a_task_that_takes_every_worker_with_it_fails_alone():
    task = tasks_of(PLAN, planted_dataset(pictures=1), PLANTED.classifier)[0]
    rows = [one.row for one in cluster._outcome(Ended("error"), task)]
    assert [row["key"] for row in rows] == list(task[0].keys)
    assert {row["status"] for row in rows} == {"failed"}
    assert "KilledWorker" in rows[0]["error"]


def test_a_lost_cluster_ends_the_study_and_records_no_failure():
    task = tasks_of(PLAN, planted_dataset(pictures=1), PLANTED.classifier)[0]
    with pytest.raises(RuntimeError, match=r"gave a task up \(cancelled\).*run the command again"):
        cluster._outcome(Ended("cancelled"), task)


def test_slurm_jobs_are_described_by_a_toml_file(tmp_path: Path):
    pytest.importorskip("dask_jobqueue", reason="no dask-jobqueue: pip install 'inrexp[cluster]'")
    file = tmp_path / "slurm.toml"
    file.write_text('jobs = 8\nqueue = "gpu"\nmemory = "16GB"\njob_extra_directives = ["--gres=gpu:1"]\n')
    queue, jobs = slurm_cluster(file)
    with queue:
        script = queue.job_script()
    assert jobs == 8
    assert "#SBATCH -p gpu" in script
    assert "#SBATCH --gres=gpu:1" in script
    assert "--nthreads 1" in script
    for text in ('queue = "gpu"\n', "jobs = 0\n", "jobs = true\n"):
        file.write_text(text)
        with pytest.raises(ValueError, match="must say how many jobs, 1 or more"):
            slurm_cluster(file)


@pytest.mark.parametrize("place", ["local", "local:", "local:two", "local:0", "ssh:host", "slurm:"])
def test_places_that_are_none_are_refused(place: str):
    with pytest.raises(ValueError, match=f"cluster must be local:N .* got '{place}'"):
        on_cluster(PLAN, place)


def test_without_dask_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    real = builtins.__import__

    def without(name: str, *arguments, **options):
        if name.startswith("dask"):
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(RuntimeError, match=r"pip install 'inrexp\[cluster\]'"):
        on_cluster(PLAN, "local:2")
