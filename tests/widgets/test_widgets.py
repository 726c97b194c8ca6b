"""The widgets without a browser: what they answer, how fast, and that closing them leaves nothing behind."""

import dataclasses
import datetime
import io
import json
import re
import statistics
import threading
import time
from pathlib import Path

import ipywidgets
import pytest
import torch
from conftest import QUICK_FIT, plant
from ipywidgets.widgets.widget import _instances
from PIL import Image
from torchvision.transforms.v2.functional import pil_to_tensor

from inrexp.datasets.pictures import to_picture
from inrexp.explanation import Explanation
from inrexp.methods import explain, explain_many, extremal_perturbation, grad_cam
from inrexp.widgets.explorer import NOTHING, Explorer
from inrexp.widgets.siblings import area_slider, explanations_browser, side_by_side_slider
from inrexp.widgets.stage import Curve, Stage, curve_svg
from inrexp.widgets.workbench import Workbench

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
SHORT = dataclasses.replace(QUICK_FIT, steps=30)


@pytest.fixture(scope="module")
def planted_once():
    return plant()


@pytest.fixture(scope="module")
def fitted(planted_once) -> dict:
    model, image = planted_once.classifier, planted_once.image
    lattice = extremal_perturbation(model, image, 1, areas=(0.1, 0.3), steps=2, progress=False)
    inr = explain(model, image, 1, preset=SHORT, progress=False)
    return {"inr": inr, "lattice": lattice, "GradCAM": grad_cam(model, image, 1)}


@pytest.fixture
def explorer(fitted):
    found = Explorer(fitted, positions=6, start=0.25)
    yield found
    found.close()


def eventually(true, limit: float = 30.0) -> None:
    end = time.monotonic() + limit
    while not true():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


def shown(widget: Explorer) -> list[bytes]:
    return [picture.value for picture in widget.pictures]


def test_the_area_slider_evaluates_the_field_between_the_measured_areas(fitted, explorer, monkeypatch):
    monkeypatch.setattr(fitted["inr"].classifier.model, "forward", None)  # any use of the network fails from here on
    assert len(explorer.areas) > 290  # thousandths of 0.1 to 0.4
    before = shown(explorer)
    explorer.area.value = 0.333
    mask, area = explorer.mask("inr", 0.333)
    assert area == 0.333
    assert torch.equal(mask, fitted["inr"].mask(0.333))
    assert shown(explorer)[:2] != before[:2]
    assert f"kept {100 * float(mask.mean()):.3g} %" in explorer.captions[0].value
    assert "p ≈" in explorer.captions[0].value  # not measured there, and it says so
    explorer.area.value = explorer.measured[2]
    assert "p =" in explorer.captions[0].value


def test_a_measured_probability_is_the_explanations_own(fitted, explorer):
    curve = explorer.curves["inr", "blur 20 px"]
    assert curve.soft == pytest.approx(fitted["inr"].probability(curve.areas).tolist(), abs=1e-5)
    assert curve.cut == pytest.approx(fitted["inr"].probability(curve.areas, cut=0.5).tolist(), abs=1e-5)
    assert explorer.curves["lattice", "blur 20 px"].areas == (0.1, 0.3)


def test_the_threshold_moves_a_star_and_no_picture():
    curve = Curve((0.1, 0.2, 0.3), (0.2, 0.6, 0.9), (0.0, 0.1, 0.7))
    assert [curve.smallest(p, cut=False) for p in (0.1, 0.5, 0.95)] == [0.1, 0.2, None]
    assert curve.smallest(0.5, cut=True) == 0.3
    assert curve.at(0.2, cut=False) == "= 0.60"
    assert curve.at(0.15, cut=False) == "≈ 0.40"


def test_the_threshold_slider_says_where_the_class_is_kept(explorer):
    before = shown(explorer)
    explorer.threshold.value = 0.0
    assert "a* = 10 % (soft), 10 % (cut)" in explorer.captions[0].value
    explorer.threshold.value = 1.0
    assert "a* = none (soft), none (cut)" in explorer.captions[0].value
    assert shown(explorer) == before


def test_the_cut_view_shows_the_mask_of_zeros_and_ones(fitted, explorer):
    explorer.view.value = True
    mask = fitted["inr"].mask(explorer.area.value, cut=0.5)
    assert explorer.pictures[0].value == explorer.stage.outlined(mask)


def test_answers_are_set_against_each_other_each_at_an_area_that_it_holds(explorer):
    assert explorer.lower.layout.display == "none"
    explorer.against.value = "lattice"
    assert explorer.lower.layout.display is None
    assert "nearest held 30 %" in explorer.captions[1].value
    assert "lattice" in explorer.curve.value
    assert "inr" in explorer.curve.value
    explorer.answer.value = "GradCAM"
    assert "GradCAM" in explorer.titles[0].value
    explorer.against.value = NOTHING
    assert "lattice" not in explorer.curve.value


def test_a_new_outside_shows_its_pictures_at_once_and_its_probabilities_later(fitted, explorer):
    before = shown(explorer)
    explorer.outside.value = "black"
    assert shown(explorer)[1] != before[1]
    assert "black" in explorer.legend.value
    eventually(lambda: ("inr", "black") in explorer.curves and explorer.worker is None)
    assert "measuring" not in explorer.captions[0].value
    assert explorer.classifier is not fitted["inr"].classifier  # a copy: cells may use the model meanwhile
    mask = fitted["inr"].mask(0.1)
    expected = fitted["inr"].classifier.probability(mask * fitted["inr"].image, fitted["inr"].target)
    assert explorer.curves["inr", "black"].soft[0] == pytest.approx(float(expected), abs=1e-5)


def test_every_picture_says_what_1_and_0_mean(explorer):
    assert "Mask 1</b>, inside the line: the pixel is kept" in explorer.legend.value
    assert "Mask 0</b>, outside, dark: it becomes blurred (20 px)" in explorer.legend.value


def test_the_curve_has_its_cursor_where_the_area_is():
    curve = Curve((0.1, 0.2), (0.0, 1.0), (0.0, 0.5))
    at = [
        curve_svg([("a", curve)], area=area, threshold=0.5, cut=False, limits=(0.1, 0.2)) for area in (0.1, 0.15, 0.2)
    ]
    across = [[float(one) for one in re.search(r"circle cx='([\d.]+)' cy='([\d.]+)'", svg).groups()] for svg in at]
    assert across[0][0] < across[1][0] < across[2][0]
    assert across[0][1] > across[1][1] > across[2][1]  # the probability grows, upwards on the page
    assert across[1] == pytest.approx([(a + b) / 2 for a, b in zip(across[0], across[2], strict=True)], abs=0.1)


def test_the_outline_stands_where_the_mask_crosses_a_half():
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., :32] = 1
    stage = Stage(torch.full((1, 3, 64, 64), 0.5), side=64)
    pixels = pil_to_tensor(Image.open(io.BytesIO(stage.outlined(mask)))).permute(1, 2, 0)
    row = pixels[40].float()
    assert row[20].mean() == pytest.approx(127, abs=4)  # kept
    assert row[75].mean() == pytest.approx(57, abs=4)  # removed: dark, the picture stays visible
    assert int((row[:, 0] - row[:, 2]).argmax()) in (47, 48)  # the line, at half of 96 px


def test_every_control_answers_within_a_tenth_of_a_second():
    planted = plant(size=(224, 224))
    inr = explain(planted.classifier, planted.image, 1, preset="quick", steps=2, progress=False)
    widget = Explorer({"inr": inr, "other": inr}, against="other", positions=4)
    moves = [
        (widget.area, [0.03, 0.111, 0.173, 0.052, 0.14]),
        (widget.view, [True, False]),
        (widget.answer, ["other", "inr"]),
    ]
    moves += [
        (widget.threshold, [0.2, 0.7]),
        (widget.against, [NOTHING, "other"]),
        (widget.outside, ["black", "blur 10 px"]),
    ]
    for control, values in moves:
        took = []
        for value in values:
            begun = time.thread_time()  # of this thread alone: the machine may be busy with others
            control.value = value
            took.append(time.thread_time() - begun)
        assert statistics.median(took) < 0.1, control.description
    widget.close()
    widget.worker and widget.worker.join(30)


@pytest.mark.filterwarnings("ignore:fit interrupted")
def test_a_closed_widget_leaves_no_widget_no_observer_and_no_thread(fitted, planted_once):
    before, threads = set(_instances), set(threading.enumerate())
    explorer = Explorer(fitted, positions=3)
    explorer.outside.value = "black"  # starts measuring
    worker = explorer.worker
    bench = Workbench(planted_once.classifier, picture=planted_once.image, preset=SHORT, steps=3000)
    bench.start.click()
    slider = area_slider(fitted["inr"], positions=3)
    for widget in (explorer, bench, slider):
        widget.close()
        widget.close()  # twice does no harm
    for thread in (worker, bench.worker):
        thread.join(30)
    assert set(_instances) == before
    assert set(threading.enumerate()) == threads
    assert not explorer.area._trait_notifiers.get("value", {}).get("change")


def test_the_small_siblings_are_explorers_with_fewer_controls(fitted):
    slider = area_slider(fitted["inr"], positions=3, start=0.2)
    assert slider.area.value == pytest.approx(0.2)
    assert (slider.view.layout.display, slider.outside.layout.display) == (None, "none")
    both = side_by_side_slider({"a": fitted["inr"], "b": fitted["lattice"]}, (0.1, 0.3))
    assert (both.areas, both.against.value) == ((0.1, 0.3), "b")
    slider.close()
    both.close()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"answers": {}}, ValueError, "at least one"),
        ({"answers": {"a": 1}}, TypeError, "answers must map names"),
        ({"against": "b"}, ValueError, "against must be one of the answers a, got 'b'"),
        ({"controls": ("colour",)}, ValueError, "controls must be of"),
        ({"areas": (0.9,)}, ValueError, r"first answer's range \[0.1, 0.4\]"),
        ({"positions": 1}, ValueError, "2 areas or more"),
    ],
)
def test_the_explorer_refuses_what_it_cannot_show(fitted, change, error, message):
    arguments = {"answers": {"a": fitted["inr"]}} | change
    with pytest.raises(error, match=message):
        Explorer(arguments.pop("answers"), **arguments)


def test_the_explorer_refuses_answers_of_two_pictures(fitted):
    other = plant(contrast=0.3)
    elsewhere = explain(other.classifier, other.image, 1, preset=SHORT, steps=1, progress=False)
    with pytest.raises(ValueError, match="'b' is of another"):
        Explorer({"a": fitted["inr"], "b": elsewhere})


@pytest.fixture
def bench(planted_once):
    found = Workbench(planted_once.classifier, preset=QUICK_FIT, steps=30, area=0.2)
    yield found
    found.close()
    if found.worker is not None:
        found.worker.join(30)


def upload(bench: Workbench, name: str, content: bytes) -> None:
    facts = {"name": name, "type": "image/png", "size": len(content), "last_modified": datetime.datetime.now()}
    bench.upload.value = ({**facts, "content": memoryview(content)},)


def png_of(image: torch.Tensor) -> bytes:
    buffer = io.BytesIO()
    to_picture(image).save(buffer, "png")
    return buffer.getvalue()


def test_an_uploaded_picture_is_explained_for_the_chosen_class(bench, planted_once):
    assert bench.start.disabled
    upload(bench, "stripes.png", png_of(planted_once.image))
    assert (bench.start.disabled, bench.cancel.disabled) == (False, True)
    assert [label.split(":")[0] for label, _ in bench.classes.options] == ["stripes", "nothing", "other"]
    bench.classes.value = 1
    pictures = [bench.picture.value]
    bench.picture.observe(lambda change: pictures.append(change["new"]), names="value")
    bench.start.click()
    assert (bench.start.disabled, bench.cancel.disabled) == (True, False)
    bench.worker.join(60)
    assert bench.explanation.status == "finished"
    assert bench.explanation.classifier is planted_once.classifier
    assert len(pictures) == 4  # the picture, and the mask after 10, 20 and 30 steps
    assert (bench.progress.value, bench.start.disabled, bench.cancel.disabled) == (30, False, True)
    assert isinstance(bench.result.children[0], Explorer)
    assert "finished" in bench.status.value
    bench.load(planted_once.image)
    assert bench.result.children == ()  # the result was of the picture before


@pytest.mark.filterwarnings("ignore:fit interrupted")
def test_cancel_ends_the_fit_and_keeps_what_was_found(bench, planted_once):
    bench.config = dataclasses.replace(bench.config, steps=100_000)
    bench.load(planted_once.image)
    bench.start.click()
    eventually(lambda: bench.progress.value >= 10)
    with pytest.raises(RuntimeError, match="cancel it before"):
        bench.load(planted_once.image)
    first = bench.worker
    bench.start.click()  # a second press changes nothing
    assert bench.worker is first
    bench.cancel.click()
    bench.worker.join(60)
    assert re.match(r"interrupted at step \d+0", bench.explanation.status)
    assert isinstance(bench.explanation, Explanation)
    assert (bench.start.disabled, bench.cancel.disabled) == (False, True)


def test_the_model_of_the_reader_is_left_alone_while_a_fit_runs(bench, planted_once):
    planted_once.classifier.model.train()
    bench.load(planted_once.image)
    bench.start.click()
    bench.worker.join(60)
    assert planted_once.classifier.model.training
    assert all(parameter.requires_grad for parameter in planted_once.classifier.model.parameters())
    planted_once.classifier.model.eval()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("notes.txt", b"no picture", "notes.txt is not a picture that PIL can read"),
        ("dot.png", png_of(torch.zeros(1, 3, 4, 4)), "dot.png is 4 x 4 px"),
        ("half.png", png_of(torch.rand(1, 3, 64, 64))[:600], "half.png is a damaged picture"),
        ("", b"", "picture is not a picture"),
    ],
)
def test_a_bad_upload_says_what_is_wrong(bench, name, content, message):
    upload(bench, name, content)
    assert "That did not work" in bench.status.value
    assert message in bench.status.value
    assert bench.start.disabled


def test_a_fit_that_fails_says_so_and_can_be_tried_again(bench, planted_once, monkeypatch):
    bench.load(planted_once.image)
    monkeypatch.setattr("inrexp.widgets.workbench.explain", lambda *_, **__: 1 / 0)
    bench.start.click()
    bench.worker.join(30)
    assert "ZeroDivisionError" in bench.status.value
    assert isinstance(bench.error, ZeroDivisionError)
    assert not bench.start.disabled


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_widget_of_a_notebook_has_a_static_strip_in_a_cell_before_it(path: Path):
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    calls = re.compile(r"^(?:\w+ = )?(Explorer|Workbench|area_slider|side_by_side_slider|explanations_browser)\(", re.M)
    for index, cell in enumerate(cells):
        if calls.search("".join(cell["source"])):
            kinds = {
                kind
                for one in cells[max(0, index - 3) : index + 1]
                for out in one["outputs"]
                for kind in out.get("data", {})
            }
            assert "image/png" in kinds, "".join(cell["source"])


def test_the_browser_of_several_closes_whole(planted_once):
    before = set(_instances)
    found = explain_many(planted_once.classifier, planted_once.image, 1, n=1, preset=SHORT, progress=False)
    browser = explanations_browser(found)
    assert isinstance(browser, ipywidgets.VBox)
    browser.close()
    assert set(_instances) == before
