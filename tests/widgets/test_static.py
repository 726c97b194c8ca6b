"""Saved notebooks as pages: what takes the place of a widget, and what nbconvert's step leaves alone."""

import copy
import json
from pathlib import Path

import pytest
from nbconvert import HTMLExporter

from inrexp.widgets.explorer import Explorer
from inrexp.widgets.saved import STATE, VIEW
from inrexp.widgets.static import KERNEL, Alive, draw_saved

STATES = {
    "a": {"scene": {"photo": "</script>"}, **dict.fromkeys(("area", "threshold", "answer", "against"), 1)},
    "b": {"children": []},
}
STATES["a"] |= dict.fromkeys(("cut", "outside", "count"), 0)


def notebook(*models: str, text: str = "Widget()") -> dict:
    """One cell that shows these models, with their state saved."""
    outputs = [
        {"output_type": "display_data", "metadata": {}, "data": {VIEW: {"model_id": one}, "text/plain": text}}
        for one in models
    ]
    saved = {STATE: {"state": {name: {"state": state} for name, state in STATES.items()}}}
    cell = {"cell_type": "code", "execution_count": 1, "id": "one", "metadata": {}, "outputs": outputs, "source": ""}
    return {"cells": [cell], "metadata": {"widgets": saved}, "nbformat": 4, "nbformat_minor": 5}


def shown(notebook: dict) -> list[str]:
    return [output["data"]["text/html"] for output in notebook["cells"][0]["outputs"]]


def test_explorers_have_ids_of_their_own_and_data_that_ends_no_element():
    saved = notebook("a", "a", "b")
    assert len(draw_saved(saved, "fig1")) == 2
    first, second, other = shown(saved)
    assert ('id="fig1-1"' in first, 'id="fig1-2"' in second, other) == (True, True, KERNEL)
    assert first.count("</script>") == 1
    assert saved["metadata"] == {}


def test_progress_bars_go():
    saved = notebook("b", text=" 40%|####")
    assert draw_saved(saved, "x") == []
    assert shown(saved) == []


def test_nbconverts_step_leaves_a_notebook_without_explorers_as_it_is():
    saved = notebook("b")
    before, resources = copy.deepcopy(saved), {"require_js_url": "somewhere"}
    assert Alive().preprocess(saved, resources) == (before, {"require_js_url": "somewhere"})


@pytest.mark.parametrize(("text", "needs"), [("Five per cent.", False), ("The area $a$.", True)])
def test_a_converted_notebook_asks_only_for_what_its_equations_need(text: str, needs: bool):
    saved = notebook("a")
    saved["cells"].insert(0, {"cell_type": "markdown", "id": "zero", "metadata": {}, "source": text})
    exporter = HTMLExporter(preprocessors=[Alive])
    resources = exporter._init_resources({})
    found, resources = Alive().preprocess(saved, resources)
    assert shown({"cells": found["cells"][1:]})[0].count("inrexp.mount(place") == 1
    assert resources["require_js_url"].startswith("data:")
    assert resources["mathjax_url"].startswith("data:") is not needs


def test_explorers_of_the_committed_notebooks_have_todays_front_end():
    fronts = []
    for path in (Path(__file__).parents[2] / "notebooks").glob("*.ipynb"):
        saved = json.loads(path.read_text())["metadata"].get("widgets", {}).get(STATE, {"state": {}})
        fronts += [one["state"] for one in saved["state"].values() if "scene" in one["state"]]
    assert len(fronts) >= 7
    assert {(one["_esm"], one["_css"]) for one in fronts} == {(str(Explorer._esm), str(Explorer._css))}
