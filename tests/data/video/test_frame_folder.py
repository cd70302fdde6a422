"""Folders of frame images."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mdmf.data.video.opening import VideoError, open_video


def save(folder: Path, name: str, value: int, size: tuple[int, int] = (6, 4), mode: str = "RGB") -> None:
    folder.mkdir(exist_ok=True)
    Image.new(mode, size, value if mode == "L" else (value,) * len(mode)).save(folder / name)


def values(frames: np.ndarray) -> list[int]:
    return frames[:, 0, 0, 0].tolist()


def test_frames_come_in_the_order_of_their_numbers(tmp_path):
    for number in (10, 9, 2, 1, 100):
        save(tmp_path / "v", f"img_{number}.png", number)
    with open_video(tmp_path / "v") as reader:
        assert (reader.n_frames, reader.fps) == (5, None)
        assert values(reader.read(range(5))) == [1, 2, 9, 10, 100]
        assert values(reader.read([4, 0, 0, 2])) == [100, 1, 1, 9]
        assert reader.read([0]).shape == (1, 4, 6, 3)


def test_jpg_grey_and_transparent_images_are_read_as_rgb(tmp_path):
    save(tmp_path / "v", "1.JPG", 40)
    save(tmp_path / "v", "2.jpeg", 80, mode="L")
    save(tmp_path / "v", "3.png", 120, mode="RGBA")
    with open_video(tmp_path / "v") as reader:
        assert values(reader.read(range(3))) == [40, 80, 120]


def test_other_and_hidden_files_are_no_frames(tmp_path):
    save(tmp_path / "v", "1.png", 7)
    (tmp_path / "v" / "labels.txt").write_text("x")
    (tmp_path / "v" / "._1.png").write_text("macOS leaves these")
    (tmp_path / "v" / "2").mkdir()
    with open_video(tmp_path / "v") as reader:
        assert reader.n_frames == 1


def test_a_time_in_the_name_is_no_other_kind_of_image(tmp_path):
    for number in range(3):
        save(tmp_path / "v", f"frame{number}_t{number / 25:.2f}.png", number)
    with open_video(tmp_path / "v") as reader:
        assert values(reader.read([2, 1, 0])) == [2, 1, 0]


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(VideoError, match=r"holds no frame images \(\.jpg, \.jpeg, \.png\)"):
        open_video(tmp_path)


def test_two_kinds_of_images_in_one_folder_are_refused(tmp_path):
    save(tmp_path / "v", "flow_x_1.png", 1)
    save(tmp_path / "v", "img_1.png", 1)
    with pytest.raises(VideoError, match=r"flow_x_1\.png and img_1\.png"):
        open_video(tmp_path / "v")


def test_a_number_that_comes_twice_is_refused(tmp_path):
    save(tmp_path / "v", "01.png", 1)
    save(tmp_path / "v", "1.jpg", 1)
    with pytest.raises(VideoError, match="same number"):
        open_video(tmp_path / "v")


@pytest.mark.parametrize("damage", [b"", b"no image at all", None])
def test_a_corrupt_image_is_named_when_it_is_read(tmp_path, damage):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    for name in ("1.jpg", "2.jpg"):
        save(tmp_path / "v", name, 0)
        noise.save(tmp_path / "v" / name)
    image = tmp_path / "v" / "2.jpg"
    image.write_bytes(image.read_bytes()[:-500] if damage is None else damage)
    with open_video(tmp_path / "v") as reader:
        assert reader.read([0]).shape == (1, 40, 40, 3)
        with pytest.raises(VideoError, match=r"frame image 2\.jpg cannot be read"):
            reader.read([0, 1])


def test_frames_of_different_sizes_are_refused(tmp_path):
    save(tmp_path / "v", "1.png", 1)
    save(tmp_path / "v", "2.png", 1, size=(8, 4))
    with open_video(tmp_path / "v") as reader:
        assert reader.read([1]).shape == (1, 4, 8, 3)
        with pytest.raises(VideoError, match="differ in size: frame 0 is 6x4, frame 1 is 8x4"):
            reader.read([0, 1])
