"""What explanations of one picture share, keep and leave behind; what is saved and read again."""

import types

import pytest
import torch

from inrexp.explanation import Explanation
from inrexp.explanations import INDEX, Ending, Explanations, coverage, overlap_share, smallest_beside
from inrexp.methods import explain_many
from inrexp.paper.settings import Descent, FieldSettings, FitConfig, Growth

SHORT = FitConfig(
    steps=3,
    descent=Descent(lr=1e-3),
    areas_per_step=1,
    area_range=(0.05, 0.2),
    area_weight=Growth(1.0, 30.0),
    dice_weight=Growth(1.0, 30.0),
    reward="log_probability",
    source=FieldSettings(grid=12, scale=2.0, area_scale=0.1, bias=1.0, hidden=64),
)


def many(planted, config=SHORT, **options) -> Explanations:
    return explain_many(planted.classifier, planted.image, planted.target, preset=config, progress=False, **options)


def test_overlap_share_by_hand():
    mask = torch.tensor([1.0, 0.5, 0.5, 0.0]).view(1, 1, 2, 2)
    other = torch.tensor([1.0, 0.0, 1.0, 1.0]).view(1, 1, 2, 2)
    assert overlap_share(mask, other).item() == pytest.approx(1.5 / 2)
    assert overlap_share(torch.zeros_like(mask), other).isnan().all()


def test_the_union_is_the_clamped_sum(planted_pair):
    found = many(planted_pair, SHORT, n=2, stop=False, initial=0.25 * torch.ones(2, 1, 112, 112))
    masks = found.masks()
    assert torch.allclose(found.union(), (0.5 + masks.sum(0, keepdim=True)).clamp(0, 1))
    assert torch.allclose(found.union(first=1), (0.5 + masks[:1]).clamp(0, 1))
    with pytest.raises(ValueError, match="first must lie in 0 to 2"):
        found.union(first=3)


def test_what_is_explained_already_is_given_as_masks(planted):
    found = many(planted, SHORT, n=1)
    for wrong in (found[0], found, found.masks().numpy()):
        message = (
            rf"initial must be a torch tensor, masks \(m, 1, 112, 112\), got {type(wrong).__name__}: .*\.mask\(area\)"
        )
        with pytest.raises(TypeError, match=message):
            many(planted, SHORT, n=1, initial=wrong)


@pytest.mark.parametrize(("shared_too", "star"), [(0.9, 0.1), (0.1, None)])
def test_a_mask_must_keep_the_class_itself_and_not_only_by_what_it_adds(shared_too: float, star: float | None):
    baseline = torch.tensor([1.0, 0, 0, 0]).view(1, 1, 2, 2)
    mask = torch.tensor([1.0, 1, 0, 0]).view(1, 1, 2, 2)  # half of it lies on the baseline; the rest keeps 0.9
    found = types.SimpleNamespace(
        explains=True,
        searched_areas=(0.1, 0.2),
        mask=lambda areas, cut: mask.expand(len(areas), -1, -1, -1),
        probability_of_mask=lambda masks: torch.where(masks[:, 0, 0, 0] == 1, shared_too, 0.9),
        needed_classifier=lambda: types.SimpleNamespace(at_once=2),
    )
    assert smallest_beside(found, 0.5, None, baseline) == star


@pytest.mark.parametrize("at_once", [1, 2, 3, 8])
def test_the_search_goes_upwards_and_no_further_than_the_smallest_area(at_once: int):
    asked = []
    found = types.SimpleNamespace(
        explains=True,
        searched_areas=(0.1, 0.2, 0.3, 0.4, 0.5),
        mask=lambda areas, cut: asked.extend(areas) or torch.tensor(areas).view(-1, 1, 1, 1),
        probability_of_mask=lambda masks: (masks[:, 0, 0, 0] > 0.25).float(),
        needed_classifier=lambda: types.SimpleNamespace(at_once=at_once),
    )
    assert smallest_beside(found, 0.5, None, torch.zeros(1, 1, 1, 1)) == 0.3
    passes = -(-3 // at_once)  # the third area suffices
    assert asked == [0.1, 0.2, 0.3, 0.4, 0.5][: passes * at_once]


def test_saved_explanations_come_back(planted_pair, tmp_path):
    barred = torch.zeros(1, 1, 112, 112)
    barred[..., :30, :30] = 1
    found = many(planted_pair, SHORT, n=2, stop=False, initial=barred, cut=0.5)
    folder = found.save(tmp_path / "run")
    again = Explanations.load(folder, classifier=planted_pair.classifier)
    assert torch.equal(again.masks(), found.masks())
    assert torch.equal(again.union(), found.union())
    assert (again.areas, again.ending, again.cut, again.way) == (found.areas, found.ending, 0.5, "in turn")
    assert again.table() == found.table()
    assert (again.stars, again.keeps, repr(again)) == (found.stars, found.keeps, repr(found))
    assert repr(Explanations.load(folder)) == repr(found)  # without the classifier it still says what it holds
    fewer = many(planted_pair, SHORT, n=1)
    fewer.save(folder)  # replaces the longer run whole
    assert len(Explanations.load(folder, classifier=planted_pair.classifier)) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_a_folder_that_is_something_else_is_left_alone(planted_pair, tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    found = many(planted_pair, SHORT, n=1)
    with pytest.raises(FileExistsError, match="no saved explanations"):
        found.save(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "precious"
    with pytest.raises(FileNotFoundError, match=INDEX):
        Explanations.load(tmp_path)
    (tmp_path / INDEX).write_text("{}")
    with pytest.raises(ValueError, match="not an index"):
        Explanations.load(tmp_path)


def test_a_save_that_fails_leaves_the_earlier_one(planted_pair, tmp_path, monkeypatch):
    found = many(planted_pair, SHORT, n=2, stop=False)
    found.save(tmp_path / "run")

    def disk_full(self, path):
        raise OSError("no space left on device")

    monkeypatch.setattr(Explanation, "save", disk_full)
    with pytest.raises(OSError, match="no space"):
        many(planted_pair, SHORT, n=1).save(tmp_path / "run")
    monkeypatch.undo()
    assert len(Explanations.load(tmp_path / "run", classifier=planted_pair.classifier)) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_coverage_names_what_a_mask_covers():
    mask = torch.tensor([1.0, 0.5, 0.5, 0.0]).view(1, 1, 2, 2)
    left = torch.tensor([[True, False], [True, False]])
    shares = coverage(torch.cat([mask, torch.zeros_like(mask)]), {"left": left, "right": ~left})
    assert shares[0] == {"left": pytest.approx(0.75), "right": pytest.approx(0.25)}
    assert all(value != value for value in shares[1].values())  # an empty mask covers nothing: NaN


def test_an_ending_says_what_happened():
    assert str(Ending()) == "finished"
    assert str(Ending("interrupted", during=2)) == "interrupted during explanation 2"
    assert str(Ending("nothing more", during=3)).startswith("nothing more: what explanation 3 adds")
