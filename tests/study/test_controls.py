"""Controls: a mask on the class keeps it, and loses it when it is moved or when it is what is removed."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from planted import plant
from test_run import PLAN, PLANTED, PlantedSample, go

from inrexp.datasets.samples import Dataset
from inrexp.models.classifier import Target
from inrexp.paper.masks import keep_largest
from inrexp.paper.perturb import blur
from inrexp.study import controls
from inrexp.study.controls import CONTROLS, another, control_table, moved, run_controls, shown
from inrexp.study.store import Results

STRIPES = Target((1,), "stripes")
ON_IT = PLANTED.truth[None, None].float()  # a ranking: the patch, 18 % of the picture, before the rest
SKY = torch.full_like(PLANTED.image, 0.5)


def on_the_patch(ranking: torch.Tensor = ON_IT, areas: tuple[float, ...] = (0.2,), **networks) -> pd.Series:
    """The probability under each control, of a mask by this ranking."""
    masks = dict.fromkeys(areas, ranking)
    found = controls.measured(PLANTED.classifier, STRIPES, PLANTED.image, masks, SKY, networks)
    return found.set_index("control")["probability"]


def test_a_mask_on_the_class_keeps_it_and_loses_it_when_moved_or_removed():
    found = on_the_patch()
    assert found["kept"] > 0.9
    assert found["moved"] < 0.05
    assert found["deleted"] < 0.05


def test_a_mask_beside_the_class_keeps_nothing_and_removes_nothing():
    found = on_the_patch(ON_IT.roll((50, 50), (-2, -1)))
    assert found["kept"] < 0.05
    assert found["deleted"] > 0.9


def test_each_fill_is_what_its_name_says():
    mask = keep_largest(ON_IT, torch.tensor([0.1]))
    seen, outside = shown(PLANTED.image, mask, SKY), mask[0, 0] == 0
    fills = {
        "kept": blur(PLANTED.image, 20),
        "black": torch.zeros_like(SKY),
        "grey": SKY,
        "blur_half": blur(PLANTED.image, 10),
        "blur_double": blur(PLANTED.image, 40),
        "other_picture": blur(SKY, 20),
    }
    for name, fill in fills.items():
        assert torch.equal(seen[name][0, :, outside], fill[0, :, outside]), name
        assert torch.equal(seen[name][0, :, ~outside], PLANTED.image[0, :, ~outside]), name
    assert torch.equal(seen["deleted"][0, :, outside], PLANTED.image[0, :, outside])
    assert tuple(seen) == CONTROLS


def test_a_mask_moves_to_the_smallest_overlap_there_is():
    drawn = torch.rand(2, 1, 9, 7, generator=torch.Generator().manual_seed(3))
    masks = (drawn < torch.tensor([0.5, 0.7]).view(2, 1, 1, 1)).float()
    there = moved(masks)
    for mask, shifted in zip(masks, there, strict=True):
        overlaps = [float((mask * mask.roll((down, right), (-2, -1))).sum()) for down in range(9) for right in range(7)]
        assert float((mask * shifted).sum()) == min(overlaps)
        assert shifted.sum() == mask.sum()


def test_the_same_seed_moves_a_mask_to_the_same_place_and_another_elsewhere():
    mask = keep_largest(ON_IT, torch.tensor([0.05]))  # many shifts have no overlap
    assert torch.equal(moved(mask, seed=1), moved(mask, seed=1))
    assert not torch.equal(moved(mask, seed=1), moved(mask, seed=2))
    assert float((mask * moved(mask, seed=2)).sum()) == 0


def test_another_network_sees_the_same_pixels_at_its_own_size_and_has_its_own_unmasked_probability():
    masks = {0.05: ON_IT, 0.2: ON_IT}
    same = (PLANTED.classifier, STRIPES)
    found = controls.measured(PLANTED.classifier, STRIPES, PLANTED.image, masks, SKY, {"lite1": same})
    kept, again = (found[found["control"] == name].reset_index(drop=True) for name in ("kept", "lite1"))
    pd.testing.assert_frame_equal(kept.drop(columns="control"), again.drop(columns="control"), atol=1e-5)
    other = controls.measured(
        PLANTED.classifier, STRIPES, PLANTED.image, masks, SKY, {"lite1": (PLANTED.classifier, Target((2,), "other"))}
    )
    assert other.set_index("control").loc["lite1", "unmasked"].max() < 0.05
    assert controls.resized(PLANTED.image, (130, 120)).shape == (1, 3, 130, 120)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """The planted picture in two files with its patch in two places, under two labels."""
    samples = []
    for shift, label in ((0, "stripes"), (4, "more stripes")):
        pixels = (PLANTED.image.roll(shift, -1)[0].permute(1, 2, 0) * 255).round().byte().numpy()
        path = tmp_path / f"{shift}.png"
        Image.fromarray(np.ascontiguousarray(pixels)).save(path)
        samples.append(PlantedSample(f"stripes/{shift}", str(path), label, shift))
    return Dataset("planted", tuple(samples))


GRAD_CAM = dataclasses.replace(PLAN, methods=("grad_cam", "centred_disc"))


def test_a_finished_study_is_controlled_once_and_goes_on_where_it_stopped(dataset: Dataset, tmp_path: Path):
    study, out = tmp_path / "study", tmp_path / "controls.csv"
    networks = {"lite1": PLANTED.classifier}
    go(study, GRAD_CAM, dataset=dataset)
    first = Dataset("planted", dataset.samples)
    rows = run_controls(study, first, PLANTED.classifier, out, networks=networks, progress=False)
    assert list(rows.columns) == controls.COLUMNS
    assert len(rows) == 2 * 2 * 3 * 9  # pictures, methods, areas, controls
    kept = rows[(rows["control"] == "kept") & (rows["area"] == 0.2) & (rows["picture"] == "stripes/0")]
    with Results(study) as store:
        in_study = {row["key"]: row["probability_at_200"] for row in store.rows()}
    for row in kept.to_dict("records"):  # the study holds a map in 8 bits, whence the tolerance
        assert row["probability"] == pytest.approx(in_study[row["key"]], abs=0.05)
    whole = out.read_text()
    lines = whole.splitlines(keepends=True)
    out.write_text("".join(lines[:1] + [one for one in lines if "stripes/4" in one]))  # killed before stripes/0
    run_controls(study, first, PLANTED.classifier, out, networks=networks, progress=False)
    assert sorted(out.read_text().splitlines()) == sorted(whole.splitlines())


def test_a_run_keeps_the_rows_that_another_adds_meanwhile(dataset: Dataset, tmp_path: Path, monkeypatch):
    study, out, measured = tmp_path / "study", tmp_path / "controls.csv", controls.measured
    go(study, GRAD_CAM, dataset=dataset)

    def run(name: str) -> pd.DataFrame:
        return run_controls(study, dataset, PLANTED.classifier, out, samples=[name], progress=False)

    def measured_beside_another_run(*arguments, **options) -> pd.DataFrame:
        monkeypatch.setattr(controls, "measured", measured)
        run("stripes/4")
        return measured(*arguments, **options)

    monkeypatch.setattr(controls, "measured", measured_beside_another_run)
    found = run("stripes/0")
    assert found.groupby("picture").size().to_dict() == {"stripes/0": 48, "stripes/4": 48}  # methods, areas, controls
    assert len(pd.read_csv(out)) == 96


def test_masks_that_were_computed_anew_are_controlled_anew(dataset: Dataset, tmp_path: Path):
    study, out = tmp_path / "study", tmp_path / "controls.csv"
    go(study, GRAD_CAM, dataset=dataset)
    rows = run_controls(study, dataset, PLANTED.classifier, out, progress=False)
    stale = rows.assign(key="of another mask", probability=2.0)
    elsewhere = rows.assign(dataset="another", key="of another study")
    pd.concat([stale, elsewhere]).to_csv(out, index=False)
    again = run_controls(study, dataset, PLANTED.classifier, out, progress=False)
    assert (again["probability"] <= 1).all()
    assert (again["dataset"] == "another").sum() == (again["dataset"] == "planted").sum() == len(rows)


def test_other_areas_another_seed_and_other_networks_are_measured(dataset: Dataset, tmp_path: Path):
    study, out = tmp_path / "study", tmp_path / "controls.csv"
    go(study, dataclasses.replace(GRAD_CAM, methods=("grad_cam",)), dataset=dataset)

    def measure(**others) -> pd.DataFrame:
        wanted = {"areas": (0.1,), "progress": False, **others}
        return run_controls(study, dataset, PLANTED.classifier, out, **wanted).set_index(["picture", "area", "control"])

    first = measure()
    assert len(first) == 2 * len(CONTROLS)
    both = measure(areas=(0.1, 0.2))
    assert len(both) == 2 * len(first)
    again = measure(seed=1)  # of a tenth, the other area keeps its seed
    assert again.groupby("area")["seed"].unique().map(list).to_dict() == {0.1: [1], 0.2: [0]}
    assert len(again) == len(both)
    seen = measure(seed=1, networks={"lite1": PLANTED.classifier})
    assert len(seen) == len(both) + 2
    other = measure(seed=1, networks={"lite1": plant(gain=1.0).classifier})
    assert len(other) == len(seen)
    at = ("stripes/0", 0.1, "lite1")
    assert abs(other.loc[at, "unmasked"] - seen.loc[at, "unmasked"]) > 0.1
    before = out.read_bytes()
    measure(seed=1, networks={"lite1": plant(gain=1.0).classifier})
    assert out.read_bytes() == before


def test_a_method_has_the_name_that_the_study_gives_it_now(dataset: Dataset, tmp_path: Path):
    """A second setting makes the study's names longer; rows of an older file know neither seed nor network."""
    study, out = tmp_path / "study", tmp_path / "controls.csv"
    plan = dataclasses.replace(PLAN, methods=("rise",), seeds=1)
    go(study, plan, dataset=dataset)
    first = run_controls(study, dataset, PLANTED.classifier, out, progress=False)
    assert set(first["method"]) == {"RISE"}
    first.drop(columns=["seed", "network", "setting"]).assign(probability=0.5).to_csv(out, index=False)
    go(study, dataclasses.replace(plan, options={"rise": {"masks": 48}}), dataset=dataset)
    both = run_controls(study, dataset, PLANTED.classifier, out, progress=False)
    assert both.groupby("method").size().to_dict() == {"RISE, masks 32": len(first), "RISE, masks 48": len(first)}
    assert set(both.loc[both["method"] == "RISE, masks 32", "probability"]) == {0.5}  # not measured again
    elsewhere = tmp_path / "elsewhere"
    go(elsewhere, dataclasses.replace(plan, options={"rise": {"masks": 64}}), dataset=dataset)
    both.assign(method="RISE").to_csv(out, index=False)
    with pytest.raises(ValueError, match="has rows of 'RISE' by other settings than the study's: give another --out"):
        run_controls(elsewhere, dataset, PLANTED.classifier, out, progress=False)


def test_rows_of_other_pictures_or_weights_are_refused(dataset: Dataset, tmp_path: Path):
    study, out = tmp_path / "study", tmp_path / "controls.csv"
    go(study, GRAD_CAM, dataset=dataset)
    swapped = dataclasses.replace(dataset.samples[0], picture=dataset.samples[1].picture)
    other = Dataset("planted", (swapped, dataclasses.replace(dataset.samples[1], name="x")))
    with pytest.raises(ValueError, match="the picture stripes/0 of planted is not the one of the study's rows"):
        run_controls(study, other, PLANTED.classifier, out, progress=False)
    renamed = Dataset("planted", (dataclasses.replace(dataset.samples[0], name="x"),))
    with pytest.raises(LookupError, match="holds no finished row of a picture of planted"):
        run_controls(study, renamed, PLANTED.classifier, out, progress=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(controls, "digest_of", lambda classifier: "0")
        with pytest.raises(ValueError, match="rows are of custom, with other weights than those of custom"):
            run_controls(study, dataset, PLANTED.classifier, out, progress=False)


def test_the_other_picture_is_of_another_class_and_file(dataset: Dataset):
    first, second = dataset.samples
    assert another(first, dataset) is second
    assert another(second, dataset) is first
    same_class = Dataset("planted", (first, dataclasses.replace(second, label=first.label)))
    with pytest.raises(LookupError, match="planted has no picture of another class than stripes"):
        another(first, same_class)
    same_file = Dataset("planted", (first, dataclasses.replace(second, picture=first.picture)))
    with pytest.raises(LookupError, match="no picture of another class"):
        another(first, same_file)


def test_the_table_pairs_each_control_with_what_is_kept_and_leaves_out_what_is_not_recognised():
    def row(picture: str, control: str, probability: float, unmasked: float = 0.8, dataset: str = "toy") -> dict:
        found = {"picture": picture, "dataset": dataset, "method": "INR", "area": 0.1, "control": control}
        return found | {"probability": probability, "unmasked": unmasked, "key": picture}

    rows = [row("a", "kept", 0.8), row("b", "kept", 0.4), row("c", "kept", 0.01, 0.05)]
    rows += [row("a", "moved", 0.2), row("b", "moved", 0.0), row("c", "moved", 0.01, 0.05)]
    table = control_table(pd.DataFrame(rows)).set_index("control")
    assert table.loc["kept", "relative"] == pytest.approx(0.75)  # 1 and 1/2
    assert table.loc["moved", "relative"] == pytest.approx(0.125)
    assert table.loc["moved", "difference"] == pytest.approx(-0.625)  # -0.75 and -0.5
    assert table.loc["moved", ["difference_low", "difference_high"]].tolist() == pytest.approx(
        [-0.625 - 12.7062 * 0.125, -0.625 + 12.7062 * 0.125], abs=1e-4
    )  # Student's t of one degree of freedom
    assert table.loc["kept", ["difference", "pictures", "left_out"]].tolist() == [0, 2, 1]
    pairs = [row(f"000001/{label}", "kept", p) for label, p in (("cat", 0.8), ("dog", 0.0))]
    pairs += [row(f"000002/{label}", "kept", 0.8, p) for label, p in (("cat", 0.8), ("dog", 0.05))]
    unknown = [row(f"000003/{label}", "kept", 0.01, 0.05) for label in ("cat", "dog")]
    voc = control_table(pd.DataFrame([*pairs, *unknown])).iloc[0]
    assert (voc["relative"], voc["pictures"], voc["left_out"]) == (0.75, 2, 1)  # pictures, not pairs
