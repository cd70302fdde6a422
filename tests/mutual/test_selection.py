"""Who is trusted, by hand. The example of two queries and two classes (logits are log P):

q1: rgb (0.8, 0.2), flow (0.6, 0.4);   q2: rgb (0.5, 0.5), flow (0.1, 0.9).
"""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from mdmf.mutual.condition import teacher_index
from mdmf.mutual.distill import mutual_distillation
from mdmf.mutual.fuse import ActiveFusion
from mdmf.mutual.selection import (
    ActiveInferenceSelection,
    ActiveSampleSelection,
    Selection,
    Strategy,
    ViewSelection,
)
from mdmf.structures import BranchOutput

EXAMPLE = {"rgb": [(0.8, 0.2), (0.5, 0.5)], "flow": [(0.6, 0.4), (0.1, 0.9)]}
SELECTIONS = [ActiveSampleSelection, ActiveInferenceSelection]
PAIRS = [("rgb", "flow"), ("flow", "rgb")]  # teacher, student

# KL(rgb ‖ flow) of q1 = 0.8·ln(0.8/0.6) + 0.2·ln(0.2/0.4) = 0.230146 - 0.138629
KL_RGB_Q1 = 0.091516
# KL(flow ‖ rgb) of q2 = 0.1·ln(0.1/0.5) + 0.9·ln(0.9/0.5) = -0.160944 + 0.529008
KL_FLOW_Q2 = 0.368064
# KL(rgb ‖ flow) of q2 = 0.5·ln(0.5/0.1) + 0.5·ln(0.5/0.9) = 0.804719 - 0.293893
KL_RGB_Q2 = 0.510826
# KL(flow ‖ rgb) of q1 = 0.6·ln(0.6/0.8) + 0.4·ln(0.4/0.2) = -0.172609 + 0.277259
KL_FLOW_Q1 = 0.104650


def said(posteriors: dict[str, list[tuple[float, ...]]], **more) -> dict[str, BranchOutput]:
    """One episode of branches whose posteriors are these."""
    return {name: BranchOutput(torch.tensor([rows]).log(), **more) for name, rows in posteriors.items()}


def random_outputs(E: int = 2, Q: int = 6, N: int = 3, seed: int = 0) -> dict[str, BranchOutput]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: BranchOutput(
            (torch.randn(E, Q, N, generator=generator) * 2).requires_grad_(),
            support_evidence=torch.randn(E, generator=generator),
        )
        for name in ("rgb", "flow")
    }


def logits_of(outputs: dict[str, BranchOutput]) -> dict[str, Tensor]:
    return {name: output.logits for name, output in outputs.items()}


def loss_of(outputs: dict[str, BranchOutput], selection: Selection, **settings) -> Tensor:
    return mutual_distillation(logits_of(outputs), selection.taught, selection.teacher_weight, **settings)


def teachers(selection: Selection) -> list[list[int]]:
    return teacher_index(selection.taught, ["rgb", "flow"]).tolist()


def close(value: Tensor, expected, atol: float = 1e-6) -> None:
    torch.testing.assert_close(value, torch.as_tensor(expected, dtype=value.dtype), atol=atol, rtol=0)


def test_sample_selection_by_hand():
    """q1: c 0.8 > 0.6, h -0.5004 > -0.6730: rgb. q2: c 0.5 < 0.9, h -0.6931 < -0.3251: flow."""
    selection = ActiveSampleSelection()(said(EXAMPLE))
    assert teachers(selection) == [[0, 1]]
    close(selection.teacher_weight["rgb", "flow"], [[0.8, 0.5]])
    close(selection.teacher_weight["flow", "rgb"], [[0.6, 0.9]])
    close(selection.shares["rgb"], [[0.8 / 1.4, 0.5 / 1.4]])  # c_r / (c_r + c_f)
    close(selection.shares["flow"], [[0.6 / 1.4, 0.9 / 1.4]])


@pytest.mark.parametrize(
    ("strategy", "teacher", "loss"),
    [
        # one query for each teacher, so that its weight falls out: 0.091516 + 0.368064
        ("active", [0, 1], KL_RGB_Q1 + KL_FLOW_Q2),
        # (0.8·0.091516 + 0.5·0.510826) / 1.3 = (0.073213 + 0.255413) / 1.3 = 0.252789
        ("rgb_teaches", [0, 0], (0.8 * KL_RGB_Q1 + 0.5 * KL_RGB_Q2) / 1.3),
        # (0.6·0.104650 + 0.9·0.368064) / 1.5 = (0.062790 + 0.331258) / 1.5 = 0.262698
        ("flow_teaches", [1, 1], (0.6 * KL_FLOW_Q1 + 0.9 * KL_FLOW_Q2) / 1.5),
        ("mutual", [-2, -2], 0.252789 + 0.262698),
    ],
)
def test_each_strategy_by_hand(strategy, teacher, loss):
    outputs = said(EXAMPLE)
    selection = Strategy(ActiveSampleSelection(), strategy=strategy)(outputs)
    assert teachers(selection) == [teacher]
    close(loss_of(outputs, selection), loss, atol=2e-6)


def test_the_numbers_of_the_example():
    close(loss_of(said(EXAMPLE), Strategy(ActiveSampleSelection())(said(EXAMPLE))), 0.459580, atol=2e-6)
    one_way = Strategy(ActiveSampleSelection(), strategy="rgb_teaches")(said(EXAMPLE))
    close(loss_of(said(EXAMPLE), one_way), 0.252789, atol=2e-6)


def test_strategy_none_teaches_nobody_and_changes_no_share():
    outputs = random_outputs()
    plain, silent = ActiveSampleSelection()(outputs), Strategy(ActiveSampleSelection(), strategy="none")(outputs)
    assert not any(queries.any() for queries in silent.taught.values())
    assert loss_of(outputs, silent).item() == 0
    for modality in outputs:
        assert torch.equal(plain.shares[modality], silent.shares[modality])


def test_adaptive_inference_by_hand():
    """q1: P ∝ P_r^(4/7)·P_f^(3/7); log ratio 4/7·ln 4 + 3/7·ln 1.5 = 0.792168 + 0.173771 = 0.965939,

    so 1 / (1 + e^-0.965939) = 1 / 1.380626 = 0.724309.
    """
    outputs = said(EXAMPLE)
    fused = ActiveFusion()(logits_of(outputs), ActiveSampleSelection()(outputs).shares)
    close(fused.softmax(-1)[0, 0], [0.724309, 0.275691])
    # q2: 5/14·ln 1 + 9/14·ln(1/9) = -1.412502; 1 / (1 + e^1.412502) = 0.195855
    ratio = 9 / 14 * math.log(1 / 9)
    close(fused.softmax(-1)[0, 1], [1 / (1 + math.exp(-ratio)), 1 / (1 + math.exp(ratio))])


def test_active_inference_by_hand_at_one_shot():
    """P̄ of q1 ∝ (√0.48, √0.08), so (0.710102, 0.289898); ambiguity + risk is then -Σ P·ln P̄:

    rgb 0.8·0.342347 + 0.2·1.238226 = 0.521523, flow 0.6·0.342347 + 0.4·1.238226 = 0.700698;
    π_rgb = 1 / (1 + e^-(0.700698 - 0.521523)) = 1 / (1 + e^-0.179176) = 0.544675.
    q2: P̄ ∝ (√0.05, √0.45) = (0.25, 0.75); rgb 0.5·1.386294 + 0.5·0.287682 = 0.836988,
    flow 0.1·1.386294 + 0.9·0.287682 = 0.397543; π_rgb = 1 / (1 + e^0.439445) = 0.391873.
    """
    selection = ActiveInferenceSelection()(said(EXAMPLE))
    close(selection.shares["rgb"], [[0.544675, 0.391873]], atol=2e-6)
    close(selection.shares["flow"], [[1 - 0.544675, 1 - 0.391873]], atol=2e-6)
    for (teacher, _), weight in selection.teacher_weight.items():
        assert torch.equal(weight, selection.shares[teacher])
    assert teachers(selection) == [[-1, 1]]  # 0.544675 is not over 0.5 + 0.05, 0.608127 is
    assert teachers(ActiveInferenceSelection(margin=0.04)(said(EXAMPLE))) == [[0, 1]]
    assert teachers(ActiveInferenceSelection(margin=0.11)(said(EXAMPLE))) == [[-1, -1]]


def test_belief_of_the_teacher_weighs_what_it_teaches():
    """flow teaches both queries, with weights π_f = 1 - 0.544675 and 1 - 0.391873."""
    outputs = said(EXAMPLE)
    selection = Strategy(ActiveInferenceSelection(), strategy="flow_teaches")(outputs)
    expected = (0.455325 * KL_FLOW_Q1 + 0.608127 * KL_FLOW_Q2) / (0.455325 + 0.608127)
    close(loss_of(outputs, selection), expected, atol=2e-6)


def test_precision_scales_the_free_energy():
    """γ = 3: the log odds 0.179176 of q1 become 0.537527; γ = 0: belief is even."""
    close(ActiveInferenceSelection(precision=3.0)(said(EXAMPLE)).shares["rgb"][0, 0], 0.631237, atol=3e-6)
    assert math.isclose(1 / (1 + math.exp(-0.537527)), 0.631237, abs_tol=2e-6)
    close(ActiveInferenceSelection(precision=0.0)(said(EXAMPLE)).shares["rgb"], [[0.5, 0.5]])


def test_support_evidence_shifts_belief():
    """Labels of the support are likelier under flow by 0.4: the log odds of q1 become 0.179176 - 0.4 = -0.220824."""
    outputs = said(EXAMPLE)
    outputs["rgb"] = replace(outputs["rgb"], support_evidence=torch.tensor([-1.1]))
    outputs["flow"] = replace(outputs["flow"], support_evidence=torch.tensor([-0.7]))
    selection = ActiveInferenceSelection()(outputs)
    close(selection.shares["rgb"][0, 0], 1 / (1 + math.exp(0.220824)), atol=2e-6)  # 0.445017
    assert teachers(selection) == [[1, 1]]  # 0.554983 > 0.55


def test_evidence_is_of_its_own_episode():
    outputs = random_outputs(E=2)
    moved = replace(outputs["rgb"], support_evidence=outputs["rgb"].support_evidence + torch.tensor([0.0, 1.0]))
    there, back = (ActiveInferenceSelection()(given).shares["rgb"] for given in (outputs, {**outputs, "rgb": moved}))
    assert torch.equal(there[0], back[0])
    assert (there[1] < back[1]).all()


@pytest.mark.parametrize(("tests", "teacher"), [("both", -1), ("absolute", 0), ("relative", 1)])
def test_certainties_that_disagree_teach_nobody(tests, teacher):
    """Three classes: rgb (0.6, 0.2, 0.2): c 0.6, h -0.306495 - 0.643775 = -0.950271;

    flow (0.55, 0.44, 0.01): c 0.55, h -0.328810 - 0.361231 - 0.046052 = -0.736093: rgb is surer of its best class,
    flow of the whole.
    """
    outputs = said({"rgb": [(0.6, 0.2, 0.2)], "flow": [(0.55, 0.44, 0.01)]})
    assert teachers(ActiveSampleSelection(tests=tests)(outputs)) == [[teacher]]


@pytest.mark.parametrize("tests", ["both", "absolute", "relative"])
def test_either_certainty_alone_decides_the_example_alike(tests):
    assert teachers(ActiveSampleSelection(tests=tests)(said(EXAMPLE))) == [[0, 1]]


@pytest.mark.parametrize(
    "selection",
    [*(ActiveSampleSelection(tests=tests) for tests in ("both", "absolute", "relative")), ActiveInferenceSelection()],
)
def test_a_tie_teaches_nobody_with_a_loss_of_zero_and_finite_gradients(selection):
    logits = {name: torch.tensor([[[1.0, -2.0, 0.5]] * 3], requires_grad=True) for name in ("rgb", "flow")}
    outputs = {name: BranchOutput(value) for name, value in logits.items()}
    selected = selection(outputs)
    assert teachers(selected) == [[-1] * 3]
    close(selected.shares["rgb"], [[0.5] * 3])
    loss = loss_of(outputs, selected, detach_teacher=False)
    assert loss.item() == 0
    loss.backward()
    assert all(not value.grad.any() for value in logits.values())  # NaN would be "any"


def test_a_tie_of_one_certainty_alone_teaches_nobody():
    """Equal c = 0.5 (exact in float32); h -1.039721 of (0.5, 0.25, 0.25), -0.974315 of (0.5, 0.375, 0.125)."""
    outputs = said({"rgb": [(0.5, 0.25, 0.25)], "flow": [(0.5, 0.375, 0.125)]})
    same = outputs["rgb"].logits.softmax(-1).amax(-1)
    assert torch.equal(same, outputs["flow"].logits.softmax(-1).amax(-1))
    assert teachers(ActiveSampleSelection()(outputs)) == [[-1]]
    assert teachers(ActiveSampleSelection(tests="absolute")(outputs)) == [[-1]]
    assert teachers(ActiveSampleSelection(tests="relative")(outputs)) == [[1]]


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize("teacher", ["rgb", "flow"])
def test_gradient_of_the_teacher_is_zero_unless_it_is_not_detached(selection, detach, teacher):
    outputs = random_outputs()
    selected = Strategy(selection(), strategy=f"{teacher}_teaches")(outputs)
    student = "flow" if teacher == "rgb" else "rgb"
    loss_of(outputs, selected, detach_teacher=detach).backward()
    gradient = outputs[teacher].logits.grad
    assert outputs[student].logits.grad.any()
    assert (gradient is None or not gradient.any()) == detach


@pytest.mark.parametrize("selection", SELECTIONS)
def test_swapping_the_modalities_swaps_teacher_and_student_and_leaves_the_answer(selection):
    outputs = random_outputs(E=4)
    swapped = {"rgb": outputs["flow"], "flow": outputs["rgb"]}
    there, back = selection()(outputs), selection()(swapped)
    for name, of_other in (("rgb", "flow"), ("flow", "rgb")):
        assert there.taught[name, of_other].any()
        assert torch.equal(there.taught[name, of_other], back.taught[of_other, name])
        torch.testing.assert_close(there.shares[name], back.shares[of_other], atol=1e-6, rtol=0)
    answers = [
        ActiveFusion()(logits_of(given), selected.shares) for given, selected in ((outputs, there), (swapped, back))
    ]
    torch.testing.assert_close(*answers, atol=1e-5, rtol=0)
    torch.testing.assert_close(loss_of(outputs, there), loss_of(swapped, back), atol=1e-6, rtol=0)


@pytest.mark.parametrize("selection", SELECTIONS)
def test_order_of_classes_changes_nothing(selection):
    outputs = random_outputs()
    turned = {name: replace(output, logits=output.logits.flip(-1)) for name, output in outputs.items()}
    there, back = selection()(outputs), selection()(turned)
    for name in outputs:
        torch.testing.assert_close(there.shares[name], back.shares[name], atol=1e-6, rtol=0)
    for pair in PAIRS:
        assert torch.equal(there.taught[pair], back.taught[pair])


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("strategy", ["active", "mutual", "rgb_teaches", "flow_teaches"])
def test_a_missing_modality_has_no_share_and_neither_teaches_nor_is_taught(selection, strategy):
    """Queries: 0 has both, 1 no flow, 2 no rgb, 3 neither."""
    outputs = random_outputs(Q=4)
    usable = {"rgb": [True, True, False, False], "flow": [True, False, True, False]}
    outputs = {
        name: replace(
            output,
            usable=torch.tensor([usable[name]] * 2),
            logits=output.logits.detach().masked_fill(~torch.tensor(usable[name])[:, None], 0).requires_grad_(),
        )
        for name, output in outputs.items()
    }
    selected = Strategy(selection(), strategy=strategy)(outputs)
    assert selected.shares["rgb"][:, 1:].tolist() == [[1.0, 0.0, 0.5]] * 2
    assert selected.shares["flow"][:, 1:].tolist() == [[0.0, 1.0, 0.5]] * 2
    close(selected.shares["rgb"] + selected.shares["flow"], torch.ones(2, 4))
    assert not any(queries[:, 1:].any() for queries in selected.taught.values())
    fused = ActiveFusion()(logits_of(outputs), selected.shares)
    assert torch.equal(fused[:, 1], outputs["rgb"].logits[:, 1])
    assert torch.equal(fused[:, 2], outputs["flow"].logits[:, 2])
    assert not fused[:, 3].any()
    loss = loss_of(outputs, selected, detach_teacher=False) + fused.logsumexp(-1).sum()
    loss.backward()
    assert all(torch.isfinite(output.logits.grad).all() for output in outputs.values())


@pytest.mark.parametrize("selection", SELECTIONS)
def test_what_is_usable_is_chosen_as_if_nothing_else_were_missing(selection):
    outputs = random_outputs(Q=4)
    lacking = {**outputs, "flow": replace(outputs["flow"], usable=torch.tensor([[True, False, True, True]] * 2))}
    there, back = selection()(outputs), selection()(lacking)
    kept = [0, 2, 3]
    for pair in PAIRS:
        assert torch.equal(there.taught[pair][:, kept], back.taught[pair][:, kept])
    for name in outputs:
        torch.testing.assert_close(there.shares[name][:, kept], back.shares[name][:, kept], atol=1e-6, rtol=0)


def test_a_missing_modality_has_no_share_however_likely_it_made_the_support():
    """docs/methods.md, section 4: a missing modality has π = 0, so the other has 1. exp(-120) is 0 in float32."""
    outputs = said(EXAMPLE)
    outputs["rgb"] = replace(outputs["rgb"], support_evidence=torch.tensor([-121.0]))
    usable = torch.tensor([[True, False]])
    outputs["flow"] = replace(outputs["flow"], support_evidence=torch.tensor([-1.0]), usable=usable)
    assert ActiveInferenceSelection()(outputs).shares["rgb"][0, 1].item() == 1


def test_learnable_precision_is_trained_through_the_fused_answer_alone():
    selection, outputs = ActiveInferenceSelection(learn_precision=True, margin=0.0), random_outputs()
    assert [name for name, _ in selection.named_parameters()] == ["precision"]
    selected = selection(outputs)
    assert any(queries.any() for queries in selected.taught.values())
    loss_of(outputs, selected).backward()
    assert selection.precision.grad is None
    fused = ActiveFusion()(logits_of(outputs), selection(outputs).shares)
    fused.logsumexp(-1).sum().backward()
    assert selection.precision.grad.abs() > 0
    assert not list(ActiveInferenceSelection().parameters())


def test_a_batch_equals_its_episodes_one_by_one():
    outputs = random_outputs(E=3)
    for selection in (ActiveSampleSelection(), ActiveInferenceSelection()):
        whole = selection(outputs)
        for e in range(3):
            part = {
                name: BranchOutput(output.logits[e : e + 1], support_evidence=output.support_evidence[e : e + 1])
                for name, output in outputs.items()
            }
            one = selection(part)
            for pair in PAIRS:
                assert torch.equal(one.taught[pair][0], whole.taught[pair][e])
            for name in outputs:
                torch.testing.assert_close(one.shares[name][0], whole.shares[name][e], atol=1e-6, rtol=0)


def test_views_select_by_both_certainties_and_weigh_by_their_sum():
    """Visual as in the example, text the same for both views: a text tie counts for the first view."""
    text = torch.tensor([[(0.7, 0.3), (0.7, 0.3)]]).log()
    outputs = {
        view: BranchOutput(torch.tensor([EXAMPLE[name]]).log(), text_similarity=text)
        for view, name in (("local", "rgb"), ("global", "flow"))
    }
    selected = ViewSelection()(outputs)
    assert teacher_index(selected.taught, ["local", "global"]).tolist() == [[0, -1]]
    close(selected.teacher_weight["local", "global"], [[1.5, 1.2]])
    close(selected.teacher_weight["global", "local"], [[1.3, 1.6]])
    assert selected.shares == {}
    assert set(ViewSelection(direction="global_to_local")(outputs).taught) == {("global", "local")}
    with pytest.raises(ValueError, match="needs its text similarity"):
        ViewSelection()(said({"local": EXAMPLE["rgb"], "global": EXAMPLE["flow"]}))


THREE = {"rgb": [(0.6, 0.4)], "flow": [(0.9, 0.1)], "depth": [(0.2, 0.8)]}


def test_of_three_sources_every_more_certain_one_teaches_every_less_certain_one():
    """Certainties 0.6, 0.9, 0.8: flow teaches both others, depth teaches rgb; each weighs by its certainty."""
    selected = ActiveSampleSelection()(said(THREE))
    assert {pair for pair, queries in selected.taught.items() if queries.all()} == {
        ("flow", "rgb"),
        ("flow", "depth"),
        ("depth", "rgb"),
    }
    assert teacher_index(selected.taught, list(THREE)).tolist() == [[-2]]
    for (teacher, _), weight in selected.teacher_weight.items():
        close(weight, [[max(THREE[teacher][0])]])
    close(torch.stack(list(selected.shares.values())), torch.tensor([[[0.6]], [[0.9]], [[0.8]]]) / 2.3)


def test_of_several_teachers_of_a_student_the_best_alone_may_teach():
    """rgb is taught by flow (0.9) and not by depth (0.8), which stays a student of flow; of equal ones the first."""
    selected = ActiveSampleSelection(best_teacher=True)(said(THREE))
    taught = {pair for pair, queries in selected.taught.items() if queries.all()}
    assert taught == {("flow", "rgb"), ("flow", "depth")}
    equal = ActiveSampleSelection(best_teacher=True)(said({**THREE, "depth": [(0.1, 0.9)]}))
    assert {pair for pair, queries in equal.taught.items() if queries.all()} == {("flow", "rgb")}
    with_two, without_option = (
        ActiveSampleSelection(best_teacher=best_teacher)(random_outputs(E=4)) for best_teacher in (True, False)
    )
    assert all(torch.equal(with_two.taught[pair], without_option.taught[pair]) for pair in PAIRS)


def test_belief_in_a_third_source_decides_nothing_between_two_but_through_the_consensus():
    """π of three; the ratio of two, over 0.5 + margin, says who teaches."""
    selected = ActiveInferenceSelection(margin=0.01)(said(THREE))
    belief = {name: share.item() for name, share in selected.shares.items()}
    assert sum(belief.values()) == pytest.approx(1)
    for (teacher, student), weight in selected.teacher_weight.items():
        ratio = belief[teacher] / (belief[teacher] + belief[student])
        assert weight.item() == pytest.approx(ratio, abs=1e-6)
        assert selected.taught[teacher, student].item() == (ratio > 0.51)


@pytest.mark.parametrize(("strategy", "n_pairs"), [("mutual", 6), ("flow_teaches", 2), ("none", 0)])
def test_strategies_of_three_sources(strategy, n_pairs):
    selected = Strategy(ActiveSampleSelection(), strategy=strategy)(said(THREE))
    assert len(selected.taught) == n_pairs
    assert all(queries.all() for queries in selected.taught.values())
    assert {teacher for teacher, _ in selected.taught} <= ({"flow"} if strategy == "flow_teaches" else set(THREE))


@pytest.mark.parametrize("part", ["all", "masked"])
def test_three_sources_give_the_golden_selection_loss_gradient_and_answer(shared_data, part):
    """From another implementation, with all features there and with some missing."""
    loaded = np.load(shared_data / "golden" / "zoo" / "msource_case.npz")
    case = {name: torch.from_numpy(loaded[name]) for name in loaded.files if loaded[name].dtype.kind in "fb"}
    sources = ("a", "b", "c")
    present = case["in/present"] if part == "masked" else torch.ones_like(case["in/present"])
    logits = [each.clone().requires_grad_() for each in case["in/logits_each"]]
    outputs = {
        name: BranchOutput(
            logits[m].masked_fill(~present[m][..., None], 0),
            usable=present[m] if part == "masked" else None,
            support_evidence=case["in/log_evidence"][m],
        )
        for m, name in enumerate(sources)
    }

    def by_pair(values: dict) -> Tensor:
        nothing = torch.zeros_like(next(iter(values.values())))
        return torch.stack([torch.stack([values.get((m, n), nothing) for n in sources]) for m in sources])

    def check(selection, teach: str, loss: str, answer: str) -> Selection:
        selected = selection(outputs)
        assert torch.equal(by_pair(selected.taught), case[f"out/{part}.{teach}"])
        distill = loss_of(outputs, selected)
        torch.testing.assert_close(distill, case[f"out/{part}.{loss}"], atol=1e-5, rtol=1e-5)
        gradient = torch.stack(torch.autograd.grad(distill, logits, retain_graph=True))
        torch.testing.assert_close(gradient, case[f"out/{part}.{loss}_grad"], atol=1e-5, rtol=1e-5)
        fused = ActiveFusion()(logits_of(outputs), selected.shares)
        torch.testing.assert_close(fused, case[f"out/{part}.{answer}"], atol=1e-5, rtol=1e-5)
        return selected

    check(ActiveSampleSelection(), "teach", "amd", "ami")
    selected = check(ActiveInferenceSelection(), "asi_teach", "amfir_amd", "amfir_ami")
    close(torch.stack(list(selected.shares.values())), case[f"out/{part}.belief"], atol=1e-5)
    weights, taught = by_pair(selected.teacher_weight), case[f"out/{part}.asi_teach"]
    close(weights[taught], case[f"out/{part}.asi_weight"][taught], atol=1e-5)


def test_refuses_unknown_choices():
    with pytest.raises(ValueError, match="tests of sample selection must be one of"):
        ActiveSampleSelection(tests="either")
    with pytest.raises(ValueError, match="condition must be one of"):
        ViewSelection(condition="all")
    with pytest.raises(ValueError, match="direction must be one of"):
        ViewSelection(direction="rgb_to_flow")
