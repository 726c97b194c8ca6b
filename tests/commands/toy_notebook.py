"""A small notebook as a file, written as JSON: nbformat takes seconds to import, twice as long as torch."""

import json
from pathlib import Path


def write_notebook(path: Path, title: str, *codes: str) -> None:
    """Not executed yet.  codes: the code cells, the first of them the notebook's parameters."""
    cells: list[dict] = [{"cell_type": "markdown", "metadata": {}, "source": f"# {title}\n\nA toy. About 1 minute."}]
    for code in codes:
        tags = {"tags": ["parameters"]} if len(cells) == 1 else {}
        cell = {"cell_type": "code", "metadata": tags, "source": code, "outputs": [], "execution_count": None}
        cells.append(cell)
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    content = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 4}
    path.write_text(json.dumps(content))
