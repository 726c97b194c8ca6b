"""The paper's claims, one by one: the sentence, how it was tested here, the numbers, and the verdict that follows.

data/claims.toml has the sentences, `measures` and `turns` the numbers that test each, and `judging` the rules by which
a verdict follows from them. Only claims that no number here can decide are judged by hand, and say so.
"""

import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from inrexp.files import DATA, read_utf8, written_whole
from inrexp.study import measures, turns
from inrexp.study.evidence import Evidence
from inrexp.study.export import plain
from inrexp.study.judging import (
    FAILS,
    HOLDS,
    IN_PART,
    OF_A_NUMBER,
    UNMEASURED,
    UNTESTED,
    VERDICTS,
    Number,
    Part,
    measured,
    verdict,
)

CLAIMS = DATA / "claims.toml"
IN_FAVOUR, AGAINST = (HOLDS, UNTESTED, FAILS), (FAILS, UNTESTED, HOLDS)  # which number of several is shown first
BEGIN, END = "<!-- the paper's claims -->", "<!-- end of the paper's claims -->"


@dataclass(frozen=True)
class Claim:
    """A claim of the paper.

    sentence: as the paper has it, from this section.  tested: how it was tested here.
    notebook: the stem of the notebook that shows the matter on pictures.
    parts: gives the numbers to compute from the rows, or none.  command: makes the rows.
    gone: says which of the rows no command makes any more; "" where all can be made.
    by_hand: one of VERDICTS, where no number decides; "" where the verdict follows from the numbers.
    takes: what deciding it would take, or what the test leaves open.
    """

    title: str
    section: str
    sentence: str
    tested: str
    notebook: str
    parts: Callable[[Evidence], list[Part]] | None = None
    command: str = ""
    by_hand: str = ""
    takes: str = ""
    gone: str = ""

    @property
    def way_out(self) -> str:
        """What a reader can do where rows are missing."""
        return "; ".join([f"run `{self.command}`"] * bool(self.command) + [self.gone] * bool(self.gone))

    def __post_init__(self) -> None:
        if self.by_hand and self.by_hand not in VERDICTS:
            raise ValueError(f"by_hand of {self.title!r} must be one of {', '.join(VERDICTS)}, got {self.by_hand!r}")
        if not self.by_hand and self.parts is None:
            raise ValueError(f"{self.title!r} has neither a measure nor a verdict by hand: give one of them")


@dataclass(frozen=True)
class Assessed:
    """A claim with its numbers and its verdict, one of VERDICTS, or UNMEASURED where its rows are missing."""

    claim: Claim
    numbers: tuple[Number, ...]
    verdict: str

    @property
    def key(self) -> tuple[Number, ...]:
        """The number that carries the verdict: the first that says it. Where the claim holds in part: one that holds,
        and one that does not or, if there is none, one that the pictures do not decide."""
        judging = [one for one in self.numbers if one.part.rule is not None] or list(self.numbers)
        if self.verdict != IN_PART:
            return tuple(sorted(judging, key=lambda one: one.says != self.verdict)[:1])
        return tuple(min(judging, key=lambda one: wanted.index(one.says)) for wanted in (IN_FAVOUR, AGAINST))


def claims(path: "str | Path" = CLAIMS) -> list[Claim]:
    """The claims in a file such as data/claims.toml, in its order.

    Raises ValueError for a claim that names a measure which `measures` lacks, or another verdict than there is.
    """
    return [_claim(entry) for entry in tomllib.loads(Path(path).read_text(encoding="utf-8"))["claim"]]


def _claim(entry: dict[str, Any]) -> Claim:
    name = entry.pop("measure", None)
    parts = getattr(measures, name, getattr(turns, name, None)) if name else None
    if name and parts is None:
        raise ValueError(f"{entry['title']!r} names the measure {name!r}, which neither measures nor turns has")
    return Claim(parts=parts, **entry)


def assess(claim: Claim, found: Evidence) -> Assessed:
    """Compute a claim's numbers from the rows, and the verdict."""
    numbers = measured(claim.parts(found)) if claim.parts else []
    return Assessed(claim, tuple(numbers), claim.by_hand or verdict(numbers))


def assessed(found: Evidence) -> list[Assessed]:
    """Every claim, in the paper's order."""
    return [assess(claim, found) for claim in claims()]


def frame(ledger: Sequence[Assessed]) -> pd.DataFrame:
    """A line for each number that judges a claim.

    claim: its number in the ledger, from 1.  what, mean, low, high, pictures, says: of the number.  bound: of its rule.
    """
    return pd.DataFrame(
        {"claim": place, "what": n.part.what, "mean": n.mean, "low": n.low, "high": n.high}
        | {"bound": n.part.rule.bound, "pictures": n.pictures, "says": n.says}
        for place, one in enumerate(ledger, 1)
        for n in one.numbers
        if n.part.rule is not None
    )


def summary(ledger: Sequence[Assessed], folder: str | None = "notebooks/") -> str:
    """A Markdown table with a line for each claim.

    folder: where the notebooks are, as the links have it; None is no links, as in a notebook's output.
    """
    head = "| | claim | section | verdict | key number, with its interval | notebook |"
    lines = [head, "|---|---|---|---|---|---|"]
    for place, one in enumerate(ledger, 1):
        name = one.claim.notebook
        said = [plain(f"{key.part.what}: {key}{_in_brackets(key)}") for key in one.key if key.pictures]
        said += [one.claim.way_out] if one.verdict == UNMEASURED else []
        said += ["judged by hand, no number decides"] if one.claim.by_hand and not said else []
        number = name.split("_")[0]
        link = number if folder is None else f"[{number}]({folder}{name}.ipynb)"
        said_of = f"{one.claim.title} | {one.claim.section} | **{one.verdict}** | {'; '.join(said)}"
        lines.append(f"| {place} | {said_of} | {link} |")
    return "\n".join(lines)


def _in_brackets(number: Number) -> str:
    return f" ({OF_A_NUMBER.get(number.says, number.says)})" if number.says else ""


def block(one: Assessed, place: int) -> str:
    """One claim as Markdown: its sentence, how it was tested, a table of its numbers, and the verdict.

    place: its number in the ledger, from 1.
    """
    claim = one.claim
    said = [f"**{place}. {claim.title}** (section {claim.section}): **{one.verdict}**", f"> {plain(claim.sentence)}"]
    said.append(plain(claim.tested))
    if one.numbers:
        said.append(_numbers(one.numbers))
    if one.verdict == UNMEASURED:
        said.append(f"Not measured yet: {claim.way_out}.")
    if claim.by_hand:
        said.append("This verdict is a judgement. It follows from no number.")
    if claim.takes:
        said.append(plain(claim.takes))
    return "\n\n".join([*said, f"Pictures of it: notebook {claim.notebook.split('_')[0]}."])


def _numbers(numbers: Sequence[Number]) -> str:
    lines = ["| number | mean and interval | wanted | says |", "|---|---|---|---|"]
    for one in (one for one in numbers if one.pictures or one.part.rule):  # what stands beside may be missing
        wanted = one.part.rule.words if one.part.rule else ""
        lines.append(f"| {plain(one.part.what)} | {one} | {wanted} | {OF_A_NUMBER.get(one.says, one.says)} |")
    return "\n".join(lines)


def between_marks(text: str, table: str) -> str:
    """A page with this table between its two marks.  Raises ValueError for a page that lacks one or has it twice."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(END) < text.index(BEGIN):
        raise ValueError(f"wanted a line {BEGIN} and below it a line {END}, once each: write them where the table goes")
    return f"{text.split(BEGIN)[0]}{BEGIN}\n\n{table}\n\n{END}{text.split(END)[1]}"


def write_between_marks(path: "str | Path", table: str) -> bool:
    """Write this table between the marks of a file.  Returns whether the file changed.

    Raises ValueError, naming the file, for one that `between_marks` refuses or that is not UTF-8.
    """
    old = read_utf8(path)
    try:
        new = between_marks(old, table)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if new != old:
        with written_whole(path) as temporary:
            temporary.write_text(new, encoding="utf-8", newline="\n")
    return new != old
