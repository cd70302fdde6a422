import pytest
import torch
from method_cases import random_episode, small_method

from mdmf.settings import method_settings


@pytest.mark.parametrize("fusion", ["sum", "rgb", "flow"])
def test_other_fusions_by_hand(fusion):
    output = small_method("amfar", fusion=fusion)(random_episode())
    rgb, flow = output.branch_logits["rgb"], output.branch_logits["flow"]
    expected = {"sum": rgb + flow, "rgb": rgb, "flow": flow}[fusion]
    torch.testing.assert_close(output.logits, expected, atol=1e-6, rtol=0)
    assert output.teacher is not None  # distillation stays the strategy's affair
    assert output.fusion_weight == {}


def test_the_answer_weighs_the_sources_by_their_certainty():
    output = small_method("amfar", temperature=2.0)(random_episode())
    total = output.certainty["rgb"] + output.certainty["flow"]
    shares = {source: output.certainty[source] / total for source in ("rgb", "flow")}
    expected = sum(shares[source][..., None] * output.branch_logits[source] for source in shares) / 2
    torch.testing.assert_close(output.logits, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(output.fusion_weight, shares, atol=1e-6, rtol=0)


def test_settings_of_sample_selection_reach_it():
    for tests in ("both", "absolute", "relative"):
        assert small_method("amfar", sample_tests=tests).selection.selection.tests == tests
    assert small_method("amfar").selection.strategy == "active"
    assert not small_method("amfar").selection.selection.best_teacher
    assert small_method("amfar", best_teacher=True).selection.selection.best_teacher


def test_with_best_teacher_a_student_is_taught_by_the_most_certain_alone():
    """Of three sources, where two teach the third, the better one alone does."""
    sizes = {"rgb": 8, "flow": 6, "depth": 4}
    episode = random_episode(sizes=sizes)
    every, best = (
        small_method("amfar", sizes=sizes, sources=list(sizes), best_teacher=best_teacher)
        for best_teacher in (False, True)
    )
    with torch.no_grad():
        outputs = every.compare(every.embed(episode), class_text=None, support_present={}, query_present={})
        taught = [method.selection(outputs).taught for method in (every, best)]
    students = list(sizes)
    n_teachers = [
        {student: sum(mask.int() for pair, mask in part.items() if pair[1] == student) for student in students}
        for part in taught
    ]
    assert max(count.max() for count in n_teachers[0].values()) == 2
    for student in students:
        assert torch.equal(n_teachers[1][student], n_teachers[0][student].clamp(max=1))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sample_tests": "some"}, "Input should be 'both', 'absolute' or 'relative'"),
        ({"precision": 2}, "precision"),
        ({"views": ["local"]}, "views"),
        ({"sources": ["rgb"], "sample_tests": "absolute"}, "one source has no use for sample_tests"),
    ],
)
def test_refuses_settings_that_are_none_of_its_own(settings, message):
    with pytest.raises(ValueError, match=message):
        method_settings({"name": "amfar", **settings})
