"""The book: executed notebooks as they are committed, the method, the API. Built offline, nothing is executed."""

import importlib.util
import json
import re
import shutil
from importlib import metadata
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from inrexp.study import ledger
from inrexp.widgets.page import STYLE, classic_script, json_element
from inrexp.widgets.static import draw_saved

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
nb_ipywidgets_js = {}  # no widget manager: explorers are drawn from their saved state by their own script (_alive)
nb_render_markdown_format = "myst"  # else tables in cell outputs stay raw pipes
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}

html_theme = "pydata_sphinx_theme"
html_title = "inrexp"
html_theme_options = {"show_toc_level": 2, "navigation_with_keys": True, "secondary_sidebar_items": ["page-toc"]}
html_show_sourcelink = False
html_context = {"default_mode": "auto"}
html_sidebars = {"index": [], "claims": [], "gallery": [], "method": []}
html_static_path = ["_static"]
html_css_files = ["explorer.css", "book.css"]
html_js_files = ["explorer.js", "book.js"]


def _alive(app, docname, source):
    """Explorers are drawn from the state that the notebook saved; book.js mounts them."""
    if docname.startswith("notebooks/"):
        notebook = json.loads(source[0])
        draw_saved(notebook, docname.replace("/", "-"))
        source[0] = json.dumps(notebook)


def _always_anew(app, env, added, changed, removed):
    """Pages that show other files, which may change, come and go without the page's own text."""
    return ["index", "gallery", "claims"]


def _claims(app, docname, source):
    """README's table of claims on its page; a link to a notebook becomes one to the notebook's page."""
    if docname == "claims":
        readme = Path(__file__).parent.parent / "README.md"
        table = readme.read_text(encoding="utf-8").split(ledger.BEGIN)[1].split(ledger.END)[0]
        table = re.sub(r"\[(\w+)\]\((notebooks/\w+)\.ipynb\)", r"{doc}`\1 <\2>`", table)
        source[0] = source[0].replace("<!-- here stands README's table -->", table)


class Pictures(SphinxDirective):
    """A row of photographs, and the explorer of the chosen one: every scene in a folder of JSON files."""

    required_arguments = 1

    def run(self):
        files = sorted((Path(__file__).parent / self.arguments[0]).glob("*.json"))
        scenes = [json.loads(path.read_text()) for path in files]
        html = f'<div class="inrexp-row" data-scene="pictures"></div>{json_element("pictures", scenes)}'
        return [nodes.raw("", html, format="html")]


class Gallery(SphinxDirective):
    """Every picture of a folder, with the title of the notebook that names it, and a link there."""

    required_arguments = 1

    def run(self):
        here = Path(__file__).parent
        notebooks = {path: path.read_text(encoding="utf-8") for path in sorted(here.glob("notebooks/*.ipynb"))}
        shown = nodes.container(classes=["gallery"])
        for path in sorted((here / self.arguments[0]).glob("*.png"), key=_in_the_papers_order):
            makers = [one for one, text in notebooks.items() if f'\\"{path.stem}\\"' in text]
            if makers and ".quick" not in path.name:
                shown += _framed(f"{self.arguments[0]}/{path.name}", makers[0])
        return [shown]


def _in_the_papers_order(path):
    kinds = ("start", "fig", "table")
    return next((i for i, kind in enumerate(kinds) if path.name.startswith(kind)), len(kinds)), path.name


def _framed(uri, notebook):
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    title = "".join(cells[0]["source"]).splitlines()[0].lstrip("# ")
    link = nodes.reference("", "", refuri=f"notebooks/{notebook.stem}.html", internal=True)
    link += [nodes.image(uri=uri, alt=title), nodes.inline("", title)]
    return nodes.paragraph("", "", link)


def _write_script(app):
    """The explorer's own files, and the script as one that works on a page opened from a disk."""
    static = Path(app.outdir) / "_static"
    static.mkdir(parents=True, exist_ok=True)
    (static / "explorer.js").write_text(classic_script(), encoding="utf-8")
    shutil.copy(STYLE, static / "explorer.css")


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


def _forget_old_modules():
    """Pages that autosummary wrote for modules that are gone."""
    for path in (Path(__file__).parent / "api").glob("*.rst"):
        if not _there(path.stem):
            path.unlink()


def _there(module):
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def setup(app):
    _forget_old_modules()
    app.add_directive("pictures", Pictures)
    app.add_directive("gallery", Gallery)
    app.connect("builder-inited", _write_script)
    app.connect("env-get-outdated", _always_anew)
    app.connect("source-read", _alive)
    app.connect("source-read", _claims)
    app.connect("autodoc-process-docstring", _plain_docstring)
