"""Execute a notebook: a copy with papermill, or the committed file itself with nbclient."""

import contextlib
import functools
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import timm
import torch

import inrexp
from inrexp.commands.notebooks import STAMP, Notebook, stamp_of
from inrexp.files import written_whole

QUICK_TIMEOUT, FULL_TIMEOUT = 900, 12 * 3600  # seconds a cell
KERNEL = {
    "OMP_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
}  # committed notebooks run so: the rest is the CPU's rounding


def run(
    notebook: Notebook, values: Mapping[str, Any], folder: Path, *, timeout: float, apart: bool, resume: bool = False
) -> Path:
    """Execute a copy in `folder` with `values` injected; returns its path.  The committed notebook stays as it is.

    timeout: seconds a cell.  apart: figures go to `folder`/figures instead of the repository's.  resume: a finished
    copy of the same code and values is left as it is.  While it runs, and if it fails, the copy is called
    *.running.ipynb; raises RuntimeError that names it and the cell.
    """
    import papermill
    from nbclient.exceptions import CellTimeoutError

    logging.getLogger("papermill").setLevel(logging.ERROR)  # it calls annotated parameters unknown; ours are checked
    copy = folder / notebook.path.name
    stamp = {"code": notebook.code, "values": dict(values), "version": inrexp.__version__}
    if resume and copy.exists() and stamp_of(copy) == stamp:
        return copy
    folder.mkdir(parents=True, exist_ok=True)
    running = copy.with_suffix(".running.ipynb")
    figures = {"INREXP_FIGURES": str((folder / "figures").absolute())} if apart else {}
    try:
        with _environment(figures):
            papermill.execute_notebook(
                notebook.path,
                running,
                dict(values),
                cwd=notebook.path.parent,
                kernel_name="python3",
                execution_timeout=int(timeout),
                progress_bar={"desc": notebook.name},
                log_output=False,
            )
    except papermill.PapermillExecutionError as error:
        where = f"cell {error.cell_index}: {error.ename}: {error.evalue}"
        raise RuntimeError(f"{notebook.name} failed in {where}; the copy up to there is {running}") from error
    except CellTimeoutError as error:
        limit = f"a cell took longer than {timeout:g} s (--execution-timeout)"
        raise RuntimeError(f"{notebook.name}: {limit}; the copy up to there is {running}") from error
    _write(running, {STAMP: stamp})
    return running.replace(copy)


def run_in_place(notebook: Notebook, *, timeout: float) -> None:
    """Execute the committed notebook from a clean kernel, keep its widgets' state, stamp it with its code's digest."""
    import nbformat
    from nbclient import NotebookClient

    content = nbformat.read(notebook.path, as_version=4)
    content.metadata.pop("widgets", None)
    place = {"metadata": {"path": str(notebook.path.parent)}}
    client = NotebookClient(
        content,
        timeout=int(timeout),
        kernel_name="python3",
        resources=place,
        record_timing=False,
        coalesce_streams=True,  # else one print is saved in as many pieces as its timing gave
    )
    with _environment(KERNEL):
        client.execute()
    for cell in content.cells:
        cell.metadata.pop("execution", None)  # the times of an earlier execution
    content.metadata[STAMP] = {"code": notebook.code, "version": inrexp.__version__, "arithmetic": arithmetic()}
    with written_whole(notebook.path) as temporary:
        nbformat.write(content, temporary)


@functools.cache
def arithmetic() -> str:
    """Digest of a network's gradient, in plain torch on one thread: equal where CPU and torch round alike."""
    threads, generator = torch.get_num_threads(), torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        network = timm.create_model("tf_efficientnet_lite0").eval().to(memory_format=torch.channels_last)
    for weight in network.parameters():
        weight.data = torch.randn(weight.shape, generator=generator) / max(1, weight[0].numel()) ** 0.5
    image = torch.rand(1, 3, 224, 224, generator=generator).requires_grad_()
    torch.set_num_threads(1)
    try:
        pixels = torch.sin(image.flatten(2)[0].T @ torch.randn(3, 256, generator=generator))
        (network(image).log_softmax(1)[0, 0] + (pixels.T @ pixels).mean()).backward()
    finally:
        torch.set_num_threads(threads)
    return hashlib.sha256(image.grad.numpy().tobytes()).hexdigest()[:16]  # type: ignore[union-attr]


def _write(path: Path, metadata: Mapping[str, Any]) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    content["metadata"] |= metadata
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


@contextlib.contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)
