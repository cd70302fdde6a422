import sys
from pathlib import Path

import pytest
import torch

from mdmf.config import check_settings
from mdmf.models.baselines import BASELINES
from mdmf.models.build import build_model, is_trained, model_sources, reads_text
from mdmf.models.multi_modal import MultiModal
from mdmf.models.multi_view import MultiView
from mdmf.mutual.fuse import ActiveFusion
from mdmf.mutual.selection import ActiveInferenceSelection
from mdmf.presets import MODEL_PRESETS
from mdmf.settings import ModelSettings, Settings
from mdmf.structures import SOURCES, Episode


def test_every_setting_of_m2df_reaches_its_part():
    settings = ModelSettings(
        **{"views": ("global", "local"), "alphas": {"local": 0.5}, "temperature": 2.0, "selector_train": "expect"},
        **{"selector_test": "off", "top_k": 2, "selector_scale": 50.0, "otam_temperature": 0.1, "depth": 2},
        **{"otam_directions": "query_to_support", "cosine_eps": 0.0, "certainty_token": "first_frame"},
        **{"condition": "text", "direction": "local_to_global", "detach_teacher": False, "distill_weight": 3.0},
        **{"distill_per_query": True, "video_text_weight": 0.1, "video_text_input": "input", "video_text_scale": 7.0},
        **{"n_heads": 2, "hidden_size": 24, "attention_dropout": 0.3, "dropout": 0.4, "tcn_dropout": 0.6},
        cross_entropy="all",
    )
    model = build_model(settings, feature_sizes={"rgb": 16}, logit_scale=99.0)
    assert isinstance(model, MultiView)
    assert list(model.branches) == ["local", "global"]
    assert (model.fusion.weights, model.fusion.temperature) == ({"local": 0.5, "global": 1.0}, 2.0)
    selector = model.selector
    assert (selector.train_mode, selector.test_mode, selector.top_k, selector.scale) == ("expect", "off", 2, 50.0)
    local = model.views["local"]
    assert (local.otam_temperature, local.otam_directions, local.eps) == (0.1, "query_to_support", 0.0)
    assert (local.certainty_token, len(local.fusion.layers)) == ("first_frame", 2)
    layer = local.fusion.layers[0]
    assert (layer.attention.n_heads, layer.feed_forward[0].out_features) == (2, 24)
    assert (layer.attention.dropout.p, layer.feed_forward[2].p, layer.feed_forward[4].p) == (0.3, 0.4, 0.4)
    assert model.views["global"].context.blocks[0].dropout.p == 0.6
    assert (model.selection.condition, model.selection.direction) == ("text", "local_to_global")
    assert (model.detach_teacher, model.cross_entropy) == (False, "all")
    weights = model.loss_weights
    assert (weights.distill, weights.video_text, weights.distill_per_query) == (3.0, 0.1, True)
    assert (model.video_text.source, model.video_text.scale.item()) == ("input", 7.0)


def test_every_setting_of_a_multi_modal_model_reaches_its_part():
    settings = ModelSettings(
        **{"name": "amfir", "distance": "otam", "head_size": 12, "branch_temperature": 0.5, "strategy": "mutual"},
        **{"fusion": "active", "precision": 0.25, "learn_precision": True, "selection_margin": 0.1},
        **{"cross_entropy": "all", "temperature": 2.0, "detach_teacher": False, "distill_weight": 3.0},
        **{"n_heads": 2, "hidden_size": 24, "attention_dropout": 0.3, "dropout": 0.4, "tcn_dropout": 0.6},
    )
    model = build_model(settings, feature_sizes={"flow": 6, "rgb": 16})
    assert isinstance(model, MultiModal)
    assert list(model.branches) == ["rgb", "flow"]
    for modality, branch in model.modality_branches.items():
        assert branch.head.project.weight.shape == (12, {"rgb": 16, "flow": 6}[modality])
        layer = branch.head.layer
        assert (layer.attention.n_heads, layer.feed_forward[0].out_features) == (2, 24)
        assert (layer.attention.dropout.p, layer.feed_forward[2].p, layer.feed_forward[4].p) == (0.3, 0.4, 0.4)
        assert (branch.head.context.blocks[0].dropout.p, branch.temperature) == (0.6, 0.5)
    chosen = model.selection.selection
    assert isinstance(chosen, ActiveInferenceSelection)
    assert isinstance(chosen.precision, torch.nn.Parameter)
    assert (chosen.precision.item(), chosen.margin, model.selection.strategy) == (0.25, 0.1, "mutual")
    assert isinstance(model.fusion, ActiveFusion)
    assert model.fusion.temperature == 2.0
    assert (model.detach_teacher, model.loss_weights.distill, model.cross_entropy) == (False, 3.0, "all")


def test_settings_of_a_multi_modal_distance_reach_it():
    """Each setting that the distance takes changes the answer, with the same weights."""
    generator = torch.Generator().manual_seed(0)
    episode = Episode(
        {source: torch.randn(1, 2, 1, 3, 4, generator=generator) for source in SOURCES},
        {source: torch.randn(1, 2, 3, 4, generator=generator) for source in SOURCES},
    )

    def logits(**settings) -> torch.Tensor:
        torch.manual_seed(0)
        given = ModelSettings(name="amfar", n_heads=2, hidden_size=8, **settings)
        return build_model(given, feature_sizes={"rgb": 4, "flow": 4}).eval()(episode).logits

    changes = [
        {"otam_temperature": 0.1},
        {"otam_directions": "query_to_support"},
        {"cosine_eps": 0.5},
        *({"distance": distance} for distance in ("prototype", "frame_wise", "bi_mhm")),
        {"fusion": "sum"},
        {"fusion": "rgb"},
        {"modalities": ("flow",)},
    ]
    for change in changes:
        assert not torch.allclose(logits(**change), logits(), atol=1e-4), change


@pytest.mark.parametrize("name", ["amfar", "amfir", "late_fusion", "early_concat", "early_attention"])
def test_multi_modal_models_are_built_by_name(name):
    sizes = {"rgb": 16, "flow": 8}
    model = build_model(ModelSettings(name=name, hidden_size=8), feature_sizes=sizes)
    assert isinstance(model, MultiModal)
    assert model.cross_entropy == "branches"  # METHODS 3: CE(P_r) + CE(P_f)
    assert (model.loss_weights.distill, model.loss_weights.video_text) == (1.0, 0.0)
    assert list(model.branches) == (["joint"] if name.startswith("early") else ["rgb", "flow"])
    evidence = [branch.wants_evidence for branch in model.modality_branches.values()]
    assert evidence == [name == "amfir"] * len(evidence)
    assert is_trained(name)
    with pytest.raises(ValueError, match=rf"model '{name}' needs features of source 'flow', got \['rgb'\]"):
        build_model(ModelSettings(name=name), feature_sizes={"rgb": 16})


def test_each_family_trains_its_own_answers_unless_told():
    assert build_model(ModelSettings(hidden_size=8), feature_sizes={"rgb": 16}).cross_entropy == "fused"
    for name in ("m2df", "amfar"):
        given = ModelSettings(name=name, hidden_size=8, cross_entropy="all")
        assert build_model(given, feature_sizes={"rgb": 16, "flow": 16}).cross_entropy == "all"


def test_which_sources_a_model_looks_at():
    both = ("rgb", "flow")
    expected = {"m2df": ("rgb",), "amfar": both, "amfir": both, "late_fusion": both, "early_concat": both}
    expected |= {"early_attention": both, "zero_shot": ("rgb",), "otam": ("rgb",), "flow_bi_mhm": ("flow",)}
    expected |= {"late_prototype": both}
    assert {name: model_sources(ModelSettings(name=name)) for name in expected} == expected
    assert model_sources(ModelSettings(name="amfar", modalities=("flow", "rgb"))) == both
    assert model_sources(ModelSettings(name="amfir", modalities=("flow",))) == ("flow",)


@pytest.mark.parametrize("name", [name for name in BASELINES if name != "zero_shot"])
def test_baselines_are_built_for_the_sources_they_need(name):
    sizes = dict.fromkeys(model_sources(ModelSettings(name=name)), 16)
    assert not list(build_model(ModelSettings(name=name), feature_sizes=sizes).parameters())
    assert not is_trained(name)
    with pytest.raises(ValueError, match=f"model '{name}' needs features of source"):
        build_model(ModelSettings(name=name), feature_sizes={})


def test_a_single_modality_needs_no_features_of_the_other():
    model = build_model(ModelSettings(name="amfar", modalities=("flow",), hidden_size=8), feature_sizes={"flow": 8})
    assert list(model.branches) == ["flow"]


def test_presets_are_what_the_methods_say():
    released = build_model(ModelSettings(preset="released"), feature_sizes={"rgb": 16})
    assert released.video_text.scale.item() == 1.0
    assert released.loss_weights.video_text == 0
    paper = build_model(ModelSettings(), feature_sizes={"rgb": 16}, logit_scale=42.0)
    assert paper.video_text.scale.item() == 42.0  # the encoder's own
    for key, value in MODEL_PRESETS["paper"].items():
        assert getattr(ModelSettings(), key) == value, key


def test_takes_all_settings_or_their_model_section():
    settings = check_settings({"model": {"name": "otam"}}, source="test")
    for given in (settings, settings.model):
        assert not list(build_model(given, feature_sizes={"rgb": 16}).parameters())
    assert not is_trained("otam")
    assert is_trained(Settings().model.name)


def test_says_which_features_are_missing():
    with pytest.raises(ValueError, match=r"needs features of source 'rgb', got \['flow'\]"):
        build_model(ModelSettings(), feature_sizes={"flow": 16})
    with pytest.raises(ValueError, match="feature size 12 is not divisible by n_heads=8"):
        build_model(ModelSettings(), feature_sizes={"rgb": 12})


def test_same_seed_same_weights():
    models = []
    for _ in range(2):
        torch.manual_seed(3)
        models.append(build_model(ModelSettings(hidden_size=8), feature_sizes={"rgb": 16}))
    assert all(torch.equal(a, b) for a, b in zip(*(model.parameters() for model in models), strict=True))


OWN_METHOD = """
from torch import nn
from mdmf.models.multi_modal import MultiModal, make_multi_modal
from mdmf.models.two_branch import LossWeights, TwoBranch
from mdmf.mutual.fuse import WeightedSum

class Mine(TwoBranch):
    def __init__(self, branch, **given):
        parts = {"selection": nn.Identity(), "fusion": WeightedSum({"one": 1.0}), "loss_weights": LossWeights()}
        super().__init__({"one": branch}, **parts)
        self.given = given

    def prepare(self, episode):
        return episode

def make(**given):
    return Mine(nn.Linear(2, 2), **given)

def weightless(**given):
    return Mine(nn.Identity(), **given)

def failing(**given):
    return given["depth"]

def another(**given):
    return nn.Linear(2, 2)

def shipped(*, feature_sizes, logit_scale):
    return make_multi_modal("amfar", feature_sizes, modalities=["rgb"], n_heads=1)

def overridden(**given):
    made = shipped(**given)
    made.__class__ = type("Cached", (MultiModal,), {})
    return made
"""


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_method_for_test.py").write_text(OWN_METHOD, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_method_for_test", raising=False)
    return "own_method_for_test"


def test_an_own_method_is_given_the_sizes_of_its_sources_and_its_options(own_module):
    sizes = {"flow": 6, "rgb": 4}
    settings = ModelSettings(name="module", module=f"{own_module}:make", options={"depth": 3})
    model = build_model(settings, feature_sizes=sizes, logit_scale=9.0, allow_code=True)
    assert model.given == {"feature_sizes": {"rgb": 4}, "logit_scale": 9.0, "depth": 3}
    both = settings.model_copy(update={"modalities": ("flow", "rgb")})
    assert model_sources(both) == ("rgb", "flow")
    assert build_model(both, feature_sizes=sizes, allow_code=True).given["feature_sizes"] == sizes
    assert is_trained("module")
    assert reads_text(both)
    assert not reads_text(settings.model_copy(update={"modalities": ("flow",)}))
    with pytest.raises(ValueError, match="needs features of source 'rgb'"):
        build_model(settings, feature_sizes={"flow": 6}, allow_code=True)


def test_an_own_method_is_not_imported_without_consent(own_module):
    settings = ModelSettings(name="module", module=f"{own_module}:make")
    with pytest.raises(ValueError, match=r"model.name=module would import 'own_method_for_test'.*--allow-code"):
        build_model(settings, feature_sizes={"rgb": 4})
    assert own_module not in sys.modules


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("another", "made a Linear; a method is an mdmf.models.two_branch.TwoBranch"),
        ("weightless", "made a method without parameters"),
        ("overridden", "made a Cached, a subclass of a shipped method"),
        ("absent", "has no function 'absent'"),
        ("failing", "fails when it makes the method: KeyError: 'depth'"),
    ],
)
def test_what_an_own_factory_makes_is_checked_at_once(own_module, factory, message):
    settings = ModelSettings(name="module", module=f"{own_module}:{factory}")
    with pytest.raises(ValueError, match=message):
        build_model(settings, feature_sizes={"rgb": 4}, allow_code=True)


def test_a_shipped_method_with_other_parts_is_an_own_method(own_module):
    settings = ModelSettings(name="module", module=f"{own_module}:shipped")
    assert type(build_model(settings, feature_sizes={"rgb": 4}, allow_code=True)) is MultiModal
