"""The check of a copy names every broken file and compares the counts with the published ones."""

import copy
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from copies import ROBIN, SIDE, imagenet_s, own, voc07, write_ids, write_picture
from PIL import Image

from inrexp.commands.cli import main
from inrexp.datasets.check import check_data, difficult_counts
from inrexp.datasets.voc import Annotation, Box
from inrexp.files import PICTURES, picture_table, registry
from inrexp.models.voc_resnet import VOC_CLASSES


def test_the_check_compares_the_difficult_pairs_of_a_whole_copy_class_by_class(monkeypatch: pytest.MonkeyPatch):
    boxes = (Box("dog", 1, 1, 5, 5, False), Box("cat", 1, 1, 20, 20, False))
    annotations = [Annotation("000001", "000001.jpg", (20, 20), boxes)]
    pairs = [int(label == "dog") for label in VOC_CLASSES]
    published = {"voc07": {"pictures": 1}, "voc07-difficult": {"pictures": 1, "pairs_by_class": pairs}}
    monkeypatch.setattr("inrexp.datasets.check.registry", lambda: published)
    assert difficult_counts(annotations) == (["voc07-difficult: 1 pictures, 1 pairs"], [])
    published["voc07-difficult"] = {"pictures": 2, "pairs_by_class": [int(label == "cat") for label in VOC_CLASSES]}
    assert difficult_counts(annotations)[1] == [
        "0 difficult pairs of cat, the published list has 1",
        "1 difficult pairs of dog, the published list has 0",
        "1 pictures with a difficult pair, the published list has 2",
    ]
    published["voc07"]["pictures"] = 4952
    facts, problems = difficult_counts(annotations)
    assert "a part is not compared" in facts[0]
    assert problems == []


def test_the_registry_s_pairs_by_class_add_up():
    assert sum(registry()["voc07-difficult"]["pairs_by_class"]) == registry()["voc07-difficult"]["pairs"] == 2230


def test_the_check_of_a_whole_folder_finds_nothing(tmp_path: Path):
    assert check_data("folder", own(tmp_path)).problems == ()


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
    assert "a part is not compared" in str(report)


def test_the_command_checks_a_copy_and_fails_for_a_broken_one(tmp_path: Path, capsys: pytest.CaptureFixture):
    own(tmp_path)
    assert main(["data", "check", "folder", "--folder", str(tmp_path)]) == 0
    assert "folder: ok" in capsys.readouterr().out
    (tmp_path / "masks" / "stray.png").write_bytes(b"")
    assert main(["data", "check", "folder", "--folder", str(tmp_path)]) == 1
    assert "stray.png has no picture" in capsys.readouterr().out
    assert main(["data", "check", "imagenet-s50", "--folder", str(tmp_path / "none")]) == 2
    assert "Get ImageNet-S50" in capsys.readouterr().err


def test_a_folder_that_nothing_would_read_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="packaged pictures need none"):
        check_data("packaged", tmp_path)


def test_every_packaged_picture_has_its_terms_and_a_shipped_one_its_bytes():
    assert check_data("packaged").problems == ()
    table = picture_table()
    shipped = [entry for entry in table.values() if "file" in entry]
    assert len(shipped) >= 6
    assert sum((PICTURES / entry["file"]).stat().st_size for entry in shipped) < 2e6
    assert [hashlib.sha256((PICTURES / one["file"]).read_bytes()).hexdigest() for one in shipped] == [
        one["sha256"] for one in shipped
    ]


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (
            lambda folder, entry: (folder / "macaw.jpg").write_bytes((folder / "macaws.jpg").read_bytes()),
            "another sha256",
        ),
        (lambda folder, entry: (folder / "macaw.jpg").unlink(), "no picture at"),
        (lambda folder, entry: entry.pop("licence"), "macaw has no licence in pictures.toml"),
        (lambda folder, entry: entry.update(author=""), "macaw has no author in pictures.toml"),
        (lambda folder, entry: entry.update(size=[1, 1]), "pictures.toml has [1, 1]"),
        (lambda folder, entry: entry["object"].append("hat"), "the region 'hat', which was not drawn"),
        (lambda folder, entry: write_picture(folder / "stray.jpg"), "stray.jpg is not in pictures.toml"),
    ],
)
def test_the_check_names_what_is_wrong_with_a_packaged_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, break_it: Callable, words: str
):
    folder = tmp_path / "pictures"
    shutil.copytree(PICTURES, folder)
    table = copy.deepcopy(picture_table())
    break_it(folder, table["macaw"])
    for module in ("check", "pictures"):
        monkeypatch.setattr(f"inrexp.datasets.{module}.PICTURES", folder)
        monkeypatch.setattr(f"inrexp.datasets.{module}.picture_table", lambda: table)
    assert any(words in problem for problem in check_data("packaged").problems)
