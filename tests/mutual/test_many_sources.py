"""Selection, distillation and fusion of three sources, and fusions of two, against golden values."""

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mdmf.models.build import build_model
from mdmf.mutual.distill import mutual_distillation
from mdmf.mutual.fuse import ActiveFusion
from mdmf.mutual.selection import ActiveInferenceSelection, ActiveSampleSelection, Selection
from mdmf.settings import method_settings
from mdmf.structures import BranchOutput, Episode

SOURCES = ("rgb", "flow", "depth")


def branch_outputs(golden, *, logits: Tensor, is_masked: bool) -> dict[str, BranchOutput]:
    """What three branches give; an absent one carries logits of 0."""
    present = torch.from_numpy(golden["in/present"])
    evidence = torch.from_numpy(golden["in/log_evidence"])
    outputs = {}
    for number, source in enumerate(SOURCES):
        usable = present[number] if is_masked else None
        value = logits[number] if usable is None else logits[number].masked_fill(~usable[..., None], 0)
        outputs[source] = BranchOutput(value, usable=usable, support_evidence=evidence[number])
    return outputs


def assert_close(value: Tensor, expected: np.ndarray, tolerance: float = 1e-5) -> None:
    atol = tolerance * max(float(np.abs(expected).max()), 1e-3)
    torch.testing.assert_close(value.detach(), torch.from_numpy(np.asarray(expected)), atol=atol, rtol=0)


def assert_selection(selection: Selection, golden, case: str, *, teach: str) -> None:
    for (m, teacher), (n, student) in permutations(enumerate(SOURCES), 2):
        expected = torch.from_numpy(golden[f"out/{case}.{teach}"][m, n])
        assert torch.equal(selection.taught[teacher, student], expected)


@pytest.mark.parametrize("case", ["all", "masked"])
@pytest.mark.parametrize(
    ("selection", "teach", "prefix"),
    [(ActiveSampleSelection(), "teach", ""), (ActiveInferenceSelection(), "asi_teach", "amfir_")],
    ids=["amfar", "amfir"],
)
def test_three_sources_equal_the_golden_values(shared_data: Path, case, selection, teach, prefix):
    golden = np.load(shared_data / "golden" / "zoo" / "msource_case.npz")
    logits = torch.from_numpy(golden["in/logits_each"]).requires_grad_()
    outputs = branch_outputs(golden, logits=logits, is_masked=case == "masked")
    chosen = selection(outputs)
    assert_selection(chosen, golden, case, teach=teach)
    branch_logits = {source: output.logits for source, output in outputs.items()}
    loss = mutual_distillation(branch_logits, chosen.taught, chosen.teacher_weight)
    loss.backward()
    assert_close(loss, golden[f"out/{case}.{prefix}amd"])
    assert_close(logits.grad, golden[f"out/{case}.{prefix}amd_grad"], 1e-4)
    assert_close(ActiveFusion()(branch_logits, chosen.shares), golden[f"out/{case}.{prefix}ami"])
    if prefix:
        belief = np.stack([share.detach().numpy() for share in chosen.shares.values()])
        assert_close(torch.from_numpy(belief), golden[f"out/{case}.belief"])


@pytest.mark.parametrize("selection", [ActiveSampleSelection(), ActiveInferenceSelection()], ids=["amfar", "amfir"])
def test_equal_sources_teach_nothing_and_share_evenly(selection):
    output = BranchOutput(torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(0)))
    chosen = selection(dict.fromkeys(SOURCES, output))
    assert not any(queries.any() for queries in chosen.taught.values())
    for share in chosen.shares.values():
        torch.testing.assert_close(share, torch.full((2, 4), 1 / 3))


@pytest.mark.parametrize("selection", [ActiveSampleSelection(), ActiveInferenceSelection()], ids=["amfar", "amfir"])
def test_the_order_of_sources_does_not_matter(selection):
    generator = torch.Generator().manual_seed(0)
    outputs = {source: BranchOutput(3 * torch.randn(2, 6, 4, generator=generator)) for source in SOURCES}
    first, second = selection(outputs), selection(dict(reversed(outputs.items())))
    for pair, queries in first.taught.items():
        assert torch.equal(queries, second.taught[pair])
        torch.testing.assert_close(first.teacher_weight[pair], second.teacher_weight[pair])
    for source, share in first.shares.items():
        torch.testing.assert_close(share, second.shares[source])


def test_of_several_teachers_the_most_certain_one_can_be_chosen():
    logits = {"rgb": [9.0, 0, 0], "flow": [5.0, 0, 0], "depth": [1.0, 0, 0]}
    outputs = {source: BranchOutput(torch.tensor([[value]])) for source, value in logits.items()}
    everyone = ActiveSampleSelection()(outputs).taught
    best = ActiveSampleSelection(best_teacher=True)(outputs).taught
    assert [pair for pair, queries in everyone.items() if queries.all()] == [
        ("rgb", "flow"),
        ("rgb", "depth"),
        ("flow", "depth"),
    ]
    assert [pair for pair, queries in best.items() if queries.all()] == [("rgb", "flow"), ("rgb", "depth")]


FUSIONS = {
    "logits_lf": {"name": "late_fusion", "of": "prototype"},
    "logits_lf_probability": {"name": "late_fusion", "of": "prototype", "fusion": "probability"},
    "logits_ec": {"name": "early_concat", "of": "prototype"},
    "logits_ea": {"name": "early_attention", "of": "prototype"},
}


@pytest.mark.parametrize("output", FUSIONS)
def test_fusions_of_another_method_equal_the_golden_values(shared_data: Path, output):
    golden = np.load(shared_data / "golden" / "zoo" / "fusion_case.npz")
    model = build_model(method_settings(FUSIONS[output]), feature_sizes={"rgb": 8, "flow": 8}).eval()
    if output == "logits_ea":
        names = [name for name in golden if name.startswith("state/")]
        model.branches["joint"].join.load_state_dict(
            {name.removeprefix("state/"): torch.from_numpy(golden[name]) for name in names}
        )
    parts = [
        {source: torch.from_numpy(golden[f"{part}/{source}"]) for source in ("rgb", "flow")}
        for part in ("support", "query")
    ]
    logits = model(Episode(*parts)).logits
    assert_close(logits, golden[f"out/{output}"])
