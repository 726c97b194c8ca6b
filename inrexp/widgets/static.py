"""Saved notebooks as pages without kernel or network: explorers live on the state that was saved with them.

The book and `jupyter nbconvert --to html` both show them so. `jupyter_nbconvert_config.json` beside this module, which
the package installs into the environment's etc/jupyter, names `Alive` as a step of nbconvert's HTML exporter.
"""

from collections.abc import Mapping
from typing import Any

from nbconvert.preprocessors import Preprocessor

from inrexp.widgets.page import STYLE, classic_script, json_element
from inrexp.widgets.saved import VIEW, shown_state, views

KERNEL = "<p><em>Here the notebook has a widget that needs its kernel: run it to use it.</em></p>"
SHOWN = ("area", "threshold", "answer", "against", "cut", "outside", "count")
PLACE = "inrexp-here"
MOUNT = f"""for (const place of document.querySelectorAll(".{PLACE}")) {{
  const {{ scene, state }} = JSON.parse(document.getElementById(place.dataset.scene).textContent);
  inrexp.mount(place, scene, state);
}}"""
NOTHING = "data:,"  # an address that leads to an empty file and asks nobody for it


def draw_saved(notebook: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Put the HTML of each explorer in place of its widget; changes the notebook, and returns the explorers' outputs.

    Progress bars go, and any other widget becomes a sentence. The page that shows the notebook must hold the script and
    the style.  name: begins the ids of the explorers, so that two notebooks on one page share none.
    """
    drawn: list[dict[str, Any]] = []
    for cell in notebook["cells"]:
        if "outputs" not in cell:
            continue
        outputs = []
        for output in cell["outputs"]:
            data = output.get("data", {})
            if VIEW not in data:
                outputs.append(output)
            elif "%|" not in "".join(data.get("text/plain", "")):
                state = shown_state(notebook, data[VIEW])
                html = _explorer(f"{name}-{len(drawn) + 1}", state) if "scene" in state else KERNEL
                output["data"] = {"text/html": html, "text/plain": html}
                outputs.append(output)
                drawn += [output] if "scene" in state else []
        cell["outputs"] = outputs
    notebook["metadata"].pop("widgets", None)
    return drawn


def _explorer(name: str, state: Mapping[str, Any]) -> str:
    """The place of an explorer, and its data beside it."""
    data = {"scene": state["scene"], "state": {key: state[key] for key in SHOWN}}
    return f'<div class="{PLACE}" data-scene="{name}"></div>{json_element(name, data)}'


class Alive(Preprocessor):
    """A step of nbconvert: explorers live in one HTML file, offline. Notebooks without one stay as they are."""

    def preprocess(self, nb: Any, resources: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        if not any("scene" in shown_state(nb, view) for view in views(nb)):
            return nb, resources
        *_, last = draw_saved(nb, "explorer")
        style, script = STYLE.read_text(encoding="utf-8"), classic_script() + MOUNT
        last["data"]["text/html"] += f"<style>{style}</style>\n<script>\n{script}\n</script>"
        resources["require_js_url"] = NOTHING  # no widget is left that needs it
        if not any("$" in "".join(cell["source"]) for cell in nb["cells"] if cell["cell_type"] == "markdown"):
            resources["mathjax_url"] = NOTHING
        return nb, resources
