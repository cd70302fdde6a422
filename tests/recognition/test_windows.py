import numpy as np
import pytest

from mdmf.recognition.windows import WindowRule, plan_windows
from mdmf.structures import ViewRule


def plan(window, stride, n, seconds=None, *, n_frames=2):
    return plan_windows(WindowRule.parse(window, stride), n, seconds=seconds, view_rule=ViewRule(n_frames=n_frames))


def spans(windows):
    return list(zip(windows.first_frame.tolist(), windows.end_frame.tolist(), strict=True))


def test_windows_in_frames_by_hand():
    windows = plan("4f", "2f", 8)
    assert spans(windows) == [(0, 4), (2, 6), (4, 8)]
    assert windows.numbers.tolist() == [[1, 3], [3, 5], [5, 7]]  # the middles of two halves
    assert np.isnan(windows.start_seconds).all()
    assert windows.moments()[1] == (2, 6, None, None)


def test_the_last_window_is_moved_back_to_the_end_of_the_video():
    assert spans(plan("4f", "3f", 9)) == [(0, 4), (3, 7), (5, 9)]
    seconds = np.arange(9) / 2.0
    windows = plan("2s", "1.5s", 9, seconds)  # 4.5 s long
    assert windows.start_seconds.tolist() == [0, 1.5, 2.5]
    assert windows.end_seconds.tolist() == [2, 3.5, 4.5]
    assert spans(windows) == [(0, 4), (3, 7), (5, 9)]


@pytest.mark.parametrize("window", ["20f", "20s"])
def test_a_video_shorter_than_a_window_is_one_window(window):
    windows = plan(window, None, 5, np.arange(5) / 10)
    assert spans(windows) == [(0, 5)]
    assert windows.moments() == [(0, 5, 0.0, 0.5)]


def test_without_a_stride_it_is_half_a_window():
    assert WindowRule.parse("3s") == WindowRule(3, 1.5, "s")
    assert WindowRule.parse("5f") == WindowRule(5, 2, "f")
    assert WindowRule.parse("1f") == WindowRule(1, 1, "f")
    assert str(WindowRule.parse("2 s", ".5s")) == "2s every 0.5s"


@pytest.mark.parametrize(("n", "length", "stride"), [(100, 7, 3), (7, 7, 7), (31, 10, 10), (50, 1, 1), (12, 5, 4)])
def test_every_frame_is_in_a_window_and_none_reaches_beyond(n, length, stride):
    for unit, seconds in (("f", None), ("s", np.arange(n, dtype=float))):
        windows = plan(f"{length}{unit}", f"{stride}{unit}", n, seconds, n_frames=4)
        seen = {frame for first, end in spans(windows) for frame in range(first, end)}
        assert seen == set(range(n))
        assert (windows.end_frame - windows.first_frame == min(length, n)).all()
        assert (windows.numbers >= windows.first_frame[:, None]).all()
        assert (windows.numbers < windows.end_frame[:, None]).all()


def test_seconds_go_by_the_times_of_the_frames_where_the_rate_varies():
    seconds = np.array([0, 0.1, 0.2, 0.3, 1.0, 1.5, 2.0, 2.1])  # fast, slow, fast
    windows = plan("1s", "1s", 8, seconds)
    assert spans(windows) == [(0, 4), (4, 6), (5, 8)]
    assert windows.start_seconds.tolist() == pytest.approx([0, 1, 1.2])  # the last frame is shown for a tenth


def test_a_window_in_which_no_frame_begins_has_the_one_that_is_shown():
    windows = plan("1s", "1s", 4, np.array([0, 0.5, 5.0, 5.5]))
    assert spans(windows) == [(0, 2), (1, 2), (1, 2), (1, 2), (1, 2), (2, 4)]
    assert windows.numbers[2].tolist() == [1, 1]


def test_rates_that_are_no_round_numbers_do_not_drift():
    seconds = np.arange(3000) * 1001 / 30000
    windows = plan("2s", "1s", 3000, seconds)
    middle = len(windows) // 2
    assert windows.start_seconds[middle] == middle
    assert abs(seconds[windows.first_frame[middle]] - middle) < 1 / 29


def test_a_frame_at_the_border_is_in_the_window_that_begins_there_whatever_the_rounding():
    """3 * 0.1 is a little more than 0.3."""
    windows = plan("0.3s", "0.1s", 20, np.arange(20) / 10)
    assert spans(windows) == [(first, first + 3) for first in range(18)]


@pytest.mark.parametrize(
    ("window", "stride", "said"),
    [
        ("2", None, "cannot read the window '2'"),
        ("2m", None, "cannot read the window"),
        ("0s", None, "cannot read the window"),
        ("-1s", None, "cannot read the window"),
        ("1.5f", None, "whole frames"),
        ("nans", None, "cannot read the window"),
        ("2s", "8f", "the same unit"),
        ("2s", "3s", "leaves out moments"),
        ("2s", "x", "cannot read the stride 'x'"),
    ],
)
def test_what_is_no_window_is_refused(window, stride, said):
    with pytest.raises(ValueError, match=said):
        WindowRule.parse(window, stride)


def test_seconds_without_times_are_refused_with_the_way_out():
    with pytest.raises(ValueError, match="give the window in frames, as in 48f"):
        plan("2s", "1s", 10)


def test_windows_far_denser_than_frames_are_refused():
    seconds = np.arange(50) / 25.0
    assert len(plan("0.04s", "0.02s", 50, seconds)) == 99
    with pytest.raises(ValueError, match=r"a window every 0.001 s is far more often than a frame \(50 in 2 s\)"):
        plan("0.04s", "0.001s", 50, seconds)


def test_a_window_longer_than_any_video_is_an_error_in_writing():
    with pytest.raises(ValueError, match="cannot read the window"):
        WindowRule.parse("99999999999999999999f")
