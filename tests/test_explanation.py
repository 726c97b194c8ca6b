"""Masks at any area, the probability they keep, the smallest that suffices (eq. 5), and files that come back."""

import dataclasses
import urllib.error
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from planted import QUICK_FIT, Planted, plant
from safetensors.torch import save_file

from inrexp import explain
from inrexp.datasets.pictures import load_picture
from inrexp.explanation import Explanation
from inrexp.methods import extremal_perturbation
from inrexp.models.classifier import Classifier
from inrexp.models.registry import load_classifier
from inrexp.paper.outcome import Outcome
from inrexp.paper.perturb import blend, blur, blur_levels, fade


@pytest.fixture(scope="module")
def planted() -> Planted:
    return plant()


@pytest.fixture(scope="module")
def found(planted: Planted) -> Explanation:
    return explain(planted.classifier, planted.image, 1, preset=QUICK_FIT, progress=False)


@pytest.fixture(scope="module")
def lattice(planted: Planted) -> Explanation:
    return extremal_perturbation(planted.classifier, planted.image, 1, areas=(0.1, 0.3), steps=20, progress=False)


def test_one_area_or_several_by_any_kind_of_number(found: Explanation):
    one = found.mask(0.2)
    assert one.shape == (1, 1, 112, 112)
    assert 0 <= float(one.min()) < float(one.max()) <= 1
    for same in ([0.2], (0.2,), np.float64(0.2), np.array([0.2]), torch.tensor(0.2, dtype=torch.float64)):
        assert torch.equal(found.mask(same), one)
    many = found.mask([0.1, 0.2, 0.3])
    assert torch.allclose(many[1:2], one, atol=1e-6)


def test_it_says_in_one_line_what_it_explains(found: Explanation, lattice: Explanation):
    said = repr(found)
    assert "\n" not in said
    for part in (
        "'stripes'",
        f"p = {found.unmasked:.2f}",
        found.preset,
        str(found.outcome),
        "seed 0",
        "areas 0.1 to 0.4",
    ):
        assert part in said
    assert "areas 0.1 to 0.3" in repr(lattice)


def test_many_areas_at_once_are_the_areas_one_by_one(found: Explanation):
    areas = torch.linspace(0.1, 0.4, 19).double().clamp(0.1, 0.4).tolist()
    many = found.mask(areas)
    assert many.shape == (19, 1, 112, 112)
    assert torch.allclose(many, torch.cat([found.mask(area) for area in areas]), atol=1e-5)


def test_a_cut_mask_is_zero_or_one(found: Explanation):
    soft, hard = found.mask(0.2), found.mask(0.2, cut=0.5)
    assert hard.unique().tolist() == [0.0, 1.0]
    assert torch.equal(hard.bool(), soft > 0.5)
    assert float(found.mask(0.2, cut=0.9).mean()) < float(hard.mean())


@pytest.mark.parametrize("area", [0.0999, 0.41, 0, -1, float("nan"), [0.2, 0.5], []])
def test_an_area_outside_the_fitted_range_is_refused(found: Explanation, area: object):
    with pytest.raises(ValueError, match=r"area must lie in the fitted range \[0.1, 0.4\]"):
        found.mask(area)  # type: ignore[arg-type]


def test_an_area_that_is_no_number_is_refused(found: Explanation):
    with pytest.raises(TypeError, match="area must be a number or several, .* got 'a tenth'"):
        found.mask("a tenth")  # type: ignore[arg-type]


@pytest.mark.parametrize("cut", [-0.1, 1, 1.5, float("nan")])
def test_a_cut_that_is_no_level_is_refused(found: Explanation, cut: float):
    with pytest.raises(ValueError, match=r"cut must be a level in \[0, 1\), .* got"):
        found.mask(0.2, cut=cut)


def test_where_nothing_kept_is_enough_blank_says_so(planted: Planted, found: Explanation):
    assert found.blank == float(found.probability_of_mask(torch.zeros(1, 1, 112, 112)))
    assert found.blank < found.threshold  # the patch decides the class
    other = explain(planted.classifier, planted.image, 0, preset=QUICK_FIT, steps=2, progress=False)
    assert other.blank >= other.threshold  # without the patch it is another class


def test_a_lattice_holds_its_areas_only(lattice: Explanation):
    assert lattice.area_range == (0.1, 0.3)
    assert lattice.held_areas == (0.1, 0.3)
    assert lattice.mask([0.1, 0.3]).shape == (2, 1, 112, 112)
    with pytest.raises(ValueError, match=r"one that the lattice holds, \(0.1, 0.3\), got 0.2"):
        lattice.mask(0.2)


def test_the_probability_is_the_classifiers_own_of_the_blend(planted: Planted, found: Explanation):
    mask = found.mask([0.15, 0.3])
    seen = blend(planted.image, blur(planted.image, 20.0), mask)
    wanted = planted.classifier.probabilities(seen)[:, 1]
    assert torch.allclose(found.blended(mask), seen)
    assert torch.allclose(found.probability([0.15, 0.3]), wanted, atol=1e-6)
    hard = planted.classifier.probabilities(found.blended((mask > 0.5).float()))[:, 1]
    assert torch.allclose(found.probability([0.15, 0.3], cut=0.5), hard, atol=1e-6)


def test_a_full_mask_keeps_the_unmasked_probability(planted: Planted, found: Explanation):
    whole = torch.ones(20, 1, 112, 112)
    assert found.unmasked == pytest.approx(float(planted.classifier.probabilities(planted.image)[0, 1]))
    assert torch.allclose(found.probability_of_mask(whole), torch.tensor(found.unmasked), atol=1e-6)
    assert float(found.probability_of_mask(0 * whole[:1])) < 0.05


def test_each_perturbation_is_blended_as_it_was_fitted(planted: Planted):
    mask = torch.rand(2, 1, 112, 112, generator=torch.Generator().manual_seed(0))
    for perturbation, other in (("fade", fade(planted.image)), ("blur", blur(planted.image, 5.0))):
        config = dataclasses.replace(QUICK_FIT, steps=1, perturbation=perturbation, blur_sigma=5.0)
        one = explain(planted.classifier, planted.image, 1, preset=config, progress=False)
        assert torch.allclose(one.blended(mask), blend(planted.image, other, mask))
    levels = explain(
        planted.classifier,
        planted.image,
        1,
        preset=dataclasses.replace(QUICK_FIT, steps=1, perturbation="levels"),
        progress=False,
    )
    assert torch.allclose(levels.blended(torch.ones_like(mask)), planted.image.expand(2, -1, -1, -1), atol=1e-6)
    outside = planted.classifier.mean_colour.float()
    strongest = blur_levels(planted.image, (20.0,), outside=outside)[:, 0]
    assert torch.allclose(levels.blended(0 * mask)[:1], strongest, atol=1e-6)


class Ramp(Explanation):
    """An explanation whose probability is known: p(area) = 2 area."""

    def probability(self, area, *, cut=None):  # type: ignore[no-untyped-def, override]
        return 2 * torch.as_tensor(area, dtype=torch.float64).flatten()


@pytest.fixture
def ramp(found: Explanation) -> Ramp:
    one = Ramp.__new__(Ramp)
    one.__dict__.update(found.__dict__)
    return one


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.55, 0.799, 0.9])
def test_the_smallest_area_is_the_first_searched_one_that_keeps_the_threshold(ramp: Ramp, threshold: float):
    enough = [area for area in ramp.searched_areas if 2 * area >= threshold]
    assert ramp.smallest_area(threshold) == (enough[0] if enough else None)


def test_thirty_six_areas_are_searched_and_the_papers_four_are_among_those_of_its_range(found: Explanation):
    assert len(found.searched_areas) == 36
    assert (found.searched_areas[0], found.searched_areas[-1]) == (0.1, 0.4)
    assert found.smallest_area(0.0) == 0.1


def test_the_threshold_is_half_of_the_unmasked_probability(found: Explanation):
    assert found.threshold == pytest.approx(found.unmasked / 2)
    assert found.smallest_area() == found.smallest_area(found.unmasked / 2)


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan"), 50])
def test_a_threshold_is_a_probability(found: Explanation, threshold: float):
    with pytest.raises(ValueError, match=r"threshold must be a probability in \[0, 1\]"):
        found.smallest_area(threshold)


def test_a_fit_that_collapsed_has_no_smallest_area(planted: Planted):
    full = dataclasses.replace(QUICK_FIT, steps=2, source=dataclasses.replace(QUICK_FIT.source, bias=100.0))
    with pytest.warns(UserWarning, match="collapsed to a full mask"):
        one = explain(planted.classifier, planted.image, 1, preset=full, progress=False)
    assert float(one.probability(0.1)) > one.threshold  # the whole picture, under the name of a tenth
    assert not one.explains
    assert one.smallest_area() is None
    assert one.smallest_area(0.0) is None


def test_a_fitted_mask_of_the_planted_patch_suffices(found: Explanation):
    smallest = found.smallest_area()
    assert smallest is not None
    assert smallest < 0.2
    assert float(found.probability(smallest)) >= found.threshold


def test_it_says_how_it_came_about(found: Explanation):
    assert (found.preset, found.seed, found.outcome) == ("custom", 0, Outcome())
    assert found.config == QUICK_FIT
    assert set(found.versions) >= {"inrexp", "torch", "python"}
    assert len(found.history["loss"]) == QUICK_FIT.steps
    assert found.seconds > 0


@pytest.mark.parametrize("kind", ["field", "lattice"])
def test_what_is_saved_comes_back_the_same(
    planted: Planted, found: Explanation, lattice: Explanation, tmp_path: Path, kind: str
):
    one = found if kind == "field" else lattice
    path = one.save(tmp_path / "deep" / "one.safetensors")
    again = Explanation.load(path, classifier=planted.classifier)
    areas = (0.1, 0.3)
    assert torch.equal(again.mask(areas), one.mask(areas))
    assert torch.equal(again.probability(areas), one.probability(areas))
    assert torch.equal(again.image, one.image)
    for name in ("target", "config", "preset", "seed", "outcome", "seconds", "unmasked", "versions", "classifier_name"):
        assert getattr(again, name) == getattr(one, name), name
    for name, row in one.history.items():
        assert torch.equal(again.history[name], row)


def test_double_precision_is_saved_whole(tmp_path: Path):
    double = plant(dtype=torch.float64)
    config = dataclasses.replace(QUICK_FIT, steps=3)
    one = explain(double.classifier, double.image, 1, preset=config, progress=False)
    again = Explanation.load(one.save(tmp_path / "one.safetensors"), classifier=double.classifier)
    assert torch.equal(again.mask(0.2), one.mask(0.2))
    assert again.mask(0.2).dtype == torch.float64


def test_a_saved_explanation_holds_no_pickle(found: Explanation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = found.save(tmp_path / "one.safetensors")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("pickle")

    monkeypatch.setattr("pickle.Unpickler", refuse)
    monkeypatch.setattr("torch.load", refuse)
    assert Explanation.load(path).mask(0.2).shape == (1, 1, 112, 112)


def test_without_its_classifier_it_still_shows_masks(found: Explanation, tmp_path: Path):
    again = Explanation.load(found.save(tmp_path / "one.safetensors"))
    assert again.classifier is None
    assert torch.equal(again.mask(0.2), found.mask(0.2))
    with pytest.raises(RuntimeError, match="loaded without its classifier 'custom'. Pass it"):
        again.probability(0.2)


def test_without_its_classifier_an_extremal_perturbation_shows_no_other_colour(lattice: Explanation, tmp_path: Path):
    config = dataclasses.replace(QUICK_FIT, steps=1, perturbation="levels")
    planted = plant()
    one = explain(planted.classifier, planted.image, 1, preset=config, progress=False)
    again = Explanation.load(one.save(tmp_path / "one.safetensors"))
    with pytest.raises(RuntimeError, match="loaded without its classifier 'custom'. Pass it"):
        again.blended(again.mask(0.2))
    plain = Explanation.load(lattice.save(tmp_path / "plain.safetensors"), classifier=planted.classifier)
    assert torch.equal(plain.blended(plain.mask(0.1)), lattice.blended(lattice.mask(0.1)))


def test_without_a_network_the_masks_of_torchvisions_models_are_there(
    found: Explanation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def unplugged(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", unplugged)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    monkeypatch.setattr(found, "classifier_name", "resnet18")
    path = found.save(tmp_path / "one.safetensors")
    with pytest.warns(UserWarning, match="without its classifier: the weights of resnet18 could not be fetched"):
        again = Explanation.load(path)
    assert again.classifier is None
    assert torch.equal(again.mask(0.2), found.mask(0.2))


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        (torch.ones(3, 112, 112), ValueError, r"mask must be \(k, 1, 112, 112\) like the image.* got \(3, 112, 112\)"),
        (torch.ones(1, 3, 112, 112), ValueError, r"got \(1, 3, 112, 112\)"),
        (torch.ones(1, 1, 56, 56), ValueError, r"got \(1, 1, 56, 56\)"),
        (torch.full((1, 1, 112, 112), 255), ValueError, r"must lie in \[0, 1\].* from 255 to 255"),
        (torch.full((1, 1, 112, 112), torch.nan), ValueError, r"must lie in \[0, 1\].* from nan to nan"),
        (np.ones((1, 1, 112, 112)), TypeError, r"mask must be a torch tensor.* got ndarray: .*\.mask\(area\)"),
    ],
)
def test_what_is_no_mask_keeps_no_probability(found: Explanation, mask: object, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        found.probability_of_mask(mask)  # type: ignore[arg-type]


def test_a_packaged_classifier_is_loaded_with_its_explanation(tmp_path: Path):
    classifier = load_classifier(device="cpu")
    config = dataclasses.replace(QUICK_FIT, steps=1)
    one = explain(classifier, load_picture("coffee"), preset=config, progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = Explanation.load(one.save(tmp_path / "one.safetensors"))
    assert torch.allclose(again.probability(0.2), one.probability(0.2), atol=1e-5)


def test_random_weights_are_not_mistaken_for_trained_ones(tmp_path: Path):
    classifier = load_classifier("resnet18", weights=None, device="cpu")
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    one = explain(classifier, image, 0, preset=dataclasses.replace(QUICK_FIT, steps=1), progress=False)
    assert Explanation.load(one.save(tmp_path / "one.safetensors")).classifier is None


def test_another_classifier_than_the_fits_is_noticed(found: Explanation, tmp_path: Path):
    path = found.save(tmp_path / "one.safetensors")
    weaker = plant(gain=2.0)
    with pytest.warns(UserWarning, match="the fit's classifier gave"):
        Explanation.load(path, classifier=weaker.classifier)


def test_files_that_are_no_explanation_are_refused(found: Explanation, tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="no explanation at"):
        Explanation.load(tmp_path / "missing.safetensors")
    (tmp_path / "text").write_text("nothing")
    save_file({"a": torch.zeros(1)}, tmp_path / "other")
    whole = found.save(tmp_path / "whole").read_bytes()
    (tmp_path / "half").write_bytes(whole[: len(whole) // 2])
    for name in ("text", "other", "half"):
        with pytest.raises(ValueError, match=f"{name} is not an explanation saved by inrexp"):
            Explanation.load(tmp_path / name)


def test_a_later_format_asks_for_a_later_version(found: Explanation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("inrexp.explanation.FORMAT", 99)
    path = found.save(tmp_path / "one")
    monkeypatch.undo()
    with pytest.raises(ValueError, match="has format 99, this version reads 2: update inrexp"):
        Explanation.load(path)


def test_a_file_of_the_flat_settings_says_to_explain_again(
    found: Explanation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("inrexp.explanation.FORMAT", 1)
    path = found.save(tmp_path / "one")
    monkeypatch.undo()
    with pytest.raises(ValueError, match="has format 1, this version reads 2: explain the picture again"):
        Explanation.load(path)


def test_a_save_that_fails_leaves_the_old_file(found: Explanation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = found.save(tmp_path / "one.safetensors")
    before = path.read_bytes()

    def full(tensors: object, path: Path, **_: object) -> None:
        Path(path).write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr("inrexp.explanation.save_file", full)
    with pytest.raises(OSError, match="no space"):
        found.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_sigmoid_heads_keep_their_mean(planted: Planted):
    classifier = Classifier(
        planted.classifier.model, mean=[0.5] * 3, std=[1.0] * 3, size=112, activation="sigmoid", labels=["a", "b", "c"]
    )
    one = explain(classifier, planted.image, [0, 1], preset=dataclasses.replace(QUICK_FIT, steps=3), progress=False)
    both = classifier.probabilities(planted.image)[0, :2]
    assert one.unmasked == pytest.approx(float(both.mean()))
    assert float(one.probability_of_mask(torch.ones(1, 1, 112, 112))) == pytest.approx(one.unmasked)
    assert float(one.history["probability"].max()) <= 1
