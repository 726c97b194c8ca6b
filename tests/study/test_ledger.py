"""The ledger of claims: its file, its Markdown, and that README says what the rows say."""

import dataclasses
import shlex
from pathlib import Path

import pandas as pd
import pytest
from ledger_rows import OF_PAPER, STANDIN, run, write

from inrexp.commands import cli
from inrexp.files import DATA
from inrexp.study import judging, ledger, quality, variants
from inrexp.study.evidence import read_evidence
from inrexp.study.judging import FAILS, HOLDS, IN_PART, UNMEASURED, UNTESTED, VERDICTS, Part, above, measured

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"


@pytest.fixture
def two_pictures_decide(monkeypatch: pytest.MonkeyPatch):
    """The toys have two or three pictures; `test_judging` holds how many decide."""
    monkeypatch.setattr(judging, "FEWEST", 2)


@pytest.fixture(scope="module")
def found() -> list[ledger.Assessed]:
    """The ledger of the committed rows."""
    return ledger.assessed(read_evidence(DATA / "results"))


def claim(*values: float, **others) -> ledger.Claim:
    parts = [Part("x less y*", pd.Series(values, dtype=float), above(0), signed=True)]
    known = {
        "title": "A claim",
        "section": "4.1",
        "sentence": "As the paper has it.",
        "tested": "How.",
        "notebook": "07_t",
    }
    return ledger.Claim(**{**known, "parts": lambda _: parts, "command": "make rows", **others})


def test_readme_says_what_the_rows_say(found: list[ledger.Assessed]):
    text = README.read_text(encoding="utf-8")
    assert ledger.between_marks(text, ledger.summary(found)) == text, "run: inrexp claims --write README.md"


def test_every_claim_has_a_verdict_a_notebook_and_a_way_to_its_rows(found: list[ledger.Assessed]):
    assert len(found) >= 14
    for one in found:
        assert one.verdict in (*VERDICTS, UNMEASURED)
        assert (ROOT / "notebooks" / f"{one.claim.notebook}.ipynb").is_file()
        assert one.claim.way_out or one.claim.by_hand
        assert one.verdict != UNTESTED or one.claim.takes or one.numbers


def test_the_commands_of_claims_exist_and_know_what_they_are_asked_for():
    for one in ledger.claims():
        words = shlex.split(one.command)
        if words[:1] == ["python"]:
            assert (ROOT / words[1]).is_file(), one.title
            known = (ROOT / words[1]).read_text() + (ROOT / "benchmarks" / "pictures.py").read_text()
            assert all(f'"{word}"' in known for word in words if word.startswith("--")), one.title
        elif words:
            for study in one.command.split(" && "):
                assert study.startswith("inrexp study "), one.title
                _, strange = cli.make_parser().parse_known_args(shlex.split(study)[1:])
                assert not strange, one.title
        if "--settings" in words:
            assert words[words.index("--settings") + 1] in quality.SETTINGS
    of_measure = {one.parts.__name__: one for one in ledger.claims() if one.parts}
    assert "150 passes, learned start" not in variants.VARIANTS
    assert "can no longer be made" in of_measure["learned_start"].way_out
    assert "run `python benchmarks/quality.py" in of_measure["divergence"].way_out


def test_verdicts_by_hand_are_few_and_say_so(found: list[ledger.Assessed]):
    by_hand = [one for one in found if one.claim.by_hand]
    assert len(by_hand) <= 4
    assert all("This verdict is a judgement" in ledger.block(one, 1) for one in by_hand)
    assert not [one for one in found if not one.claim.by_hand and "judgement" in ledger.block(one, 1)]


def test_a_claim_needs_a_measure_or_a_verdict_that_exists(tmp_path: Path):
    with pytest.raises(ValueError, match="neither a measure nor a verdict by hand"):
        claim(parts=None)
    with pytest.raises(ValueError, match="must be one of holds, .*got 'yes'"):
        claim(by_hand="yes")
    text = ledger.CLAIMS.read_text().replace('"continuity"', '"continuousness"')
    (tmp_path / "claims.toml").write_text(text)
    with pytest.raises(ValueError, match="names the measure 'continuousness', which neither measures nor turns has"):
        ledger.claims(tmp_path / "claims.toml")


def test_a_claim_without_rows_names_the_command_that_makes_them(tmp_path: Path):
    one = ledger.assess(claim(), read_evidence(tmp_path))
    assert one.verdict == UNMEASURED
    assert "Not measured yet: run `make rows`." in ledger.block(one, 1)
    assert ledger.summary([one]).endswith("| **not measured yet** | run `make rows` | [07](notebooks/07_t.ipynb) |")


@pytest.mark.usefixtures("two_pictures_decide")
def test_a_line_has_the_key_number_and_a_block_has_all(tmp_path: Path):
    one = ledger.assess(claim(0.1, 0.1), read_evidence(tmp_path))
    line = r"| 1 | A claim | 4.1 | **holds** | x less y\*: +0.10, n = 2 (holds) | 07 |"
    assert ledger.summary([one], folder=None).splitlines()[-1] == line
    text = ledger.block(one, 3)
    assert text.startswith("**3. A claim** (section 4.1): **holds**\n\n> As the paper has it.\n\nHow.\n\n| number |")
    assert r"| x less y\* | +0.10, n = 2 | above 0; no, if it ends below 0.05 | holds |" in text


@pytest.mark.usefixtures("two_pictures_decide")
def test_a_claim_that_holds_in_part_shows_what_holds_and_what_does_not():
    rule = above(0)
    parts = [Part(name, pd.Series(v, dtype=float), rule) for name, v in (("bad", [-0.1, -0.1]), ("good", [0.1, 0.1]))]
    numbers = tuple(measured(parts))
    one = ledger.Assessed(claim(), numbers, IN_PART)
    assert [number.part.what for number in one.key] == ["good", "bad"]
    assert [number.part.what for number in dataclasses.replace(one, verdict=FAILS).key] == ["bad"]


def test_the_frame_has_a_line_for_each_number_that_judges(found: list[ledger.Assessed]):
    frame = ledger.frame(found)
    assert len(frame) == sum(number.part.rule is not None for one in found for number in one.numbers)
    assert set(frame["says"]) <= {HOLDS, FAILS, UNTESTED, UNMEASURED}


def test_a_page_needs_its_two_marks_once_and_in_order():
    page = f"before\n{ledger.BEGIN}\nold\n{ledger.END}\nafter\n"
    new = ledger.between_marks(page, "new")
    assert new == f"before\n{ledger.BEGIN}\n\nnew\n\n{ledger.END}\nafter\n"
    assert ledger.between_marks(new, "new") == new
    for wrong in ("", page + page, f"{ledger.END}\n{ledger.BEGIN}"):
        with pytest.raises(ValueError, match="write them where the table goes"):
            ledger.between_marks(wrong, "new")


@pytest.mark.slow
@pytest.mark.usefixtures("two_pictures_decide")
def test_the_command_prints_and_writes_what_fresh_rows_say(tmp_path: Path, capsys: pytest.CaptureFixture):
    methods = ("inr", "extremal_perturbation", "grad_cam", "rise")
    scores = dict(zip(methods, (0.8, 0.4, 0.4, 0.4), strict=True))
    study = [run(f"x/{n}", m, p, equal=p, dataset=STANDIN) for n in range(5) for m, p in scores.items()]
    study += [run(f"x/{n}", precision=0.8, equal=0.8, **OF_PAPER) for n in range(4)]
    words = ["claims", "--results", str(write(tmp_path / "rows", study=study))]
    assert cli.main(words) == 0
    outperforms = "Outperforms the other techniques on ImageNet-S50 | 4.1 | **holds** | "
    assert outperforms in capsys.readouterr().out
    assert cli.main([*words, "--full"]) == 0
    assert "our method outperformed the other techniques" in capsys.readouterr().out
    page = tmp_path / "PAGE.md"
    page.write_text(f"{ledger.BEGIN}\n{ledger.END}\n")
    assert cli.main([*words, "--write", str(page)]) == 0
    assert outperforms in page.read_text()
    assert cli.main([*words, "--write", str(page)]) == 0
    assert capsys.readouterr().out == f"{page}: written\n{page}: up to date\n"
    assert cli.main([*words, "--write", str(page), "--full"]) == 2


@pytest.mark.usefixtures("two_pictures_decide")
def test_the_command_takes_a_studys_own_folder_and_refuses_one_without_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture
):
    study = [run(f"x/{n}", m, p, equal=p) for n in range(5) for m, p in (("inr", 0.8), ("grad_cam", 0.4))]
    (tmp_path / "study").mkdir()
    pd.DataFrame(study).to_csv(tmp_path / "study" / "rows.csv", index=False)
    assert cli.main(["claims", "--results", str(tmp_path / "study"), "--full"]) == 0
    said = capsys.readouterr()
    assert "INR, crisp less GradCAM: precision at equal area | +0.40" in said.out
    assert said.err == ""
    pd.DataFrame([run("x/0", dataset="folder mine")]).to_csv(tmp_path / "study" / "rows.csv", index=False)
    assert cli.main(["claims", "--results", str(tmp_path / "study")]) == 0
    assert "no claim is judged on the rows of 'folder mine'" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert cli.main(["claims", "--results", str(tmp_path / "empty")]) == 2
    assert "has no table of rows: wanted a folder such as data/results" in capsys.readouterr().err
