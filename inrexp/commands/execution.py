"""Execute one notebook: a copy with papermill, or the committed file itself with nbclient."""

import contextlib
import functools
import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import inrexp
from inrexp.claims import CHECKED, FAILED, REHEARSAL
from inrexp.commands.notebooks import STAMP, Notebook, stamp_of
from inrexp.commands.rehearsal import PREAMBLE
from inrexp.files import source_digest, written_whole
from inrexp.widgets.saved import tidy_widgets

QUICK_TIMEOUT, FULL_TIMEOUT = 900, 12 * 3600  # seconds a cell
# Committed notebooks run so: what then differs between two machines is the rounding of their processors.
KERNEL = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", CHECKED: "check"}


def copy_of(notebook: Notebook, folder: Path) -> Path:
    """Where `run` puts a notebook's executed copy."""
    return folder / notebook.path.name


def stamp(notebook: Notebook, values: Mapping[str, Any]) -> dict[str, Any]:
    """What an executed copy belongs to: the notebook's code, the values given, and the package's own code."""
    return {"code": notebook.code, "values": dict(values), "version": inrexp.__version__, "source": source_digest()}


def is_finished(notebook: Notebook, values: Mapping[str, Any], folder: Path) -> bool:
    """Whether an earlier run of the same code with the same values has left its copy in `folder`."""
    copy = copy_of(notebook, folder)
    return copy.exists() and stamp(notebook, values).items() <= stamp_of(copy).items()


def run(
    notebook: Notebook,
    values: Mapping[str, Any],
    folder: Path,
    *,
    timeout: int,
    figures: Path | None = None,
    rehearse: bool = False,
) -> Path:
    """Execute a copy in `folder` with `values` injected; returns its path.  The committed notebook stays as it is.

    timeout: seconds a cell.  figures: where figures go, else to the repository's.  rehearse: fits of a few steps.
    The copy appears when it is finished.  Raises RuntimeError that names the cell that failed, and the copy up to
    there, *.failed.ipynb.
    """
    import nbformat
    import papermill
    from nbclient.exceptions import CellTimeoutError

    logging.getLogger("papermill").setLevel(logging.ERROR)  # it calls annotated parameters unknown; ours are checked
    folder.mkdir(parents=True, exist_ok=True)
    copy = copy_of(notebook, folder)
    failed = copy.with_suffix(".failed.ipynb")
    content = nbformat.read(notebook.path, as_version=4)
    if values:
        content.cells.insert(0, nbformat.v4.new_markdown_cell(_run_with(values)))
    changes = {"INREXP_FIGURES": str(figures.absolute())} if figures else {}
    if rehearse:
        content.cells.insert(0, nbformat.v4.new_code_cell(PREAMBLE))
        changes[REHEARSAL] = "1"
    with tempfile.TemporaryDirectory(dir=folder, prefix=f".{notebook.name}-") as hidden:
        running = Path(hidden) / copy.name
        try:
            with _environment(changes):
                papermill.execute_notebook(
                    content,
                    running.absolute(),
                    dict(values),
                    cwd=notebook.path.parent,
                    kernel_name="python3",
                    execution_timeout=timeout,
                    progress_bar=False,
                    log_output=False,
                )
        except papermill.PapermillExecutionError as error:
            running.replace(failed)
            where = f"cell {error.cell_index}: {error.ename}: {error.evalue}"
            raise RuntimeError(f"{notebook.name} failed in {where}; the copy up to there is {failed}") from error
        except CellTimeoutError as error:
            running.replace(failed)
            limit = f"a cell took longer than {timeout} s (--execution-timeout)"
            raise RuntimeError(f"{notebook.name}: {limit}; the copy up to there is {failed}") from error
        note(running, stamp(notebook, values))
        failed.unlink(missing_ok=True)
        return running.replace(copy)


def _run_with(values: Mapping[str, Any]) -> str:
    """The first words of a copy in which parameters were set."""
    given = ", ".join(f"`{name} = {value!r}`" for name, value in values.items())
    return f"**Run with {given}.** The text below describes the committed run, not this one."


def run_in_place(notebook: Notebook, *, timeout: int) -> None:
    """Execute the committed notebook from a clean kernel, keep its widgets' state, stamp it with its code's digest."""
    import nbformat
    from nbclient import NotebookClient

    content = nbformat.read(notebook.path, as_version=4)
    content.metadata.pop("widgets", None)
    place = {"metadata": {"path": str(notebook.path.parent)}}
    client = NotebookClient(
        content,
        timeout=timeout,
        kernel_name="python3",
        resources=place,
        record_timing=False,
        coalesce_streams=True,  # else one print is saved in as many pieces as its timing gave
    )
    with _environment(KERNEL):
        client.execute()
    for cell in content.cells:
        cell.metadata.pop("execution", None)  # the times of an earlier execution
    tidy_widgets(content, notebook.path.stem)
    content.metadata[STAMP] = {"code": notebook.code, "version": inrexp.__version__, "arithmetic": arithmetic()}
    with written_whole(notebook.path) as temporary:
        nbformat.write(content, temporary)


def claims_that_failed(copy: Path) -> list[str]:
    """The claims that an executed copy says do not hold in its run."""
    cells = json.loads(copy.read_text(encoding="utf-8"))["cells"]
    texts = ["".join(one.get("text", "")) for cell in cells for one in cell.get("outputs", [])]
    return [line for text in texts for line in text.splitlines() if line.startswith(FAILED)]


@functools.cache
def arithmetic() -> str:
    """Digest of a network's gradient, in plain torch on one thread: equal where CPU and torch round alike."""
    import timm
    import torch

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


def note(path: Path, facts: Mapping[str, Any]) -> None:
    """Add facts to those that an executed notebook holds about its execution."""
    content = json.loads(path.read_text(encoding="utf-8"))
    content["metadata"][STAMP] = content["metadata"].get(STAMP, {}) | dict(facts)
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
