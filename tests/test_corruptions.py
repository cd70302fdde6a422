"""What a text such as `noise:0.2` names; tests/data/views/test_corruption.py tests the harm, and what is refused."""

import re
import subprocess
import sys

import pytest

from mdmf.corruptions import FRAME_KINDS, KINDS, Corruption, parse_corruption


def test_settings_can_be_read_without_numpy():
    """`--help` and every mistake in a config answer at once."""
    code = "import sys, mdmf.corruptions; assert not {'numpy', 'torch', 'PIL'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strength", [0, 1, 0.1, 0.123456789012345, 1e-7])
def test_the_text_of_a_corruption_is_read_back_as_the_same(kind, strength):
    corruption = Corruption(kind, strength)
    assert parse_corruption(str(corruption)) == corruption
    assert str(parse_corruption(str(corruption))) == str(corruption)


def test_one_corruption_has_one_text():
    """It names files: two texts of the same corruption must not make two results, or two stores."""
    texts = {str(parse_corruption(text)) for text in ("noise:1", "noise:1.0", "noise:1e0", "noise: 1", "noise :01")}
    assert texts == {"noise:1"}
    assert str(parse_corruption("drop:-0")) == "drop:0"


@pytest.mark.parametrize("kind", KINDS)
def test_the_text_may_stand_in_a_file_name(kind):
    for strength in (0.5, 1e-7, 1):
        assert re.fullmatch(r"[\w:.-]+", str(Corruption(kind, strength)))


@pytest.mark.parametrize("kind", ["drop", "freeze", "missing"])
def test_a_share_is_at_most_all(kind):
    assert Corruption(kind, 1).strength == 1
    with pytest.raises(ValueError, match=f"the strength of {kind} is a share, at most 1, got 1.01"):
        Corruption(kind, 1.01)


@pytest.mark.parametrize("kind", ["noise", "blur", "feature_noise"])
def test_other_strengths_have_no_upper_end(kind):
    assert parse_corruption(f"{kind}:30").strength == 30


def test_frames_are_harmed_by_their_own_kinds_alone():
    assert set(FRAME_KINDS) == {"noise", "blur"} < set(KINDS)
