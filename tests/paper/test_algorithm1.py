"""Algorithm 1 line by line, with a training that is known: what each round is given, and what ends it."""

import torch

from inrexp.models.classifier import Target
from inrexp.paper.algorithm1 import algorithm_1, seed_of
from inrexp.paper.fit import Problem

SIDE = 4


def problem(seed: int = 0, baseline: torch.Tensor | None = None) -> Problem:
    return Problem(torch.zeros(1, 3, SIDE, SIDE), Target((0,), "class"), seed, baseline)


def row(number: int) -> torch.Tensor:
    """A mask that keeps one row of the picture."""
    mask = torch.zeros(1, 1, SIDE, SIDE)
    mask[..., number, :] = 1
    return mask


class Training:
    """Notes what it is given; round n "trains" the mask of row n."""

    def __init__(self):
        self.rounds: list[list[Problem]] = []

    def __call__(self, problems: list[Problem]) -> list[int]:
        self.rounds.append(problems)
        return [len(self.rounds) - 1] * len(problems)


def generate(_index: int, trained: int) -> torch.Tensor:
    return row(trained)


def test_each_round_is_trained_against_the_clamped_sum_of_the_masks_before_it():
    train = Training()
    (masks,) = algorithm_1([problem()], 3, train, generate)
    first, second, third = (problems[0].baseline for problems in train.rounds)
    assert first is None  # eq. 6 without any mask is eq. 2
    assert torch.equal(second, row(0))
    assert torch.equal(third, row(0) + row(1))
    assert torch.equal(torch.cat(masks), torch.cat([0 * row(0), row(0), row(1), row(2)]))  # M^0 to M^3


def test_the_initial_mask_counts_and_the_sum_is_clamped():
    train = Training()
    algorithm_1([problem(baseline=0.5 * (row(0) + row(3)))], 2, train, generate)
    assert torch.equal(train.rounds[0][0].baseline, 0.5 * (row(0) + row(3)))
    assert torch.equal(train.rounds[1][0].baseline, row(0) + 0.5 * row(3))


def test_every_network_is_trained_from_scratch_with_a_seed_of_its_own():
    train = Training()
    algorithm_1([problem(seed=7)], 3, train, generate)
    seeds = [problems[0].seed for problems in train.rounds]
    assert seeds == [seed_of(7, n) for n in (1, 2, 3)]
    assert seeds[0] == 7
    assert len(set(seeds)) == 3


def test_pictures_advance_side_by_side_and_one_that_ends_leaves_the_others():
    train = Training()

    def until_the_second(index: int, trained: int) -> torch.Tensor | None:
        return None if index == 0 and trained == 1 else row(trained)

    masks = algorithm_1([problem(0), problem(1)], 3, train, until_the_second)
    assert [len(problems) for problems in train.rounds] == [2, 2, 1]
    assert [len(own) - 1 for own in masks] == [1, 3]


def test_an_interrupted_training_ends_it_with_what_there_is():
    train = Training()
    masks = algorithm_1([problem(0), problem(1)], 3, lambda problems: train(problems)[:1], generate)
    assert len(train.rounds) == 1
    assert [len(own) - 1 for own in masks] == [1, 0]
