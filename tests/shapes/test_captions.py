"""Frames and captions for the tiny encoder."""

import numpy as np
import pytest

from mdmf.shapes.captions import CAPTION_KINDS, CaptionedFrames, captioned_frames, scene_numbers
from mdmf.shapes.world import SHAPES_SPLIT

SENTENCES = {"move_left": "a shape that moves left", "approach": "two shapes that approach"}


def make(kind: str, seed: int = 0, n_frames: int = 12, size: int = 16) -> CaptionedFrames:
    return captioned_frames(np.random.default_rng(seed), kind, n_frames=n_frames, size=size, action_sentences=SENTENCES)


@pytest.mark.parametrize("kind", CAPTION_KINDS)
def test_every_kind_gives_frames_and_captions(kind: str) -> None:
    made = make(kind)
    assert made.frames.shape == (12, 16, 16, 3)
    assert made.frames.dtype == np.uint8
    assert len(made.captions) == 12
    assert len(set(made.captions)) > 1


def test_the_same_generator_gives_the_same_frames() -> None:
    first, again = make("place", seed=4), make("place", seed=4)
    np.testing.assert_array_equal(first.frames, again.frames)
    assert first.captions == again.captions


def test_number_captions_count_the_visible_objects() -> None:
    names = {"no shape": 0, "one shape": 1, "two shapes": 2, "three shapes": 3, "four shapes": 4}
    made = make("number", n_frames=60)
    assert [names[caption] for caption in made.captions] == made.sprites.visible.sum(axis=1).astype(int).tolist()


def test_place_captions_name_where_the_object_is() -> None:
    made = make("place", n_frames=200)
    for caption, (x, y) in zip(made.captions, made.sprites.centre[:, 0], strict=True):
        assert ("left" in caption) == (x < 0.416)
        assert ("right" in caption) == (x > 0.584)
        assert ("top" in caption) <= (y < 0.25)


def test_numbers_of_a_scene_do_not_depend_on_the_order_of_its_objects() -> None:
    sprites = make("spread", n_frames=30).sprites
    turned = type(sprites)(**{name: values[:, ::-1] for name, values in vars(sprites).items()})
    for first, second in zip(scene_numbers(sprites), scene_numbers(turned), strict=True):
        np.testing.assert_allclose(first, second, atol=1e-9)


def test_of_a_frame_without_objects_only_their_number_is_known() -> None:
    sprites = make("number", n_frames=60).sprites
    numbers, known = scene_numbers(sprites)
    empty = sprites.visible.sum(axis=1) == 0
    assert empty.any()
    assert np.all(known[~empty] == 1)
    assert np.all(known[empty].sum(axis=1) == 1)
    assert np.isfinite(numbers).all()


def test_unseen_classes_cannot_reach_the_encoder() -> None:
    rng = np.random.default_rng(0)
    for split in ("val", "test"):
        name = SHAPES_SPLIT[split][0]
        with pytest.raises(ValueError, match=f"training classes only, got .*{name}"):
            captioned_frames(rng, "action", n_frames=1, size=8, action_sentences={name: "a shape"})


def test_unknown_kind_is_an_error() -> None:
    with pytest.raises(ValueError, match="unknown kind of caption 'speed'"):
        make("speed")
