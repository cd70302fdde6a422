"""From folders of clips to names; the clips are folders of small images, the encoder is the shipped tiny one."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_videos import write_videos

import mdmf
from mdmf.config import check_settings
from mdmf.data.features.stores import ExtractionOptions, FeatureStores
from mdmf.engine.checkpoint import load_weights, save_weights
from mdmf.engine.recipes import store_recipes
from mdmf.engine.run_folder import RunFolder
from mdmf.engine.workspace import Workspace
from mdmf.models.build import build_model
from mdmf.recognition.predictions import UNKNOWN
from mdmf.recognition.recognizer import FewShotRecognizer
from mdmf.recognition.task import ClipTask
from mdmf.structures import Episode, VideoRecord

TINY = ["encoder.library=tiny", "encoder.model=tiny_clip", "encoder.weights=shipped", "encoder.device=cpu"]
PLAIN = [*TINY, "training.device=cpu", "frames.n_frames=4"]
T, D = 4, 128


@pytest.fixture
def clips(tmp_path) -> Path:
    """Two clips of each of six classes, six frames each."""
    write_videos(tmp_path / "clips")
    return tmp_path / "clips"


@pytest.fixture
def support(clips) -> dict[str, list[Path]]:
    """One, two and two clips."""
    return {
        "move_left": [clips / "move_left/0"],
        "move_right": [clips / "move_right/0", clips / "move_right/1"],
        "left_then_up": [clips / "left_then_up/0", clips / "left_then_up/1"],
    }


@pytest.fixture
def queries(clips) -> list[Path]:
    return [clips / "move_left/1", clips / "move_up_left/0", clips / "move_up_left/1"]


@pytest.fixture
def make(tmp_path):
    def made(*overrides: str, **arguments) -> FewShotRecognizer:
        arguments = {"store": tmp_path / "store", "text": "off"} | arguments
        return FewShotRecognizer(overrides=[*PLAIN, *overrides], **arguments)

    return made


@pytest.fixture
def no_encoder(monkeypatch):
    """From when it is called on, nothing can be encoded."""

    def refuse(*_):
        raise AssertionError("an encoder was asked for")

    return lambda: monkeypatch.setattr(Workspace, "encoder", refuse)


def by_hand(support, queries, folder: Path, settings, model, *, text=None, scales=None):
    """The same episode from the feature stores of a data set, every class given alone, so that nothing is padded."""
    sources = settings.model.used_sources
    records = [VideoRecord(path.as_posix(), path, name, "test") for name in sorted(support) for path in support[name]]
    asked = [VideoRecord(path.as_posix(), path, "?", "test") for path in queries]
    encoder = Workspace(settings).encoder
    features, scale, query = {}, {}, {}
    for source in sources:
        of_support, of_query = (
            FeatureStores(
                {
                    source: replace(
                        store_recipes(settings, of_part, [source])[source], folder=folder / f"{part}_{source}"
                    )
                },
                of_part,
                encoder=encoder,
                options=ExtractionOptions(progress=False),
            ).first
            for part, of_part in (("support", records), ("query", asked))
            for recipe in store_recipes(settings, of_part, [source]).values()
        )
        scale[source] = (scales or {}).get(source, of_support.feature_scale)
        rows = {record.video_id: of_support.rows_of([record.video_id]) for record in records}
        features[source] = {
            name: [torch.from_numpy(of_support.read(rows[path.as_posix()])[0]).float() for path in sorted(paths)]
            for name, paths in support.items()
        }
        read = of_query.read(of_query.rows_of([record.video_id for record in asked]))
        query[source] = torch.from_numpy(read)[None].float() * scale[source]
    columns = []
    with torch.inference_mode():
        for name in sorted(support):
            K = len(support[name])
            tensors = {
                source: torch.stack(
                    [torch.stack([(shots[one] * K)[shot] for shot in range(K)]) for one in sorted(support)]
                )[None] * scale[source]
                for source, shots in features.items()
            }  # fmt: skip
            columns.append(model(Episode(tensors, query, text)).logits[0, :, sorted(support).index(name)])
    return torch.stack(columns, dim=-1)


def test_answers_are_those_of_the_model_called_by_hand(make, support, queries, tmp_path):
    recognizer = make().fit(support)
    said = recognizer.predict(queries)
    assert recognizer.classes_ == said.classes == ("left_then_up", "move_left", "move_right")
    model = build_model(recognizer.settings, feature_sizes={"rgb": D}).eval()
    logits = by_hand(support, queries, tmp_path / "hand", recognizer.settings, model)
    np.testing.assert_allclose(said.posterior, logits.softmax(-1), atol=2e-4)
    assert said.to_dict()["support"] == {"left_then_up": 2, "move_left": 1, "move_right": 2}
    assert said.clips == tuple(map(str, queries))
    assert said.trusted == ("otam",) * 3
    np.testing.assert_array_equal(said.branch_posteriors["otam"], said.posterior)


def test_the_order_of_classes_clips_and_queries_changes_nothing(make, support, queries):
    said = make().fit(support).predict(queries)
    turned = {name: list(reversed(support[name])) for name in reversed(support)}
    again = make().fit(turned).predict(list(reversed(queries)))
    assert again.classes == said.classes
    np.testing.assert_array_equal(again.posterior[::-1], said.posterior)


def test_a_folder_is_the_same_as_its_mapping(make, support, queries, tmp_path):
    for name, paths in support.items():
        for path in paths:
            shutil.copytree(path, tmp_path / "my actions" / name / f"ü {path.name}")
    said = make().fit(tmp_path / "my actions").predict(queries)
    np.testing.assert_array_equal(said.posterior, make().fit(support).predict(queries).posterior)


def test_an_answer_does_not_depend_on_what_else_is_asked(make, support, queries):
    recognizer = make().fit(support)
    together = recognizer.predict(queries)
    for row, query in enumerate(queries):
        np.testing.assert_allclose(recognizer.predict(query).posterior[0], together.posterior[row], atol=1e-6)


class TestFeaturesAreKept:
    def test_the_second_call_encodes_nothing(self, make, support, queries, no_encoder):
        first = make("data.name=shapes", text="on").fit(support)
        said = first.predict(queries)
        assert first.n_encoded_frames == 8 * T
        assert list(said.branch_posteriors) == ["otam", "text"]
        no_encoder()
        second = make("data.name=shapes", text="on").fit(support)
        again = second.predict(queries)
        assert second.n_encoded_frames == 0
        np.testing.assert_array_equal(again.posterior, said.posterior)

    def test_renamed_and_moved_clips_are_known(self, make, support, queries, clips, no_encoder):
        said = make().fit(support).predict(queries)
        (clips / "move_left/0").rename(clips / "other name")
        no_encoder()
        again = make().fit(support | {"move_left": [clips / "other name"]}).predict(queries)
        np.testing.assert_array_equal(again.posterior, said.posterior)

    def test_a_changed_clip_is_encoded_again(self, make, support, queries):
        said = make().fit(support).predict(queries)
        frame = support["move_left"][0] / "003.jpg"
        Image.fromarray(255 - np.array(Image.open(frame))).save(frame, quality=95)
        changed = make().fit(support)
        assert changed.n_encoded_frames == T
        assert not np.allclose(changed.predict(queries).posterior, said.posterior)

    def test_an_added_clip_is_encoded_alone_and_a_removed_one_forgotten(self, make, support, queries, clips):
        said = make().fit(support).predict(queries)
        more = make().fit(support | {"move_left": [clips / "move_left/0", clips / "move_up_right/0"]})
        assert more.n_encoded_frames == T
        assert not np.allclose(more.predict(queries).posterior, said.posterior)
        again = make().fit(support)
        np.testing.assert_array_equal(again.predict(queries).posterior, said.posterior)

    def test_other_frames_are_other_features(self, make, support):
        make().fit(support)
        other = make("frames.n_frames=2").fit(support)
        assert other.n_encoded_frames == 5 * 2

    def test_a_source_is_added_to_what_is_kept(self, make, support, queries):
        make().fit(support)
        both = make("model.name=late_otam").fit(support)
        assert both.n_encoded_frames == 5 * T  # flow alone
        assert list(both.predict(queries).branch_posteriors) == ["rgb", "flow"]

    def test_a_damaged_file_is_made_again(self, make, support, queries, tmp_path):
        said = make().fit(support).predict(queries)
        kept = sorted((tmp_path / "store").glob("rgb-*/*-clip.safetensors"))
        kept[0].write_bytes(b"half a file")
        again = make().fit(support)
        np.testing.assert_array_equal(again.predict(queries).posterior, said.posterior)
        assert again.n_encoded_frames == T

    def test_another_encoder_of_the_same_name_is_refused(self, make, support, queries, tmp_path):
        make().fit(support)
        (manifest,) = (tmp_path / "store").glob("rgb-*/manifest.json")
        text = manifest.read_text()
        at = text.index('"weights_hash": "') + len('"weights_hash": "')
        manifest.write_text(text[:at] + "0" + text[at + 1 :] if text[at] != "0" else text[:at] + "1" + text[at + 1 :])
        with pytest.raises(ValueError, match="weights_hash"):
            make().fit(support).predict(queries)


def test_what_is_drawn_for_a_query_goes_by_its_content_alone(make, support, queries, clips, tmp_path, monkeypatch):
    """A model that draws the prompt of a query must answer a clip the same whatever its name and its company."""
    drawn: list[list[float]] = []
    real = ClipTask.answer
    monkeypatch.setattr(ClipTask, "answer", lambda self, asked, draws: drawn.append(draws) or real(self, asked, draws))
    recognizer = make().fit(support)
    recognizer.predict(queries)
    assert len(set(drawn[0])) == 3
    assert all(0 <= draw < 1 for draw in drawn[0])
    shutil.copytree(queries[2], tmp_path / "renamed")
    recognizer.predict([tmp_path / "renamed", queries[0]])
    assert drawn[1] == [drawn[0][2], drawn[0][0]]
    recognizer.predict(queries[:2], window="4f", stride="1f")
    assert len(set(drawn[2])) == 6  # windows of one clip do not share a draw
    recognizer.predict(queries[1], window="4f", stride="1f")
    assert drawn[3] == drawn[2][3:]


class TestWindows:
    def test_a_window_is_answered_as_a_clip_of_its_frames(self, make, support, clips, tmp_path):
        """The oracle cuts the video into clips; frames by the rule within each."""
        video = clips / "move_up_left/0"
        recognizer = make().fit(support)
        said = recognizer.predict(video, window="4f", stride="1f")
        assert [(one.first_frame, one.end_frame) for one in said.moments] == [(0, 4), (1, 5), (2, 6)]
        assert said.moments[0].start_seconds is None
        for row, start in enumerate(range(3)):
            cut = tmp_path / f"cut {start}"
            cut.mkdir()
            for frame in sorted(video.iterdir())[start : start + 4]:
                shutil.copy(frame, cut)
            np.testing.assert_allclose(recognizer.predict(cut).posterior[0], said.posterior[row], atol=2e-4)

    def test_each_frame_is_encoded_once_and_nothing_twice(self, make, support, clips, no_encoder):
        recognizer = make().fit(support)
        before = recognizer.n_encoded_frames
        said = recognizer.predict(clips / "move_up_left", window="4f", stride="1f")
        assert len(said) == 6
        assert recognizer.n_encoded_frames - before == 2 * 6  # frames, not windows times T
        no_encoder()
        again = make().fit(support).predict(clips / "move_up_left", window="4f", stride="1f")
        np.testing.assert_array_equal(again.posterior, said.posterior)

    def test_what_is_kept_of_one_length_and_stride_is_not_taken_for_another(self, make, support, clips):
        recognizer = make().fit(support)
        rules = [("4f", "1f"), ("4f", "2f"), ("3f", "1f"), ("3f", "3f")]
        n_rows = [len(recognizer.predict(clips / "move_up_left/0", window=w, stride=s)) for w, s in rules]
        assert n_rows == [3, 2, 4, 2]

    @pytest.mark.parametrize("rule", ["uniform", "linspace_inner"])
    def test_one_window_of_all_is_the_clip(self, make, support, queries, rule):
        recognizer = make(f"frames.rule={rule}").fit(support)
        whole, windowed = recognizer.predict(queries), recognizer.predict(queries, window="99f")
        np.testing.assert_allclose(windowed.posterior, whole.posterior, atol=2e-4)

    def test_a_window_of_too_few_frames_is_refused_where_short_clips_are(self, make, support, queries):
        said = make("frames.short_videos=refuse").fit(support).predict(queries[:1], window="3f")
        assert said.best == [None]
        assert "3 frames, fewer than the T = 4" in said.notes[0]

    def test_a_clip_without_times_says_so_in_its_row(self, make, support, queries):
        said = make().fit(support).predict(queries[:1], window="2s")
        assert said.best == [None]
        assert "give the window in frames" in said.notes[0]
        assert said.moments[0].first_frame is None

    def test_what_is_no_window_is_refused_before_anything_else(self, make, support, queries):
        recognizer = make().fit(support)
        with pytest.raises(ValueError, match="needs a window"):
            recognizer.predict(queries, stride="1s")
        with pytest.raises(ValueError, match="cannot read the window"):
            recognizer.predict(queries, window="2")


class TestBadInput:
    def test_a_bad_support_clip_is_left_out_loudly(self, make, support, queries, tmp_path, caplog):
        said = make().fit(support).predict(queries)
        broken = tmp_path / "broken.mp4"
        broken.write_text("no video")
        recognizer = make().fit(support | {"move_left": [*support["move_left"], broken]})
        assert recognizer.notes_[0].startswith(f"LEFT OUT of move_left: {broken}: ")
        assert "LEFT OUT of move_left" in caplog.text
        again = recognizer.predict(queries)
        np.testing.assert_array_equal(again.posterior, said.posterior)
        assert again.to_dict()["support"]["move_left"] == 1
        assert recognizer.notes_[0] in again.to_dict()["notes"]

    @pytest.mark.parametrize("window", [None, "4f"])
    def test_a_bad_query_keeps_its_row(self, make, support, queries, tmp_path, window):
        broken = tmp_path / "broken.mp4"
        broken.write_text("no video")
        said = make().fit(support).predict([queries[0], broken, queries[1]], window=window)
        row = said.clips.index(str(broken))
        assert said.best[row] is None
        assert "no video file" in said.notes[row]
        assert said.trusted[row] == ""
        assert said.has_answer.sum() == len(said) - 1
        assert "1 of 3 clips could not be read" in said.to_dict()["notes"]
        alone = make().fit(support).predict([broken], window=window)
        assert not alone.has_answer.any()

    def test_a_query_that_is_a_support_clip_is_told(self, make, support):
        said = make().fit(support).predict(support["move_left"])
        assert said.best == ["move_left"]
        assert "is a support clip of move_left" in said.notes[0]

    def test_before_fit_there_is_nothing_to_predict(self, make, queries):
        with pytest.raises(ValueError, match="call fit"):
            make().predict(queries)

    @pytest.mark.parametrize(
        ("overrides", "arguments", "said"),
        [
            ([], {"run": "x", "cfg": "y"}, "a run or a config, not both"),
            ([], {"cfg": "demo"}, "'m2df' has to be trained"),
            (["model.text_weight=val"], {}, "give a number"),
            (["corrupt.rgb=noise:0.2"], {}, "is for tests"),
            ([], {"text": "maybe"}, "text must be one of"),
            (
                ["model.name=flow_otam", "sources.flow.method=disk", "sources.flow.folder=."],
                {},
                "read from files on disk",
            ),
        ],
    )
    def test_settings_that_cannot_be(self, make, overrides, arguments, said):
        with pytest.raises(ValueError, match=said):
            make(*overrides, **arguments)

    def test_a_class_may_not_be_called_as_the_unknown(self, make, support):
        with pytest.raises(ValueError, match="cannot be called"):
            make().fit(support | {UNKNOWN: support.pop("move_left")})


OWN = """
from mdmf.models.registry import register
from mdmf.models.zoo.nearest import NearestSettings, make_nearest

@register("mine", NearestSettings, citation="mine", kind="training-free")
def make(settings, features):
    return make_nearest(settings.model_copy(update={"name": "otam"}), features)
"""


def test_a_method_of_ones_own_that_needs_no_training_answers_after_consent(make, support, queries, write_module):
    untrained = OWN.replace('"mine"', '"mine_untrained"')
    own = ["model.name=module", f"model.module={write_module('own_of_recognizer', untrained)}"]
    with pytest.raises(ValueError, match="--allow-code"):
        make(*own)
    answers = make(*own, allow_code=True).fit(support).predict(queries)
    np.testing.assert_allclose(answers.posterior, make().fit(support).predict(queries).posterior, atol=1e-6)
    assert answers.to_dict()["model"] == "own_of_recognizer"


def test_random_weights_are_shouted_about(make, support, queries):
    def shouted(recognizer) -> bool:
        return any("WEIGHTS ARE RANDOM" in note for note in recognizer.fit(support).predict(queries).about["notes"])

    assert shouted(make("encoder.weights=random"))
    assert not shouted(make())


def test_unknown_below(make, support, queries):
    recognizer = make().fit(support)
    sure = recognizer.predict(queries).probability
    limit = float(np.sort(sure)[1])
    said = recognizer.predict(queries, unknown_below=limit)
    assert [answer == UNKNOWN for answer in said.answers] == (sure < limit).tolist()
    assert said.answers.count(UNKNOWN) == 1
    assert any(
        "nothing can be below 0.2" in note for note in recognizer.predict(queries, unknown_below=0.2).about["notes"]
    )
    assert any(
        "nothing can be below" in note for note in recognizer.predict(queries, unknown_below=1 / 3).about["notes"]
    )
    assert not any(
        "nothing can be below" in note for note in recognizer.predict(queries, unknown_below=0.34).about["notes"]
    )
    for wrong in (0.0, -1.0, 1.1, float("nan")):
        with pytest.raises(ValueError, match="is a probability"):
            recognizer.predict(queries, unknown_below=wrong)


@pytest.fixture
def other_weights(monkeypatch):
    """From when it is called on, the name of the encoder stands for other weights."""

    def replace():
        real = Workspace.encoder

        def encoder(self, *source):
            loaded = real(self, *source)
            loaded.identity = {**loaded.identity, "weights_hash": "0000"}
            return loaded

        monkeypatch.setattr(Workspace, "encoder", encoder)

    return replace


class TestWords:
    def test_those_of_other_weights_are_not_mixed_with_kept_frames(self, make, support, other_weights):
        """New class names need the encoder, frames that are kept do not: it must be the same one."""
        make("data.name=shapes", text="on").fit(support)
        other_weights()
        renamed = {f"a shape{number * ' left'}": paths for number, paths in enumerate(support.values(), start=1)}
        for text in ("on", "auto"):
            with pytest.raises(ValueError, match="weights_hash"):
                make("data.name=shapes", text=text).fit(renamed)

    def test_those_of_other_weights_are_made_again_with_the_frames(self, make, support, other_weights, tmp_path):
        make("data.name=shapes", text="on").fit(support)
        assert len(list((tmp_path / "store/text").iterdir())) == 1
        for folder in (tmp_path / "store").glob("rgb-*"):  # as the message of a store that differs advises
            shutil.rmtree(folder)
        other_weights()
        make("data.name=shapes", text="on").fit(support)
        assert len(list((tmp_path / "store/text").iterdir())) == 2

    def test_they_join_in_where_names_say_something(self, make, support, queries):
        said = make("data.name=shapes", text="auto").fit(support).predict(queries)
        assert said.to_dict()["text_weight"] == 0.5
        logs = {name: np.log(part) for name, part in said.branch_posteriors.items()}
        mixed = np.exp(0.5 * logs["otam"] + 0.5 * logs["text"])
        np.testing.assert_allclose(said.posterior, mixed / mixed.sum(1, keepdims=True), atol=1e-5)

    def test_they_go_by_the_frames_where_the_model_goes_by_flow_alone(self, make, support, queries):
        said = make("data.name=shapes", "model.name=flow_otam", text="on").fit(support).predict(queries)
        of_frames = make("data.name=shapes", text="on").fit(support).predict(queries)
        assert list(said.branch_posteriors) == ["flow_otam", "text"]
        np.testing.assert_allclose(said.branch_posteriors["text"], of_frames.branch_posteriors["text"], atol=1e-6)

    def test_they_do_not_where_names_say_nothing(self, make, support, queries):
        numbered = {f"class_{number}": paths for number, paths in enumerate(support.values())}
        recognizer = make(text="auto").fit(numbered)
        assert list(recognizer.predict(queries).branch_posteriors) == ["otam"]
        assert "'class_0', 'class_1', 'class_2' does not say what happens" in recognizer.notes_[0]

    def test_they_do_not_where_the_encoder_cannot_read_them_and_it_is_said(self, make, support, queries):
        named = {f"juggle {number * 'x'}": paths for number, paths in enumerate(support.values(), start=3)}
        recognizer = make(text="auto").fit(named)
        assert recognizer.predict(queries).to_dict()["text_weight"] == 0
        assert "the tiny encoder does not know" in recognizer.notes_[0]
        with pytest.raises(ValueError, match=r"does not know.*data\.prompts=FILE"):
            make(text="on").fit(named)

    def test_prompts_given_for_these_classes_are_taken_and_must_know_them(self, make, support, queries, tmp_path):
        prompts = tmp_path / "mine.yaml"
        prompts.write_text(
            'templates: ["{}"]\nclasses: {class_0: a shape, class_1: two shapes, class_2: a shape that grows}\n'
        )
        numbered = {f"class_{number}": paths for number, paths in enumerate(support.values())}
        said = make(f"data.prompts={prompts}", text="auto").fit(numbered).predict(queries)
        assert list(said.branch_posteriors) == ["otam", "text"]
        with pytest.raises(ValueError, match="lacks 1 classes"):
            make(f"data.prompts={prompts}", text="auto").fit(numbered | {"class_9": [queries[0]]})


class TestRuns:
    def write_run(
        self,
        folder: Path,
        model: dict,
        *,
        sizes: dict[str, int],
        data: dict | None = None,
        notes: dict | None = None,
    ) -> RunFolder:
        """A run whose weights are the random ones that it began with."""
        values = {
            "data": {"name": "shapes", "kind": "folder", **(data or {})},
            "sources": {"flow": {"step": 2}},
            "encoder": {"library": "tiny", "model": "tiny_clip", "weights": "shipped", "device": "cpu"},
            "frames": {"n_frames": T, "n_variants": 3},
            "model": {"hidden_size": 16, **model},
            "training": {"device": "cpu"},
            "output": {"root": str(folder), "name": "run"},
        }
        settings = check_settings(values, source="test")
        run = RunFolder.create(settings)
        torch.manual_seed(5)
        save_weights(run.best, build_model(settings, feature_sizes=sizes), metadata=notes or {})
        return run

    def text_of_run(self, run: RunFolder) -> torch.Tensor:
        """(1, N, D): sentences that the shipped prompts have for two classes, and a name put into a template first."""
        sentences = [["a shape"], ["a shape that moves left"], ["a shape that moves right"]]
        encoder = Workspace(run.settings()).encoder()
        text = torch.stack([encoder.encode_texts(words)[0] for words in sentences])
        return (text * (10 / text.norm(dim=-1).mean()))[None]

    def test_the_run_s_model_answers_with_its_weights_and_prompts(self, support, queries, tmp_path):
        run = self.write_run(tmp_path / "runs", {"name": "m2df"}, sizes={"rgb": D})
        recognizer = FewShotRecognizer(run.folder, store=tmp_path / "store").fit(support)
        said = recognizer.predict(queries)
        settings = run.settings()
        model = build_model(settings, feature_sizes={"rgb": D}).eval()
        load_weights(run.best, model)
        logits = by_hand(support, queries, tmp_path / "hand", settings, model, text=self.text_of_run(run))
        np.testing.assert_allclose(said.posterior, logits.softmax(-1), atol=1e-3)
        assert list(said.branch_posteriors) == ["local", "global"]
        certainty = said.certainty
        surer = np.where(certainty["local"] >= certainty["global"], "local", "global")
        assert said.trusted == tuple(surer)
        assert said.to_dict()["run"] == str(run.folder)

    def test_features_have_the_scale_that_the_weights_were_trained_on(self, support, queries, tmp_path):
        """A few support clips have another mean norm than a data set; a trained model answers otherwise by that."""
        noted = {"mdmf": json.dumps({"feature_scale": {"rgb": 0.05}})}
        run = self.write_run(tmp_path / "runs", {"name": "m2df"}, sizes={"rgb": D}, notes=noted)
        model = build_model(run.settings(), feature_sizes={"rgb": D}).eval()
        load_weights(run.best, model)
        said = FewShotRecognizer(run.folder, store=tmp_path / "store").fit(support).predict(queries)
        text, hand = self.text_of_run(run), tmp_path / "hand"
        scaled = by_hand(support, queries, hand, run.settings(), model, text=text, scales={"rgb": 0.05})
        np.testing.assert_allclose(said.posterior, scaled.softmax(-1), atol=1e-4)
        unscaled = by_hand(support, queries, hand, run.settings(), model, text=text).softmax(-1).numpy()
        assert np.abs(said.posterior - unscaled).max() > 1e-3

    def test_a_run_of_rgb_and_flow_computes_flow_by_its_rule(self, support, queries, tmp_path):
        run = self.write_run(tmp_path / "runs", {"name": "amfar"}, sizes={"rgb": D, "flow": D})
        recognizer = FewShotRecognizer(run.folder, store=tmp_path / "store").fit(support)
        said = recognizer.predict(queries)
        model = build_model(run.settings(), feature_sizes={"rgb": D, "flow": D}).eval()
        load_weights(run.best, model)
        flow_alone = said.branch_posteriors["flow"]
        settings = run.settings()
        # Shares vary with all classes at once, so only the branches can be compared class by class.
        branch = lambda episode: type("Out", (), {"logits": model(episode).branch_logits["flow"]})  # noqa: E731
        logits = by_hand(support, queries, tmp_path / "hand", settings, branch)
        np.testing.assert_allclose(flow_alone, logits.softmax(-1), atol=1e-3)
        assert set(said.trusted) <= {"rgb", "flow"}
        assert recognizer.predict(queries[0], window="3f").has_answer.all()

    def test_a_clip_of_one_frame_has_no_flow_and_is_answered_by_rgb(self, support, queries, tmp_path):
        run = self.write_run(tmp_path / "runs", {"name": "amfar"}, sizes={"rgb": D, "flow": D})
        single = tmp_path / "single"
        single.mkdir()
        shutil.copy(queries[0] / "000.jpg", single)
        recognizer = FewShotRecognizer(run.folder, store=tmp_path / "store").fit(support)
        for window in (None, "2f"):
            said = recognizer.predict([single, queries[1]], window=window)
            assert said.trusted[0] == "rgb"
            assert "no flow: a video needs at least 2 frames" in said.notes[0]
            np.testing.assert_allclose(said.posterior[0], said.branch_posteriors["rgb"][0], atol=1e-6)

    def test_classes_that_the_run_has_no_prompt_for_get_its_templates(self, clips, queries, tmp_path):
        run = self.write_run(tmp_path / "runs", {"name": "m2df"}, sizes={"rgb": D})
        own = {"shape": [clips / "move_left/0"], "two shapes": [clips / "move_right/0"]}
        assert FewShotRecognizer(run.folder, store=tmp_path / "store").fit(own).predict(queries).has_answer.all()
        unknown = {"juggling": own["shape"], "two shapes": own["two shapes"]}
        with pytest.raises(ValueError, match="does not know 'juggling'"):
            FewShotRecognizer(run.folder, store=tmp_path / "store").fit(unknown)

    def test_prompts_that_a_run_was_trained_with_need_not_know_these_classes(self, clips, queries, tmp_path):
        """Only a file that is given now is taken for one of these classes."""
        prompts = tmp_path / "of the run.yaml"
        prompts.write_text('templates: ["{}"]\nclasses: {circle: a circle}\n')
        data = {"prompts": str(prompts)}
        run = self.write_run(tmp_path / "runs", {"name": "m2df"}, sizes={"rgb": D}, data=data)
        own = {"shape": [clips / "move_left/0"], "two shapes": [clips / "move_right/0"]}
        assert FewShotRecognizer(run.folder, store=tmp_path / "store").fit(own).predict(queries).has_answer.all()
        with pytest.raises(ValueError, match=r"lacks 2 classes"):
            FewShotRecognizer(run.folder, overrides=[f"data.prompts={prompts}"], store=tmp_path / "store").fit(own)

    def test_a_run_without_weights_or_with_another_encoder_is_refused(self, support, tmp_path):
        run = self.write_run(tmp_path / "runs", {"name": "m2df"}, sizes={"rgb": D})
        with pytest.raises(ValueError, match=r"trained on other features:\n  frames\.n_frames"):
            FewShotRecognizer(run.folder, overrides=["frames.n_frames=8"])
        with pytest.raises(FileNotFoundError, match="not a run folder"):
            FewShotRecognizer(tmp_path / "nothing")
        run.best.unlink()
        with pytest.raises(FileNotFoundError, match="no checkpoint"):
            FewShotRecognizer(run.folder, store=tmp_path / "store").fit(support)


def test_the_package_gives_the_recognizer_and_importing_it_brings_nothing_heavy():
    code = "import sys, mdmf; assert not {'torch', 'numpy', 'pandas', 'av', 'pydantic'} & set(sys.modules), sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert mdmf.FewShotRecognizer is FewShotRecognizer
    with pytest.raises(AttributeError, match="Nothing"):
        _ = mdmf.Nothing
