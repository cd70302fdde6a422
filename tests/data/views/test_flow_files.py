"""Flows on disk: each layout as a program writes it, and each way in which it may be damaged."""

import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mdmf.data.video.reader import VideoError
from mdmf.data.views.flow_files import FlowFolder, find_flow_folder

BOUND = 20.0


def made(n_flows: int = 12, size: tuple[int, int] = (6, 8)) -> np.ndarray:
    """(n, H, W, 2) flows that a grey level holds exactly; flow i is smooth and unlike the others."""
    levels = np.arange(n_flows)[:, None, None, None] * 15 + np.arange(size[1])[:, None] + np.array([0, 60])
    return (np.broadcast_to(levels, (n_flows, *size, 2)) / 255 * 2 * BOUND - BOUND).astype(np.float32)


def save_picture(file: Path, displacement: np.ndarray, mode: str = "L") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    levels = np.rint((displacement + BOUND) / (2 * BOUND) * 255).astype(np.uint8)
    Image.fromarray(levels).convert(mode).save(file, **({"quality": 100} if file.suffix == ".jpg" else {}))


def save_pictures(folder: Path, flows: np.ndarray, names: str, first: int = 1, digits: int = 5) -> None:
    """`names` such as `flow_{}_{}.jpg`: axis and number."""
    for number, flow in enumerate(flows, first):
        for axis, displacement in zip("xy", np.moveaxis(flow, -1, 0), strict=True):
            save_picture(folder / names.format(axis, f"{number:0{digits}d}"), displacement)


def flo_bytes(flow: np.ndarray, width: int | None = None, height: int | None = None, magic: float = 202021.25) -> bytes:
    header = struct.pack("<fii", magic, flow.shape[1] if width is None else width, height or flow.shape[0])
    return header + flow.astype("<f4").tobytes()


def save_flo(folder: Path, flows: np.ndarray, name: str = "{}.flo", first: int = 1) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, flow in enumerate(flows, first):
        (folder / name.format(number)).write_bytes(flo_bytes(flow))


def save_arrays(folder: Path, flows: np.ndarray, name: str = "{}.npy", first: int = 1) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, flow in enumerate(flows, first):
        np.save(folder / name.format(number), flow)


def read(folder: Path, numbers=range(12)) -> np.ndarray:
    return np.stack(FlowFolder(folder, bound=BOUND).read(numbers))


def check_is_made(folder: Path, tolerance: float) -> None:
    flows = FlowFolder(folder, bound=BOUND)
    assert flows.n_flows == 12
    found = flows.read(range(12))
    assert all(flow.dtype == np.float32 and type(flow) is np.ndarray for flow in found)
    np.testing.assert_allclose(np.stack(found), made(), atol=tolerance)
    np.testing.assert_allclose(np.stack(flows.read(np.array([11, 3, 3, 0]))), made()[[11, 3, 3, 0]], atol=tolerance)
    np.testing.assert_allclose(np.stack(flows.read([12, 500])), made()[[11, 11]], atol=tolerance)
    assert flows.read([]) == []


# Layouts


@pytest.mark.parametrize(
    ("names", "tolerance"),
    [
        ("flow_{}_{}.jpg", 0.4),
        ("flow_{}_{}.png", 1e-5),
        ("{}_{}.jpg", 0.4),
        ("{}_{}.png", 1e-5),
        ("flow_{}/{}.jpg", 0.4),
        ("flow_{}/{}.png", 1e-5),
        ("flow_{0}/flow_{0}_{1}.PNG", 1e-5),
    ],
)
@pytest.mark.parametrize("first", [0, 1])
def test_pictures_are_read(tmp_path, names, tolerance, first):
    save_pictures(tmp_path / "v", made(), names, first)
    check_is_made(tmp_path / "v", tolerance)


def test_numbers_without_zeros_before_them_are_in_the_order_of_numbers(tmp_path):
    save_pictures(tmp_path / "v", made(), "flow_{}_{}.png", digits=1)
    check_is_made(tmp_path / "v", 1e-5)


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("name", ["{}.flo", "frame_{:06d}.flo", "v2_{}.FLO"])
def test_flo_files_are_read(tmp_path, name, first):
    save_flo(tmp_path / "v", made(), name, first)
    check_is_made(tmp_path / "v", 0)


def test_a_flo_file_is_read_as_its_format_says(tmp_path):
    """2 pixels wide, 1 high: x then y of the left pixel, x then y of the right one, little endian."""
    (tmp_path / "1.flo").write_bytes(b"PIEH" + struct.pack("<ii4f", 2, 1, 1.5, -2, 3, 4))
    assert read(tmp_path, [0]).tolist() == [[[[1.5, -2], [3, 4]]]]


@pytest.mark.parametrize("first", [0, 1])
def test_an_array_for_each_flow_is_read(tmp_path, first):
    save_arrays(tmp_path / "v", made(), first=first)
    check_is_made(tmp_path / "v", 0)


@pytest.mark.parametrize("name", ["v.npy", "flow.npy", "12.npy"])
def test_one_array_of_all_flows_is_read(tmp_path, name):
    np.save(tmp_path / name, made())
    check_is_made(tmp_path, 0)
    check_is_made(tmp_path / name, 0)


@pytest.mark.parametrize("dtype", ["<f8", ">f4", "<f2"])
def test_an_array_of_any_float_is_read_as_float32(tmp_path, dtype):
    np.save(tmp_path / "v.npy", np.asfortranarray(made().astype(dtype)))
    check_is_made(tmp_path, 0.02)


def test_an_array_of_one_flow_is_one_flow(tmp_path):
    np.save(tmp_path / "1.npy", made()[0])
    assert FlowFolder(tmp_path, bound=BOUND).n_flows == 1
    np.testing.assert_array_equal(read(tmp_path, [0, 1]), made()[[0, 0]])


def test_a_flow_that_is_changed_does_not_change_the_file(tmp_path):
    np.save(tmp_path / "v.npy", made())
    read(tmp_path)[:] = 0
    FlowFolder(tmp_path, bound=BOUND).read([0])[0][:] = 0
    check_is_made(tmp_path, 0)


@pytest.mark.parametrize(("level", "expected"), [(0, -20), (255, 20), (127, -20 / 255), (128, 20 / 255), (191, 9.9608)])
def test_grey_levels_stand_for_displacements_up_to_the_bound(tmp_path, level, expected):
    for axis in "xy":
        Image.new("L", (3, 2), level).save(tmp_path / f"flow_{axis}_1.png")
    np.testing.assert_allclose(read(tmp_path, [0]), np.full((1, 2, 3, 2), expected), atol=1e-4)
    half = FlowFolder(tmp_path, bound=BOUND / 2).read([0])[0]
    np.testing.assert_allclose(half, np.full((2, 3, 2), expected / 2), atol=1e-4)


def test_grey_pictures_stored_in_colours_are_read(tmp_path):
    for axis, displacement in zip("xy", np.moveaxis(made()[3], -1, 0), strict=True):
        save_picture(tmp_path / f"{axis}_1.jpg", displacement, mode="RGB")
    np.testing.assert_allclose(read(tmp_path, [0]), made()[3:4], atol=0.4)


def test_frames_hidden_files_and_notes_beside_the_flows_are_let_be(tmp_path):
    save_pictures(tmp_path / "v", made(), "flow_{}_{}.png")
    save_picture(tmp_path / "v" / "img_00001.png", made()[0, ..., 0])
    save_picture(tmp_path / "v" / "flow_z_00001.png", made()[0, ..., 0])
    (tmp_path / "v" / "._flow_x_00099.png").write_bytes(b"macOS leaves these")
    (tmp_path / "v" / "log.txt").write_text("x")
    check_is_made(tmp_path / "v", 1e-5)


@pytest.mark.parametrize("name", ["1.flo", "1.npy"])
def test_hidden_files_are_no_flows(tmp_path, name):
    (save_flo if name.endswith(".flo") else save_arrays)(tmp_path, made())
    (tmp_path / f"._{name}").write_bytes(b"macOS leaves these")
    check_is_made(tmp_path, 0)


def test_a_folder_of_flows_goes_to_another_process(tmp_path):
    np.save(tmp_path / "v.npy", made())
    flows = pickle.loads(pickle.dumps(FlowFolder(tmp_path, bound=BOUND)))
    np.testing.assert_array_equal(np.stack(flows.read([5])), made()[[5]])
    assert len(pickle.dumps(flows)) < 2000


# What is refused


def refused(folder: Path, match: str, numbers=range(12)) -> None:
    with pytest.raises(VideoError, match=match):
        read(folder, numbers)


def test_an_empty_folder_is_refused(tmp_path):
    refused(tmp_path, "holds no flows; expected flow_x_00001.jpg")
    (tmp_path / "flow_x").mkdir()
    (tmp_path / "flow_y").mkdir()
    refused(tmp_path, "holds no flows")


def test_a_folder_of_frames_is_refused(tmp_path):
    save_picture(tmp_path / "img_00001.jpg", made()[0, ..., 0])
    refused(tmp_path, "holds no flows")


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    refused(tmp_path / "v", "no folder of flows")
    (tmp_path / "v.npz").write_bytes(b"")
    refused(tmp_path / "v.npz", "no folder of flows")


def test_several_kinds_of_flows_in_a_folder_are_refused(tmp_path):
    save_pictures(tmp_path, made(), "flow_{}_{}.png")
    save_flo(tmp_path, made())
    refused(tmp_path, r"several kinds \(flow_x_00001.png and 1.flo\); keep one")


@pytest.mark.parametrize("name", ["flow_{}_{}.png", "flow_{}/{}.png"])
@pytest.mark.parametrize(("alone", "missing"), [("x", "y"), ("y", "x")])
@pytest.mark.parametrize("number", ["00001", "00007", "00012"])
def test_a_picture_without_its_partner_is_refused(tmp_path, name, alone, missing, number):
    save_pictures(tmp_path, made(), name)
    (tmp_path / name.format(missing, number)).unlink()
    refused(tmp_path, f"{name.format(alone, number)} has no {missing} picture beside it")


def test_pictures_of_x_only_are_refused(tmp_path):
    save_pictures(tmp_path, made(), "flow_{}/{}.png")
    for file in (tmp_path / "flow_y").iterdir():
        file.unlink()
    (tmp_path / "flow_y").rmdir()
    refused(tmp_path, "flow_x/00001.png has no y picture")


@pytest.mark.parametrize("save", [save_flo, save_arrays])
def test_a_gap_is_refused(tmp_path, save):
    save(tmp_path, made(), first=0)
    next(tmp_path.glob("7.*")).unlink()
    refused(tmp_path, r"flow 7 is missing, 8\.(flo|npy) is there")


def test_a_gap_in_both_pictures_is_refused(tmp_path):
    save_pictures(tmp_path, made(), "flow_{}_{}.jpg")
    for axis in "xy":
        (tmp_path / f"flow_{axis}_00004.jpg").unlink()
    refused(tmp_path, "flow 4 is missing, flow_x_00005.jpg is there")


@pytest.mark.parametrize("n_flows", [1, 3])
def test_flows_that_begin_late_are_refused(tmp_path, n_flows):
    save_flo(tmp_path, made(n_flows), first=5)
    refused(tmp_path, "flow 1 is missing, 5.flo is there")


def test_a_number_that_comes_twice_is_refused(tmp_path):
    save_flo(tmp_path, made())
    save_flo(tmp_path, made(1), "0{}.flo")
    refused(tmp_path, r"01.flo and 1.flo have the same number")


def test_two_ways_to_name_pictures_are_refused(tmp_path):
    save_pictures(tmp_path, made(), "flow_{}_{}.jpg")
    save_pictures(tmp_path, made(), "{}_{}.jpg")
    refused(tmp_path, "flow_x_00001.jpg and x_00001.jpg have the same number")


def test_names_without_a_number_are_refused(tmp_path):
    save_flo(tmp_path, made(2))
    (tmp_path / "last.flo").write_bytes(flo_bytes(made()[0]))
    refused(tmp_path, "last.flo has no number")


@pytest.mark.parametrize("damage", [b"", b"no picture", None])
def test_a_damaged_picture_is_named(tmp_path, damage):
    save_pictures(tmp_path, made(size=(60, 80)), "flow_{}_{}.jpg")
    file = tmp_path / "flow_y_00003.jpg"
    file.write_bytes(file.read_bytes()[:-400] if damage is None else damage)
    assert read(tmp_path, [0, 1, 3]).shape == (3, 60, 80, 2)
    refused(tmp_path, "flow picture flow_y_00003.jpg cannot be read", [2])


def test_a_picture_in_colours_is_refused(tmp_path):
    save_pictures(tmp_path, made(), "flow_{}_{}.png")
    Image.new("RGB", (8, 6), (10, 200, 30)).save(tmp_path / "flow_x_00001.png")
    refused(tmp_path, "flow_x_00001.png is no grey picture of 8 bits")


@pytest.mark.parametrize("mode", ["I;16", "1", "P", "RGBA"])
def test_a_picture_of_other_bits_is_refused(tmp_path, mode):
    save_pictures(tmp_path, made(), "flow_{}_{}.png")
    Image.new(mode, (8, 6)).save(tmp_path / "flow_x_00001.png")
    refused(tmp_path, "flow_x_00001.png is no grey picture of 8 bits")


def test_pictures_of_two_sizes_are_refused(tmp_path):
    save_pictures(tmp_path, made(), "flow_{}_{}.png")
    save_picture(tmp_path / "flow_y_00002.png", made(size=(6, 9))[0, ..., 0])
    refused(tmp_path, "flow_x_00002.png is 8x6 pixels, flow_y_00002.png 9x6 pixels", [1])


@pytest.mark.parametrize("save", [save_flo, save_arrays])
def test_flows_of_two_sizes_are_refused(tmp_path, save):
    save(tmp_path, made(3), first=0)
    save(tmp_path, made(1, (5, 9)), first=3)
    refused(tmp_path, r"3\.(flo|npy) is 9x5 pixels, 0\.(flo|npy) 8x6 pixels", [0, 1, 3])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "does not begin as a .flo file"),
        (b"PIEH\x01\x00", "does not begin as a .flo file"),
        (flo_bytes(made()[0], magic=1.0), "does not begin as a .flo file"),
        (flo_bytes(made()[0])[:-1], "and has 395; it is damaged"),
        (flo_bytes(made()[0]) + b"\x00", "and has 397; it is damaged"),
        (flo_bytes(made()[0], width=2**31 - 1, height=2**31 - 1), "says 2147483647x2147483647 pixels"),
        (flo_bytes(made()[0], width=-8, height=-6), "says -8x-6 pixels"),
        (flo_bytes(made()[0], width=0), "says 0x6 pixels"),
        (struct.pack("<fii", 202021.25, 0, 0), "says 0x0 pixels"),
    ],
)
def test_a_damaged_flo_file_is_named(tmp_path, content, reason):
    save_flo(tmp_path, made())
    (tmp_path / "2.flo").write_bytes(content)
    refused(tmp_path, f"2.flo {reason}|{reason}", [1])


def test_a_sparse_flo_file_is_not_allocated(tmp_path):
    side = 2**15
    with (tmp_path / "1.flo").open("wb") as stream:
        stream.write(struct.pack("<fii", 202021.25, side, side))
        stream.truncate(12 + 8 * side * side)
    refused(tmp_path, "1.flo says 32768x32768 pixels", [0])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 2e9])
@pytest.mark.parametrize("save", [save_flo, save_arrays])
def test_displacements_that_are_not_known_are_refused(tmp_path, save, bad):
    flows = made()
    flows[4, 1, 2, 0] = bad
    save(tmp_path, flows, first=0)
    assert read(tmp_path, [3, 5]).shape == (2, 6, 8, 2)
    refused(tmp_path, r"4\.(flo|npy) has unknown, NaN or infinite", [4])


def test_nan_in_one_array_is_named_with_its_place(tmp_path):
    flows = made()
    flows[4, 1, 2, 0] = np.nan
    np.save(tmp_path / "v.npy", flows)
    refused(tmp_path, r"v\.npy\[4\] has unknown, NaN", [4])


@pytest.mark.parametrize("shape", [(4,), (6, 8), (6, 8, 3), (3, 6, 8, 3), (2, 3, 6, 8, 2), ()])
def test_one_array_of_another_shape_is_refused(tmp_path, shape):
    np.save(tmp_path / "v.npy", np.zeros(shape, np.float32))
    refused(tmp_path, r"v.npy has shape \(.*\); expected \(n, H, W, 2\)")


@pytest.mark.parametrize("shape", [(0, 6, 8, 2), (3, 0, 8, 2)])
def test_one_array_without_flows_is_refused(tmp_path, shape):
    np.save(tmp_path / "v.npy", np.zeros(shape, np.float32))
    refused(tmp_path, "v.npy")


@pytest.mark.parametrize("shape", [(6, 8), (6, 8, 3), (1, 6, 8, 2)])
def test_an_array_of_another_shape_among_many_is_refused(tmp_path, shape):
    save_arrays(tmp_path, made())
    np.save(tmp_path / "2.npy", np.zeros(shape, np.float32))
    refused(tmp_path, r"2.npy has shape \(.*\); expected a flow \(H, W, 2\)", [1])


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.complex64, bool])
def test_an_array_that_holds_no_pixels_is_refused(tmp_path, dtype):
    np.save(tmp_path / "v.npy", made().astype(dtype))
    refused(tmp_path, "v.npy holds .*; expected float16, float32 or float64")


class Touch:
    """Unpickling it makes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return (Path.touch, (self.file,))


def test_a_pickle_is_never_opened(tmp_path):
    trace = tmp_path / "ran"
    folder = tmp_path / "v"
    folder.mkdir()
    np.save(folder / "v.npy", np.array([Touch(trace)], dtype=object), allow_pickle=True)
    refused(folder, "v.npy cannot be read as an array of numbers")
    (folder / "v.npy").write_bytes(pickle.dumps(Touch(trace)))
    refused(folder, "v.npy cannot be read as an array of numbers")
    assert not trace.exists()


def test_an_archive_named_as_an_array_is_refused(tmp_path):
    with (tmp_path / "v.npy").open("wb") as stream:
        np.savez(stream, made())
    refused(tmp_path, "v.npy is an archive")
    (tmp_path / "v.npy").write_bytes(b"PK\x03\x04 and no more")
    refused(tmp_path, "v.npy cannot be read")


def test_an_array_cut_short_or_with_a_false_header_is_refused(tmp_path):
    file = tmp_path / "v.npy"
    np.save(file, made())
    whole = file.read_bytes()
    huge = whole.replace(b"(12, 6, 8, 2), }        ", b"(1200000000, 6, 8, 2), }")
    assert whole != huge
    assert len(whole) == len(huge)
    for content in (b"", whole[:5], whole[:60], whole[:-1], whole[:200], huge):
        file.write_bytes(content)
        refused(tmp_path, "v.npy cannot be read as an array of numbers")


def test_no_damage_to_a_header_gets_through_as_another_error(tmp_path):
    """A byte of the header changed at random: the flows are read, or it is a VideoError."""
    file = tmp_path / "v.npy"
    np.save(file, made())
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    n_refused = 0
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.integers(0, 128)] = rng.integers(0, 256)
        file.write_bytes(damaged)
        try:
            read(tmp_path)
        except VideoError:
            n_refused += 1
    assert 50 < n_refused < 300


def test_a_folder_with_the_name_of_a_flow_is_refused(tmp_path):
    save_flo(tmp_path, made(2))
    (tmp_path / "3.flo").mkdir()
    refused(tmp_path, "3.flo cannot be read", [2])


def test_numbers_below_zero_are_refused(tmp_path):
    save_flo(tmp_path, made())
    with pytest.raises(ValueError, match="begin at 0, got -1"):
        read(tmp_path, [3, -1])


@pytest.mark.parametrize("bound", [0, -1, np.nan, np.inf])
def test_a_bound_must_be_positive(tmp_path, bound):
    with pytest.raises(ValueError, match="bound of flow pictures must be a positive number"):
        FlowFolder(tmp_path, bound=bound)


# Where a video's flows lie


@pytest.mark.parametrize("place", ["jump/v_1", "jump/v_1.mp4"])
def test_a_folder_is_found_with_or_without_the_suffix(tmp_path, place):
    (tmp_path / place).mkdir(parents=True)
    assert find_flow_folder(tmp_path, "jump/v_1.mp4") == tmp_path / place


def test_an_array_is_found_beside_the_folders(tmp_path):
    np.save(tmp_path / "v_1.npy", made())
    assert find_flow_folder(tmp_path, "v_1.MP4") == tmp_path / "v_1.npy"
    check_is_made(find_flow_folder(tmp_path, "v_1.MP4"), 0)


def test_a_dot_in_the_name_of_a_folder_of_frames_is_no_suffix(tmp_path):
    """`walk_0.5` and `walk_0.7` must not share the flows of `walk_0`."""
    (tmp_path / "walk_0").mkdir()
    with pytest.raises(VideoError, match=r"no flow of walk_0\.5"):
        find_flow_folder(tmp_path, "walk_0.5")
    (tmp_path / "walk_0.5").mkdir()
    assert find_flow_folder(tmp_path, "walk_0.5") == tmp_path / "walk_0.5"
    np.save(tmp_path / "walk_0.7.npy", made())
    assert find_flow_folder(tmp_path, "walk_0.7") == tmp_path / "walk_0.7.npy"


def test_a_video_file_is_no_folder_of_flows(tmp_path):
    (tmp_path / "v.mp4").write_bytes(b"video")
    with pytest.raises(VideoError, match=r"no flow of v\.mp4: looked for .*v, .*v\.mp4, .*v\.npy"):
        find_flow_folder(tmp_path, "v.mp4")
