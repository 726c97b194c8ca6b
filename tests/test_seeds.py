"""Random streams: one a use, and seeds beyond 32 bits that differ."""

import pytest
import torch

from inrexp.seeds import STREAMS, generator


def drawn(seed: int, stream: str = "weights") -> list[float]:
    return torch.rand(4, generator=generator(seed, stream)).tolist()


def test_a_seed_gives_one_stream_for_each_use():
    assert drawn(3) == drawn(3)
    assert len({tuple(drawn(3, stream)) for stream in STREAMS}) == len(STREAMS)


@pytest.mark.parametrize("other", [1, 2**32, 2**32 + 7, 2**64])
def test_seeds_differ_beyond_thirty_two_bits_too(other: int):
    assert drawn(7) != drawn(7 + other)


def test_no_seed_s_weights_are_another_seed_s_areas():
    assert not {tuple(drawn(seed)) for seed in range(50)} & {tuple(drawn(seed, "areas")) for seed in range(50)}


def test_a_seed_beyond_thirty_two_bits_is_no_other_seed_s_stream():
    large = {tuple(drawn(7 + use * 2**32)) for use in range(len(STREAMS))}
    assert not large & {tuple(drawn(7, stream)) for stream in STREAMS[1:]}


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match="seed must be 0 or more, got -1"):
        generator(-1, "weights")
