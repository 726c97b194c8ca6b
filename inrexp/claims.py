"""Checks what a notebook claims about its results.

A claim is about the committed run. Where that run is made or repeated (`inrexp run --in-place`, nbval), a claim that
does not hold is an error. Elsewhere it is only said: another picture, seed, network or processor may well give another
result, and a long run must not end with it.

A rehearsal (`inrexp run NAME --full --rehearse`) executes a notebook's full path with a handful of steps. It shows that
every line runs. Its fits are too short for a claim about them to mean anything.
"""

import os

REHEARSAL = "INREXP_REHEARSAL"  # the environment variable that says so
CHECKED = "INREXP_CLAIMS"  # "check": a claim that does not hold is an error
FAILED = "does not hold in this run: "


def rehearsed() -> bool:
    """Whether this process is a rehearsal."""
    return os.environ.get(REHEARSAL, "") not in ("", "0")


def claim(what: str, holds: object) -> None:
    """State a result and check it.

    what: the claim as a sentence, which the error repeats.  holds: a bool, or a tensor or array that holds one.
    A claim that does not hold is printed; with INREXP_CLAIMS=check it is an AssertionError. In a rehearsal the claim is
    printed and not judged.
    Raises TypeError for an empty `what`, and ValueError (from the tensor) for several truth values at once.
    """
    if not isinstance(what, str) or not what.strip():
        raise TypeError(f"what must be a sentence that names the claim, got {what!r}")
    held = bool(holds)
    if rehearsed():
        print(f"not judged in a rehearsal: {what}")
    elif not held and os.environ.get(CHECKED) == "check":
        raise AssertionError(f"the claim {FAILED}{what}")
    elif not held:
        print(f"{FAILED}{what}")
