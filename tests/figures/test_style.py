"""The house style: outlines, the lines under a figure, and files in which a quick figure never replaces a full one."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image
from planted import QUICK_FIT, Planted, plant

from inrexp import explain, figures
from inrexp.explanation import Explanation
from inrexp.figures.style import GREY, method_dashes


@pytest.fixture(scope="module")
def planted() -> Planted:
    return plant()


@pytest.fixture(scope="module")
def found(planted: Planted) -> Explanation:
    return explain(planted.classifier, planted.image, 1, preset=QUICK_FIT, progress=False)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_an_array_is_the_image_turned_round(planted: Planted):
    array = figures.to_array(planted.image)
    assert array.shape == (112, 112, 3)
    assert np.array_equal(array[5, 7], planted.image[0, :, 5, 7].numpy())
    assert np.array_equal(figures.to_array(planted.image[0].double()), array)


def test_percentages_are_read_by_people():
    assert [figures.percent(area) for area in (0.025, 0.1, 0.2, 1 / 3, 1)] == [
        "2.5 %",
        "10 %",
        "20 %",
        "33.3 %",
        "100 %",
    ]


def test_a_method_has_one_colour_in_every_figure_and_its_variants_differ_in_dashes():
    names = ["INR, crisp", "GradCAM", "INR, paper_lattice (n = 20)", "mine", "mine, too", "seed 0"]
    colours, dashes = figures.method_colours(names), method_dashes(names)
    assert colours["INR, crisp"] == colours[names[2]] == figures.method_colours(["inr", "INR"])["INR"]
    assert colours["GradCAM"] == figures.method_colours(["GradCAM"])["GradCAM"]
    assert len(set(figures.method_colours(["extremal perturbations", "Extremal perturbations, quick"]).values())) == 1
    assert colours["mine"] == colours["mine, too"]
    assert len({colours[name] for name in ("INR, crisp", "GradCAM", "mine", "seed 0")}) == 4
    assert [dashes[name] for name in names] == ["-", "-", "--", "-", "--", "-"]


def test_a_curve_of_probability_has_its_methods_colour_and_the_house_legend():
    _, axes = plt.subplots()
    figures.probability_curve(axes, [0.1, 0.2], {"seed 0": [0.1, 0.2], "GradCAM": [0.2, 0.3]}, threshold=0.5)
    assert axes.get_lines()[1].get_color() == figures.method_colours(["GradCAM"])["GradCAM"]
    assert not axes.get_legend().get_frame_on()


def test_no_curve_is_left_out_where_there_are_more_than_dashes():
    _, (first, second) = plt.subplots(1, 2)
    lines = {f"seed {seed}": [0.1, 0.2] for seed in range(7)}
    figures.probability_curve(first, [0.1, 0.2], lines, threshold=0.5)
    figures.deletion(second, lines)
    drawn = [{line.get_label() for line in axes.get_lines()} for axes in (first, second)]
    assert all(set(lines) <= labels for labels in drawn)


def test_a_mask_is_shown_on_a_fixed_scale(found: Explanation):
    _, axes = plt.subplots()
    figures.draw_mask(axes, found.mask(0.2), "mask")
    (drawn,) = axes.get_images()
    assert drawn.get_clim() == (0, 1)
    assert drawn.get_cmap().name == figures.MASK_MAP
    assert np.array_equal(drawn.get_array(), found.mask(0.2)[0, 0].numpy())


def test_the_outline_runs_where_the_mask_passes_one_half(planted: Planted):
    mask = torch.linspace(0, 1, 112).expand(1, 1, 112, 112)
    _, axes = plt.subplots()
    figures.draw_outline(axes, planted.image, mask)
    for line in axes.collections:
        (path,) = line.get_paths()
        assert path.vertices[:, 0] == pytest.approx(55.5, abs=0.1)
    assert len(axes.collections) == 2  # a dark line under a bright one


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_an_empty_or_full_mask_has_no_outline_and_no_warning(planted: Planted, value: float, recwarn):
    _, axes = plt.subplots()
    figures.draw_outline(axes, planted.image, torch.full((1, 1, 112, 112), value))
    assert len(axes.collections) == 0
    assert not [warning for warning in recwarn if "contour" in str(warning.message)]
    shown = axes.get_images()[0].get_array()
    kept = np.allclose(shown, figures.to_array(planted.image), atol=1e-6)
    assert kept == (value == 1.0)


def test_drawing_changes_no_global_style(found: Explanation):
    before = dict(plt.rcParams)
    row = figures.shown(found, [0.1, 0.2])
    figures.overlay(row[0])
    figures.area_strip(row)
    assert dict(plt.rcParams) == before


def sketch() -> Figure:
    figure, _ = plt.subplots(figsize=(2, 1))
    return figure


def test_a_full_figure_is_replaced_by_a_full_one_only(tmp_path: Path):
    first = figures.save_figure(sketch(), "fig1", quick=True, folder=tmp_path)
    assert first == tmp_path / "fig1.png"
    full = figures.save_figure(sketch(), "fig1", quick=False, folder=tmp_path)
    assert full == first
    before = full.read_bytes()
    beside = figures.save_figure(sketch(), "fig1", quick=True, folder=tmp_path)
    assert beside == tmp_path / "fig1.quick.png"
    assert full.read_bytes() == before
    assert figures.save_figure(sketch(), "fig1", quick=False, folder=tmp_path) == full
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fig1.png", "fig1.quick.png"]


def inked(picture: np.ndarray) -> np.ndarray:
    """Where something is drawn: (h, w) bool."""
    return picture.min(2) < 250


@pytest.mark.parametrize("layout", [None, "constrained"])
def test_what_made_a_figure_stands_below_the_drawing_which_keeps_its_size(layout: str | None, tmp_path: Path):
    def saved(**lines: str) -> np.ndarray:
        figure, axes = plt.subplots(figsize=(2, 1), layout=layout)
        axes.set_xlabel("an axis label at the bottom")
        path = figures.save_figure(figure, "a", quick=True, folder=tmp_path, **lines)
        return np.asarray(Image.open(path).convert("RGB"))

    bare, made = saved(), saved(made_by="Made by INR.")
    both = saved(made_by="Made by INR.", reduced="3 steps instead of 4000")
    height = len(bare)
    assert len(made) > height
    assert len(both) > len(made)
    for one in (made, both):
        assert (one[:height] == bare).all()
        assert inked(one[height:]).any()
        assert not inked(one[-3:]).any()  # nothing is cut off


def test_words_under_a_figure_are_grey_and_wrapped_to_its_width():
    figure = sketch()
    words = "Made by INR (crisp, 300 passes); EfficientNet-Lite0; seeds 0, 1, 2; pictures chelsea, coffee, rocket."
    figures.caption(figure, words)
    (text,) = figure.texts
    assert text.get_color() == GREY
    assert " ".join(text.get_text().splitlines()) == words
    figure.canvas.draw()
    assert text.get_window_extent().x1 <= figure.bbox.x1
    assert text.get_window_extent().y0 >= 0


def test_a_caption_written_twice_stands_there_once(tmp_path: Path):
    figure = sketch()
    lines = {"made_by": "Made by INR.", "reduced": "3 steps"}
    once = figures.save_figure(figure, "a", quick=True, folder=tmp_path, **lines).read_bytes()
    assert figures.save_figure(figure, "a", quick=True, folder=tmp_path, **lines).read_bytes() == once


def test_a_figure_is_opaque_so_that_a_dark_page_leaves_it_readable(tmp_path: Path):
    with plt.rc_context({"savefig.facecolor": "none", "figure.facecolor": "black"}):
        picture = Image.open(figures.save_figure(sketch(), "a", quick=True, folder=tmp_path))
    assert np.asarray(picture.convert("RGBA"))[0, 0].tolist() == [255, 255, 255, 255]


def contrast(first: str, second: str) -> float:
    """WCAG's ratio of the lighter luminance to the darker."""

    def luminance(colour: str) -> float:
        channels = np.array(to_rgb(colour))
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    dark, light = sorted((luminance(first), luminance(second)))
    return (light + 0.05) / (dark + 0.05)


def test_small_grey_words_are_as_readable_as_wcag_asks():
    assert contrast("black", "white") == pytest.approx(21)
    assert contrast(GREY, "white") > 4.5


def test_figures_go_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("INREXP_FIGURES", str(tmp_path / "deep"))
    assert figures.save_figure(sketch(), "a", quick=True) == tmp_path / "deep" / "a.png"
    monkeypatch.delenv("INREXP_FIGURES")
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert figures.save_figure(sketch(), "a", quick=True).resolve() == tmp_path / "figures" / "a.png"


def test_a_figure_that_fails_leaves_the_old_one(tmp_path: Path):
    path = figures.save_figure(sketch(), "a", quick=True, folder=tmp_path)
    before = path.read_bytes()
    broken = sketch()
    broken.savefig = lambda target, **_: (Path(target).write_bytes(b"half"), 1 / 0)  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        figures.save_figure(broken, "a", quick=True, folder=tmp_path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_a_notebook_shows_every_figure_not_only_the_first():
    import nbformat  # it takes seconds, and only this test needs it
    from nbclient import NotebookClient

    cells = ["from inrexp import figures\nfigures.panels(1, 1);", "figures.panels(1, 2);", "figures.panels(1, 3);"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, kernel_name="python3", timeout=120).execute()
    assert [[output.output_type for output in cell.outputs] for cell in notebook.cells] == [["display_data"]] * 3
