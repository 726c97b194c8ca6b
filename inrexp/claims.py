"""What a notebook claims about its results: checked in every run that counts, named and not judged in a rehearsal.

A rehearsal (`inrexp run NAME --full --rehearse`) executes a notebook's full path in a handful of steps. Its fits are
worth nothing, so that a claim about them can neither hold nor fail; that each line runs is what it shows.
"""

import os

REHEARSAL = "INREXP_REHEARSAL"  # the environment variable that says so


def rehearsed() -> bool:
    """Whether this process is a rehearsal."""
    return os.environ.get(REHEARSAL, "") not in ("", "0")


def claim(what: str, holds: object) -> None:
    """State a result and check it.

    what: the claim as a sentence, which the error names.  holds: its truth, a bool or a tensor or array of one.
    Raises AssertionError if it does not hold.  In a rehearsal it prints the claim's name and judges nothing.
    Raises TypeError for a claim without words, and ValueError (from the tensor) for several truths at once.
    """
    if not isinstance(what, str) or not what.strip():
        raise TypeError(f"what must be a sentence that names the claim, got {what!r}")
    held = bool(holds)
    if rehearsed():
        print(f"not judged in a rehearsal: {what}")
    elif not held:
        raise AssertionError(f"the claim does not hold in this run: {what}")
