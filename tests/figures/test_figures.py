"""Drawing: what a figure shows is what the explanation says, and a quick figure never replaces a full one."""

from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
import torch
from conftest import QUICK_FIT, Planted, plant
from matplotlib.figure import Figure
from nbclient import NotebookClient
from PIL import Image

from inrexp import explain, figures
from inrexp.explanation import Explanation
from inrexp.methods import extremal_perturbation


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


def titles(figure: Figure) -> list[str]:
    return [axes.get_title() for axes in figure.axes]


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


def test_an_overlay_names_class_area_and_probability(found: Explanation):
    figure = figures.overlay(found, 0.2)
    text = " ".join(titles(figure))
    assert f"stripes: p = {found.unmasked:.2f}" in text
    assert "20 %" in text
    assert f"p = {float(found.probability(0.2)):.2f}" in text


def test_a_strip_has_a_column_for_each_area(found: Explanation):
    areas = (0.1, 0.2, 0.3)
    figure = figures.area_strip(found, areas)
    assert len(figure.axes) == 6
    text = titles(figure)
    for column, area in enumerate(areas):
        assert figures.percent(area) in text[column]
        assert f"p = {float(found.probability(area)):.2f}" in text[3 + column]
    assert len(figures.area_strip(found, [0.2]).axes) == 2


def test_the_curve_is_the_probability_over_area(found: Explanation):
    _, axes = plt.subplots()
    areas = [0.1, 0.2, 0.4]
    figures.probability_curve(axes, found, areas)
    soft, cut, threshold = axes.get_lines()
    assert soft.get_ydata() == pytest.approx(found.probability(areas).tolist())
    assert cut.get_ydata() == pytest.approx(found.probability(areas, cut=0.5).tolist())
    assert threshold.get_ydata()[0] == found.threshold
    assert axes.get_ylim() == (0, 1)


def test_the_scheme_is_drawn_from_the_fit(found: Explanation, planted: Planted):
    figure = figures.scheme(found, 0.2)
    text = " ".join(titles(figure))
    for part in ("$[x, y, a]$", "INR", "Filter", "eq. 1"):
        assert part in text
    images = [np.asarray(image.get_array()) for axes in figure.axes for image in axes.get_images()]
    assert any(image.shape == (112, 112) and np.allclose(image, found.mask(0.2)[0, 0]) for image in images)
    lattice = extremal_perturbation(planted.classifier, planted.image, 1, areas=(0.1, 0.3), steps=2, progress=False)
    with pytest.raises(TypeError, match="explanation must come from an INR"):
        figures.scheme(lattice, 0.1)


def test_drawing_changes_no_global_style(found: Explanation):
    before = dict(plt.rcParams)
    figures.overlay(found, 0.2)
    figures.area_strip(found, (0.1, 0.2))
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


@pytest.mark.parametrize("layout", [None, "constrained"])
def test_a_quick_figure_says_so_below_the_picture(layout: str | None, tmp_path: Path):
    def saved(quick: bool) -> np.ndarray:
        figure, axes = plt.subplots(figsize=(2, 1), layout=layout)
        axes.set_xlabel("an axis label at the bottom")
        return np.asarray(Image.open(figures.save_figure(figure, "a", quick=quick, folder=tmp_path)).convert("RGB"))

    quick, full = saved(True), saved(False)
    height, strip = len(full), round(160 * figures.STRIP)
    assert quick.shape == (height + strip, *full.shape[1:])
    assert (quick[:height] == full).all()
    red = (quick[..., 0] > 150) & (quick[..., 1:].max(2) < 80)
    assert red[height:].sum() > 20
    assert not red[:height].any()


def test_a_figure_saved_twice_is_stamped_once(tmp_path: Path):
    figure = sketch()
    once = figures.save_figure(figure, "a", quick=True, folder=tmp_path).read_bytes()
    assert figures.save_figure(figure, "a", quick=True, folder=tmp_path).read_bytes() == once


def test_a_reduced_run_says_that_instead(tmp_path: Path):
    said = [
        np.asarray(Image.open(figures.save_figure(sketch(), word, quick=True, stamp=word, folder=tmp_path)))
        for word in ("QUICK", "REDUCED")
    ]
    assert said[0].shape == said[1].shape
    assert (said[0] != said[1]).any()


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
    cells = ["from inrexp import figures\nfigures.panels(1, 1);", "figures.panels(1, 2);", "figures.panels(1, 3);"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, kernel_name="python3", timeout=120).execute()
    assert [[output.output_type for output in cell.outputs] for cell in notebook.cells] == [["display_data"]] * 3
