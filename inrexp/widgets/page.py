"""One explorer as one HTML file that needs nothing else: script, style and data are inside, no request leaves it."""

import json
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from inrexp.attribution import Attribution
from inrexp.explanation import Explanation
from inrexp.files import written_whole
from inrexp.widgets.scene import BLACK, Scene, default_outsides, fine_crop, scene_of

HERE = Path(__file__).parent
SCRIPT, STYLE = HERE / "explorer.js", HERE / "explorer.css"

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ max-width: 1080px; margin: 0 auto; padding: 16px; background: light-dark(#fff, #14181c);
  color: light-dark(#1d2126, #e8eaed);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif; }}
h1 {{ margin: 0 0 4px; font-size: 22px; line-height: 1.25; }}
p {{ margin: 0 0 14px; max-width: 46em; }}
footer {{ margin-top: 18px; font-size: 13px; opacity: 0.75; }}
{style}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{text}</p>
<div id="explorer"></div>
<footer>{footer}</footer>
{script}
</body>
</html>
"""

MOUNT = """const scene = JSON.parse(document.getElementById("scene").textContent);
inrexp.mount(document.getElementById("explorer"), scene, scene.start ? { area: scene.start } : {});"""


def write_explanation(
    path: "str | Path",
    found: Attribution,
    picture: Image.Image | None = None,
    *,
    start: float | None = None,
    footer: str = "",
) -> Path:
    """Write one answer as a page to mail: area slider, p, a*.

    picture: what was explained, for more pixels to see.  start: the area shown first, a* by default, 10 % where there
    is none.  footer: plain text, such as what `figures.made_by` says.
    """
    label, network = found.target.label, found.classifier_name
    fine = None if picture is None else fine_crop(found.needed_classifier(), picture)
    smallest = found.smallest_area()
    star = f"No area keeps the threshold of {found.threshold:.2f}, so there is no a*."
    if smallest:
        star = (
            f"a*, the diamond on the curve, is the smallest area that keeps the threshold of {found.threshold:.2f}; a "
            "larger one may fail it."
        )
    elif not found.explains:
        failed = isinstance(found, Explanation)
        star = f"{'The fit failed' if failed else 'The map is constant'}: its masks explain nothing."
    scene = scene_of({label: found}, photograph=fine) | {"start": start or smallest or 0.1}
    outside = "black" if default_outsides(found)[0] == BLACK else "blurred"
    keeps = f"the mask keeps that share of the picture, everything outside the line is {outside}"
    if scene["answers"][0]["masks"]["kind"] == "soft":
        keeps = (
            "the mask is soft and keeps pixels in part, more than half of each inside the line; its real area stands "
            f"below, and what it takes away is {outside}"
        )
    text = (
        f"The network {network} gives {label!r} a probability of {found.unmasked:.2f}. Move the slider: {keeps}, and p "
        f"is the probability that is left. {star}"
    )
    return write_page(
        path, scene, title=f"Which part of this picture is enough for {label!r}?", text=text, footer=footer
    )


def write_page(path: "str | Path", scene: Scene, *, title: str, text: str, footer: str = "") -> Path:
    """Write a scene as a page that opens from a disk or a mail, without network.  title, text, footer: plain text."""
    path = Path(path)
    script = f"{json_element('scene', scene)}\n<script>\n{classic_script()}{MOUNT}\n</script>"
    page = PAGE.format(
        title=escape(title), text=escape(text), footer=escape(footer), style=STYLE.read_text(), script=script
    )
    with written_whole(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def classic_script() -> str:
    """explorer.js for pages opened from a disk, where browsers refuse to import modules: it defines `inrexp`."""
    source = SCRIPT.read_text(encoding="utf-8")
    end = "export default { render, mount };\n"
    if not source.endswith(end):
        raise ValueError(f"{SCRIPT} must end in {end!r}")
    return f"const inrexp = (() => {{\n{source.removesuffix(end)}return {{ render, mount }};\n}})();\n"


def json_element(name: str, data: Any) -> str:
    """A script element that holds data; `<` is escaped, so that no text in it can end the element."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json" id="{escape(name, quote=True)}">{text}</script>'
