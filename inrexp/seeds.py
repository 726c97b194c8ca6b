"""Random streams from a seed: each use has a generator of its own, and seeds beyond 32 bits count whole."""

import operator

import numpy as np
import torch

STREAMS = ("weights", "areas", "start", "masks")


def checked_seed(seed: object, name: str = "seed") -> int:
    """A seed as an int.  Raises TypeError, by the argument's name, for what is no whole number."""
    try:
        return operator.index(seed)  # type: ignore[arg-type]
    except TypeError as error:
        raise TypeError(f"{name} must be a whole number, got {seed!r}") from error


def generator(seed: int, stream: str) -> torch.Generator:
    """A generator on the CPU for one use of a seed, by numpy's SeedSequence; torch itself keeps 32 bits of a seed.

    stream: one of `STREAMS`.  Raises ValueError for a seed below 0.
    """
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, got {seed}")
    words = np.random.SeedSequence(seed, spawn_key=(STREAMS.index(stream),)).generate_state(1, np.uint32)
    return torch.Generator().manual_seed(int(words[0]))
