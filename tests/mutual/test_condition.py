import pytest
import torch

from mdmf.mutual.condition import sample_condition, teacher_index, view_condition

# Five queries: local surer by both, global surer by both, two on which the measures disagree, and a tie.
VISUAL = {"local": torch.tensor([[0.9, 0.3, 0.9, 0.3, 0.5]]), "global": torch.tensor([[0.5, 0.6, 0.5, 0.6, 0.5]])}
TEXT = {"local": torch.tensor([[0.8, 0.2, 0.2, 0.8, 0.4]]), "global": torch.tensor([[0.4, 0.4, 0.4, 0.4, 0.4]])}


def to_each_other(taught: dict[str, torch.Tensor]) -> dict[tuple[str, str], torch.Tensor]:
    """What each of two views teaches, by teacher and student."""
    other = {"local": "global", "global": "local"}
    return {(view, other[view]): queries for view, queries in taught.items()}


@pytest.mark.parametrize(
    ("condition", "teachers"),
    [
        ("both", [0, 1, -1, -1, 0]),
        ("visual", [0, 1, 0, 1, 0]),
        ("text", [0, 1, 1, 0, 0]),
        ("none", [-2, -2, -2, -2, -2]),
    ],
)
def test_more_certain_branch_is_the_teacher(condition, teachers):
    taught = view_condition(VISUAL, TEXT, condition=condition)
    assert teacher_index(to_each_other(taught), ["local", "global"]).tolist() == [teachers]


def test_without_condition_each_teaches_every_query():
    taught = view_condition(VISUAL, TEXT, condition="none")
    assert taught["local"].all()
    assert taught["global"].all()


@pytest.mark.parametrize(("only", "teachers"), [("local", [0, -1, -1, -1, 0]), ("global", [-1, 1, -1, -1, -1])])
def test_a_teacher_keeps_its_number_where_the_other_may_not_teach(only, teachers):
    taught = {only: view_condition(VISUAL, TEXT)[only]}
    assert teacher_index(to_each_other(taught), ["local", "global"]).tolist() == [teachers]


def test_swapping_the_views_swaps_the_teacher_except_at_ties():
    swapped = view_condition(
        {"local": VISUAL["global"], "global": VISUAL["local"]}, {"local": TEXT["global"], "global": TEXT["local"]}
    )
    taught = view_condition(VISUAL, TEXT)
    assert torch.equal(swapped["global"][:, :4], taught["local"][:, :4])
    assert torch.equal(swapped["local"][:, :4], taught["global"][:, :4])


def test_refuses_what_cannot_be_decided():
    with pytest.raises(ValueError, match="condition must be one of"):
        view_condition(VISUAL, TEXT, condition="all")
    with pytest.raises(ValueError, match="needs class text"):
        view_condition(VISUAL, None, condition="text")


@pytest.mark.parametrize(
    ("measures", "teachers"),
    [([VISUAL, TEXT], [0, 1, -1, -1, -1]), ([VISUAL], [0, 1, 0, 1, -1]), ([TEXT], [0, 1, 1, 0, -1])],
)
def test_the_surer_modality_teaches_and_a_tie_nobody(measures, teachers):
    """As the views' condition, but strict on both sides: the last query is tied."""
    taught = sample_condition(measures)
    assert teacher_index(taught, ["local", "global"]).tolist() == [teachers]


def test_swapping_the_modalities_swaps_the_teacher_everywhere():
    swap = [{"local": measure["global"], "global": measure["local"]} for measure in (VISUAL, TEXT)]
    there, back = sample_condition([VISUAL, TEXT]), sample_condition(swap)
    assert torch.equal(there["local", "global"], back["global", "local"])
    assert torch.equal(there["global", "local"], back["local", "global"])


def test_of_three_branches_each_pair_is_compared_and_a_query_may_have_several_teachers():
    """Certainties 0.9, 0.6, 0.3 and 0.5, 0.5, 0.4: the first teaches both others, the second the third; then a tie."""
    certainties = {
        "a": torch.tensor([[0.9, 0.5]]),
        "b": torch.tensor([[0.6, 0.5]]),
        "c": torch.tensor([[0.3, 0.4]]),
    }
    taught = sample_condition([certainties])
    assert {pair: queries.tolist() for pair, queries in taught.items()} == {
        ("a", "b"): [[True, False]],
        ("a", "c"): [[True, True]],
        ("b", "a"): [[False, False]],
        ("b", "c"): [[True, True]],
        ("c", "a"): [[False, False]],
        ("c", "b"): [[False, False]],
    }
    assert teacher_index(taught, ["a", "b", "c"]).tolist() == [[-2, -2]]
    assert teacher_index({("c", "a"): taught["a", "b"]}, ["a", "b", "c"]).tolist() == [[2, -1]]
