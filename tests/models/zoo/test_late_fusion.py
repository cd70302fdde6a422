import pytest
import torch
from method_cases import random_episode, small_method

from mdmf.settings import method_settings


def test_the_distances_are_added_and_nobody_teaches():
    output = small_method("late_fusion", temperature=4.0)(random_episode())
    expected = (output.branch_logits["rgb"] + output.branch_logits["flow"]) / 4
    torch.testing.assert_close(output.logits, expected, atol=1e-6, rtol=0)
    assert output.losses["distill_loss"].item() == 0
    assert (output.teacher, output.fusion_weight) == (None, {})


def test_the_posteriors_may_be_added_instead():
    output = small_method("late_fusion", fusion="probability")(random_episode())
    expected = sum(logits.softmax(-1) for logits in output.branch_logits.values()) / 2
    torch.testing.assert_close(output.logits.softmax(-1), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("setting", ["strategy", "distill_weight", "detach_teacher", "sample_tests"])
def test_has_no_setting_of_what_teaches(setting):
    with pytest.raises(ValueError, match=setting):
        method_settings({"name": "late_fusion", setting: 0})
    with pytest.raises(ValueError, match="Input should be 'logits' or 'probability'"):
        method_settings({"name": "late_fusion", "fusion": "sum"})
