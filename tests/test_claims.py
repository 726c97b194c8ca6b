"""claim: an assertion with a name, for the committed run; said elsewhere, and not judged in a rehearsal."""

import numpy as np
import pytest
import torch

from inrexp.claims import CHECKED, REHEARSAL, claim, rehearsed


@pytest.mark.parametrize("holds", [True, np.bool_(True), torch.tensor(True)])
def test_a_claim_that_holds_is_silent(holds: object, capsys: pytest.CaptureFixture):
    claim("masks grow with the area", holds)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("holds", [False, np.bool_(False), torch.tensor(False)])
def test_a_claim_that_does_not_hold_is_an_error_where_the_committed_run_is_made(
    holds: object, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(CHECKED, "check")
    with pytest.raises(AssertionError, match="masks grow with the area"):
        claim("masks grow with the area", holds)


def test_a_claim_that_does_not_hold_is_said_elsewhere(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(CHECKED, raising=False)
    claim("masks grow with the area", False)
    assert capsys.readouterr().out == "does not hold in this run: masks grow with the area\n"


@pytest.mark.parametrize("holds", [True, False])
def test_a_rehearsal_names_a_claim_and_does_not_judge_it(
    holds: bool, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(REHEARSAL, "1")
    assert rehearsed()
    claim("masks grow with the area", holds)
    assert capsys.readouterr().out == "not judged in a rehearsal: masks grow with the area\n"


def test_a_claim_needs_words_and_one_truth():
    with pytest.raises(TypeError, match="must be a sentence"):
        claim(" ", True)
    with pytest.raises((ValueError, RuntimeError)):
        claim("all of them", torch.tensor([True, False]))


def test_without_the_variable_a_run_counts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(REHEARSAL, raising=False)
    assert not rehearsed()
    monkeypatch.setenv(REHEARSAL, "0")
    assert not rehearsed()
