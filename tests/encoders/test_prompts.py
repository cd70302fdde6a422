"""Prompts: files with mistakes, the shipped sentences, and the text feature of a class."""

import re
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor

from mdmf.data.listing.splits import load_class_split
from mdmf.encoders.prompts import (
    PromptFile,
    class_name_in_words,
    class_sentences,
    class_text_features,
    load_prompts,
)
from mdmf.resources import resource_folder, shipped_names

DATA_SETS = ("kinetics100", "ssv2_small", "ssv2_full", "hmdb51", "ucf101")


def write(folder: Path, text: str) -> Path:
    path = folder / "prompts.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def shipped(name: str) -> Path:
    return resource_folder("prompts") / f"{name}.yaml"


class TestFiles:
    def test_names_go_into_templates_and_lists_are_finished_sentences(self, tmp_path: Path) -> None:
        text = "templates: ['a video of {}.', '{} in a film.']\nclasses: {kick: kicking, run: [a person runs fast.]}"
        prompts = load_prompts(write(tmp_path, text))
        assert class_sentences(prompts, ["run", "kick"]) == {
            "run": ["a person runs fast."],
            "kick": ["a video of kicking.", "kicking in a film."],
        }
        assert list(class_sentences(prompts, ["run", "kick"])) == ["run", "kick"]

    def test_finished_sentences_need_no_templates(self, tmp_path: Path) -> None:
        prompts = load_prompts(write(tmp_path, "classes: {run: [a person runs fast.]}"))
        assert class_sentences(prompts, ["run"]) == {"run": ["a person runs fast."]}

    def test_braces_in_a_name_are_left_alone(self, tmp_path: Path) -> None:
        prompts = load_prompts(write(tmp_path, "templates: ['see {}.']\nclasses: {a: '{0}{}x'}"))
        assert class_sentences(prompts, ["a"]) == {"a": ["see {0}{}x."]}

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("templates: [a video.]\nclasses: {a: b}", r"exactly one \{\}.*'a video.'"),
            ("templates: ['{} and {}']", r"exactly one \{\}"),
            ("templates: ['{name}']", r"exactly one \{\}"),
            ("templates: 'a {}'", "expected a list of texts"),
            ("templates: ['a {}', 3]", "expected a text, got 3"),
            ("templates: ['a {}']\nclasses: [a]", "must map class names"),
            ("templates: ['a {}']\nclasses: {a: }", "class 'a': expected a text, got None"),
            ("templates: ['a {}']\nclasses: {a: ' '}", "class 'a': expected a text"),
            ("templates: ['a {}']\nclasses: {a: []}", "the list of sentences is empty"),
            ("templates: ['a {}']\nclasses: {a: ['see {}']}", "finished sentences"),
            ("templates: ['a {}']\nclasses: {true: b}", "expected a text, got True; write it in quotes"),
            ("templates: ['a {}']\nclasses:\n  a: b\n  a: c\n", r"line 4: key 'a' is given twice"),
            ("templates: ['a {}']\nclases: {a: b}", r"unknown key 'clases' \(did you mean 'classes'\?\)"),
            ("classes: {a: b}", "'a' has a name, but the file has no templates"),
            ("templates: []", "neither templates nor classes"),
            ("", "must have the key"),
            ("templates: [", "is not valid YAML"),
            ("templates: !!python/object/apply:os.getcwd []", "is not valid YAML"),
        ],
    )
    def test_mistakes_are_named(self, tmp_path: Path, text: str, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            load_prompts(write(tmp_path, text))

    def test_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="prompt file"):
            load_prompts(tmp_path / "none.yaml")


class TestClasses:
    TEXT = "templates: ['{}.']\nclasses: {ride bike: riding a bike, kick: kicking, kick_ball: kicking a ball}"

    def test_names_match_up_to_spelling(self, tmp_path: Path) -> None:
        prompts = load_prompts(write(tmp_path, self.TEXT))
        assert class_sentences(prompts, ["Ride_Bike"]) == {"Ride_Bike": ["riding a bike."]}

    def test_the_exact_name_goes_first_and_a_tie_is_an_error(self, tmp_path: Path) -> None:
        prompts = load_prompts(write(tmp_path, "templates: ['{}.']\nclasses: {a b: one, a_b: two}"))
        assert class_sentences(prompts, ["a_b"]) == {"a_b": ["two."]}
        with pytest.raises(ValueError, match="'A B' could be 'a b' or 'a_b'"):
            class_sentences(prompts, ["A B"])

    def test_missing_classes_are_named_with_the_nearest_key(self, tmp_path: Path) -> None:
        prompts = load_prompts(write(tmp_path, self.TEXT))
        with pytest.raises(ValueError, match=r"lacks 2 classes.*'kicks' \(did you mean 'kick'\?\), 'zzz'; add"):
            class_sentences(prompts, ["kick", "kicks", "zzz"])

    def test_unknown_classes_are_named_but_other_splits_may_be_there(self, tmp_path: Path) -> None:
        prompts = load_prompts(write(tmp_path, self.TEXT))
        assert class_sentences(prompts, ["kick"], known_classes=["ride_bike", "kick", "kick_ball", "run"])
        with pytest.raises(ValueError, match=r"'kick_ball' is not a class of .*\(did you mean 'kick balls'\?\)"):
            class_sentences(prompts, ["kick"], known_classes=["ride_bike", "kick balls"])

    def test_without_classes_a_class_is_named_by_its_own_name(self) -> None:
        sentences = class_sentences(load_prompts(shipped("default")), ["ride_bike", "TaiChi"], known_classes=["x"])
        assert "a video of ride bike." in sentences["ride_bike"]
        assert "a video of tai chi." in sentences["TaiChi"]

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("BodyWeightSquats", "body weight squats"),
            ("ride_bike", "ride bike"),
            ("hurling (sport)", "hurling (sport)"),
            ("Pouring something into something", "Pouring something into something"),
            ("DoABackflip", "do a backflip"),
            ("BMXRiding", "BMX riding"),
            ("__a__b", "a b"),
        ],
    )
    def test_class_names_in_words(self, name: str, words: str) -> None:
        assert class_name_in_words(name) == words


class TestShipped:
    @pytest.mark.parametrize("name", DATA_SETS)
    def test_every_class_has_natural_sentences(self, name: str) -> None:
        prompts = load_prompts(shipped(name))
        names = [name for part in load_class_split(name).values() for name in part]
        sentences = class_sentences(prompts, names, known_classes=names)
        assert list(sentences) == names
        assert set(prompts.classes or ()) == set(names)
        texts = [text for of_class in sentences.values() for text in of_class]
        assert len(set(texts)) == len(texts) >= 3 * len(names)
        assert not [text for text in texts if set("[]{}_") & set(text) or not text.endswith(".") or "  " in text]

    @pytest.mark.parametrize("name", DATA_SETS)
    def test_sentences_are_those_of_people_not_of_folders(self, name: str) -> None:
        """Each class has words of its own, which no other class has in another case, and none is left from a label."""
        prompts = load_prompts(shipped(name))
        names = [name for part in load_class_split(name).values() for name in part]
        fallback = class_sentences(PromptFile(prompts.path, prompts.templates, None), names)
        sentences = class_sentences(prompts, names)
        assert prompts.classes is not None
        assert len({text.casefold() for of_class in sentences.values() for text in of_class}) == sum(
            map(len, sentences.values())
        )
        for each in names:
            for text in sentences[each]:
                words = re.findall(r"[\w'-]+", text.casefold())
                assert not [(a, b) for a, b in pairwise(words) if a == b], text
                assert words.count("someone") <= 1, text
                assert not {"your", "you", "number"} & set(words), text
            if sentences[each] == fallback[each]:  # right only where the label is an activity by itself: `ice skating`
                assert any(word.endswith("ing") for word in class_name_in_words(each).split()), each

    def test_all_files_load_and_are_not_taken_for_code(self) -> None:
        names = shipped_names("prompts")
        assert {"default", *DATA_SETS} <= set(names)
        for name in names:
            assert load_prompts(shipped(name)).path.stem == name
            assert isinstance(yaml.safe_load(shipped(name).read_text(encoding="utf-8")), dict)


FEATURES = {"x": [3.0, 0.0], "y": [0.0, 1.0], "z": [0.0, 4.0], "minus x": [-1.0, 0.0], "zero": [0.0, 0.0]}


def encode(texts: list[str]) -> Tensor:
    return torch.tensor([FEATURES[text] for text in texts])


class TestFeatures:
    def test_direction_of_the_mean_with_the_mean_norm(self) -> None:
        """By hand: directions (1,0) and (0,1) mean to the diagonal, of length (3 + 1) / 2."""
        features = class_text_features(encode, {"b": ["x", "y"], "a": ["z"]})
        expected = torch.tensor([[2**0.5, 2**0.5], [0.0, 4.0]])
        torch.testing.assert_close(features, expected, atol=1e-6, rtol=0)

    def test_chunks_and_order_of_sentences_do_not_matter(self) -> None:
        sentences = {"a": ["x", "y", "z"], "b": ["z"], "c": ["y", "x"]}
        whole = class_text_features(encode, sentences)
        calls: list[int] = []

        def counting(texts: list[str]) -> Tensor:
            calls.append(len(texts))
            return encode(texts)

        torch.testing.assert_close(class_text_features(counting, sentences, chunk_size=4), whole, atol=1e-6, rtol=0)
        assert calls == [4, 2]
        swapped = class_text_features(encode, {"a": ["z", "x", "y"], "b": ["z"], "c": ["x", "y"]})
        torch.testing.assert_close(swapped, whole, atol=1e-6, rtol=0)

    @pytest.mark.parametrize(
        ("sentences", "message"),
        [
            ({"a": ["x"], "b": ["zero"]}, "zero or non-finite feature for 'zero'"),
            ({"a": ["x", "minus x"]}, "class 'a' have opposite features"),
            ({"a": ["x"], "b": []}, "none for .*'b'"),
            ({}, "at least one class"),
        ],
    )
    def test_what_has_no_feature_is_named(self, sentences: dict[str, list[str]], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            class_text_features(encode, sentences)

    def test_an_encoder_of_the_wrong_shape_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"expected text features of shape \(1, D\), got \(2, 2\)"):
            class_text_features(lambda texts: torch.ones(2, 2), {"a": ["x"]})

    def test_half_precision_encoders_give_float32(self) -> None:
        features = class_text_features(lambda texts: encode(texts).half(), {"a": ["x"]})
        assert features.dtype == torch.float32
