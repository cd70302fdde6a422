"""Losses and training of the tiny encoder."""

import itertools

import numpy as np
import torch
from torch.nn import functional

from mdmf.encoders.tiny_tokenizer import WordTokenizer
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

    losses = train_tiny_clip(
        model,
        (batch() for _ in itertools.count()),
        tokenizer=tokenizer,
        preprocess=preprocess,
        settings=TinyTraining(n_steps=60, n_reading_steps=20, n_warmup_steps=5),
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
