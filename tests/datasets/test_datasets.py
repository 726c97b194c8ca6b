"""Data sets by name, on small files of the official layouts: classes, truths, ignored pixels, and what errors name."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from inrexp.commands.cli import main
from inrexp.datasets.check import check_data, counts_of, difficult_counts, rules
from inrexp.datasets.named import load_dataset
from inrexp.datasets.packaged import PACKAGED_OBJECTS
from inrexp.datasets.samples import Dataset
from inrexp.datasets.voc import DIFFICULT, Annotation, Box, DifficultRule, imagenet_instances
from inrexp.files import data_folder, registry
from inrexp.metrics import precision
from inrexp.models.classifier import Classifier
from inrexp.models.registry import IMAGENET_LABELS
from inrexp.models.voc_resnet import VOC_CLASSES

ROBIN, HEN = "n01558993", "n01514859"
SIDE = 32


def classifier_of(labels=None, size: tuple[int, int] = (SIDE, SIDE)) -> Classifier:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * size[0] * size[1], len(labels or [0] * 1000)))
    return Classifier(model, size=size, resize=max(size), labels=labels)


IMAGENET = classifier_of(IMAGENET_LABELS)
VOC = classifier_of(VOC_CLASSES)


def write_picture(path: Path, size: tuple[int, int] = (SIDE, SIDE), **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "grey").save(path, **options)


def write_ids(path: Path, ids: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.stack([ids % 256, ids // 256, 0 * ids], -1).astype(np.uint8)).save(path)


def imagenet_s(folder: Path, ids: np.ndarray | None = None, wnids=(HEN, ROBIN)) -> Path:
    """One robin, class id 2 where categories.txt lists two classes; a third of the rows ignored."""
    if ids is None:
        ids = np.zeros((SIDE, SIDE), dtype=int)
        ids[8:16] = 2
        ids[16:24] = 1000
    (folder / "validation" / HEN).mkdir(parents=True)
    (folder / "categories.txt").write_text("\n".join(wnids) + "\n")
    write_picture(folder / "validation" / ROBIN / "one.JPEG")
    write_ids(folder / "validation-segmentation" / ROBIN / "one.png", ids)
    return folder


def voc07(folder: Path, objects: dict[str, list[tuple]], size: tuple[int, int] = (SIDE, SIDE)) -> Path:
    """objects: picture -> (class, xmin, ymin, xmax, ymax, difficult)."""
    root = folder / "VOCdevkit" / "VOC2007"
    for part in ("ImageSets/Main", "Annotations", "SegmentationClass"):
        (root / part).mkdir(parents=True)
    (root / "ImageSets" / "Main" / "test.txt").write_text("".join(f"{name}\n" for name in objects))
    for name, boxes in objects.items():
        write_picture(root / "JPEGImages" / f"{name}.jpg", size)
        drawn = "".join(
            f"<object><name>{label}</name><difficult>{flag}</difficult><bndbox><xmin>{left}</xmin><ymin>{top}</ymin>"
            f"<xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>"
            for label, left, top, right, bottom, flag in boxes
        )
        shape = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
        (root / "Annotations" / f"{name}.xml").write_text(f"<annotation>{shape}{drawn}</annotation>")
    return folder


def own(folder: Path, labels: str | None = None, mask: np.ndarray | None = None, name: str = "a") -> Path:
    write_picture(folder / "pictures" / f"{name}.jpg")
    (folder / "masks").mkdir(exist_ok=True)
    drawn = np.zeros((SIDE, SIDE), np.uint8)
    drawn[:8] = 255
    Image.fromarray(drawn if mask is None else mask).save(folder / "masks" / f"{name}.png")
    if labels is not None:
        (folder / "labels.csv").write_text(labels)
    return folder


def test_an_imagenet_s_mask_gives_the_object_and_leaves_ignored_pixels_out(tmp_path: Path):
    (sample,) = load_dataset("imagenet-s50", imagenet_s(tmp_path))
    truth = sample.truth(IMAGENET)
    rows = torch.arange(SIDE)[:, None].expand(SIDE, SIDE)
    assert torch.equal(truth.object, (rows >= 8) & (rows < 16))
    assert torch.equal(truth.counted, (rows < 16) | (rows >= 24))
    mask = torch.ones(1, 1, SIDE, SIDE)
    assert float(precision(mask, truth.object, counted=truth.counted)) == pytest.approx(8 / 24)
    assert float(precision(mask, truth.object)) == pytest.approx(8 / 32)


def test_a_wnid_is_its_imagenet_class(tmp_path: Path):
    (sample,) = load_dataset("imagenet-s50", imagenet_s(tmp_path))
    assert (sample.name, sample.label) == (f"{ROBIN}/one", "robin")
    assert sample.target(IMAGENET).indices == (15,)
    with pytest.raises(LookupError, match="20 classes of its own"):
        sample.target(VOC)


def test_class_ids_above_255_are_in_the_green_channel(tmp_path: Path):
    from timm.data import ImageNetInfo

    wnids = ImageNetInfo("imagenet-1k").label_names()[:301]  # sorted
    last = wnids[-1]
    imagenet_s(tmp_path, np.full((SIDE, SIDE), 16), wnids)
    write_picture(tmp_path / "validation" / last / "late.JPEG")
    write_ids(tmp_path / "validation-segmentation" / last / "late.png", np.full((SIDE, SIDE), 301))
    by_name = {sample.name: sample for sample in load_dataset("imagenet-s919", tmp_path)}
    assert by_name[f"{last}/late"].truth(IMAGENET).object.all()


def test_classes_that_s919_merged_are_explained_as_either(tmp_path: Path):
    imagenet_s(tmp_path, wnids=(ROBIN, "n04355933"))
    write_picture(tmp_path / "validation" / "n04355933" / "two.JPEG")
    sample = load_dataset("imagenet-s919", tmp_path).samples[-1]
    assert sample.target(IMAGENET).indices == (836, 837)
    assert load_dataset("imagenet-s50", tmp_path).samples[-1].target(IMAGENET).indices == (836,)


def test_a_part_of_the_class_folders_without_the_list_is_refused(tmp_path: Path):
    (imagenet_s(tmp_path) / "categories.txt").unlink()
    with pytest.raises(ValueError, match="2 class folders, imagenet-s50 has 50.*categories.txt"):
        load_dataset("imagenet-s50", tmp_path)


def test_a_mask_turns_with_its_photograph(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a camera on its side: the stored left is the upright top
    ids = np.zeros((SIDE, 2 * SIDE), dtype=int)
    ids[:, :8] = 2
    imagenet_s(tmp_path, ids)
    write_picture(tmp_path / "validation" / ROBIN / "one.JPEG", (2 * SIDE, SIDE), exif=exif)
    tall = classifier_of(IMAGENET_LABELS, (SIDE, SIDE))
    tall.size, tall.resize = (2 * SIDE, SIDE), SIDE
    truth = load_dataset("imagenet-s50", tmp_path).samples[0].truth(tall).object
    assert truth[:8].all()
    assert not truth[8:].any()


def test_a_mask_of_another_size_names_both_files(tmp_path: Path):
    imagenet_s(tmp_path, np.full((10, 12), 2))
    with pytest.raises(ValueError, match=r"one.png is 12 x 10 px, its picture .*one.JPEG is 32 x 32"):
        load_dataset("imagenet-s50", tmp_path).samples[0].truth(IMAGENET)


def test_a_copy_that_is_not_the_published_set_says_so(tmp_path: Path):
    assert (
        "not the published imagenet-s50, which has 752 of 50"
        in load_dataset("imagenet-s50", imagenet_s(tmp_path)).facts[0]
    )


def test_a_box_counts_from_one_and_its_last_pixel_is_inside(tmp_path: Path):
    voc07(tmp_path, {"000001": [("dog", 1, 1, 4, 2, 0), ("dog", 5, 1, 8, 2, 1), ("person", 9, 9, 30, 30, 0)]})
    dataset = load_dataset("voc07", tmp_path)
    assert [sample.name for sample in dataset] == ["000001/dog", "000001/person"]
    truth = dataset.samples[0].truth(VOC)
    expected = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    expected[:2, :8] = True
    assert torch.equal(truth.object, expected)
    assert truth.counted.all()


def test_a_segmentation_mask_is_a_second_truth_without_its_borders(tmp_path: Path):
    voc07(tmp_path, {"000001": [("dog", 1, 1, 9, 9, 0)]})
    ids = np.zeros((SIDE, SIDE), np.uint8)
    ids[:4], ids[4:6] = VOC_CLASSES.index("dog") + 1, 255
    palette = Image.fromarray(ids, mode="P")
    palette.putpalette([value for index in range(256) for value in (index, 0, 255 - index)])
    palette.save(tmp_path / "VOCdevkit/VOC2007/SegmentationClass/000001.png")
    truths = load_dataset("voc07", tmp_path).samples[0].truths(VOC)
    assert list(truths) == ["box", "mask"]
    assert int(truths["mask"].object.sum()) == 4 * SIDE
    assert int((~truths["mask"].counted).sum()) == 2 * SIDE


def test_a_voc_class_is_its_own_or_the_sum_of_imagenet_s_instances(tmp_path: Path):
    voc07(tmp_path, {"000001": [("cat", 1, 1, 9, 9, 0), ("person", 1, 1, 9, 9, 0)]})
    dataset = load_dataset("voc07", tmp_path)
    cat, person = dataset
    assert cat.target(VOC).indices == (7,)
    assert cat.target(IMAGENET).indices == (281, 282, 283, 284, 285)
    with pytest.raises(LookupError, match="no class for person"):
        person.target(IMAGENET)
    known = dataset.known_to(IMAGENET)
    assert known.samples == (cat,)
    assert "1 of 2 left out: custom has no person" in known.facts[-1]
    assert dataset.known_to(VOC) is dataset


def test_the_look_up_has_every_voc_class_and_no_name_is_both():
    assert tuple(imagenet_instances()) == VOC_CLASSES
    assert not set(VOC_CLASSES) & set(IMAGENET_LABELS)


def annotation(*boxes: Box) -> Annotation:
    return Annotation("000001", "000001.jpg", (20, 20), boxes)  # a quarter is 100 px


def test_a_difficult_class_is_small_and_has_another_beside_it():
    small, large = Box("dog", 1, 1, 5, 5, False), Box("cat", 1, 1, 20, 10, False)
    assert DIFFICULT.chosen(annotation(small, large)) == ["dog"]
    assert DIFFICULT.chosen(annotation(small)) == []
    assert DIFFICULT.chosen(annotation(large, large)) == []


def test_every_choice_of_the_difficult_rule_decides_a_case():
    cat = Box("cat", 1, 1, 20, 20, False)
    twice = annotation(Box("dog", 1, 1, 10, 6, False), Box("dog", 1, 1, 10, 6, False), cat)  # 120 px, union 60
    exact = annotation(Box("dog", 1, 1, 10, 10, False), cat)
    assert DIFFICULT.chosen(twice) == []
    assert DifficultRule(overlap="union").chosen(twice) == ["dog"]
    assert DIFFICULT.chosen(exact) == []
    assert DifficultRule(quarter=True).chosen(exact) == ["dog"]
    assert DifficultRule(last_pixel=False).chosen(exact) == ["dog"]
    flagged = annotation(Box("dog", 1, 1, 5, 5, True), Box("cow", 1, 1, 5, 5, False))
    assert DIFFICULT.chosen(flagged) == ["cow", "dog"]
    assert DifficultRule(flagged=False).chosen(flagged) == ["cow"]
    assert DifficultRule(flagged_distractors=False).chosen(flagged) == ["dog"]
    with pytest.raises(ValueError, match="overlap must be 'sum' or 'union'"):
        DifficultRule(overlap="both")


def test_the_check_finds_the_reading_that_gives_the_published_counts(monkeypatch: pytest.MonkeyPatch):
    cat = Box("cat", 1, 1, 20, 20, False)
    whole = [annotation(Box("dog", 1, 1, 10, 9, False), Box("dog", 1, 1, 10, 9, False), cat)]  # 180 px, union 90
    pictures, pairs = counts_of(DifficultRule(overlap="union"), whole)
    published = {
        "voc07": {"pictures": 1},
        "voc07-difficult": {"pictures": pictures, "pairs": 1, "pairs_by_class": pairs},
    }
    monkeypatch.setattr("inrexp.datasets.check.registry", lambda: published)
    assert len(set(rules())) == 32
    _, problems = difficult_counts(whole)
    assert "not the default, but DifficultRule(overlap='union'" in problems[0]
    assert "overlap='sum'" not in problems[0]
    published["voc07-difficult"]["pairs_by_class"] = [0] * 20
    published["voc07-difficult"]["pictures"] = 0
    assert difficult_counts(whole)[1] == []  # the default finds none, and none is what is asked for
    published["voc07-difficult"]["pairs_by_class"] = [2, *[0] * 19]
    assert "no reading gives the published counts" in difficult_counts(whole)[1][0]
    assert "aeroplane 0 for 2" in difficult_counts(whole)[1][0]


def test_the_registry_s_pairs_by_class_add_up():
    assert sum(registry()["voc07-difficult"]["pairs_by_class"]) == registry()["voc07-difficult"]["pairs"] == 2230


def test_voc07_difficult_takes_only_the_rule_s_pairs(tmp_path: Path):
    voc07(tmp_path, {"000001": [("dog", 1, 1, 5, 5, 0), ("cat", 1, 1, 32, 30, 0)], "000002": [("cow", 1, 1, 5, 5, 0)]})
    dataset = load_dataset("voc07-difficult", tmp_path)
    assert [sample.name for sample in dataset] == ["000001/dog"]
    assert "DifficultRule(overlap='sum'" in dataset.facts[-1]


def test_a_folder_of_one_s_own_gives_targets_and_truths(tmp_path: Path):
    (sample,) = load_dataset("folder", own(tmp_path, "name,target\na,espresso\n"))
    assert sample.target(IMAGENET).indices == (967,)
    assert int(sample.truth(IMAGENET).object.sum()) == 8 * SIDE
    (plain,) = load_dataset("folder", own(tmp_path / "other"))
    assert len(plain.target(IMAGENET).indices) == 1  # the top-1


@pytest.mark.parametrize(
    ("break_it", "error", "words"),
    [
        (lambda folder: (folder / "masks/a.png").unlink(), FileNotFoundError, "no mask at .*a.png for .*a.jpg"),
        (lambda folder: write_picture(folder / "pictures/a.webp"), ValueError, "a.webp and .*a.jpg would share"),
        (lambda folder: (folder / "labels.csv").write_text("name,target\nb,1\n"), ValueError, "no row for a.jpg"),
        (lambda folder: (folder / "labels.csv").write_text("name,target\na,1\nb,1\n"), FileNotFoundError, "names b"),
        (lambda folder: (folder / "labels.csv").write_text("picture\na\n"), ValueError, "columns name,target"),
        (lambda folder: (folder / "pictures/a.jpg").unlink(), FileNotFoundError, "no pictures in"),
    ],
)
def test_a_folder_s_errors_name_the_file(tmp_path: Path, break_it, error, words):
    break_it(own(tmp_path))
    with pytest.raises(error, match=words):
        load_dataset("folder", tmp_path)


def test_a_mask_of_zeros_and_ones_is_refused(tmp_path: Path):
    own(tmp_path, mask=np.eye(SIDE, dtype=np.uint8))
    with pytest.raises(ValueError, match="a.png marks nothing.*largest value is 1"):
        load_dataset("folder", tmp_path).samples[0].truth(IMAGENET)


def test_the_packaged_pictures_have_their_objects():
    dataset = load_dataset("packaged")
    assert [sample.name for sample in dataset] == list(PACKAGED_OBJECTS)
    shares = {sample.name: float(sample.truth(IMAGENET).object.float().mean()) for sample in dataset}
    assert 0.1 < shares["coffee"] < 0.5
    assert shares["rocket"] < 0.1 < shares["china"]
    assert {sample.label for sample in dataset} == {"tiger cat", "palace", "espresso", "daisy", "missile"}


def test_samples_travel_to_other_processes(tmp_path: Path):
    for dataset in (load_dataset("packaged"), load_dataset("imagenet-s50", imagenet_s(tmp_path))):
        assert pickle.loads(pickle.dumps(dataset)) == dataset


def test_a_digest_changes_with_picture_truth_and_target_and_with_nothing_else(tmp_path: Path):
    def digest(folder: Path) -> str:
        (sample,) = load_dataset("folder", folder)
        return sample.digest(IMAGENET)

    first = digest(own(tmp_path / "first", "name,target\na,espresso\n"))
    assert len(first) == 12
    assert digest(own(tmp_path / "copy", "name,target\nb,967\n", name="b")) == first  # another name, the same contents
    assert digest(own(tmp_path / "target", "name,target\na,daisy\n")) != first
    other = np.zeros((SIDE, SIDE), np.uint8)
    other[:9] = 255
    assert digest(own(tmp_path / "truth", "name,target\na,espresso\n", mask=other)) != first
    own(tmp_path / "picture", "name,target\na,espresso\n")
    Image.new("RGB", (SIDE, SIDE), "white").save(tmp_path / "picture" / "pictures" / "a.jpg")
    assert digest(tmp_path / "picture") != first


def test_a_broken_sample_has_a_digest_that_changes_when_it_is_mended(tmp_path: Path):
    own(tmp_path, "name,target\na,espresso\n", mask=np.zeros((SIDE, SIDE), np.uint8))  # marks nothing
    (sample,) = load_dataset("folder", tmp_path)
    broken = sample.digest(IMAGENET)
    own(tmp_path)
    assert sample.digest(IMAGENET) != broken


def test_an_empty_data_set_and_unknown_names_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="toy has no samples"):
        Dataset("toy", ())
    with pytest.raises(LookupError, match="no data set named 'coco'; there are packaged, imagenet-s50"):
        load_dataset("coco")
    with pytest.raises(TypeError, match="packaged takes no options, got rule"):
        load_dataset("packaged", rule=DIFFICULT)
    with pytest.raises(ValueError, match="folder must be given"):
        load_dataset("folder")


@pytest.mark.parametrize("name", ["imagenet-s50", "imagenet-s919", "voc07", "voc07-difficult"])
def test_missing_data_say_what_to_get_from_whom_on_which_terms_and_where_to_put_it(name, tmp_path, monkeypatch):
    monkeypatch.setenv("INREXP_DATA", str(tmp_path / "data"))
    entry = registry()[name]
    with pytest.raises(FileNotFoundError) as caught:
        load_dataset(name)
    wanted = [entry["source"], entry["terms"], str(data_folder() / entry["place"])]
    assert [words for words in wanted if words not in str(caught.value)] == []


def test_the_check_of_a_whole_folder_finds_nothing(tmp_path: Path):
    assert check_data("folder", own(tmp_path)).problems == ()
    assert str(check_data("packaged")).endswith("packaged: ok")


def test_the_check_names_every_broken_file(tmp_path: Path):
    imagenet_s(tmp_path, np.full((SIDE, SIDE), 77))  # no such class id
    masks = tmp_path / "validation-segmentation" / ROBIN
    write_ids(masks / "stray.png", np.full((SIDE, SIDE), 2))
    write_picture(tmp_path / "validation" / ROBIN / "damaged.JPEG")
    (tmp_path / "validation" / ROBIN / "damaged.JPEG").write_bytes(b"\xff\xd8 cut short")
    write_picture(tmp_path / "validation" / ROBIN / "unmasked.JPEG")
    write_picture(tmp_path / "validation" / "n99999999" / "odd.JPEG")
    said = str(check_data("imagenet-s50", tmp_path))
    for words in (
        "one.png has the class id 77: wanted 0 to 2, or 1000",
        "stray.png has no picture",
        "damaged.JPEG is not a picture",
        "no mask at",
        "n99999999 is none of the 2 classes",
        "3 pictures, imagenet-s50 has 752",
    ):
        assert words in said


def test_the_check_of_voc07_compares_boxes_sizes_and_masks(tmp_path: Path):
    voc07(tmp_path, {"000001": [("dog", 1, 1, 40, 9, 0)], "000002": [("dog", 1, 1, 9, 9, 0)]})
    root = tmp_path / "VOCdevkit" / "VOC2007"
    write_picture(root / "JPEGImages" / "000002.jpg", (20, 20))
    Image.new("L", (SIDE, SIDE), 99).save(root / "SegmentationClass" / "000001.png")
    Image.new("L", (SIDE, SIDE)).save(root / "SegmentationClass" / "000009.png")
    report = check_data("voc07-difficult", tmp_path)
    for words in ("is not inside 32 x 32 px", "class id 99", "000009.png has no picture", "is 20 x 20", "has 4952"):
        assert any(words in problem for problem in report.problems), words
    assert "not decided by a part" in str(report)


def test_a_damaged_annotation_is_named(tmp_path: Path):
    voc07(tmp_path, {"000001": [("unicorn", 1, 1, 9, 9, 0)]})
    with pytest.raises(ValueError, match="000001.xml has an object 'unicorn'"):
        load_dataset("voc07", tmp_path)
    (tmp_path / "VOCdevkit/VOC2007/Annotations/000001.xml").write_text("<annotation>")
    with pytest.raises(ValueError, match="000001.xml is no VOC annotation"):
        load_dataset("voc07", tmp_path)


def test_the_command_checks_a_copy_and_fails_for_a_broken_one(tmp_path: Path, capsys: pytest.CaptureFixture):
    own(tmp_path)
    assert main(["data", "check", "folder", "--folder", str(tmp_path)]) == 0
    assert "folder: ok" in capsys.readouterr().out
    (tmp_path / "masks" / "stray.png").write_bytes(b"")
    assert main(["data", "check", "folder", "--folder", str(tmp_path)]) == 1
    assert "stray.png has no picture" in capsys.readouterr().out
    assert main(["data", "check", "imagenet-s50", "--folder", str(tmp_path / "none")]) == 2
    assert "Get ImageNet-S50" in capsys.readouterr().err
