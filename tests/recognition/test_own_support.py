from pathlib import Path

import numpy as np
import pytest
import torch

from mdmf.models.build import build_model
from mdmf.models.text_at_test import TextAtTest
from mdmf.recognition.clip_store import BadClip, ClipFeatures
from mdmf.recognition.own_answers import QUERIES_PER_CALL, OwnAnswers
from mdmf.recognition.own_clips import OwnClips
from mdmf.recognition.own_support import lacking_sources, make_queries, make_support, usable_clips
from mdmf.settings import method_settings
from mdmf.structures import Episode

T, D = 4, 8
SHOTS = {"a": 1, "b": 3, "c": 2}
SMALL = {"hidden_size": 16, "n_heads": 2}
MODELS = [
    {"name": "otam"},
    {"name": "prototype"},
    {"name": "late_otam"},
    {"name": "m2df", **SMALL},
    {"name": "amfar", **SMALL},
    {"name": "early_attention", **SMALL},
]


def clip(seed: int, *, sources=("rgb", "flow"), key: str = "") -> ClipFeatures:
    rng = np.random.default_rng(seed)
    features = {source: (5 + rng.normal(size=(1, T, D))).astype(np.float16) for source in ("rgb", "flow")}
    return ClipFeatures(key or f"key {seed}", {source: features[source] for source in sources}, {})


def clips_by_class() -> dict[str, list[ClipFeatures]]:
    return {name: [clip(100 * place + shot) for shot in range(n)] for place, (name, n) in enumerate(SHOTS.items())}


def queries(n: int = 5) -> list[dict[str, np.ndarray]]:
    return [{source: part[0] for source, part in clip(1000 + number).features.items()} for number in range(n)]


def model(values: dict, *, logit_scale: float = 10.0) -> torch.nn.Module:
    torch.manual_seed(3)
    return build_model(method_settings(values), feature_sizes={"rgb": D, "flow": D}, logit_scale=logit_scale).eval()


def class_text() -> torch.Tensor:
    return torch.randn(3, D, generator=torch.Generator().manual_seed(0)) * 3


@pytest.mark.parametrize("values", MODELS, ids=lambda values: values["name"])
def test_a_class_with_fewer_shots_is_answered_as_if_all_had_as_few(values):
    """The oracle never pads: for the logits of a class, every class is given as many shots as that one has."""
    clips, asked = clips_by_class(), queries()
    support = make_support(clips, ("rgb", "flow"))
    assert support.features["rgb"].shape == (1, 3, 3, T, D)
    assert support.present["rgb"].tolist() == [[[True, False, False], [True, True, True], [True, True, False]]]
    query, _ = make_queries(asked, support)
    text, judge = class_text()[None], model(values)
    with torch.inference_mode():
        padded = judge(Episode(support.features, query, text, support_present=support.present))
        for place, of_class in enumerate(clips.values()):
            K = len(of_class)
            shots = [[(own * K)[shot] for shot in range(K)] for own in clips.values()]
            alone = {
                source: torch.tensor(np.array([[one.features[source][0] for one in row] for row in shots]))[
                    None
                ].float()
                * support.scale[source]
                for source in ("rgb", "flow")
            }
            answer = judge(Episode(alone, query, text))
            for branch, logits in (answer.branch_logits or {"all": answer.logits}).items():
                of_padded = (padded.branch_logits or {"all": padded.logits})[branch]
                torch.testing.assert_close(of_padded[..., place], logits[..., place], atol=1e-5, rtol=1e-5)


def test_what_stands_where_shots_are_missing_does_not_matter():
    """Zeros stand there; were they looked at, other numbers would change the answer."""
    support = make_support(clips_by_class(), ("rgb", "flow"))
    query, _ = make_queries(queries(), support)
    judge = model({"name": "m2df", **SMALL})
    odd = {s: part.masked_fill(~support.present[s][..., None, None], 77.0) for s, part in support.features.items()}
    with torch.inference_mode():
        one, other = (
            judge(Episode(part, query, class_text()[None], support_present=support.present)).logits
            for part in (support.features, odd)
        )
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_the_scale_brings_the_support_to_mean_norm_10_and_is_that_of_the_queries():
    support = make_support(clips_by_class(), ("rgb",))
    of_clips = [support.features["rgb"][0, row, shot] for row, n in enumerate(SHOTS.values()) for shot in range(n)]
    assert torch.stack(of_clips).norm(dim=-1).mean() == pytest.approx(10, abs=1e-4)
    asked = queries(2)
    query, present = make_queries(asked, support)
    np.testing.assert_allclose(query["rgb"][0, 1], asked[1]["rgb"].astype(np.float32) * support.scale["rgb"], rtol=1e-6)
    assert present == {}


def test_a_query_without_flow_is_answered_by_rgb_alone():
    support = make_support(clips_by_class(), ("rgb", "flow"))
    asked = queries(2)
    del asked[1]["flow"]
    _, present = make_queries(asked, support)
    assert present["flow"].tolist() == [[True, False]]
    answers = OwnAnswers(
        support, model=model({"name": "amfar", **SMALL}), model_name="amfar", device=torch.device("cpu")
    )
    said = answers.answer(asked, [0.0, 0.0])
    np.testing.assert_allclose(said.posterior[1], said.branches["rgb"][1], atol=1e-6)
    assert said.trusted[1] == "rgb"
    np.testing.assert_allclose(said.branches["flow"][1], 1 / 3)


def test_text_joins_in_as_the_test_command_has_it():
    support = make_support(clips_by_class(), ("rgb",))
    otam, zero_shot = model({"name": "otam"}), model({"name": "zero_shot"}, logit_scale=0.05)
    answers = OwnAnswers(
        support,
        model=otam,
        model_name="otam",
        class_text=class_text(),
        text_model=zero_shot,
        text_weight=0.3,
        device=torch.device("cpu"),
    )
    said = answers.answer(queries(20), [0.0] * 20)
    query, _ = make_queries(queries(20), support)
    episode = Episode(support.features, query, class_text()[None], support_present=support.present)
    by_test = TextAtTest(otam, zero_shot, weight=0.3).eval()(episode).logits.softmax(-1)[0]
    np.testing.assert_allclose(said.posterior, by_test, atol=1e-6)
    assert list(said.branches) == ["otam", "text"]
    np.testing.assert_allclose(said.branches["text"], zero_shot(episode).logits.softmax(-1)[0], atol=1e-6)
    surer = said.branches["otam"].max(1) >= said.branches["text"].max(1)
    assert list(said.trusted) == ["otam" if one else "text" for one in surer]
    assert {True, False} == set(surer.tolist())  # else the rule is not seen


@pytest.mark.parametrize(("weight", "text_wins"), [(0.2, False), (0.6, True), (0.4, None)])
def test_text_has_its_weight_as_its_share_and_the_branches_divide_the_rest(weight, text_wins):
    """The larger of two shares has at least half of (1 - weight), at most all: text leads at 0.6, never at 0.2."""
    support = make_support(clips_by_class(), ("rgb", "flow"))
    judge, zero_shot = model({"name": "amfar", **SMALL}), model({"name": "zero_shot"})
    answers = OwnAnswers(
        support,
        model=judge,
        model_name="amfar",
        class_text=class_text(),
        text_model=zero_shot,
        text_weight=weight,
        device=torch.device("cpu"),
    )
    asked = queries(20)
    said = answers.answer(asked, [0.0] * 20)
    query, _ = make_queries(asked, support)
    with torch.inference_mode():
        shares = judge(Episode(support.features, query, class_text()[None], support_present=support.present))
    by_hand = {name: (1 - weight) * share[0].numpy() for name, share in shares.fusion_weight.items()}
    larger = np.maximum(by_hand["rgb"], by_hand["flow"])
    expected = np.where(weight > larger, "text", np.where(by_hand["rgb"] >= by_hand["flow"], "rgb", "flow"))
    assert list(said.trusted) == expected.tolist()
    if text_wins is not None:
        assert (expected == "text").all() == text_wins == (expected == "text").any()


def test_queries_are_answered_each_as_if_it_were_alone_and_a_draw_is_its_own():
    support = make_support(clips_by_class(), ("rgb", "flow"))
    sampling = model({"name": "m2df", "selector_test": "sample", "selector_scale": 1.0, **SMALL})
    answers = OwnAnswers(
        support, model=sampling, model_name="m2df", class_text=class_text(), device=torch.device("cpu")
    )
    asked, draws = queries(QUERIES_PER_CALL + 3), [number / 100 for number in range(QUERIES_PER_CALL + 3)]
    together = answers.answer(asked, draws)
    assert len(together.posterior) == len(together.trusted) == len(asked)
    for place in (0, 5, QUERIES_PER_CALL, QUERIES_PER_CALL + 2):
        alone = answers.answer([asked[place]], [draws[place]])
        np.testing.assert_allclose(alone.posterior[0], together.posterior[place], atol=1e-5)
    other = answers.answer(asked, [0.99] * len(asked))
    assert not np.allclose(other.posterior, together.posterior, atol=1e-3)


def test_no_query_is_no_answer():
    support = make_support(clips_by_class(), ("rgb",))
    answers = OwnAnswers(support, model=model({"name": "otam"}), model_name="otam", device=torch.device("cpu"))
    said = answers.answer([], [])
    assert said.posterior.shape == (0, 3)
    assert said.trusted == ()


def found(**clips: str) -> OwnClips:
    return OwnClips({name: tuple(Path(word) for word in words.split()) for name, words in clips.items()})


class TestUsableClips:
    def read(self, paths):
        bad = {"broken.mp4": BadClip("it is cut")}
        return [bad.get(path.name, clip(0, key=path.stem.rstrip("_"))) for path in paths]

    def test_bad_clips_and_copies_are_left_out_and_said(self):
        usable, notes = usable_clips(found(kick="a.mp4 a_.mp4 broken.mp4", jump="b.mp4"), self.read)
        assert {name: [one.key for one in of_class] for name, of_class in usable.items()} == {
            "kick": ["a"],
            "jump": ["b"],
        }
        assert notes == [
            "LEFT OUT of kick: a_.mp4: it is the same clip as a.mp4",
            "LEFT OUT of kick: broken.mp4: it is cut",
        ]

    def test_one_clip_in_two_classes_is_refused(self):
        with pytest.raises(ValueError, match=r"a\.mp4 of class 'kick' and a_\.mp4 of class 'jump' are the same clip"):
            usable_clips(found(kick="a.mp4", jump="a_.mp4"), self.read)

    def test_a_class_without_a_usable_clip_is_refused_with_the_reason(self):
        with pytest.raises(ValueError, match=r"no clip of class 'jump' can be used.*\n.*broken\.mp4: it is cut"):
            usable_clips(found(kick="a.mp4", jump="broken.mp4"), self.read)


def test_sources_that_a_class_lacks():
    clips = {"a": [clip(0), clip(1, sources=["rgb"])], "b": [clip(2, sources=["rgb"])]}
    support = make_support(clips, ("rgb", "flow"))
    assert support.present["flow"].tolist() == [[[True, False], [False, False]]]
    assert lacking_sources(support, ("rgb", "flow")) == ["flow is not looked at: no clip of 'b' has features of it"]
    with pytest.raises(ValueError, match="looks at flow, and no clip of 'b' has it"):
        lacking_sources(support, ("flow",))
    with pytest.raises(ValueError, match="no support clip has features of flow"):
        make_support({name: [clip(0, sources=["rgb"])] for name in "ab"}, ("rgb", "flow"))
