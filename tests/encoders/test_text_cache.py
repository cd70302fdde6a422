import pytest
import torch

from mdmf.encoders.text_cache import ClassText, cached_class_text


class Encoder:
    """Gives every sentence a feature of its own, and counts."""

    logit_scale = 7.0

    def __init__(self) -> None:
        self.n_calls = 0

    def encode_texts(self, texts: list[str]) -> torch.Tensor:
        self.n_calls += 1
        return torch.stack([torch.tensor([len(text), text.count("e") + 1, 1.0]) for text in texts])


def test_text_features_are_made_once_and_a_damaged_file_again(tmp_path):
    encoder = Encoder()

    def get(sentences, **identity):
        return cached_class_text(tmp_path, sentences, identity={"model": "m"} | identity, encoder=lambda: encoder)

    sentences = {"b": ["bee", "been"], "a": ["ant"]}
    first, again = get(sentences), get(sentences)
    assert encoder.n_calls == 1
    assert list(first.features) == list(again.features) == ["b", "a"]
    torch.testing.assert_close(first.features["a"], torch.tensor([3.0, 1, 1]))
    torch.testing.assert_close(again.features["b"], first.features["b"])
    assert first.logit_scale == again.logit_scale == 7.0
    get(sentences, model="other")
    get(sentences | {"a": ["cow"]})
    assert encoder.n_calls == 3
    for file in tmp_path.iterdir():
        file.write_bytes(b"x")
    torch.testing.assert_close(get(sentences).features["b"], first.features["b"])


def test_one_factor_for_all_classes_whichever_are_asked_for():
    """Norms 3 and 5 have mean 4: all are made 10 / 4 times as long."""
    text = ClassText({"a": torch.tensor([3.0, 0]), "b": torch.tensor([3.0, 4])}, 1.0)
    assert text.scaled(["b"]).tolist() == [[7.5, 10.0]]
    assert text.scaled(["b", "a"]).norm(dim=-1).mean() == pytest.approx(10)
