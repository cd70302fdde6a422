"""Zero-shot accuracy of prompts: against the baseline, by hand, and what no prompt can tell apart."""

from pathlib import Path

import numpy as np
import pytest
import torch
from small_videos import SPLIT, write_videos

from mdmf.encoders.prompts import PromptFile, load_prompts
from mdmf.engine.recipes import prompt_file
from mdmf.engine.workspace import Workspace
from mdmf.models.build import build_model
from mdmf.settings import Settings, method_settings
from mdmf.structures import Episode
from mdmf.studies import prompt_scores
from mdmf.studies.prompt_scores import (
    ENSEMBLE,
    Confusion,
    classes_named,
    confusion_pairs,
    correctness,
    score_prompts,
    template_sentences,
    zero_shot_answers,
    zero_shot_settings,
)

WORDS = {"x": [1.0, 0.0], "y": [0.0, 1.0], "xy": [1.0, 1.0]}
PROMPTS = {
    **{"move_left": "a shape at the left", "move_right": "a shape at the right"},
    **{"left_then_up": "a small square", "left_then_down": "a large shape"},
    **{"move_up_left": "a shape at the top left", "move_up_right": "a shape at the top right"},
}  # in words that the tiny encoder knows
APART = {"a": ["x"], "b": ["y"], "c": ["xy"]}


def encode(texts: list[str]) -> torch.Tensor:
    return torch.tensor([WORDS[text] for text in texts])


class TestAnswers:
    def test_the_nearest_text_wins_by_hand(self) -> None:
        videos = torch.tensor([[3.0, 0.1], [0.1, 2.0], [5.0, 4.0], [0.2, 0.0]])
        assert zero_shot_answers(videos, APART, encode).tolist() == [0, 1, 2, 0]

    def test_the_order_of_classes_does_not_matter(self) -> None:
        videos = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
        names, swapped = list(APART), {"c": ["xy"], "a": ["x"], "b": ["y"]}
        first = [names[answer] for answer in zero_shot_answers(videos, APART, encode)]
        assert first == [list(swapped)[answer] for answer in zero_shot_answers(videos, swapped, encode)]

    def test_classes_with_the_same_sentences_share_what_is_right(self) -> None:
        same = {"a": ["x", "y"], "b": ["y", "x"], "c": ["xy"]}
        answers, labels = np.array([0, 0, 2, 2, 0]), np.array([0, 1, 2, 0, 2])
        np.testing.assert_array_equal(correctness(answers, labels, same), [0.5, 0.5, 1, 0, 0])
        np.testing.assert_array_equal(correctness(answers, labels, APART), [1, 0, 1, 0, 0])

    def test_confusions_by_hand(self) -> None:
        answers, labels = np.array([1, 1, 0, 2, 2, 2]), np.array([0, 0, 0, 2, 1, 1])
        assert confusion_pairs(answers, labels, APART) == [Confusion("a", "b", 2, 3), Confusion("b", "c", 2, 2)]
        same = {"a": ["x"], "b": ["x"], "c": ["xy"]}
        assert confusion_pairs(answers, labels, same) == [Confusion("b", "c", 2, 2)]
        assert confusion_pairs(np.array([1]), np.array([2]), same) == [Confusion("c", "a = b", 1, 1)]


class TestTemplates:
    def test_a_row_for_each_template_and_finished_sentences_in_every_row(self) -> None:
        prompts = PromptFile(Path("p.yaml"), ("see {}.", "{} here."), {"a": "apple", "b": ("done.", "ready.")})
        sentences = {"a": ["see apple.", "apple here."], "b": ["done.", "ready."]}
        assert template_sentences(prompts, sentences) == {
            "see {}.": {"a": ["see apple."], "b": ["done.", "ready."]},
            "{} here.": {"a": ["apple here."], "b": ["done.", "ready."]},
        }

    def test_finished_sentences_alone_are_taken_place_by_place(self) -> None:
        prompts = PromptFile(Path("p.yaml"), ("see {}.",), {"a": ("1.", "2."), "b": ("3.",)})
        assert template_sentences(prompts, {"a": ["1.", "2."], "b": ["3."]}) == {
            "sentence 1 of each class": {"a": ["1."], "b": ["3."]},
            "sentence 2 of each class": {"a": ["2."], "b": ["3."]},
        }


CLASSES = {"train": ("ride bike", "run"), "test": ("wave",)}


class TestClassesNamed:
    def test_by_name_up_to_spelling(self) -> None:
        assert classes_named(CLASSES, []) == CLASSES
        assert classes_named(CLASSES, ["Ride_Bike"]) == {"train": ("ride bike",), "test": ()}

    def test_a_misspelt_name_gets_the_nearest(self) -> None:
        with pytest.raises(ValueError, match=r"'ride bik' is not a class .*\(did you mean 'ride bike'\?\)"):
            classes_named(CLASSES, ["run", "ride bik"])


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Two videos of each of six classes, with the tiny encoder; val has two classes."""
    place = tmp_path_factory.mktemp("prompts")
    write_videos(place / "videos")
    (place / "split.yaml").write_text("\n".join(f"{split}: {names}" for split, names in SPLIT.items()))
    lines = ["templates: ['{}', '{} and a circle']", "classes:"]
    lines += [f"  {name}: {words}" for name, words in PROMPTS.items()]
    (place / "prompts.yaml").write_text("\n".join(lines))
    settings = Settings.model_validate(
        {
            "data": {
                **{"root": place / "videos", "class_split": str(place / "split.yaml"), "store": place / "store"},
                **{"prompts": place / "prompts.yaml", "n_workers": 0},
            },
            "encoder": {"library": "tiny", "model": "tiny_clip", "weights": "shipped", "device": "cpu"},
            "model": {"name": "amfar", "sources": ["flow"]},
            "evaluation": {"baselines": ["flow_otam"]},
            "corrupt": {"rgb": "noise:0.9"},
        }
    )
    return Workspace(zero_shot_settings(settings), progress=False)


class TestScores:
    def test_all_together_is_the_baseline_zero_shot_on_every_video(self, workspace: Workspace) -> None:
        scores = score_prompts(workspace, load_prompts(prompt_file(workspace.settings)))
        names = workspace.index.classes["val"]
        records = [record for record in workspace.index.records if record.split == "val"]
        rows = workspace.stores.first.rows_of([record.video_id for record in records])
        bank = workspace.split("val", role="validation").bank("cpu")
        query = bank.features_at(bank.positions(rows))["rgb"]
        episode = Episode(
            support={"rgb": query[None, :2, None]}, query={"rgb": query[None]}, class_text=bank.class_text[None]
        )
        zero_shot = build_model(method_settings("zero_shot"), feature_sizes={"rgb": query.shape[-1]}, logit_scale=1.0)
        answers = zero_shot(episode).logits[0].argmax(dim=-1).tolist()
        right = np.array([names[a] == record.class_name for a, record in zip(answers, records, strict=True)])
        first = scores.scores[0]
        assert (first.name, first.difference) == (ENSEMBLE, None)
        assert first.percent == pytest.approx(100 * right.mean())
        assert first.interval == pytest.approx(196 * right.std(ddof=1) / len(right) ** 0.5)
        assert (scores.split, scores.n_classes, scores.n_videos) == ("val", 2, 4)
        assert [score.name for score in scores.scores[1:]] == ["{}", "{} and a circle"]

    def test_a_difference_is_positive_where_the_template_is_better(self, workspace: Workspace, monkeypatch) -> None:
        """All together gets one video of four right, the first template three, the second none."""
        labels = prompt_scores._mean_frames(workspace)[1]
        answers = iter([np.where(np.arange(4) < n_right, labels, 1 - labels) for n_right in (1, 3, 0)])
        monkeypatch.setattr(prompt_scores, "zero_shot_answers", lambda *_: next(answers))
        scores = score_prompts(workspace, load_prompts(prompt_file(workspace.settings))).scores
        assert [score.percent for score in scores] == [25, 75, 0]
        assert [score.difference for score in scores] == [None, 50, -25]
        paired = np.array([0, 1, 1, 0])  # of the first template, video by video
        assert scores[1].difference_interval == pytest.approx(196 * paired.std(ddof=1) / 2)

    def test_no_test_video_and_no_test_class_is_looked_at(self, workspace: Workspace, monkeypatch) -> None:
        texts: list[str] = []
        encoder = workspace.encoder()
        whole = encoder.encode_texts
        monkeypatch.setattr(encoder, "encode_texts", lambda of: texts.extend(of) or whole(of))
        workspace.stores.opened  # noqa: B018, the features are made before anything is counted
        read: list[int] = []
        store = workspace.stores.opened["rgb"]
        read_rows = store.read
        monkeypatch.setattr(
            store, "read", lambda rows, variants: read.extend(np.ravel(rows).tolist()) or read_rows(rows, variants)
        )
        score_prompts(workspace, load_prompts(prompt_file(workspace.settings)))
        assert read
        assert {store.table.video_id[row].split("/")[0] for row in read} == set(SPLIT["val"])
        assert texts
        assert {text.removesuffix(" and a circle") for text in texts} == {PROMPTS[name] for name in SPLIT["val"]}

    def test_prompts_that_tell_nothing_apart_are_at_chance(self, workspace: Workspace) -> None:
        classes: dict[str, str | tuple[str, ...]] = {name: "a shape" for names in SPLIT.values() for name in names}
        scores = score_prompts(workspace, PromptFile(Path("same.yaml"), ("{}.",), classes))
        assert scores.scores[0].percent == 50
        assert scores.same_sentences == (tuple(SPLIT["val"]),) or scores.same_sentences == (
            tuple(sorted(SPLIT["val"])),
        )
        assert scores.confusions == ()

    def test_a_missing_class_is_named(self, workspace: Workspace) -> None:
        with pytest.raises(
            ValueError, match=r"'left_then_up'.*did you mean 'left_then_upp'|not a class of the data set"
        ):
            score_prompts(workspace, PromptFile(Path("p.yaml"), ("{}.",), {"left_then_upp": "x"}))

    def test_without_val_there_is_nothing_to_score_on(self, workspace: Workspace, tmp_path: Path) -> None:
        (tmp_path / "split.yaml").write_text(f"test: {[name for names in SPLIT.values() for name in names]}")
        data = workspace.settings.data.model_copy(update={"class_split": str(tmp_path / "split.yaml")})
        bare = Workspace(workspace.settings.model_copy(update={"data": data}), progress=False)
        with pytest.raises(ValueError, match="need at least 2 classes; it has 0 classes"):
            score_prompts(bare, load_prompts(prompt_file(bare.settings)))
