import torch

from mdmf.models.presence import query_usable, videos_present

RGB, FLOW = torch.tensor([True, True, False, False]), torch.tensor([True, False, True, False])


def test_a_video_is_there_with_any_of_its_sources():
    present = {"rgb": RGB, "flow": FLOW}
    assert torch.equal(videos_present(present, ["flow"]), FLOW)
    assert videos_present(present, ["rgb", "flow"]).tolist() == [True, True, True, False]


def test_a_source_that_is_not_named_is_there_for_every_video():
    assert videos_present({}, ["rgb"]) is None
    assert videos_present({"flow": FLOW}, ["rgb"]) is None
    assert videos_present({"flow": FLOW}, ["rgb", "flow"]) is None


def test_presence_has_the_shape_of_what_it_is_about():
    shots = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(0)) > 0.5
    assert torch.equal(videos_present({"rgb": shots, "flow": ~shots}, ["rgb"]), shots)
    assert videos_present({"rgb": shots, "flow": ~shots}, ["rgb", "flow"]).all()


def test_a_query_needs_itself_and_a_shot_of_every_class():
    """Episode 0 has a shot of each of its 2 classes, episode 1 none of its second class."""
    support = torch.tensor([[[True, False], [False, True]], [[True, True], [False, False]]])
    query = torch.tensor([[True, False, True], [True, False, True]])
    assert query_usable(support, query, n_queries=3).tolist() == [[True, False, True], [False] * 3]
    assert query_usable(support, None, n_queries=3).tolist() == [[True] * 3, [False] * 3]
    assert torch.equal(query_usable(None, query, n_queries=3), query)
    assert query_usable(None, None, n_queries=3) is None
