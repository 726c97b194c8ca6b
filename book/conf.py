"""The book: executed notebooks as they are committed, the method, the API. Built offline, nothing is executed."""

import json
import re
from importlib import metadata

project = "inrexp"
author = "the inrexp authors"
release = metadata.version("inrexp")
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "sphinx-mathjax-offline",
]
exclude_patterns = ["**/.ipynb_checkpoints"]
templates_path = ["_templates"]
nitpicky = True  # a reference into inrexp that leads nowhere is an error; other projects' pages are on the net
nitpick_ignore_regex = [(r"py:.*", r"(?!inrexp).*")]

nb_execution_mode = "off"
nb_ipywidgets_js = {}  # live widgets would be fetched from the net; _without_widgets says what stands there
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}

html_theme = "pydata_sphinx_theme"
html_title = "inrexp"
html_theme_options = {"show_toc_level": 2, "navigation_with_keys": True, "secondary_sidebar_items": ["page-toc"]}
html_show_sourcelink = False

WIDGET = "application/vnd.jupyter.widget-view+json"
SLIDER = "<p><em>Here the running notebook has a slider; the strip of masks on this page shows the same.</em></p>"


def _without_widgets(app, docname, source):
    """Progress bars go; any other widget becomes a sentence."""
    if not docname.startswith("notebooks/"):
        return
    notebook = json.loads(source[0])
    notebook["metadata"].pop("widgets", None)
    for cell in notebook["cells"]:
        kept = []
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if WIDGET in data:
                if "%|" in "".join(data.get("text/plain", "")):
                    continue
                output["data"] = {"text/html": SLIDER, "text/plain": SLIDER}
            kept.append(output)
        if "outputs" in cell:
            cell["outputs"] = kept
    source[0] = json.dumps(notebook)


def _plain_docstring(app, what, name, obj, options, lines):
    """Docstrings here are plain text: paragraphs, and entries such as `mask: (k, 1, h, w)`, each on its own line."""
    entries = []
    for line in lines:
        text = re.sub(r"([\\*|_])", r"\\\1", line.strip())
        text = text.replace("`", "")
        begins = re.match(r"[\w\\, .]{1,40}: ", line) or line.startswith((">>>", "Raises ", "Returns "))
        if not text:
            entries.append("")
        elif entries and entries[-1] and not begins:
            entries[-1] += f" {text}"
        else:
            entries.append(f"| {text}")
    lines[:] = [*entries, ""]


def setup(app):
    app.connect("source-read", _without_widgets)
    app.connect("autodoc-process-docstring", _plain_docstring)
