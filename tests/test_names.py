import pytest

from inrexp.names import NAMED, did_you_mean

LABELS = ["tabby cat", "tiger cat", "Egyptian cat", "tiger", "hippopotamus"]


@pytest.mark.parametrize(
    ("wanted", "first"),
    [
        ("tigr cat", "'tiger cat'"),  # like one as a whole
        ("TABBY", "'tabby cat'"),  # held by one, in another case
        ("egiptian", "'Egyptian cat'"),  # like a word of one
        ("hipopotamus", "'hippopotamus'"),
    ],
)
def test_the_likest_name_comes_first(wanted: str, first: str):
    assert did_you_mean(wanted, LABELS).startswith(f" (did you mean {first}")


def test_a_name_like_no_other_gets_the_advice_instead():
    assert did_you_mean("zyx", LABELS) == ""
    assert did_you_mean("zyx", LABELS, otherwise=": give an index") == ": give an index"
    assert did_you_mean("", LABELS) == ""
    assert did_you_mean("tiger", []) == ""


def test_it_names_a_handful():
    many = [f"warbler {number}" for number in range(20)]
    assert did_you_mean("warbler", many).count("'warbler") == NAMED
