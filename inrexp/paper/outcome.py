"""How a fit ended, and how a caller ends one."""

from dataclasses import dataclass

KINDS = ("finished", "interrupted", "diverged", "collapsed")


class Cancelled(Exception):
    """Raised in a callback to end a fit; what was fitted so far is kept, as after Ctrl-C."""


class FitFailed(UserWarning):
    """Said of a fit that collapsed or diverged; a program that says it in its own words can leave it out."""


@dataclass(frozen=True)
class Outcome:
    """How a fit ended.

    kind: "finished"; "interrupted", by Ctrl-C or `Cancelled`; "diverged", a loss that is not finite, the last good
        state is kept; "collapsed", a field whose sigmoid was driven to 0 or 1 at every area, from where no gradient
        leads back, so that its masks say nothing.
    step: the number of steps kept of a fit that was interrupted or diverged.
    mask: "empty" or "full", of a fit that collapsed.
    """

    kind: str = "finished"
    step: int | None = None
    mask: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {KINDS}, got {self.kind!r}")

    @property
    def finished(self) -> bool:
        return self.kind == "finished"

    @property
    def failed(self) -> bool:
        """Whether the masks say nothing about the picture: the fit collapsed or diverged."""
        return self.kind in ("collapsed", "diverged")

    def __str__(self) -> str:
        if self.kind == "collapsed":
            return f"collapsed to {'an empty' if self.mask == 'empty' else 'a full'} mask"
        return self.kind if self.step is None else f"{self.kind} at step {self.step}"
