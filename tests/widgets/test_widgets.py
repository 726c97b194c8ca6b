"""The widgets without a browser: what they hold, how small it is, and that closing them leaves nothing behind."""

import base64
import dataclasses
import datetime
import io
import json
import re
import threading
import time
import zlib
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from ipywidgets.widgets.widget import _instances
from PIL import Image
from planted import QUICK_FIT, plant

from inrexp.explanation import Explanation
from inrexp.methods import explain, explain_many, extremal_perturbation, grad_cam, rise
from inrexp.models.classifier import to_picture
from inrexp.paper.outcome import Outcome
from inrexp.paper.perturb import fade
from inrexp.widgets.explorer import Explorer, explanations_browser, side_by_side_slider
from inrexp.widgets.page import classic_script, json_element, write_explanation, write_page
from inrexp.widgets.saved import STATE, VIEW, shown_state, tidy_widgets
from inrexp.widgets.scene import fine_crop, packed_masks, perturbed_image, scene_of
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


@pytest.fixture(scope="module")
def scene(fitted) -> dict:
    return scene_of(fitted)


@pytest.fixture
def explorer(fitted):
    found = Explorer(fitted, start=0.25)
    yield found
    found.close()


def eventually(true, limit: float = 30.0) -> None:
    end = time.monotonic() + limit
    while not true():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


def unpacked(packed: dict) -> np.ndarray:
    """What explorer.js does: masks (k, h, w), 0 to 1."""
    w, h = packed["size"]
    planes = np.frombuffer(zlib.decompress(base64.b64decode(packed["data"])), np.uint8).reshape(packed["count"], -1)
    if packed["kind"] == "soft":
        return np.add.accumulate(planes, axis=0, dtype=np.uint8).reshape(-1, h, w) / 255
    bits = np.unpackbits(np.bitwise_xor.accumulate(planes, axis=0), axis=1)[:, : h * w]
    return bits.reshape(-1, h, w).astype(float)


def test_masks_of_zeros_and_ones_are_packed_without_loss():
    masks = (torch.rand(5, 1, 17, 13, generator=torch.Generator().manual_seed(0)) > 0.5).double()
    packed = packed_masks(masks)
    assert packed["kind"] == "binary"
    assert np.array_equal(unpacked(packed), masks[:, 0].numpy())


def test_soft_masks_are_packed_at_half_their_size_within_a_byte():
    masks = torch.nn.functional.interpolate(torch.rand(4, 1, 6, 6), scale_factor=8, mode="bilinear")
    halved = torch.nn.functional.avg_pool2d(masks, 2)[:, 0].numpy()
    assert np.abs(unpacked(packed_masks(masks)) - halved).max() <= 0.5 / 255 + 1e-6


def test_a_scene_holds_a_map_at_every_thousandth_and_a_lattice_at_its_own_areas(fitted, scene):
    inr, lattice, grad_cam = scene["answers"]
    assert lattice["areas"] == lattice["searched"] == [0.1, 0.3]
    assert grad_cam["masks"]["kind"] == "binary"
    assert grad_cam["areas"] == pytest.approx([0.025 + i / 1000 for i in range(176)])
    masks = unpacked(grad_cam["masks"])
    assert np.array_equal(masks[75], fitted["GradCAM"].mask(0.1)[0, 0].numpy())  # 0.025 + 75 thousandths
    assert inr["masks"]["kind"] == "soft"
    assert inr["areas"] == inr["searched"]


def test_a_measured_probability_is_the_explanations_own(fitted, scene):
    inr = scene["answers"][0]
    curve = inr["curves"]["blur 20 px"]
    assert curve["soft"] == pytest.approx(fitted["inr"].probability(inr["searched"]).tolist(), abs=1e-4)
    assert curve["cut"] == pytest.approx(fitted["inr"].probability(inr["searched"], cut=0.5).tolist(), abs=1e-4)
    black = fitted["inr"].mask(inr["searched"][3]) * fitted["inr"].image
    expected = float(fitted["inr"].classifier.probability(black, fitted["inr"].target))
    assert inr["curves"]["black"]["soft"][3] == pytest.approx(expected, abs=1e-4)


def test_the_same_answers_give_the_same_scene(fitted, scene):
    again = json.dumps(scene_of(fitted))
    assert again == json.dumps(scene)


def test_a_fit_that_is_not_sound_says_so(fitted):
    broken = explain(fitted["inr"].classifier, fitted["inr"].image, 1, preset=SHORT, steps=1, progress=False)
    broken.outcome = Outcome("collapsed", mask="full")
    assert [one["sound"] for one in scene_of({"good": fitted["inr"], "bad": broken})["answers"]] == [True, False]


def test_a_fine_crop_shows_the_same_part_of_the_picture(planted_once):
    wide = to_picture(torch.nn.functional.interpolate(planted_once.image, size=(224, 260), mode="bilinear"))
    fine = fine_crop(planted_once.classifier, wide)
    coarse = np.asarray(to_picture(planted_once.classifier.prepare(wide)), float)
    assert fine.size == (224, 224)
    assert np.abs(np.asarray(fine.resize((112, 112), Image.Resampling.BOX), float) - coarse).mean() < 4


def test_what_stands_outside_has_a_name(planted_once):
    assert torch.equal(perturbed_image(planted_once.image, "black"), fade(planted_once.image))
    with pytest.raises(ValueError, match="got 'white'"):
        perturbed_image(planted_once.image, "white")


def test_the_widget_starts_at_the_area_nearest_to_the_one_asked(explorer):
    assert explorer.area == min(explorer.scene["answers"][0]["areas"], key=lambda area: abs(area - 0.25))
    assert (explorer.answer, explorer.against, explorer.outside) == ("inr", "", "blur 20 px")
    assert explorer.threshold == pytest.approx(explorer.answers["inr"].threshold, abs=1e-4)


def test_the_widgets_state_is_plain_and_small(explorer):
    state = explorer.get_state()
    assert len(json.dumps({name: state[name] for name in ("scene", "_esm", "_css")})) < 400_000
    assert "0x" not in repr(explorer)


def test_another_outside_is_measured_when_it_is_asked_for(explorer):
    explorer._asked(explorer, {"measure": "blur 10 px"}, [])
    curve = explorer.scene["answers"][0]["curves"]["blur 10 px"]["soft"]
    assert len(curve) == len(explorer.scene["answers"][0]["searched"])
    assert explorer.outside == "blur 10 px"
    assert explorer.scene["outsides"]["blur 10 px"].startswith("data:image/webp")


def test_a_renderer_without_widgets_gets_a_strip_of_masks(explorer):
    bundle = explorer._repr_mimebundle_()[0]
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert Image.open(io.BytesIO(base64.b64decode(bundle["image/jpeg"]))).width > 400


def test_that_strip_is_judged_as_the_page_judges_it_at_first(fitted, monkeypatch: pytest.MonkeyPatch):
    drawn = []
    monkeypatch.setattr("inrexp.widgets.explorer.strips", lambda rows: drawn.append(rows) or plt.figure())
    lattice = fitted["lattice"]
    explorer = Explorer({"inr": fitted["inr"], "lattice": lattice}, areas=lattice.held_areas)
    explorer._repr_mimebundle_()
    curve = explorer.scene["answers"][1]["curves"][explorer.outside]["soft"]
    assert [one.asked for one in drawn[0]["lattice"]] == list(lattice.held_areas)  # the largest, too
    assert [one.probability for one in drawn[0]["lattice"]] == pytest.approx(curve, abs=1e-4)


@pytest.mark.parametrize(("other", "areas"), [((0.2, 0.4), [0.2]), ((0.15, 0.4), None)])
def test_that_strip_has_the_areas_that_all_lattices_hold(
    fitted, planted_once, monkeypatch: pytest.MonkeyPatch, other: tuple, areas: list | None
):
    drawn = []
    monkeypatch.setattr("inrexp.widgets.explorer.strips", lambda rows: drawn.append(rows) or plt.figure())
    model, image = planted_once.classifier, planted_once.image
    made = [extremal_perturbation(model, image, 1, areas=held, steps=2, progress=False) for held in ((0.1, 0.2), other)]
    explorer = Explorer({"inr": fitted["inr"], "one": made[0], "two": made[1]})
    assert ("image/jpeg" in explorer._repr_mimebundle_()[0]) == bool(areas)
    assert [[one.asked for one in row] for rows in drawn for row in rows.values()] == 3 * [areas] * bool(areas)
    explorer.close()


def test_that_strip_asks_for_each_answers_own_class(fitted, planted_once, monkeypatch: pytest.MonkeyPatch):
    drawn = []
    monkeypatch.setattr("inrexp.widgets.explorer.strips", lambda rows: drawn.append(rows) or plt.figure())
    explorer = Explorer(
        {
            "stripes": fitted["inr"],
            "other": rise(planted_once.classifier, planted_once.image, 2, masks=4, progress=False),
        }
    )
    explorer._repr_mimebundle_()
    described = explorer.scene["answers"][1]
    curve = dict(zip(described["searched"], described["curves"][explorer.outside]["soft"], strict=True))
    row = drawn[0]["other"]
    assert [one.probability for one in row] == pytest.approx([curve[round(one.asked, 6)] for one in row], abs=1e-4)
    explorer.close()


def test_areas_of_numpy_are_positions_like_others(fitted):
    explorer = Explorer({"inr": fitted["inr"]}, areas=np.array([0.3, 0.1]))
    assert explorer.scene["answers"][0]["areas"] == [0.1, 0.3]
    explorer.close()


def test_other_answers_are_shown_under_the_same_controls_and_against_nothing(fitted):
    explorer = Explorer(fitted, what="method", against="GradCAM", controls=("answer", "view"))
    explorer.show({"new": fitted["inr"]})
    assert (explorer.against, explorer.answer) == ("", "new")
    assert (explorer.scene["what"], explorer.scene["controls"]) == ("method", ["answer", "view"])
    explorer.close()


def test_a_run_without_explanations_is_refused(planted_once):
    empty = explain_many(planted_once.classifier, planted_once.image, 1, n=1, preset=SHORT, progress=False)
    empty.explanations = ()
    with pytest.raises(ValueError, match="found must hold one explanation or more, got none"):
        explanations_browser(empty)


def test_numbered_explanations_bring_what_is_left_without_them(planted_once):
    before = set(_instances)
    found = explain_many(planted_once.classifier, planted_once.image, 1, n=1, preset=SHORT, progress=False)
    browser = explanations_browser(found)
    assert browser.scene["together"]["left"] == pytest.approx(found.remaining().tolist(), abs=1e-4)
    assert browser.scene["answers"][0]["own"] == pytest.approx(found.areas[0])
    browser.close()
    assert set(_instances) == before


@pytest.mark.filterwarnings("ignore:The fit was interrupted")
def test_a_closed_widget_leaves_no_widget_no_observer_and_no_thread(fitted, planted_once):
    before, threads = set(_instances), set(threading.enumerate())
    explorer = Explorer(fitted)
    bench = Workbench(planted_once.classifier, picture=planted_once.image, preset=SHORT, steps=3000)
    bench.start.click()
    slider = Explorer({"stripes": fitted["inr"]})
    for widget in (explorer, bench, slider):
        widget.close()
        widget.close()  # twice does no harm
    bench.worker.join(30)
    assert set(_instances) == before
    assert set(threading.enumerate()) == threads


def test_the_small_constructors_are_one_call(fitted):
    slider = Explorer({"stripes": fitted["inr"]}, start=0.2)
    assert slider.area == pytest.approx(0.2, abs=0.005)
    both = side_by_side_slider({"a": fitted["inr"], "b": fitted["lattice"]}, (0.1, 0.3))
    assert (both.scene["answers"][0]["areas"], both.against) == ([0.1, 0.3], "b")
    slider.close()
    both.close()


def test_a_mailed_page_begins_at_the_area_asked_for_or_at_a_star(fitted, tmp_path):
    found = fitted["inr"]
    for asked in (0.3, None):
        page = write_explanation(tmp_path / "page.html", found, start=asked, footer="made by hand").read_text()
        assert f'"start":{asked or found.smallest_area() or 0.1}' in page
        assert "made by hand</footer>" in page


def test_a_mailed_page_says_what_its_masks_do(planted_once, fitted, tmp_path):
    faded = dataclasses.replace(SHORT, perturbation="fade", sharpness=None, level=None)
    soft = explain(planted_once.classifier, planted_once.image, 1, preset=faded, progress=False)
    crisp, other = (write_explanation(tmp_path / "page.html", one).read_text() for one in (fitted["GradCAM"], soft))
    assert "the mask keeps that share of the picture, everything outside the line is blurred" in crisp
    assert "the mask is soft and keeps pixels in part" in other
    assert "what it takes away is black" in other


def test_a_page_stands_alone(scene, tmp_path):
    path = write_page(tmp_path / "page.html", scene, title="a < b", text="Move the slider.")
    page = path.read_text()
    assert "<title>a &lt; b</title>" in page
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "export default" not in classic_script()


def test_no_text_in_the_data_can_end_its_element():
    element = json_element("x", {"label": "</script><b>"})
    assert element.count("</script>") == 1
    assert json.loads(element.split(">", 1)[1].rsplit("</script>", 1)[0]) == {"label": "</script><b>"}


def saved(first: str, second: str) -> dict:
    """A notebook with a box (id `first`) that holds a widget (id `second`), and a model that nothing shows."""
    models = {
        "left-behind": {"state": {}},
        second: {"state": {"text": "hello"}},
        first: {"state": {"children": [f"IPY_MODEL_{second}"]}},
    }
    cell = {"outputs": [{"data": {VIEW: {"model_id": first}, "text/plain": "a box"}}, {"output_type": "stream"}]}
    return {"metadata": {"widgets": {STATE: {"state": models}}}, "cells": [cell, {"source": "a text"}]}


def test_a_saved_notebook_does_not_depend_on_the_ids_that_were_drawn():
    one, other = saved("a" * 32, "b" * 32), saved("c" * 32, "d" * 32)
    for notebook in (one, other):
        tidy_widgets(notebook, "01_fig1")
    assert json.dumps(one) == json.dumps(other)
    models = one["metadata"]["widgets"][STATE]["state"]
    assert len(models) == 2  # the third was shown nowhere
    box = shown_state(one, one["cells"][0]["outputs"][0]["data"][VIEW])
    assert models[box["children"][0].removeprefix("IPY_MODEL_")]["state"] == {"text": "hello"}
    elsewhere = saved("a" * 32, "b" * 32)
    tidy_widgets(elsewhere, "02_fig2")
    assert not models.keys() & elsewhere["metadata"]["widgets"][STATE]["state"].keys()


def test_a_notebook_without_widgets_stays_as_it_is():
    notebook = {"metadata": {}, "cells": [{"outputs": []}]}
    tidy_widgets(notebook, "x")
    assert notebook == {"metadata": {}, "cells": [{"outputs": []}]}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"answers": {}}, ValueError, "at least one"),
        ({"answers": {"a": 1}}, TypeError, "answers must map names"),
        ({"against": "b"}, ValueError, "against must be one of the answers a, got 'b'"),
        ({"controls": ("colour",)}, ValueError, "controls must be of"),
        ({"areas": (0.9,)}, ValueError, r"every answer's range, here \[0.1, 0.4\]"),
        ({"outsides": ("white",)}, ValueError, "outside must be"),
        ({"outsides": ("blur x px",)}, ValueError, "outside must be \"black\" or a blur .* got 'blur x px'"),
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
    assert bench.classes.label.startswith("stripes")  # the most probable class is chosen, the box is not blank
    bench.classes.value = 1
    steps = []
    bench.explorer.observe(lambda change: steps.append(change["new"].get("step")), names="growing")
    bench.start.click()
    assert (bench.start.disabled, bench.cancel.disabled) == (True, False)
    bench.worker.join(60)
    assert bench.explanation.outcome.finished
    assert bench.explanation.classifier is planted_once.classifier
    assert steps == [10, 20, 30, None]  # the mask grows, then the result takes its place
    assert (bench.start.disabled, bench.cancel.disabled) == (False, True)
    assert bench.explorer.scene["answers"][0]["label"] == "stripes"
    assert "finished" in bench.status.value
    bench.load(planted_once.image)
    assert bench.explorer.scene["answers"] == []  # the result was of the picture before


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_mask_that_grows_is_shown_as_the_network_sees_it(bench, planted_once):
    faded = Workbench(planted_once.classifier, preset=dataclasses.replace(SHORT, perturbation="fade", steps=2))
    for one, wanted in ((faded, "black"), (bench, "blur 20 px")):
        one.load(planted_once.image)
        assert one.explorer.outside == wanted
        assert list(one.explorer.scene["outsides"]) == [wanted]
    faded.explorer.outside = "blur 5 px"  # chosen for the answer before
    faded.load(planted_once.image)
    assert faded.explorer.outside == "black"
    faded.close()


@pytest.mark.filterwarnings("ignore:The fit was interrupted")
def test_cancel_ends_the_fit_and_keeps_what_was_found(bench, planted_once):
    bench.config = dataclasses.replace(bench.config, steps=100_000)
    bench.load(planted_once.image)
    bench.start.click()
    eventually(lambda: bench.explorer.growing.get("step", 0) >= 10)
    with pytest.raises(RuntimeError, match="cancel it before"):
        bench.load(planted_once.image)
    first = bench.worker
    bench.start.click()  # a second press changes nothing
    assert bench.worker is first
    bench.cancel.click()
    bench.worker.join(60)
    assert re.match(r"interrupted at step \d+0", str(bench.explanation.outcome))
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


NOISE = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))  # the same in both processes of a run


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("notes.txt", b"no picture", "notes.txt is not a picture that PIL can read"),
        ("dot.png", png_of(torch.zeros(1, 3, 4, 4)), "dot.png is 4 x 4 px"),
        ("half.png", png_of(NOISE)[:600], "half.png is a damaged picture"),
        ("", b"", "picture is not a picture"),
    ],
    ids=["text", "too small", "cut off", "nothing"],
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
    calls = re.compile(r"^(?:\w+ = )?(Explorer|Workbench|side_by_side_slider|explanations_browser)\(", re.M)
    for index, cell in enumerate(cells):
        if calls.search("".join(cell["source"])):
            kinds = {
                kind
                for one in cells[max(0, index - 3) : index + 1]
                for out in one["outputs"]
                for kind in out.get("data", {})
            }
            assert "image/png" in kinds, "".join(cell["source"])
