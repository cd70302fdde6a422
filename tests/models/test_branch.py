"""What a branch is given by default, and how well it explains its support."""

import math

import pytest
import torch
from method_cases import random_episode, small_method, without
from torch import Tensor

from mdmf.distances.video import VideoDistance
from mdmf.layers.prototypes import class_prototypes
from mdmf.models.branch import Branch, PrototypeBranch, Task, label_likelihood, logits_from_distance
from mdmf.structures import BranchOutput


class MeanBranch(Branch):
    """Minus the distance of mean frames, moved by the class text where there is some."""

    def __init__(self) -> None:
        super().__init__(sources=["rgb"])

    def compare(self, support, query, task):
        prototypes = class_prototypes(support["frames"], task.support_present).mean(-2)
        logits = -torch.cdist(query["frames"].mean(-2), prototypes)
        return BranchOutput(logits if task.class_text is None else logits + task.class_text.sum(-1)[:, None])


def tokens(E=2, N=3, K=3, T=2, D=4) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    support = {"frames": torch.randn(E, N, K, T, D, generator=generator)}
    return support, {"frames": torch.randn(E, 5, T, D, generator=generator)}


PRESENT = torch.ones(2, 3, 3, dtype=torch.bool)
PRESENT[0, 0, 1] = PRESENT[0, 2, 0] = PRESENT[0, 2, 2] = PRESENT[1, 1, 0] = False  # class 2 of the first has one shot


def plain_evidence(branch: Branch, support: dict[str, Tensor], task: Task) -> list[float]:
    """Each video that is there, against prototypes without itself; one at a time."""
    E, N, K = support["frames"].shape[:3]
    present = torch.ones(E, N, K, dtype=torch.bool) if task.support_present is None else task.support_present
    means = []
    for e in range(E):
        likelihoods = []
        for n in range(N):
            for k in range(K):
                rest = present[e].clone()
                rest[n, k] = False
                if not present[e, n, k] or not rest[n].any():
                    continue
                text = None if task.class_text is None else task.class_text[e : e + 1]
                single = Task(text, rest[None])
                query = {"frames": support["frames"][e, n, k][None, None]}
                logits = branch.compare({"frames": support["frames"][e : e + 1]}, query, single).logits[0, 0]
                likelihoods.append(logits.log_softmax(-1)[n].item())
        means.append(sum(likelihoods) / len(likelihoods))
    return means


@pytest.mark.parametrize("present", [None, PRESENT], ids=["complete", "missing"])
@pytest.mark.parametrize("has_text", [False, True])
def test_evidence_of_any_branch_is_that_of_each_video_left_out(present, has_text):
    text = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1)) if has_text else None
    support, _ = tokens()
    task = Task(text, present, wants_evidence=True)
    expected = torch.tensor(plain_evidence(MeanBranch(), support, task))
    torch.testing.assert_close(MeanBranch().support_evidence(support, task), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("present", [None, PRESENT], ids=["complete", "missing"])
def test_a_prototype_branch_gives_its_evidence_with_its_answer(present):
    support, query = tokens()
    branch = PrototypeBranch(sources=["rgb"], distance=VideoDistance(name="otam"), temperature=0.4)
    task = Task(support_present=present, wants_evidence=True)
    expected = torch.tensor(plain_evidence(branch, support, task))
    torch.testing.assert_close(branch.compare(support, query, task).support_evidence, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(branch.support_evidence(support, task), expected, atol=1e-5, rtol=0)
    assert branch.compare(support, query, Task(support_present=present)).support_evidence is None


@pytest.mark.parametrize(
    "branch", [MeanBranch(), PrototypeBranch(sources=["rgb"], distance=VideoDistance())], ids=["any", "prototype"]
)
def test_evidence_needs_two_shots(branch):
    support, query = tokens(K=1)
    task = Task(wants_evidence=True)
    assert branch.support_evidence(support, task) is None
    assert branch.compare(support, query, task).support_evidence is None
    support, _ = tokens(K=2)
    lone = torch.tensor([True, False]).expand(2, 3, 2)
    assert branch.support_evidence(support, Task(support_present=lone, wants_evidence=True)).isnan().all()


def test_label_likelihood_by_hand():
    """One episode, two classes of two shots; the logit of the own class is replaced."""
    logits = torch.zeros(1, 2, 2, 2)
    own = torch.tensor([[[math.log(3.0), 0.0], [0.0, math.log(3.0)]]])
    expected = (2 * math.log(0.75) + 2 * math.log(0.5)) / 4
    assert label_likelihood(logits, own, None).item() == pytest.approx(expected, abs=1e-6)
    present = torch.tensor([[[True, True], [True, False]]])  # the second class has a lone shot
    expected = (math.log(0.75) + math.log(0.5)) / 2
    assert label_likelihood(logits, own, present).item() == pytest.approx(expected, abs=1e-6)
    assert label_likelihood(logits, own, torch.eye(2, dtype=torch.bool)[None]).isnan().all()


def test_smaller_distance_is_larger_logit():
    distance = torch.tensor([1.0, 3.0])
    assert logits_from_distance(distance).tolist() == [-1, -3]
    assert logits_from_distance(distance, temperature=0.5).tolist() == [-2, -6]


class TestDefaults:
    def test_tokens_are_the_features_of_the_first_source(self):
        features = {"rgb": torch.randn(2, 3, 4)}
        assert torch.equal(MeanBranch().embed(features)["frames"], features["rgb"])
        assert not MeanBranch().has_weights

    def test_videos_with_several_prompts_are_embedded_pair_by_pair(self):
        class Prompted(MeanBranch):
            def embed(self, features, prompts=None):
                return {"frames": features["rgb"] + prompts[:, None]}

        frames, prompts, place = torch.randn(2, 3, 4), torch.randn(3, 4), torch.tensor([1, 0, 1])
        embedded = Prompted().embed_prompted({"rgb": frames}, prompts, place)["frames"]
        assert torch.equal(embedded, frames[place] + prompts[:, None])

    def test_an_embed_of_its_own_replaces_the_parents_faster_one(self):
        view = type(small_method("m2df").branch("local"))

        class Plain(view):
            def embed(self, features, prompts=None):
                return {"frames": features["rgb"]}

        class Both(Plain):
            def embed(self, features, prompts=None):
                return {"frames": -features["rgb"]}

            def embed_prompted(self, features, prompts, place):
                return {"frames": -features["rgb"][place]}

        class Neither(Both):
            pass

        assert view.embed_prompted is not Branch.embed_prompted
        assert Plain.embed_prompted is Branch.embed_prompted
        assert Neither.embed_prompted is Both.embed_prompted is not Branch.embed_prompted

    def test_a_query_is_answered_where_it_and_every_class_are_there(self):
        task = Task(support_present=PRESENT, query_present=torch.tensor([[True, False], [True, True]]))
        assert MeanBranch().usable(task, n_queries=2).tolist() == [[True, False], [True, True]]
        assert MeanBranch().usable(Task(), n_queries=2) is None

    def test_there_are_no_frame_costs(self):
        support, query = tokens()
        assert MeanBranch().frame_costs(support, query) is None
        with pytest.raises(TypeError, match="MeanBranch has no frame costs"):
            MeanBranch().align(torch.zeros(2, 2))

    def test_compare_must_be_written(self):
        with pytest.raises(TypeError, match="compare"):
            Branch(sources=["rgb"])


@pytest.mark.parametrize("name", ["otam", "bi_mhm", "frame_wise"])
def test_frame_costs_aligned_are_the_distance(name):
    support, query = tokens()
    branch = PrototypeBranch(sources=["rgb"], distance=VideoDistance(name=name, otam_temperature=0.2, eps=0.1))
    costs = branch.frame_costs(support, query)
    assert costs.shape == (2, 5, 3, 2, 2)
    torch.testing.assert_close(-branch.align(costs), branch.compare(support, query, Task()).logits, atol=1e-5, rtol=0)
    means = PrototypeBranch(sources=["rgb"], distance=VideoDistance(name="prototype"))
    assert means.frame_costs(support, query) is None


def test_a_head_is_given_its_sources_in_order():
    class Difference(torch.nn.Module):
        def forward(self, first, second):
            return first - second

    branch = PrototypeBranch(Difference(), sources=["flow", "rgb"], distance=VideoDistance())
    rgb, flow = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    assert torch.equal(branch.embed({"rgb": rgb, "flow": flow})["frames"], flow - rgb)


def test_what_is_missing_leaves_the_other_queries_as_they_are():
    episode = random_episode()
    model = small_method("temporal_head")
    output = model(without(episode, "rgb", queries=[(0, 1)]))
    assert not output.logits[0, 1].any()
    torch.testing.assert_close(output.logits[1], model(episode).logits[1], atol=1e-6, rtol=0)
