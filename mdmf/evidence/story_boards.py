"""Story boards: queries of a test with their frames, and their alignment to the support videos."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from mdmf.corruptions import FRAME_KINDS, parse_corruption
from mdmf.data.sources.frames import FramesSource
from mdmf.data.views.loader import SourceView, load_clip_views
from mdmf.evidence.opened_test import DoesNotApply, OpenedTest
from mdmf.models.method import Method
from mdmf.results import Arrays
from mdmf.source_settings import DEFAULT_SOURCE
from mdmf.structures import Episode, Preprocess

N_OF_EACH = 3
MAX_ROWS = 5
_SIDE, _JPEG_QUALITY = 96, 80
_TOLERANCE = 0.02  # of a posterior, which is saved in half precision and may be of another device

CostDistance = Callable[[Tensor], Tensor]  # (..., T, S) -> (...)


@dataclass(frozen=True)
class Choice:
    """A query of a story board: `best` or `worst` answered, its episode, and its number in the episode."""

    kind: str
    episode: int
    query: int


def choose_queries(
    posterior: np.ndarray, labels: np.ndarray, true_class: np.ndarray, usable: np.ndarray, *, n_of_each: int = N_OF_EACH
) -> list[Choice]:
    """Correct answers with the largest posterior of the true class, and wrong ones with the smallest.

    At most one query of each class is chosen for each kind; the first of equal ones.

    Args:
        posterior: (n, Q, N).
        labels: (n, Q), 0..N-1.
        true_class: (n, Q), class id of each label.
        usable: (n, Q) bool, queries that may be chosen.
        n_of_each: largest number of queries of each kind.
    """
    true_posterior = np.take_along_axis(posterior, labels[..., None].astype(np.int64), axis=-1)[..., 0].astype(
        np.float64
    )
    is_correct = posterior.argmax(axis=-1) == labels
    chosen: list[Choice] = []
    for kind, mask, order in (("best", is_correct, -true_posterior), ("worst", ~is_correct, true_posterior)):
        candidates = np.flatnonzero(mask & usable)
        candidates = candidates[np.argsort(order.ravel()[candidates], kind="stable")]
        _, first = np.unique(true_class.ravel()[candidates], return_index=True)
        for place in candidates[np.sort(first)[:n_of_each]]:
            chosen.append(Choice(kind, *(int(part) for part in np.unravel_index(place, labels.shape))))
    return chosen


def alignment_share(cost: Tensor, distance: CostDistance) -> Tensor:
    """Gradient of a distance by the costs of pairs of frames, (..., T, S) -> (..., T, S).

    For OTAM this is the expected alignment: the share of the soft path through each cell, summed over directions.
    """
    with torch.enable_grad():
        cost = cost.detach().clone().requires_grad_(True)
        (share,) = torch.autograd.grad(distance(cost).sum(), cost)
    return share


@dataclass(frozen=True)
class BranchCosts:
    """Frame distances of a branch in an episode.

    Attributes:
        costs: (E, Q, N, T, S), distances of query frames to prototype frames.
        align: function from costs (..., T, S) to the branch's distance (...).
    """

    costs: Tensor
    align: CostDistance


def branch_costs(model: nn.Module, episode: Episode) -> dict[str, BranchCosts]:
    """branch -> its frame costs, for branches that compare frame by frame.

    A method without named branches has one called `all`.
    """
    if not isinstance(model, Method):
        return {}
    costs = {}
    for name, (support, query) in model.embed(episode).items():
        branch = model.branch(name)
        frame_costs = branch.frame_costs(support, query)
        if frame_costs is not None:
            costs[name] = BranchCosts(frame_costs, branch.align)
    return costs


def story_boards(opened: OpenedTest) -> tuple[dict[str, Any], Arrays]:
    """The best and worst answers of the test, with frames, distances and alignments.

    Returns:
        The values of `StoryBoards`, and the arrays `boards/i/<branch>/share` (R, T, S) of the R classes of board i,
        `frames/jpeg` (bytes of all pictures) and `frames/ends` (n_strips,), the end of the picture of each video.

    Raises:
        DoesNotApply: for a model that does not compare queries with support videos.
        ValueError: if the answers of the model differ from those of the test.
    """
    if not opened.model.compares_support:
        raise DoesNotApply(f"{opened.name} does not compare a query with support videos")
    saved, rows = opened.saved, opened.rows
    true_class = np.take_along_axis(rows.class_ids, rows.query_labels, axis=1)
    choices = choose_queries(saved.answers[opened.name].posterior, rows.query_labels, true_class, _complete(opened))
    boards: list[dict[str, Any]] = []
    arrays: Arrays = {}
    for choice in choices:
        board, shares = _board(opened, choice)
        arrays |= {f"boards/{len(boards)}/{branch}/share": share for branch, share in shares.items()}
        boards.append(board)
    videos = [video for board in boards for video in (board["query_video"], *(row["video"] for row in board["rows"]))]
    strips, frames, problems = _strips(opened, list(dict.fromkeys(videos)))
    record = {"boards": boards, "strips": strips, "frame_problems": problems, "n_shot": rows.support_rows.shape[2]}
    return record | {"n_frames": opened.settings.frames.n_frames}, arrays | frames


def _complete(opened: OpenedTest) -> np.ndarray:
    """(n, Q) bool, queries with all features, in episodes whose support videos have all features."""
    rows = opened.rows
    complete = np.ones(rows.query_rows.shape, dtype=bool)
    for present in opened.bank.presence(rows.query_rows).values():
        complete &= present.numpy()
    for present in opened.bank.presence(rows.support_rows).values():
        complete &= present.flatten(1).all(dim=1)[:, None].numpy()
    return complete


@torch.no_grad()
def _board(opened: OpenedTest, choice: Choice) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """One query compared with the true, the predicted and the nearest other classes."""
    rows, q = opened.sampler.batch(choice.episode, 1), choice.query
    episode = replace(opened.bank.episode(rows), query_labels=None, class_ids=None)
    output = opened.tested_model()(episode)
    posterior = output.logits[0, q].softmax(dim=-1).numpy()
    _check_same_answer(posterior, opened.saved.answers[opened.name].posterior[choice.episode, q])
    label, answer = int(rows.query_labels[0, q]), int(posterior.argmax())
    shown = list(dict.fromkeys([label, answer, *np.argsort(-posterior, kind="stable").tolist()]))[:MAX_ROWS]
    distances, shares = {}, {}
    for branch, part in branch_costs(opened.model, episode).items():
        name = branch if output.branch_logits else "all"
        distances[name] = part.align(part.costs)[0, q]
        shares[name] = alignment_share(part.costs[0, q, shown], part.align).numpy().astype(np.float16)
    ids, names = opened.workspace.video_ids, opened.class_names
    teacher = None if output.teacher is None else int(output.teacher[0, q])
    board = {
        "kind": choice.kind,
        "episode": choice.episode,
        "query": q,
        "n_way": len(posterior),
        "query_video": str(ids[rows.query_rows[0, q]]),
        "true_class": names[rows.class_ids[0, label]],
        "answer": names[rows.class_ids[0, answer]],
        "teacher": list(output.branch_logits)[teacher] if teacher is not None and teacher >= 0 else None,
        "rows": [
            {
                "class": names[rows.class_ids[0, n]],
                "video": str(ids[rows.support_rows[0, n, 0]]),
                "posterior": float(posterior[n]),
                "distances": {branch: float(values[n]) for branch, values in distances.items()},
                "branch_posteriors": {
                    branch: float(logits[0, q].softmax(dim=-1)[n]) for branch, logits in output.branch_logits.items()
                },
            }
            for n in shown
        ],
    }
    return board, shares


def _check_same_answer(posterior: np.ndarray, saved: np.ndarray) -> None:
    difference = float(np.abs(posterior - saved.astype(np.float64)).max())
    if difference > _TOLERANCE:
        raise ValueError(
            f"the answers of the model differ from those of the test (a posterior by {difference:.2f}): features, "
            "weights or program have changed; run the test again"
        )


def _strips(opened: OpenedTest, video_ids: Sequence[str]) -> tuple[list[str], Arrays, dict[str, str]]:
    """Small frames of videos side by side: video ids, one JPEG picture per video as arrays, and video id -> error."""
    pictures: list[bytes] = []
    strips: list[str] = []
    problems: dict[str, str] = {}
    for video_id in video_ids:
        try:
            pictures.append(_jpeg(np.concatenate(list(_frames(opened, video_id)), axis=1)))  # (S, T*S, 3)
            strips.append(video_id)
        except (ValueError, OSError) as error:
            problems[video_id] = str(error)
    ends = np.cumsum([len(picture) for picture in pictures], dtype=np.int64)
    return strips, {"frames/jpeg": np.frombuffer(b"".join(pictures), dtype=np.uint8), "frames/ends": ends}, problems


def _frames(opened: OpenedTest, video_id: str) -> np.ndarray:
    """(T, S, S, 3) uint8, small frames of the test view, with the corruption of the test, if it is one of frames."""
    workspace, settings = opened.workspace, opened.settings
    record = next(record for record in workspace.index.records if record.video_id == video_id)
    preprocess = workspace.stores.first.settings.preprocess
    if preprocess is None:
        raise ValueError("its features were made by another program, so there are no frames to draw")
    text = settings.corrupt.of(DEFAULT_SOURCE)
    corruption = text if text and parse_corruption(text).kind in FRAME_KINDS else ""
    views = load_clip_views(
        record.path,
        video_id=video_id,
        sources={DEFAULT_SOURCE: SourceView(FramesSource(), _smaller(preprocess), corruption)},
        rule=replace(settings.view_rule.test_view, seed=settings.corrupt.seed),
    )
    return views.views[DEFAULT_SOURCE][0]


def _smaller(preprocess: Preprocess) -> Preprocess:
    """The same crop at the size of a story board."""
    resize = round(preprocess.resize_size * _SIDE / preprocess.crop_size)
    return replace(preprocess, crop_size=_SIDE, resize_size=max(_SIDE, resize))


def _jpeg(frame: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, format="JPEG", quality=_JPEG_QUALITY, optimize=True)
    return buffer.getvalue()
