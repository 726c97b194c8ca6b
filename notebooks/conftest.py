"""How nbval compares the committed outputs of these notebooks with those of running them again (`make test`).

Text: the words are equal, numbers are within one unit of their last printed digit; durations ("19 s") and stderr do not
count.  Pictures: at most a thousandth of their tiles differ visibly.  Fits are chaotic: another CPU's rounding ends
elsewhere, in the second digit. So every committed notebook says with which arithmetic it ran (`execution.arithmetic`);
where this machine's differs, only cells tagged nbval-check-output are held to that, the others to the same kinds of
output, the same number of lines and a similar picture, and pytest's summary says so. The assertions in the notebooks
hold on any machine.
"""

import base64
import io
import os
import re

import numpy as np
import pytest
from nbval.plugin import IPyNbCell
from PIL import Image

from inrexp.commands import execution, notebooks, schedule

os.environ.update(execution.KERNEL)
TILE = 8  # px
VISIBLE = 0.06  # of the way from black to white, a tile's mean
SAME, SIMILAR = 0.001, 0.5  # share of the tiles that may differ
CHANGING = re.compile(r"\d+(\.\d+)?(?= s\b)|0x[0-9a-f]{6,}")  # durations, addresses
NUMBER = re.compile(r"((?<![\w.])[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The notebooks that take longest begin first, so that neither of two processes waits long for the other."""
    minutes = {path: schedule.minutes(notebooks.read(path)) for path in {item.path for item in items}}
    items.sort(key=lambda item: (-minutes[item.path], item.path.name))


def shown(outputs) -> dict[str, list]:
    """What a cell shows, by kind: stdout as one text, then tables, other texts and pictures."""
    found: dict[str, list] = {"stdout": [""], "text": [], "picture": []}
    for output in outputs:
        data = output.get("data", {})
        if output["output_type"] == "stream":
            found["stdout"][0] += "".join(output["text"]) if output["name"] == "stdout" else ""
        elif "image/png" in data:
            found["picture"].append(data["image/png"])
        elif "text/html" in data:
            found["text"].append(re.sub(r"<style.*?</style>|<[^>]*>", " ", data["text/html"], flags=re.S))
        elif "application/vnd.jupyter.widget-view+json" not in data:
            found["text"].append(data.get("text/plain", ""))
    return found


def different_texts(committed: str, again: str) -> str | None:
    """Where the two differ first, or None."""
    parts = [NUMBER.split(CHANGING.sub("_", text)) for text in (committed, again)]
    words, numbers = ([part[first::2] for part in parts] for first in (0, 1))
    before, now = ([" ".join(word.split()) for word in side] for side in words)
    if before != now:
        return f"the words differ:\n{committed}\nagainst now\n{again}"
    for old, new in zip(*numbers, strict=True):
        unit = 10.0 ** -len(old.partition(".")[2]) if "." in old else 0.0
        if abs(float(old) - float(new)) > 1.01 * unit:
            return f"{old} is committed, {new} now:\n{committed}\nagainst now\n{again}"
    return None


def tiles(png: str) -> np.ndarray:
    """Mean grey of each tile, 0 to 1.  png: base64."""
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("L")
    return np.asarray(picture.resize([max(1, side // TILE) for side in picture.size], Image.Resampling.BOX)) / 255


def different_pictures(committed: str, again: str, allowed: float) -> str | None:
    before, now = tiles(committed), tiles(again)
    if any(abs(a - b) > 0.05 * a + 1 for a, b in zip(before.shape, now.shape, strict=True)):
        return f"a picture's size differs: {before.shape} tiles are committed, {now.shape} now"
    h, w = (min(sides) for sides in zip(before.shape, now.shape, strict=True))
    share = float((abs(before[:h, :w] - now[:h, :w]) > VISIBLE).mean())
    return f"a picture differs in {100 * share:.1f} % of its tiles" if share > allowed else None


def differences(committed, again, *, exact: bool) -> list[str]:
    before, now = shown(committed), shown(again)
    for kind in before:
        if len(before[kind]) != len(now[kind]):
            return [f"{len(before[kind])} outputs of kind {kind} are committed, {len(now[kind])} now"]
    texts = [pair for kind in ("stdout", "text") for pair in zip(before[kind], now[kind], strict=True)]
    pictures = list(zip(before["picture"], now["picture"], strict=True))
    found = [different_pictures(*pair, SAME if exact else SIMILAR) for pair in pictures]
    if exact:
        found += [different_texts(*pair) for pair in texts]
    else:
        lines = [(old.count("\n"), new.count("\n")) for old, new in texts]
        found += [f"{old} lines are committed, {new} now" for old, new in lines if old != new]
    return [one for one in found if one]


def compare_outputs(cell: IPyNbCell, test, ref, skip_compare=None) -> bool:
    notebook = cell.parent
    if not hasattr(notebook, "exact"):
        stamp = notebook.nb.metadata.get(notebooks.STAMP, {})
        notebook.exact = stamp.get("arithmetic") == execution.arithmetic()
        if not notebook.exact:
            told = "executed with another arithmetic: fitted numbers are not compared here"
            notebook.warn(pytest.PytestWarning(f"{notebook.name} was {told}"))
    checked = "nbval-check-output" in cell.cell.metadata.get("tags", [])
    cell.comparison_traceback = differences(ref, test, exact=notebook.exact or checked)
    return not cell.comparison_traceback


IPyNbCell.compare_outputs = compare_outputs
