"""Programs of benchmarks/: what they refuse before hours of work, and that they write what they measured."""

import dataclasses
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from planted import QUICK_FIT, plant

from inrexp.datasets.samples import Dataset, Sample, Truth
from inrexp.models.classifier import Classifier, Target

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
PLANTED = plant()


class Stripes(Sample):
    def target(self, classifier: Classifier) -> Target:
        return Target((1,), self.label)

    def truths(self, classifier: Classifier) -> dict[str, Truth]:
        return {"mask": Truth(PLANTED.truth, PLANTED.truth | True)}


@pytest.fixture
def mixed_precision(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program on the planted picture, in short fits."""
    spec = importlib.util.spec_from_file_location("mixed_precision", BENCHMARKS / "mixed_precision.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    dataset = Dataset("planted", (Stripes("stripes", PLANTED.image, "stripes"),))
    monkeypatch.setattr(module, "load_classifier", lambda *_, **__: PLANTED.classifier)
    monkeypatch.setattr(module, "load_dataset", lambda *_: dataset)
    monkeypatch.setitem(module.PRESETS, "crisp", dataclasses.replace(QUICK_FIT, steps=20, area_range=(0.025, 0.4)))
    return module


def call(module: ModuleType, monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, words)])
    module.main()


def test_mixed_precision_writes_its_table_into_a_new_folder(mixed_precision, tmp_path: Path, monkeypatch):
    path = tmp_path / "nowhere" / "x.csv"
    call(mixed_precision, monkeypatch, "--seeds", 2, "--csv", path)
    header, line = path.read_text().splitlines()
    assert header.count(",") == line.count(",") == 10
    assert line.startswith("stripes,")


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--seeds", 1], "--seeds must be 2 or more, got 1"), (["--csv", BENCHMARKS], "--csv must name a file")],
)
def test_mixed_precision_refuses_before_it_fits(mixed_precision, monkeypatch, capsys, words: list, message: str):
    monkeypatch.setattr(mixed_precision, "fit", lambda *_, **__: pytest.fail("fitted"))
    with pytest.raises(SystemExit):
        call(mixed_precision, monkeypatch, *words)
    assert message in capsys.readouterr().err
