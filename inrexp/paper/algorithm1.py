"""Algorithm 1: several explanations of one picture, each trained away from those before it (section 3.2)."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch

from inrexp.paper.fit import Problem


def algorithm_1(
    problems: Sequence[Problem],
    N: int,  # noqa: N803
    train: Callable[[list[Problem]], Sequence[Any]],
    generate: Callable[[int, Any], torch.Tensor | None],
) -> list[list[torch.Tensor]]:
    """Algorithm 1, for one picture or for several side by side; its lines are the paper's.

    Input: the deep learning model Phi and the perturbed image I' are in `train`; `problems` hold the image I, and as
        their baseline the initial baseline attribution mask M^0, or None for an empty one.
    N: the number of attribution masks to generate.
    train: trains a network from scratch for each of some problems by eq. 6, utilising Phi, I, I' and M^b. It may return
        fewer than it was given, the first ones, if it was interrupted; then the algorithm ends.
    generate: makes the mask M^n (1, 1, h, w) of a trained network of the problem at an index, or None to end there.
    Output: the set of attribution masks {M^n}, n = 0 to N, for each problem.
    """
    masks = [[_initial(problem)] for problem in problems]  # M^0
    going = list(range(len(problems)))
    for n in range(1, N + 1):  # line 1
        # line 2: M^b = sum of M^i, i = 0 to n - 1; the paper's sum ends at n, but M^n is only made in line 5
        total = [torch.cat(masks[index]).sum(0, keepdim=True) for index in going]
        baseline = [one.clamp(0, 1) for one in total]  # line 3
        fresh = [  # line 4: train the network from scratch, with a seed of its own
            dataclasses.replace(problems[index], seed=seed_of(problems[index].seed, n), baseline=_or_none(one))
            for index, one in zip(going, baseline, strict=True)
        ]
        trained = train(fresh)
        generated = [generate(index, one) for index, one in zip(going, trained, strict=False)]  # line 5
        for index, mask in zip(going, generated, strict=False):
            if mask is not None:
                masks[index].append(mask)
        going = [index for index, mask in zip(going, generated, strict=False) if mask is not None]
        if not going or len(trained) < len(fresh):
            break
    return masks  # line 7


def seed_of(seed: int, n: int) -> int:
    """The seed of explanation n = 1, 2, ...: the first has `seed` itself, so that it equals `explain`'s."""
    return seed + 1_000_003 * (n - 1)


def _initial(problem: Problem) -> torch.Tensor:
    if problem.baseline is None:
        return problem.image.new_zeros(1, 1, *problem.image.shape[-2:])
    return problem.baseline


def _or_none(baseline: torch.Tensor) -> torch.Tensor | None:
    """Without any earlier mask eq. 6 is eq. 2."""
    return baseline if bool(baseline.any()) else None
