"""The tiny encoder: its tokenizer, its training, and the files that ship."""

import itertools
import json

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch.nn import functional

from mdmf.encoders.tiny_tokenizer import WordTokenizer
from mdmf.resources import resource_folder
from mdmf.shapes.encoder_training import (
    Batch,
    TinyTraining,
    build_tiny_clip,
    contrastive_loss,
    reading_loss,
    tiny_config,
    to_image_tensor,
    train_tiny_clip,
)
from mdmf.structures import Preprocess

WORDS = ["a", "dark", "frame", "light"]


# Tokenizer


def test_tokens_are_start_words_end_and_filling() -> None:
    tokenizer = WordTokenizer(WORDS, context_length=6)
    assert tokenizer.vocab_size == 7
    assert tokenizer(["a dark frame", "Light."]).tolist() == [[1, 2, 3, 4, 6, 0], [1, 5, 6, 0, 0, 0]]


def test_end_has_the_largest_id_of_every_sentence() -> None:
    tokens = WordTokenizer(WORDS, context_length=6)(["a dark frame", "light"])
    assert tokens.argmax(dim=-1).tolist() == [4, 2]  # open_clip reads the feature there


def test_unknown_word_is_named_with_the_nearest_known_one() -> None:
    tokenizer = WordTokenizer(WORDS, context_length=6)
    with pytest.raises(ValueError, match=r"does not know 'frames' in 'a dark frames'; did you mean frame\?"):
        tokenizer(["a light frame", "a dark frames"])


def test_too_long_a_sentence_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 4 words, got 5"):
        WordTokenizer(WORDS, context_length=6)(["a a a a a"])


def test_repeated_word_in_the_list_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        WordTokenizer(["a", "a"], context_length=6)


# Training


def test_loss_of_different_captions_is_clips_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    images, texts = torch.randn(5, 8, generator=generator), torch.randn(5, 8, generator=generator)
    logits = 7.0 * functional.normalize(images, dim=-1) @ functional.normalize(texts, dim=-1).T
    own = torch.arange(5)
    expected = (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2
    torch.testing.assert_close(contrastive_loss(images, texts, own, torch.tensor(7.0)), expected)


def test_images_that_share_a_caption_are_all_its_positives() -> None:
    images = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    texts = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    loss = contrastive_loss(images, texts, torch.tensor([0, 0, 1]), torch.tensor(50.0))
    # Text 0 shares its probability between two images that are alike: log 2, once in two texts, half of the loss.
    torch.testing.assert_close(loss, torch.tensor(np.log(2) / 4, dtype=torch.float32))


def test_reading_loss_counts_known_numbers_only() -> None:
    read, numbers = torch.tensor([[1.0, 5.0], [3.0, 0.0]]), torch.tensor([[0.0, 9.0], [1.0, 0.0]])
    known = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    torch.testing.assert_close(reading_loss(read, numbers, known), torch.tensor((1 + 4 + 0) / 3))


def small_model() -> tuple[torch.nn.Module, WordTokenizer, Preprocess]:
    config = tiny_config(WORDS, image_size=24, feature_size=16)
    config["vision_cfg"] |= {"layers": 1, "width": 32}
    config["text_cfg"] |= {"layers": 1, "width": 32}
    tokenizer = WordTokenizer(WORDS, context_length=config["text_cfg"]["context_length"])
    torch.manual_seed(0)
    return build_tiny_clip(config), tokenizer, Preprocess(**config["mdmf"]["preprocess"])


def test_training_learns_to_tell_light_from_dark() -> None:
    model, tokenizer, preprocess = small_model()
    rng = np.random.default_rng(0)

    def batch() -> Batch:
        is_light = rng.integers(0, 2, 16)
        frames = rng.integers(0, 100, (16, 24, 24, 3)) + 150 * is_light[:, None, None, None]
        captions = [f"a {('dark', 'light')[light]} frame" for light in is_light]
        return Batch(frames.astype(np.uint8), captions, 2.0 * is_light[:, None] - 1, np.ones((16, 1)))

    losses: list[float] = []
    train_tiny_clip(
        model,
        (batch() for _ in itertools.count()),
        tokenizer=tokenizer,
        preprocess=preprocess,
        settings=TinyTraining(n_steps=60, n_reading_steps=20, n_warmup_steps=5),
        on_step=lambda step, loss: losses.append(loss),
    )
    new = batch()
    with torch.inference_mode():
        images = model.encode_image(to_image_tensor(new.frames, preprocess), normalize=True)
        texts = model.encode_text(tokenizer(["a dark frame", "a light frame"]), normalize=True)
    chosen = (images @ texts.T).argmax(dim=-1).tolist()
    assert [("a dark frame", "a light frame")[index] for index in chosen] == new.captions
    assert len(losses) == 60
    assert losses[19] < losses[0]  # the numbers alone
    assert losses[-1] < losses[20]  # the captions too


def test_positions_are_fixed_and_stay_so() -> None:
    model, *_ = small_model()
    assert not model.visual.positional_embedding.requires_grad


# The files that ship


@pytest.fixture(scope="module")
def shipped() -> dict:
    return json.loads((resource_folder("tiny") / "tiny_clip.json").read_text(encoding="utf-8"))


def test_shipped_weights_fit_the_configuration_and_are_small(shipped: dict) -> None:
    path = resource_folder("tiny") / "tiny_clip.safetensors"
    assert path.stat().st_size <= 10_000_000
    model = build_tiny_clip(shipped)
    model.load_state_dict({name: value.float() for name, value in load_file(path).items()}, strict=True)


def test_shipped_configuration_tells_how_it_was_made_and_how_good_it_is(shipped: dict) -> None:
    training = shipped["mdmf"]["training"]
    assert {"seed", "n_steps", "batch_size", "reached"} <= training.keys()
    reached = training["reached"]
    assert reached["linear_r2"]["x"] > 0.85
    assert reached["linear_r2"]["y"] > 0.85
    assert reached["caption_accuracy"]["number"] > 0.7


def test_shipped_prompts_use_words_it_knows_only(shipped: dict) -> None:
    tokenizer = WordTokenizer(shipped["mdmf"]["words"], context_length=shipped["text_cfg"]["context_length"])
    assert tokenizer.vocab_size == shipped["text_cfg"]["vocab_size"]
    classes = yaml.safe_load((resource_folder("prompts") / "shapes.yaml").read_text(encoding="utf-8"))["classes"]
    for sentences in classes.values():
        tokenizer([sentences] if isinstance(sentences, str) else sentences)
