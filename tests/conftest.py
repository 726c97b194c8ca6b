"""What every test module has: planted pictures, figures that go elsewhere, and an order for two processes.

Nothing heavy is imported here, since pytest's controlling process reads this file and runs no test.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from planted import Planted

ROOT = Path(__file__).parent.parent


def hears_ctrl_c() -> None:
    """For subprocess's preexec_fn: a shell starts background jobs with SIGINT ignored, and children inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def forked(do: Callable, *arguments) -> multiprocessing.Process:
    """A process that is begun: its changes stay there, and torch is not imported once more.  It may be killed.

    A progress bar's lock is shared with forked processes, and stays locked for good if its holder is killed.  The
    forked process gets a lock of its own, so that it cannot take this one's to its grave.  tqdm.auto's bar is another
    class, and has another lock if it was the first to draw.
    torch makes its pool of threads anew after a fork, and aborts if two of its threads do so at once
    ("Invalid thread pool!"): the forked process has it done before.
    """

    def alone() -> None:
        import torch
        import tqdm
        import tqdm.auto

        for bar in (tqdm.tqdm, tqdm.auto.tqdm):
            bar.set_lock(threading.RLock())
        torch.set_num_threads(torch.get_num_threads())
        do(*arguments)

    process = multiprocessing.get_context("fork").Process(target=alone)
    process.start()
    return process


@pytest.fixture
def planted() -> "Planted":
    """One patch (18 % of the picture) decides class 1."""
    from planted import plant

    return plant()


@pytest.fixture
def planted_pair() -> "Planted":
    """Two patches; either alone is enough for class 1."""
    from planted import FIRST_BOX, SECOND_BOX, plant

    return plant((FIRST_BOX, SECOND_BOX))


@pytest.fixture(scope="session", autouse=True)
def one_thread_and_no_windows() -> None:
    """Small tensors: threads gain nothing, and cost six times the time on a busy machine."""
    import matplotlib
    import torch

    matplotlib.use("Agg")
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def figures_go_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test writes into the repository's figures/."""
    before = os.environ.get("INREXP_FIGURES")
    os.environ["INREXP_FIGURES"] = before or str(tmp_path_factory.mktemp("figures"))
    yield
    if before is None:
        del os.environ["INREXP_FIGURES"]


@pytest.fixture(scope="session")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `make book` builds it: any warning, a reference that leads nowhere too, is an error."""
    out = tmp_path_factory.mktemp("book")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-d", str(out / "cache"), str(ROOT / "book")]
    answer = subprocess.run([*command, str(out / "site")], capture_output=True, text=True, timeout=600)
    assert answer.returncode == 0, answer.stderr
    return out / "site"


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A module's tests stay in one process, since they share its fixtures; the slow ones begin first.

    For `--dist loadgroup --no-loadscope-reorder`. A test with an `xdist_group` of its own goes with that group.
    """
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            slow = " slow" if item.get_closest_marker("slow") else ""
            item.add_marker(pytest.mark.xdist_group(item.path.stem + slow))
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
