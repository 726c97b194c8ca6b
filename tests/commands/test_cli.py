"""inrexp explain: files that parse, refusals that leave nothing behind, Ctrl-C."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import hears_ctrl_c
from matplotlib.figure import Figure
from PIL import Image
from planted import QUICK_FIT, Planted, plant

import inrexp
from inrexp import files
from inrexp.commands import arguments, cli, study
from inrexp.commands import explain as command
from inrexp.comparison import METHODS
from inrexp.datasets.named import NAMES
from inrexp.datasets.pictures import PACKAGED
from inrexp.explanation import Explanation
from inrexp.models.classifier import to_picture
from inrexp.paper.outcome import FitFailed, Outcome
from inrexp.paper.presets import DEFAULT, PRESETS
from inrexp.paper.smallest_area import searched_areas
from inrexp.study import cluster

COMMAND = Path(sys.executable).parent / "inrexp"


@pytest.fixture
def picture(planted: Planted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The planted picture as a file; "planted" and "brief" are presets and every model is the planted one."""
    monkeypatch.setattr(inrexp, "load_classifier", lambda name, device=None: planted.classifier)
    monkeypatch.setattr(command, "PRESETS", (*arguments.PRESETS, "planted", "brief"))
    monkeypatch.setitem(PRESETS, "planted", dataclasses.replace(QUICK_FIT, name="planted"))
    monkeypatch.setitem(PRESETS, "brief", dataclasses.replace(QUICK_FIT, steps=3))
    path = tmp_path / "stripes.v1.png"
    to_picture(planted.image).save(path)
    return path


def run(*arguments: object) -> int:
    return cli.main(["explain", *map(str, arguments)])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (Outcome("collapsed", mask="empty"), f"try another --seed, or more --steps (planted has {QUICK_FIT.steps})"),
        (Outcome("diverged", step=3), "try another --preset, or a smaller learning rate in Python"),
    ],
)
def test_a_fit_that_failed_is_said_so_and_is_no_success(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch, recwarn, outcome: Outcome, said: str
):
    def failed(*arguments, **options) -> Explanation:
        found = explain(*arguments, **options)
        found.outcome = outcome
        warnings.warn(f"The fit of {found.target.label!r} {outcome}.", FitFailed, stacklevel=2)
        return found

    explain = inrexp.explain
    monkeypatch.setattr(inrexp, "explain", failed)
    assert run(picture, "--preset", "planted", "--target", "stripes", "--steps", 5, "--out", tmp_path / "out") == 2
    printed = capsys.readouterr()
    assert "unmasked; no a*; " in printed.out
    assert f"the fit {outcome}: the masks above explain nothing; {said}" in printed.err
    assert not [one for one in recwarn if "The fit of" in str(one.message)]  # it is said once


def test_a_picture_becomes_an_overlay_a_strip_numbers_and_a_field(
    picture: Path, planted: Planted, tmp_path: Path, capsys: pytest.CaptureFixture
):
    out = tmp_path / "deep" / "out"
    assert run(picture, "--preset", "planted", "--target", "stripes", "--seed", 0, "--out", out) == 0
    stem = "stripes.v1"
    assert sorted(path.name for path in out.iterdir()) == [
        f"{stem}.json",
        f"{stem}.safetensors",
        f"{stem}_masks.png",
        f"{stem}_overlay.png",
    ]
    numbers = json.loads((out / f"{stem}.json").read_text())
    assert numbers["target"] == {"indices": [1], "label": "stripes"}
    assert numbers["unmasked_probability"] == pytest.approx(0.978, abs=0.01)
    assert numbers["threshold"] == pytest.approx(numbers["unmasked_probability"] / 2, abs=1e-4)
    assert numbers["areas"] == [0.1, 0.15, 0.2]
    for name in ("probability", "probability_cut", "area_kept", "area_kept_cut"):
        assert len(numbers[name]) == 3
        assert all(0 <= value <= 1 for value in numbers[name])
    assert (numbers["seed"], numbers["preset"], numbers["status"]) == (0, "planted", "finished")
    assert numbers["steps"] == QUICK_FIT.steps
    found = Explanation.load(out / f"{stem}.safetensors", classifier=planted.classifier)
    assert [round(float(p), 4) for p in found.probability(numbers["areas"])] == numbers["probability"]
    assert numbers["area_kept"] == pytest.approx(found.mask(numbers["areas"]).mean((1, 2, 3)).tolist(), abs=1e-4)
    cut = found.mask(numbers["areas"], cut=0.5)
    assert numbers["area_kept_cut"] == pytest.approx(cut.mean((1, 2, 3)).tolist(), abs=1e-4)
    assert numbers["probability_cut"] == pytest.approx(found.probability_of_mask(cut).tolist(), abs=1e-4)
    assert numbers["smallest_area"] == found.smallest_area()
    assert float(found.probability(numbers["smallest_area"])) >= numbers["threshold"] - 1e-4
    for kind in ("overlay", "masks"):
        with Image.open(out / f"{stem}_{kind}.png") as drawn:
            assert drawn.width > 800
            assert len(np.unique(np.asarray(drawn.convert("RGB")).reshape(-1, 3), axis=0)) > 1000
    said = capsys.readouterr()
    assert said.out.startswith("stripes: p = 0.97 unmasked; a* = 0.")
    assert re.search(r" by a soft mask that keeps \d+%; cut to 0 and 1 (a\* =|no area)", said.out)
    assert said.out.count("\n") == 1


def test_a_page_is_one_file_that_asks_for_nothing(picture: Path, tmp_path: Path):
    assert run(picture, "--preset", "planted", "--target", "stripes", "--page", "--out", tmp_path) == 0
    page = (tmp_path / "stripes.v1.html").read_text()
    assert "enough for &#x27;stripes&#x27;?" in page
    assert not re.search(r'(src|href)="(?!data:)', page)


@pytest.mark.slow
def test_a_second_run_with_the_same_seed_gives_the_same_numbers(picture: Path, tmp_path: Path):
    numbers = []
    for name in ("one", "two"):
        assert run(picture, "--preset", "brief", "--seed", 5, "--out", tmp_path / name) == 0
        read = json.loads((tmp_path / name / "stripes.v1.json").read_text())
        numbers.append({key: value for key, value in read.items() if key != "seconds"})
    assert numbers[0] == numbers[1]


@pytest.mark.slow
def test_a_preset_that_holds_a_few_areas_shows_those(picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    assert run(picture, "--preset", "extremal_perturbation", "--steps", 3, "--out", tmp_path) == 0
    numbers = json.loads((tmp_path / "stripes.v1.json").read_text())
    assert numbers["areas"] == [0.025, 0.05, 0.1, 0.2]
    assert numbers["steps"] == 3
    said = capsys.readouterr().out
    assert "(the most is " in said or "a* = " in said
    assert "another --seed" not in said  # the method draws no number


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.png"], "no picture at missing.png; packaged pictures are"),
        (["NOTES"], "is not a picture that PIL can read"),
        (["DOT"], "is 1 x 1 px: wanted at least 16 px a side"),
        (["PICTURE", "--target", "zebra"], "'zebra' is not a label of custom"),
        (["PICTURE", "--target", "stripe"], "did you mean 'stripes'?"),
        (["PICTURE", "--target", "3"], "target 3 is out of range: the model has classes 0 to 2"),
        (["PICTURE", "--target", "-1"], "target -1 is out of range"),
        (["PICTURE", "--area", "0.5"], "--area must lie in the fitted range [0.1, 0.4], got 0.5"),
        (["PICTURE", "--area-range", "0.3", "0.2"], "--area-range must be LOW below HIGH, got 0.3 0.2"),
        (
            ["PICTURE", "--area-range", "0.1", "0.3", "--preset", "extremal_perturbation"],
            "--area-range must be left out with --preset extremal_perturbation, whose areas are (0.025, 0.05,",
        ),
        (["PICTURE", "--area", "0.12", "--preset", "extremal_perturbation"], "--area must be one of (0.025, 0.05, 0.1"),
        (["PICTURE", "--area", "0.5", "--preset", "extremal_perturbation"], "--area must be one of (0.025, 0.05, 0.1"),
        (["PICTURE", "--out", "NOTES"], "--out must be a folder that can be written to"),
        (["PICTURE", "--out", "NOTES/deeper"], "--out must be a folder that can be written to"),
    ],
)
def test_bad_input_is_one_line_on_stderr_exit_status_2_and_no_file(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture, arguments: list[str], message: str
):
    (tmp_path / "notes.txt").write_text("no picture")
    Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
    names = {"PICTURE": picture, "NOTES": tmp_path / "notes.txt", "DOT": tmp_path / "dot.png"}
    filled = [str(names.get(word, word)).replace("NOTES", str(tmp_path / "notes.txt")) for word in arguments]
    before = sorted(tmp_path.iterdir())
    rest = [] if "--preset" in arguments else ["--preset", "brief"]
    out = [] if "--out" in arguments else ["--out", str(tmp_path / "out")]
    assert run(*filled, *rest, *out) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert message in said.err
    assert said.err.startswith("inrexp: ")
    assert said.err.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_models_and_devices_that_are_not_there(tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert run("coffee", "--model", "resnet51", "--out", tmp_path / "out") == 2
    assert "no classifier named 'resnet51' (did you mean 'resnet50'" in capsys.readouterr().err
    assert run("coffee", "--device", "cuda", "--out", tmp_path / "out") == 2
    assert "device 'cuda' is not available here; available: cpu" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_model_that_gives_nan_is_said_so(
    picture: Path, planted: Planted, tmp_path: Path, capsys: pytest.CaptureFixture
):
    planted.classifier.model.head.weight.data.fill_(torch.nan)
    assert run(picture, "--preset", "brief", "--out", tmp_path / "out") == 2
    assert "NaN or infinite scores" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_figure_that_cannot_be_written_leaves_no_half_of_it(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    def full(figure: Figure, path: Path, **_: object) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", full)
    assert run(picture, "--preset", "brief", "--out", tmp_path / "out") == 2
    assert "No space left on device" in capsys.readouterr().err
    assert [path for path in (tmp_path / "out").iterdir() if path.suffix == ".png"] == []


@pytest.mark.slow
def test_a_film_of_the_growing_mask_comes_on_request_with_a_bar_while_it_is_drawn(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    assert run(picture, "--preset", "brief", "--animate", "--out", tmp_path) == 0
    with Image.open(tmp_path / f"{picture.stem}.webp") as film:
        assert film.n_frames == len(searched_areas())
    assert f"/{len(searched_areas())}" in capsys.readouterr().err.split("film: ")[1]


def test_where_no_area_suffices_another_start_is_named(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(inrexp.PRESETS, "brief", dataclasses.replace(inrexp.PRESETS["brief"], start="grad_cam"))
    monkeypatch.setattr(Explanation, "smallest_area", lambda self, *given, **options: None)
    assert run(picture, "--preset", "brief", "--out", tmp_path) == 0
    helps = "; what may help: --preset crisp, --area-range 0.1 0.5, --preset crisp_random, another --seed)"
    assert helps in capsys.readouterr().out


def test_another_range_of_areas_is_fitted_and_shown(picture: Path, tmp_path: Path):
    assert run(picture, "--preset", "brief", "--area-range", "0.2", "0.6", "--area", "0.55", "--out", tmp_path) == 0
    numbers = json.loads((tmp_path / "stripes.v1.json").read_text())
    assert numbers["areas"] == pytest.approx([0.2, 0.3, 0.4, 0.5, 0.6])
    assert Explanation.load(tmp_path / "stripes.v1.safetensors", classifier=plant().classifier).area_range == (0.2, 0.6)


@pytest.mark.slow
def test_a_class_that_the_network_hardly_sees_is_said_so_and_what_was_found_is_named(
    picture: Path, planted: Planted, tmp_path: Path, capsys: pytest.CaptureFixture
):
    words = ["--preset", "brief", "--out", tmp_path, "--page"]
    assert run(picture, "--target", "other", *words) == 0
    said = capsys.readouterr()
    assert re.search(r"inrexp: the network gives 'other' p = 0\.0\d* \('stripes' 0.9\d\). A mask that keeps", said.err)
    assert "stripes.v1_*.png, " in said.out
    assert "stripes.v1.json, " in said.out
    assert said.out.endswith("stripes.v1.html\n")
    assert run(picture, "--target", "stripes", *words) == 0
    said = capsys.readouterr()
    assert "hardly anything" not in said.err
    helps = "what may help: --preset crisp, --area-range 0.1 0.5, another --seed"
    kept, at = re.search(rf"\(the most is ([\d.e-]+), at ([\d.]+); {helps}\)", said.out).groups()
    found = Explanation.load(tmp_path / "stripes.v1.safetensors", classifier=planted.classifier)
    assert found.smallest_area() is None
    assert float(found.probability(found.searched_areas).max()) == pytest.approx(float(kept), abs=0.006)
    assert 0.1 <= float(at) <= 0.4
    page = (tmp_path / "stripes.v1.html").read_text()
    assert "so there is no a*" in page
    assert "the diamond on the curve" not in page


def test_a_weak_first_answer_is_not_set_against_itself(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(command, "WEAK", 1.0)
    assert run(picture, "--preset", "brief", "--out", tmp_path) == 0
    assert re.search(r"the network gives 'stripes' p = 0.9\d. A mask that keeps half", capsys.readouterr().err)


def test_unknown_words_are_refused_by_the_parser(capsys: pytest.CaptureFixture):
    for words in (
        ["explain", "--preset", "fastest"],
        ["explode"],
        ["explain", "--seed", "one"],
        ["explain", "--area", "15%"],
        ["run", "all", "--execution-timeout", "0.5"],  # 0 would be no limit to nbclient
        ["run", "all", "--execution-timeout", "-1"],
    ):
        with pytest.raises(SystemExit) as caught:
            cli.main(words)
        assert caught.value.code == 2
        assert "usage: inrexp" in capsys.readouterr().err


def test_without_arguments_it_says_what_one_can_do(capsys: pytest.CaptureFixture):
    assert cli.main([]) == 0
    said = capsys.readouterr().out
    for name in cli.COMMANDS:
        assert f"    {name} " in said
    assert "inrexp run start" in said


LIGHT: list[tuple[list[str], int, str]] = [
    ([], 0, "inrexp run start"),
    (["--help"], 0, "inrexp run start"),
    (["study", "--help"], 0, "--methods"),
    (["run"], 0, "fig3"),
    (["explode"], 2, "explode"),
    (["explain", "--preset", "fastest"], 2, "'fastest'"),
    (["explain", "coffee", "--otu", "there"], 2, "unknown: --otu there (did you mean '--out'"),
    (["explain", "coffee", "macaws"], 2, "usage: inrexp explain"),
    (["explain", "no-such-picture"], 2, "no picture at no-such-picture"),
    (["explain", "coffee", "--area", "15"], 2, "argument --area: wanted a fraction of the picture"),
    (["explain", "coffee", "--area", "nan"], 2, "such as 0.15 for 15 %, got 'nan'"),
    (["explain", "coffee", "--steps", "-3"], 2, "--steps: wanted a whole number of 1 or more, got '-3'"),
    (["explain", "coffee", "--out", "/proc/no"], 2, "--out must be a folder that can be written to"),
    (["run", "fig3", "-p", "PRESET=crsp"], 2, "no preset named 'crsp' (did you mean 'crisp'"),
    (["study", "nowhere", "--methods", "inr,"], 2, "got '': one of your own needs --plugin"),
    (["study", "nowhere", "--methods", "gradcam"], 2, "(did you mean 'grad_cam'?): one of your own needs --plugin"),
    (["study", "nowhere", "--dataset", "imagenet"], 2, "--dataset: invalid choice: 'imagenet'"),
    (["study", "nowhere", "--seeds", "0"], 2, "--seeds: wanted a whole number of 1 or more, got '0'"),
    (["tables", "nowhere"], 2, "no rows at nowhere"),
    (["run", "fig3", "--out", __file__], 2, "--out must be a folder that can be written to"),
    (["tables", __file__, "--out", __file__], 2, "--out must be a folder that can be written to"),
    (["--version"], 0, f"inrexp {inrexp.__version__}\n"),
    (["--vers"], 2, "inrexp: error:"),
    (["study", "nowhere", "--seed", "3"], 2, "unknown: --seed 3 (did you mean '--seeds'"),
    (["study", "nowhere", "--rep"], 2, "unknown: --rep (did you mean '--replace'"),
    (["data", "check", "voc07", "--fold", "."], 2, "unknown: --fold . (did you mean '--folder'"),
    (["explain", "--seed", "x"], 2, "--seed: wanted a whole number of 0 or more, got 'x'"),
    (["explain", "--seed", "-1"], 2, "--seed: wanted a whole number of 0 or more, got '-1'"),
    (["study", "nowhere", "--threshold", "x"], 2, "--threshold: wanted a number of 0 or more and below 1, such as 0.5"),
    (["study", "nowhere", "--cut", "1"], 2, "--cut: wanted a number of 0 or more and below 1, such as 0.5, got '1'"),
    (["study", "nowhere", "--map-cut", "nan"], 2, "--map-cut: wanted a number of 0 or more and below 1"),
    (["claims", "--write", "no.md"], 2, "--write must name a file with the table's two marks, there is none at no.md"),
]
ALL_LIGHT = """
import contextlib, io, json, sys
from inrexp.commands import cli
heavy, answers = {"torch", "timm", "numpy", "pandas", "matplotlib", "papermill"}, []
for words in json.loads(sys.argv[1]):
    said, before = io.StringIO(), set(sys.modules)
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            status = cli.main(words)
        except SystemExit as error:
            status = error.code
    answers.append([status, said.getvalue(), sorted(heavy & (set(sys.modules) - before))])
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def light_answers() -> dict[str, tuple[int, str, list[str]]]:
    """Status, words and heavy imports of every command of LIGHT, one after another in one fresh interpreter."""
    every = [words for words, _, _ in LIGHT]
    command = [sys.executable, "-c", ALL_LIGHT, json.dumps(every)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return dict(zip(map(str, every), json.loads(answer.stdout), strict=True))


@pytest.mark.parametrize(("words", "status", "said"), LIGHT)
def test_help_lists_and_errors_of_arguments_import_no_torch(light_answers, words: list[str], status: int, said: str):
    """Without those imports they answer in half a second."""
    got, printed, heavy = light_answers[str(words)]
    assert got == status, printed
    assert said in printed
    assert heavy == []


def said_of_error(capsys: pytest.CaptureFixture, *words: object) -> str:
    """The one line that a command ends with, which has exit status 2."""
    assert cli.main([str(word) for word in words]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("inrexp: ")
    assert said.err.count("\n") == 1
    return said.err


def test_a_page_without_marks_is_named(tmp_path: Path, capsys: pytest.CaptureFixture):
    page = tmp_path / "page.md"
    page.write_text("no marks")
    assert f"inrexp: {page}: wanted a line <!-- the paper's claims -->" in said_of_error(
        capsys, "claims", "--write", page
    )
    page.write_bytes("Zürich".encode("latin-1"))
    assert f"{page} must be text in UTF-8" in said_of_error(capsys, "claims", "--write", page)


def test_without_a_clone_claims_say_where_the_rows_are(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(files, "DATA", tmp_path)
    said = said_of_error(capsys, "claims")
    assert f"no rows at {tmp_path / 'results'}: they are part of the repository" in said
    assert "Clone the repository and run `inrexp claims --results data/results` in the clone" in said


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "No columns to parse from file"),
        (b'a,b\n"1,2\n', "EOF inside string"),
        ("sample\nZürich".encode("latin-1"), "must be text in UTF-8"),
    ],
)
def test_a_table_of_rows_that_cannot_be_read_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture, content: bytes, cause: str
):
    path = tmp_path / "mine.csv"
    path.write_bytes(content)
    said = said_of_error(capsys, "tables", path, "--out", tmp_path / "out")
    assert f"inrexp: {path} must be " in said
    assert cause in said


def test_what_p_compares_with_is_a_method_of_the_rows(tmp_path: Path, capsys: pytest.CaptureFixture):
    rows = files.DATA / "results" / "study_rows.csv"
    said = said_of_error(capsys, "tables", rows, "--against", "INR, crips", "--out", tmp_path / "out")
    assert "--against must be a method of these rows as the table names it, got 'INR, crips'" in said
    assert "(did you mean 'INR, crisp'" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        ("import inrexp\nimport not_there\n", "line 2: ModuleNotFoundError: No module named 'not_there'"),
        ("\ndef broken(:\n", "line 2: SyntaxError: invalid syntax"),
        ("def deep():\n    raise KeyError('x')\n\ndeep()\n", "line 2: KeyError: 'x'"),
        ("import json\n\n\njson.loads('{\\n')\n", "line 4: JSONDecodeError: Expecting property name"),
        ("raise SystemExit(0)\n", "line 1: SystemExit: 0"),
    ],
)
@pytest.mark.parametrize("words", [["study", "--list-options"], ["tables", "ROWS"]])
def test_a_faulty_plugin_is_one_line_with_file_line_and_cause(
    tmp_path: Path, capsys: pytest.CaptureFixture, words: list[str], lines: str, cause: str
):
    rows, plugin = files.DATA / "results" / "study_rows.csv", tmp_path / "mine.py"
    plugin.write_text(lines)
    filled = [str(rows) if word == "ROWS" else word for word in words]
    assert f"{plugin} could not be run, {cause}" in said_of_error(capsys, *filled, "--plugin", plugin)


def test_the_names_that_arguments_take_are_those_that_there_are():
    assert tuple(PRESETS) == arguments.PRESETS
    assert tuple(name for name, preset in PRESETS.items() if preset.is_field) == arguments.FIELD_PRESETS
    assert arguments.DEFAULT_PRESET == DEFAULT
    assert tuple(PACKAGED) == arguments.PICTURES
    assert tuple(METHODS) == arguments.METHODS
    assert tuple(NAMES) == arguments.DATASETS
    assert study.PLACES == cluster.PLACES


def test_ctrl_c_during_the_fit_writes_what_was_fitted(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    def interrupted(*arguments: object, **options: object) -> Explanation:
        def stop(*_: object) -> None:
            raise KeyboardInterrupt

        return explain(*arguments, **options, callback=stop)

    explain = inrexp.explain
    monkeypatch.setattr(inrexp, "explain", interrupted)
    assert run(picture, "--preset", "planted", "--out", tmp_path / "out") == 130
    assert "inrexp: The fit was interrupted at step 10. What was fitted is kept" in capsys.readouterr().err
    numbers = json.loads((tmp_path / "out" / "stripes.v1.json").read_text())
    assert (numbers["status"], numbers["steps"]) == ("interrupted at step 10", 10)


def test_ctrl_c_before_the_fit_writes_nothing(picture: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(inrexp, "load_picture", interrupted)
    assert run(picture, "--out", tmp_path / "out") == 130
    assert "inrexp: interrupted. Finished files are complete" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_installed_command_answers():
    answer = subprocess.run([COMMAND, "--help"], capture_output=True, text=True, timeout=120)
    assert answer.returncode == 0
    assert "explain" in answer.stdout


def test_help_names_every_option(capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit) as caught:
        cli.main(["explain", "--help"])
    assert caught.value.code == 0
    said = capsys.readouterr().out
    for option in ("--model", "--target", "--area", "--preset", "--seed", "--device", "--out"):
        assert option in said


@pytest.mark.slow
def test_a_real_ctrl_c_ends_the_real_command_with_its_results(tmp_path: Path):
    process = subprocess.Popen(
        [COMMAND, "explain", "coffee", "--steps", "100000", "--device", "cpu", "--out", str(tmp_path)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"},
        preexec_fn=hears_ctrl_c,
    )
    heard, begun = b"", time.monotonic()
    while b"10/100000" not in heard and time.monotonic() - begun < 240:  # the first report of the progress bar
        heard += os.read(process.stderr.fileno(), 4096)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 130
    assert b"What was fitted is kept" in err
    assert b"espresso: p = 0.95 unmasked" in out
    numbers = json.loads((tmp_path / "coffee.json").read_text())
    assert numbers["status"].startswith("interrupted at step")
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".png", ".safetensors"}
