"""A method of the user's own: a file in the form of those of the zoo, imported after consent."""

import sys

import pytest
import torch
from method_cases import SIZES, random_episode
from small_world import FLOW_D, D, MemoryStore, small_sampler, two_source_bank

from mdmf.config import check_settings, dump_settings, parse_yaml
from mdmf.engine.answerers import CachedAnswerer, EpisodeBatch, answerer
from mdmf.models.build import build_model
from mdmf.models.method import Method
from mdmf.registry import METHODS
from mdmf.settings import MethodSettings, method_settings

NAME = "own_method_for_test"
OWN = '''
"""Mine: mean frames through a linear head, by cosine."""
from pydantic import Field
from torch import nn

from mdmf.distances.pairwise import cosine_similarity
from mdmf.layers.prototypes import class_prototypes
from mdmf.models.branch import Branch, logits_from_distance
from mdmf.models.method import Method
from mdmf.models.registry import register
from mdmf.settings import MethodSettings, SingleSourceSettings
from mdmf.structures import BranchOutput


class MeanFrame(Branch):
    def __init__(self, size, depth, *, source):
        super().__init__(sources=[source])
        self.head = nn.Sequential(*(nn.Linear(size, size) for _ in range(depth)))

    def embed(self, features, prompts=None):
        return {"video": self.head(features[self.sources[0]].mean(1))}

    def compare(self, support, query, task):
        prototypes = class_prototypes(support["video"], task.support_present)
        return BranchOutput(logits_from_distance(1 - cosine_similarity(query["video"], prototypes)))


class MineSettings(SingleSourceSettings):
    """Settings of mine."""

    depth: int = Field(1, ge=0, description="linear layers")
    sure: bool = Field(False, description="anything")


@register("mine", MineSettings, citation="mine")
def make_mine(settings, features):
    source = settings.source
    return Method({source: MeanFrame(features.sizes[source], settings.depth, source=source)})
'''
SECOND = '''

class PairSettings(MethodSettings):
    """Settings of pair."""

    sources: tuple[str, ...] = Field(("rgb",), description="any")

    @property
    def used_sources(self):
        return self.sources


@register("pair", PairSettings, citation="mine", kind="training-free")
def make_pair(settings, features):
    return Method({source: MeanFrame(0, 0, source=source) for source in settings.sources})
'''


def own(module: str = NAME, *, sources=("rgb",), **options) -> MethodSettings:
    return method_settings({"name": "module", "module": module, "sources": list(sources), "options": options})


def build(settings: MethodSettings, sizes=SIZES) -> Method:
    torch.manual_seed(0)
    return build_model(settings, feature_sizes=sizes, allow_code=True).eval()


def test_it_is_made_from_the_settings_of_its_own_class(write_module):
    write_module(NAME, OWN)
    settings = own(depth=2)
    model = build(settings)
    assert len(model.branch("rgb").head) == 2
    assert build(own(sources=["flow"])).branch("flow").head[0].weight.shape == (6, 6)
    assert model(random_episode()).logits.shape == (2, 6, 3)
    assert settings.table_name == NAME
    assert own("package.mine").table_name == "mine"
    resolved = settings.resolved(allow_code=True)
    assert (resolved.name, resolved.depth, resolved.source) == ("mine", 2, "rgb")
    assert (resolved.is_trained, resolved.reads_text) == (True, False)


def test_it_is_not_imported_without_consent(write_module):
    write_module(NAME, OWN)
    settings = own()
    for action in (lambda: build_model(settings, feature_sizes=SIZES), lambda: settings.resolved(allow_code=False)):
        with pytest.raises(ValueError, match=f"model.name=module would import '{NAME}'.*--allow-code"):
            action()
    assert (settings.used_sources, settings.is_trained, settings.reads_text) == (("rgb",), True, True)
    assert NAME not in sys.modules
    assert "mine" not in METHODS


def test_wrong_options_are_refused_all_at_once_by_name(write_module):
    write_module(NAME, OWN)
    with pytest.raises(ValueError, match=f"model.options of '{NAME}': ") as caught:
        build(own(depth=-1, sure="perhaps", dept=3))
    for part in (
        "depth: Input should be greater than or equal to 0",
        "sure: Input should be a valid boolean",
        "dept: Extra inputs are not permitted",
    ):
        assert part in str(caught.value)


def test_sources_go_to_the_setting_that_the_class_has(write_module):
    write_module(NAME, OWN + SECOND)
    pair = own(f"{NAME}:pair", sources=["flow", "rgb"])
    assert list(build(pair).branches) == ["flow", "rgb"]
    with pytest.raises(ValueError, match=rf"'{NAME}:mine' looks at one source, got model.sources=\['rgb', 'flow'\]"):
        build(own(f"{NAME}:mine", sources=["rgb", "flow"]))
    with pytest.raises(ValueError, match="needs features of source 'rgb'"):
        build(own(f"{NAME}:mine"), sizes={"flow": 6})


def test_of_several_registrations_one_is_named_by_method_or_function(write_module):
    write_module(NAME, OWN + SECOND)
    for name in (f"{NAME}:mine", f"{NAME}:make_mine"):
        assert own(name).resolved(allow_code=True).name == "mine"
    assert not own(f"{NAME}:pair").resolved(allow_code=True).is_trained
    assert not build(own(f"{NAME}:pair")).has_weights
    for name, registered in ((NAME, "mine, pair"), (f"{NAME}:absent", "mine, pair")):
        with pytest.raises(ValueError, match=f"expected '{name}' to name one method .*it registers {registered}"):
            build(own(name))
    write_module("own_empty_for_test", "value = 3\n")
    with pytest.raises(ValueError, match=r"expected 'own_empty_for_test' to name one method .*it registers none"):
        build(own("own_empty_for_test"))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return 3", "'mine' made a int; expected an mdmf.models.method.Method"),
        ("return settings.absent", "'mine' fails when it makes the method: AttributeError: .*absent"),
        ("raise SystemExit(1)", "'mine' fails when it makes the method: SystemExit: 1"),
        (
            "return Method({'rgb': MeanFrame(0, 0, source='rgb')})",
            "'mine' has no parameters to train; register it with kind='training-free'",
        ),
    ],
)
def test_what_an_own_file_makes_is_checked_at_once(write_module, body, message):
    """From the settings of a config, and from those that its class has made of them."""
    write_module(NAME, OWN.partition("    source = settings.source")[0] + f"    {body}\n")
    for settings in (own(), own().resolved(allow_code=True)):
        with pytest.raises(ValueError, match=message):
            build(settings)


def test_a_name_of_a_shipped_method_is_taken(write_module):
    write_module(NAME, OWN.replace('register("mine"', 'register("otam"'))
    with pytest.raises(ValueError, match=f"'{NAME}' fails when it is imported: .*'otam' is registered by"):
        build(own())


@pytest.mark.parametrize("missing", [{}, {"bad_rgb": (4, 12, 30)}], ids=["complete", "missing"])
@pytest.mark.parametrize("n_shot", [1, 2])
def test_its_answers_come_from_the_cache(write_module, n_shot, missing):
    write_module(NAME, OWN)
    model, bank = build(own(depth=2), sizes={"rgb": D, "flow": FLOW_D}), two_source_bank(**missing)
    sampler, answer = small_sampler(MemoryStore(), split="test", n_shot=n_shot), answerer(model, bank)
    assert isinstance(answer, CachedAnswerer)
    with torch.inference_mode():
        for start in (0, 5):
            batch = EpisodeBatch(sampler.batch(start, 5), bank)
            torch.testing.assert_close(answer(batch).logits, model(batch.episode).logits, atol=1e-5, rtol=1e-5)


def test_its_settings_read_back_the_same_without_an_import(write_module):
    write_module(NAME, OWN)
    settings = check_settings(
        {"model": {"name": "module", "module": NAME, "options": {"depth": 2}, "text_weight": 0.2}}, source="test"
    )
    assert check_settings(parse_yaml(dump_settings(settings), source="x"), source="y") == settings
    assert settings.model.resolved(allow_code=True).text_weight == 0.2


def test_the_file_can_be_moved_into_the_zoo(write_module):
    """Imported in any way, it is a method like the others."""
    write_module(NAME, OWN)
    __import__(NAME)
    assert method_settings({"name": "mine", "source": "flow"}).table_name == "flow_mine"
    with pytest.raises(ValueError, match="depth"):
        method_settings({"name": "mine", "depth": -1})
    wrapped = build_model(method_settings({"name": "amfir", "of": {"name": "mine", "depth": 2}}), feature_sizes=SIZES)
    assert set(wrapped.eval()(random_episode()).branch_logits) == {"rgb", "flow"}
