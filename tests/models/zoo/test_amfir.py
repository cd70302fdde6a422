import pytest
import torch
from method_cases import random_episode, small_method

from mdmf.models.zoo.amfir import AmfirSettings
from mdmf.settings import method_settings


def test_precision_is_trained_by_the_fused_answer_alone():
    for cross_entropy in ("fused", "all"):
        model = small_method("amfir", learn_precision=True, cross_entropy=cross_entropy, precision=2.0)
        output = model(random_episode())
        precision = model.get_parameter("selection.selection.precision")
        assert precision.item() == 2
        output.losses["distill_loss"].backward(retain_graph=True)
        assert precision.grad is None
        output.losses["cross_entropy_loss"].backward()
        assert precision.grad.abs() > 0


def test_settings_of_the_selection_reach_it():
    model = small_method("amfir", precision=0.7, selection_margin=0.2)
    assert model.selection.selection.precision.item() == pytest.approx(0.7)
    assert not isinstance(model.selection.selection.precision, torch.nn.Parameter)
    assert model.selection.selection.margin == 0.2


def test_belief_looks_at_the_support_from_two_shots_on():
    """With one shot no video can be classified without itself."""
    model = small_method("amfir")
    for K in (1, 2):
        episode = random_episode(K=K)
        outputs = model.compare(model.embed(episode), class_text=None, support_present={}, query_present={})
        assert all((output.support_evidence is None) == (K == 1) for output in outputs.values())


def test_it_is_marked_as_our_reading():
    assert AmfirSettings(name="amfir").our_reading
    assert not method_settings("amfar").our_reading


@pytest.mark.parametrize(
    "settings", [{}, {"cross_entropy": "all", "fusion": "sum"}, {"cross_entropy": "fused", "sources": ["rgb"]}]
)
def test_refuses_to_learn_a_precision_that_nothing_uses(settings):
    with pytest.raises(ValueError, match="learn_precision"):
        method_settings({"name": "amfir", "learn_precision": True, **settings})
