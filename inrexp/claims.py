"""Checks what a notebook claims about its results. A rehearsal only prints the claims and does not check them.

A rehearsal (`inrexp run NAME --full --rehearse`) executes a notebook's full path with a handful of steps. It shows that
every line runs. Its fits are too short for a claim about them to mean anything.
"""

import os

REHEARSAL = "INREXP_REHEARSAL"  # the environment variable that says so


def rehearsed() -> bool:
    """Whether this process is a rehearsal."""
    return os.environ.get(REHEARSAL, "") not in ("", "0")


def claim(what: str, holds: object) -> None:
    """State a result and check it.

    what: the claim as a sentence, which the error repeats.  holds: a bool, or a tensor or array that holds one.
    In a rehearsal the claim is printed and not checked.
    Raises AssertionError if the claim does not hold, TypeError for an empty `what`, and ValueError (from the tensor)
    for several truth values at once.
    """
    if not isinstance(what, str) or not what.strip():
        raise TypeError(f"what must be a sentence that names the claim, got {what!r}")
    held = bool(holds)
    if rehearsed():
        print(f"not judged in a rehearsal: {what}")
    elif not held:
        raise AssertionError(f"the claim does not hold in this run: {what}")
