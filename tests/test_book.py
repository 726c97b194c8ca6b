"""The static book: built once from the committed notebooks, offline, without executing anything."""

import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("book")]


def test_every_notebook_is_a_page_with_its_figures(book: Path):
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        page = (book / "notebooks" / f"{path.stem}.html").read_text()
        pictures = [source for source in re.findall(r'<img[^>]* src="([^"]+)"', page) if "_images" in source]
        assert len(pictures) == path.read_text().count('"image/png": "'), path.name
        assert all((book / "notebooks" / picture).stat().st_size > 1000 for picture in pictures)
        assert "Explorer(children" not in page
        assert "step/s" not in page


def test_every_module_is_in_the_api_reference(book: Path):
    files = {path.relative_to(ROOT).with_suffix("") for path in (ROOT / "inrexp").rglob("*.py")}
    modules = {".".join(path.parts).removesuffix(".__init__") for path in files}
    assert {path.stem for path in (book / "api").glob("inrexp*.html")} == modules
    assert 'id="inrexp.paper.objectives.area_penalty"' in (book / "api" / "inrexp.paper.objectives.html").read_text()


def test_rooms_lead_to_their_modules(book: Path):
    room = (book / "api" / "inrexp.paper.html").read_text()
    assert 'href="inrexp.paper.perturb.html"' in room
    assert 'href="inrexp.paper.html"' in (book / "api" / "inrexp.html").read_text()


def test_tables_are_tables(book: Path):
    page = (book / "notebooks" / "07_table1.html").read_text()
    assert "<table" in page
    assert not re.search(r"\|\s*:?-{3,}", page)  # the second line of a Markdown table


def test_the_papers_claims_are_a_table_whose_lines_lead_to_notebooks(book: Path):
    page = (book / "claims.html").read_text()
    lines = re.findall(r"<tr[^>]*><td>.*?</tr>", page, flags=re.S)
    assert len(lines) >= 14
    for line in lines:
        (notebook,) = re.findall(r'href="(notebooks/[^"]+\.html)"', line)
        assert (book / notebook).is_file()
    assert 'href="claims.html"' in (book / "index.html").read_text()


def test_every_figure_hangs_in_the_gallery_and_leads_to_its_notebook(book: Path):
    page = (book / "gallery.html").read_text()
    assert page.count("<img") >= 15
    for notebook in re.findall(r'href="(notebooks/[^"]+)"', page):
        assert (book / notebook).is_file()


def test_the_papers_seven_equations_are_there(book: Path):
    page = (book / "method.html").read_text()
    assert re.findall(r'class="eqno">\((\d)\)', page) == list("1234567")


def test_a_reader_without_internet_has_the_whole_book(book: Path):
    assert (book / "_static" / "mathjax" / "tex-chtml.js").stat().st_size > 100_000
    for page in book.rglob("*.html"):
        wanted = re.findall(
            r'<(?:script|img)[^>]* src="([^"]+)"|<link[^>]*rel="(?:stylesheet|preload)[^>]*>', page.read_text()
        )
        assert not [source for source in wanted if source.startswith(("http", "//"))], page


def test_pages_that_show_other_files_are_made_anew_each_time():
    handlers = {}
    conf = runpy.run_path(str(ROOT / "book" / "conf.py"))
    conf["_forget_old_modules"].__globals__["_forget_old_modules"] = lambda: None
    conf["setup"](SimpleNamespace(connect=handlers.__setitem__, add_directive=lambda *_: None))
    texts = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "book").glob("*.md")}
    showing = {page for page, text in texts.items() if re.search(r"\{pictures\}|\{gallery\}|here stands README", text)}
    assert showing == {"index", "gallery", "claims"} == set(handlers["env-get-outdated"](None, None, {}, set(), set()))
