import math

import pytest
import torch

from mdmf.models.video_text import VideoText, mean_of_top_frames


def test_top_frames_by_hand():
    frames = torch.tensor([[1.0, 0.0], [0.0, 1.0], [3.0, 0.3], [-1.0, 0.0]])
    chosen = mean_of_top_frames(frames, torch.tensor([2.0, 0.0]), top_k=2, eps=0.0)
    torch.testing.assert_close(chosen, torch.tensor([2.0, 0.15]), atol=1e-6, rtol=0)
    everything = mean_of_top_frames(frames, torch.tensor([2.0, 0.0]), top_k=9)
    torch.testing.assert_close(everything, frames.mean(0), atol=1e-6, rtol=0)


def test_loss_by_hand():
    """One video along the first of two texts: cosines 1 and 0, scale 2."""
    video_text = VideoText(scale=2.0, eps=0.0)
    video_text.set_classes(torch.tensor([[3.0, 0.0], [0.0, 5.0]]))
    video = torch.tensor([[[0.5, 0.0]]])
    torch.testing.assert_close(video_text(video), torch.tensor([[[2.0, 0.0]]]), atol=1e-6, rtol=0)
    expected = math.log(1 + math.exp(-2))
    assert video_text.loss(video, torch.tensor([[0]])).item() == pytest.approx(expected, abs=1e-6)
    assert video_text.loss(video, torch.tensor([[1]])).item() == pytest.approx(expected + 2, abs=1e-6)


def test_class_text_is_no_part_of_a_checkpoint():
    video_text = VideoText(scale=2.0)
    video_text.set_classes(torch.zeros(24, 4))
    assert list(video_text.state_dict()) == ["scale"]


def test_says_that_classes_are_missing():
    with pytest.raises(ValueError, match="call set_classes first"):
        VideoText(scale=1.0)(torch.zeros(1, 4))
    with pytest.raises(ValueError, match="must be one of"):
        VideoText(source="frames", scale=1.0)
