"""Preprocessing against torchvision's and open_clip's own transforms, and against OpenAI CLIP's tensor of a photo."""

import numpy as np
import pytest
from PIL import Image

from mdmf.data.video.opening import open_video
from mdmf.data.views.preprocess import CropBox, draw_box, random_crop, resize_crop
from mdmf.structures import Preprocess

SIZES = [(97, 131), (131, 97), (240, 320), (320, 241), (33, 32), (32, 33), (10, 7), (1, 9), (64, 64), (500, 33)]


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def torchvision_view(frame: np.ndarray, preprocess: Preprocess) -> np.ndarray:
    transforms = pytest.importorskip("torchvision.transforms")
    mode = transforms.InterpolationMode(preprocess.interpolation)
    size = preprocess.resize_size
    steps = [transforms.Resize((size, size) if preprocess.resize_mode == "squash" else size, interpolation=mode)]
    return np.array(transforms.Compose([*steps, transforms.CenterCrop(preprocess.crop_size)])(Image.fromarray(frame)))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "preprocess",
    [
        Preprocess(crop_size=32, resize_size=32),
        Preprocess(crop_size=32, resize_size=37),
        Preprocess(crop_size=33, resize_size=36, interpolation="bilinear"),
        Preprocess(crop_size=32, resize_size=32, resize_mode="squash"),
        Preprocess(crop_size=31, resize_size=36, resize_mode="squash"),
    ],
)
def test_view_equals_torchvision(size, preprocess):
    frame = noise(*size)
    np.testing.assert_array_equal(resize_crop(frame, preprocess), torchvision_view(frame, preprocess))


def test_halves_round_to_the_even_pixel():
    """Resized to 2 x 5 and cropped to 2 x 2, the offset 1.5 becomes 2; of 2 x 3 the offset 0.5 becomes 0."""
    preprocess = Preprocess(crop_size=2, resize_size=2)
    for width, left in ((5, 2), (3, 0)):
        frame = noise(2, width)
        np.testing.assert_array_equal(resize_crop(frame, preprocess), frame[:, left : left + 2])


@pytest.mark.parametrize("resize_mode", ["shortest", "squash"])
def test_view_equals_open_clip_on_real_frames(shared_data, resize_mode):
    transform_module = pytest.importorskip("open_clip.transform")
    transform = transform_module.image_transform(224, is_train=False, resize_mode=resize_mode)
    preprocess = Preprocess(crop_size=224, resize_size=224, resize_mode=resize_mode)
    clips = sorted((shared_data / "clips" / "torchvision").glob("*.avi"))[:3]
    assert clips
    for clip in clips:
        with open_video(clip) as reader:
            frame = reader.read([reader.n_frames // 2])[0]
        expected = transform(Image.fromarray(frame)).numpy()
        np.testing.assert_allclose(normalised(resize_crop(frame, preprocess), preprocess), expected, atol=1e-5)


def test_view_equals_openai_clip_on_its_photo(shared_data):
    folder = shared_data / "golden" / "clip_reference"
    expected = np.load(folder / "expected_preprocessed_image.npy").reshape(3, 224, 224)
    with Image.open(folder / "franz-kafka.jpg") as image:
        frame = np.array(image.convert("RGB"))
    preprocess = Preprocess(crop_size=224, resize_size=224)
    np.testing.assert_allclose(normalised(resize_crop(frame, preprocess), preprocess), expected, atol=1e-5)


def normalised(view: np.ndarray, preprocess: Preprocess) -> np.ndarray:
    scaled = view.astype(np.float32) / 255
    values = (scaled - np.float32(preprocess.mean)) / np.float32(preprocess.std)
    return values.transpose(2, 0, 1)


def test_crop_of_the_whole_frame_is_a_plain_resize():
    frame = noise(48, 64)
    preprocess = Preprocess(crop_size=16, resize_size=16)
    whole = random_crop(frame, preprocess, CropBox(top=0, left=0, height=1, width=1))
    resized = Image.fromarray(frame).resize((16, 16), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(whole, np.array(resized))


def test_crop_takes_the_named_part():
    frame = np.zeros((40, 80, 3), np.uint8)
    frame[20:, 40:] = 200
    preprocess = Preprocess(crop_size=10, resize_size=10)
    inner = slice(2, -2)  # the filter sees what lies beyond the edges of the box
    assert (random_crop(frame, preprocess, CropBox(0.5, 0.5, 0.5, 0.5))[inner, inner] == 200).all()
    assert (random_crop(frame, preprocess, CropBox(0.0, 0.5, 0.5, 0.5))[inner, inner] == 0).all()


def test_crop_without_resize_is_a_slice():
    frame = noise(20, 30)
    preprocess = Preprocess(crop_size=10, resize_size=10)
    view = random_crop(frame, preprocess, CropBox(top=5 / 20, left=12 / 30, height=10 / 20, width=10 / 30))
    np.testing.assert_allclose(view.astype(int), frame[5:15, 12:22].astype(int), atol=1)


def test_flip_mirrors_left_and_right():
    frame, box = noise(20, 30), CropBox(0.1, 0.2, 0.5, 0.5)
    preprocess = Preprocess(crop_size=8, resize_size=8)
    plain, mirrored = (random_crop(frame, preprocess, box, flip=flip) for flip in (False, True))
    np.testing.assert_array_equal(mirrored, plain[:, ::-1])
    assert not np.array_equal(mirrored, plain)


@pytest.mark.parametrize(("height", "width"), [(240, 320), (320, 240), (100, 100), (1, 7)])
def test_drawn_boxes_are_squares_inside_the_frame(height, width):
    rng = np.random.default_rng(0)
    preprocess = Preprocess(crop_size=8, resize_size=8)
    sides = []
    for _ in range(200):
        box = draw_box(height, width, preprocess, scale_min=0.5, rng=rng)
        assert box.height * height == pytest.approx(box.width * width)
        assert box.top + box.height <= 1 + 1e-9
        assert box.left + box.width <= 1 + 1e-9
        sides.append(box.height * height / min(height, width))
        random_crop(np.zeros((height, width, 3), np.uint8), preprocess, box)
    assert 0.5 <= min(sides) < 0.55
    assert 0.95 < max(sides) <= 1


def test_drawn_boxes_are_squashed_as_the_test_view_is():
    preprocess = Preprocess(crop_size=8, resize_size=8, resize_mode="squash")
    box = draw_box(100, 300, preprocess, scale_min=0.5, rng=np.random.default_rng(0))
    assert box.height == box.width


def test_full_scale_leaves_no_choice_but_the_place_along_the_long_side():
    preprocess = Preprocess(crop_size=8, resize_size=8)
    box = draw_box(100, 200, preprocess, scale_min=1.0, rng=np.random.default_rng(0))
    assert (box.top, box.height, box.width) == (0, 1, 0.5)


def test_impossible_arguments_are_refused():
    preprocess = Preprocess(crop_size=8, resize_size=8)
    with pytest.raises(ValueError, match="inside the frame"):
        CropBox(top=0.6, left=0, height=0.5, width=1)
    for wrong in (noise(4, 4)[..., 0], noise(4, 4).astype(np.float32), noise(4, 4)[:, :0]):
        with pytest.raises(ValueError, match=r"\(H, W, 3\) and type uint8"):
            resize_crop(wrong, preprocess)
