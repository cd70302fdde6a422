from dataclasses import replace

import numpy as np
import pytest
import torch

from mdmf.data.features.bank import FeatureBank
from mdmf.engine.answerers import EpisodeBatch
from mdmf.engine.evaluator import Answers
from mdmf.models.build import build_model
from mdmf.models.method import Method
from mdmf.models.text_at_test import TextAtTest
from mdmf.recognition.clip_store import ClipFeatures
from mdmf.recognition.predictions import trusted_branches
from mdmf.recognition.task import QUERIES_PER_EPISODE, ClipReader, ClipTask, task_episodes
from mdmf.settings import method_settings
from mdmf.structures import Episode

T, D = 4, 8
SHOTS = {"a": 1, "b": 3, "c": 2}
SCALE = {"rgb": 0.7, "flow": 0.9}
SMALL = {"hidden_size": 16, "n_heads": 2}
MODELS = [
    {"name": "otam"},
    {"name": "prototype"},
    {"name": "late_fusion", "of": {"name": "otam"}},
    {"name": "m2df", **SMALL},
    {"name": "amfar", **SMALL},
    {"name": "early_attention", **SMALL},
]


def frames(seed: int) -> dict[str, np.ndarray]:
    """source -> (T, D)."""
    rng = np.random.default_rng(seed)
    return {source: (5 + rng.normal(size=(T, D))).astype(np.float16) for source in SCALE}


def support(sources: tuple[str, ...] = ("rgb", "flow")) -> dict[str, list[ClipFeatures]]:
    def clip(seed: int) -> ClipFeatures:
        return ClipFeatures(f"key {seed}", {source: frames(seed)[source][None] for source in sources}, {})

    return {name: [clip(100 * place + shot) for shot in range(n)] for place, (name, n) in enumerate(SHOTS.items())}


def queries(n: int = 5) -> list[dict[str, np.ndarray]]:
    return [frames(1000 + number) for number in range(n)]


def model(values: dict, *, logit_scale: float = 10.0) -> Method:
    torch.manual_seed(3)
    return build_model(method_settings(values), feature_sizes={"rgb": D, "flow": D}, logit_scale=logit_scale).eval()


def class_text() -> torch.Tensor:
    return torch.randn(3, D, generator=torch.Generator().manual_seed(0)) * 3


def make_task(method: torch.nn.Module, name: str = "method", *, sources=("rgb", "flow"), **settings) -> ClipTask:
    scale = {source: SCALE[source] for source in sources}
    return ClipTask(support(sources), scale, method, name, torch.device("cpu"), **settings)


def padded_episode(asked: list[dict[str, np.ndarray]]) -> Episode:
    """What a model is given: class a and c are filled up with the empty row."""
    rows = task_episodes(list(SHOTS.values()), [0.0] * len(asked))
    shots = [{source: part[0] for source, part in clip.features.items()} for one in support().values() for clip in one]
    readers = {source: ClipReader([*shots, *asked, {}], source, feature_scale=scale) for source, scale in SCALE.items()}
    bank = FeatureBank(readers, np.arange(len(shots) + len(asked) + 1), class_text=class_text())
    return EpisodeBatch(rows, bank).episode


def by_query(values: np.ndarray, n: int) -> np.ndarray:
    """(E, Q, N) -> (n, N)."""
    return values.reshape(-1, values.shape[-1])[:n]


class TestClipReader:
    def test_it_reads_what_it_was_given_by_row(self):
        clips = [{"flow": frames(0)["flow"]}, frames(1), {}, frames(2)]
        reader = ClipReader(clips, "rgb", feature_scale=0.5)
        assert reader.ok.tolist() == [False, True, False, True]
        assert (reader.n_variants, reader.n_frames, reader.feature_size, reader.feature_scale) == (1, T, D, 0.5)
        rows = np.array([[3, 1], [1, 1]])
        read = reader.read(rows, np.zeros_like(rows))
        assert read.dtype == np.float16
        np.testing.assert_array_equal(read, [[clips[row]["rgb"] for row in pair] for pair in rows])

    def test_a_bank_gives_zeros_for_what_is_missing_and_scales_the_rest(self):
        asked = queries(2)
        del asked[1]["flow"]
        episode = padded_episode(asked)
        assert episode.support_present["rgb"].tolist() == [[[True, False, False], [True] * 3, [True, True, False]]]
        assert episode.query_present["flow"].tolist() == [[True, False]]
        assert not episode.support["rgb"][0, 0, 1:].any()
        assert not episode.query["flow"][0, 1].any()
        by_hand = torch.from_numpy(asked[1]["rgb"]).float() * SCALE["rgb"]
        torch.testing.assert_close(episode.query["rgb"][0, 1], by_hand)


class TestEpisodes:
    def test_by_hand(self):
        rows = task_episodes([1, 3, 2], [0.5, 0.25])
        assert rows.support_rows.tolist() == [[[0, 8, 8], [1, 2, 3], [4, 5, 8]]]
        assert rows.query_rows.tolist() == [[6, 7]]
        assert rows.query_draws.tolist() == [[0.5, 0.25]]
        assert rows.class_ids.tolist() == [[0, 1, 2]]

    def test_many_queries_are_divided_in_order_and_the_first_ones_fill_up_the_last_episode(self):
        n = 2 * QUERIES_PER_EPISODE + 1
        rows = task_episodes([1, 1], np.linspace(0, 0.5, n).tolist())
        assert rows.query_rows.shape == (3, 43)
        assert rows.query_rows.size == n
        rows = task_episodes([1, 1], np.linspace(0, 0.5, n + 1).tolist())
        assert rows.query_rows.shape == (3, 44)
        assert rows.query_rows.ravel().tolist() == [*range(2, 2 + n + 1), 2, 3]
        assert rows.query_draws.ravel()[-2:].tolist() == rows.query_draws.ravel()[:2].tolist()
        assert (rows.support_rows == [[0], [1]]).all()


@pytest.mark.parametrize("values", MODELS, ids=lambda values: values["name"])
def test_a_class_with_fewer_shots_is_answered_as_if_all_had_as_few(values):
    """The oracle never pads: for the logits of a class, every class is given as many shots as that one has."""
    asked, judge, episode = queries(), model(values), padded_episode(queries())
    query, text = episode.query, episode.class_text
    with torch.inference_mode():
        padded = judge(episode)
        for place, of_class in enumerate(support().values()):
            K = len(of_class)
            alone = {
                source: torch.tensor(
                    np.array([[(own * K)[shot].features[source][0] for shot in range(K)] for own in support().values()])
                )[None].float()
                * SCALE[source]
                for source in SCALE
            }
            answer = judge(Episode(alone, query, text))
            for branch, logits in (answer.branch_logits or {"all": answer.logits}).items():
                of_padded = (padded.branch_logits or {"all": padded.logits})[branch]
                torch.testing.assert_close(of_padded[..., place], logits[..., place], atol=1e-5, rtol=1e-5)
        answers = make_task(judge, class_text=class_text()).answer(asked, [0.0] * len(asked))
    np.testing.assert_allclose(answers.posterior, padded.logits.softmax(-1), atol=1e-5)


def test_what_stands_where_shots_are_missing_does_not_matter():
    """Zeros stand there; were they looked at, other numbers would change the answer."""
    episode, judge = padded_episode(queries()), model({"name": "m2df", **SMALL})
    is_missing = {source: ~present[..., None, None] for source, present in episode.support_present.items()}
    odd = {source: part.masked_fill(is_missing[source], 77.0) for source, part in episode.support.items()}
    with torch.inference_mode():
        one, other = judge(episode).logits, judge(replace(episode, support=odd)).logits
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_a_query_without_flow_is_answered_by_rgb_alone():
    asked = queries(2)
    del asked[1]["flow"]
    answers = make_task(model({"name": "amfar", **SMALL})).answer(asked, [0.0, 0.0])
    np.testing.assert_allclose(answers.posterior[0, 1], answers.branch_posteriors["rgb"][0, 1], atol=1e-6)
    assert trusted_branches(answers)[1] == "rgb"
    np.testing.assert_allclose(answers.branch_posteriors["flow"][0, 1], 1 / 3)


def test_a_model_that_names_no_branch_is_one():
    answers = make_task(model({"name": "otam"}), "otam").answer(queries(), [0.0] * 5)
    assert list(answers.branch_posteriors) == ["otam"]
    np.testing.assert_array_equal(answers.branch_posteriors["otam"], answers.posterior)


def text_task(values: dict, weight: float) -> tuple[ClipTask, torch.nn.Module, torch.nn.Module]:
    judge, zero_shot = model(values), model({"name": "zero_shot"}, logit_scale=0.05 if values["name"] == "otam" else 10)
    settings = {"class_text": class_text(), "text_model": zero_shot, "text_weight": weight}
    return make_task(judge, values["name"], **settings), judge, zero_shot


def test_text_joins_in_as_the_test_command_has_it():
    task, otam, zero_shot = text_task({"name": "otam"}, 0.3)
    answers = task.answer(queries(20), [0.0] * 20)
    episode = padded_episode(queries(20))
    by_test = TextAtTest(otam, zero_shot, weight=0.3).eval()(episode).logits.softmax(-1)
    np.testing.assert_allclose(answers.posterior, by_test, atol=1e-6)
    branches = answers.branch_posteriors
    assert list(branches) == ["otam", "text"]
    np.testing.assert_allclose(branches["otam"], otam(episode).logits.softmax(-1), atol=1e-6)
    np.testing.assert_allclose(branches["text"], zero_shot(episode).logits.softmax(-1), atol=1e-6)
    surer = (branches["otam"].max(-1) >= branches["text"].max(-1))[0]
    assert trusted_branches(answers) == ["otam" if one else "text" for one in surer]
    assert {True, False} == set(surer.tolist())  # else the rule is not seen


@pytest.mark.parametrize("weight", [0.2, 0.6])
def test_text_has_its_weight_as_its_share_and_the_branches_divide_the_rest(weight):
    """The larger of two shares has at least half of (1 - weight), at most all: text leads at 0.6, never at 0.2."""
    task, judge, _ = text_task({"name": "amfar", **SMALL}, weight)
    answers = task.answer(queries(20), [0.0] * 20)
    with torch.inference_mode():
        shares = judge(padded_episode(queries(20))).fusion_weight
    assert list(answers.fusion_weights) == ["rgb", "flow", "text"]
    for name, share in shares.items():
        np.testing.assert_allclose(answers.fusion_weights[name], (1 - weight) * share, atol=1e-5)
    np.testing.assert_allclose(answers.fusion_weights["text"], weight)
    assert {name == "text" for name in trusted_branches(answers)} == {weight == 0.6}


def test_queries_are_answered_each_as_if_it_were_alone_and_a_draw_is_its_own():
    sampling = model({"name": "m2df", "selector_test": "sample", "selector_scale": 1.0, **SMALL})
    task, n = make_task(sampling, class_text=class_text()), QUERIES_PER_EPISODE + 3
    asked, draws = queries(n), [number / 100 for number in range(n)]
    together = by_query(task.answer(asked, draws).posterior, n)
    assert len(together) == n
    for place in (0, 5, QUERIES_PER_EPISODE, n - 1):
        alone = task.answer([asked[place]], [draws[place]]).posterior
        np.testing.assert_allclose(alone[0, 0], together[place], atol=1e-5)
    other = by_query(task.answer(asked, [0.99] * n).posterior, n)
    assert not np.allclose(other, together, atol=1e-3)


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_support_clips_and_windows_are_embedded_once(weight):
    """However many episodes they are in; text that is combined with the answer embeds nothing again."""
    n, n_embedded = 3 * QUERIES_PER_EPISODE, 0
    task, judge, _ = text_task({"name": "amfar", **SMALL}, weight)
    task = task if weight else make_task(judge)
    real = judge.branch("rgb").embed

    def counted(features, prompts=None):
        nonlocal n_embedded
        n_embedded += len(features["rgb"])
        return real(features, prompts)

    judge.branch("rgb").embed = counted
    task.answer(queries(n), [0.0] * n)
    assert n_embedded == sum(SHOTS.values()) + n + 1  # and the empty row


def test_no_query_is_no_answer():
    answers = make_task(model({"name": "otam"})).answer([], [])
    assert isinstance(answers, Answers)
    assert answers.posterior.shape == (1, 0, 3)
    assert trusted_branches(answers) == []
