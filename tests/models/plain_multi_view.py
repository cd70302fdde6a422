"""CLIP-M2DF as METHODS 2 states it, one query, one class and one video at a time: the oracle of the tests."""

import torch
from torch import Tensor

from mdmf.models.multi_view import MultiView


def cos(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y) / (x.norm() * y.norm() + 0.01)


def soft_minimum(values: list[Tensor]) -> Tensor:
    return -0.5 * torch.logsumexp(torch.stack(values) / -0.5, dim=0)


def otam(cost: Tensor) -> Tensor:
    n_rows, n_columns = cost.shape[0], cost.shape[1] + 2
    padded = [[torch.zeros(()), *row, torch.zeros(())] for row in cost]
    table = [[torch.zeros(()) for _ in range(n_columns)] for _ in range(n_rows)]
    for column in range(1, n_columns):
        table[0][column] = table[0][column - 1] + padded[0][column]
    for row in range(1, n_rows):
        for column in range(1, n_columns):
            before = [table[row - 1][column - 1], table[row][column - 1]]
            if column in (1, n_columns - 1):
                before.append(table[row - 1][column])
            table[row][column] = padded[row][column] + soft_minimum(before)
    return table[-1][-1]


def distance(query: Tensor, prototype: Tensor) -> Tensor:
    cost = torch.stack([torch.stack([1 - cos(x, y) for y in prototype]) for x in query])
    return otam(cost) + otam(cost.T)


def select(model: MultiView, query: Tensor, class_text: Tensor) -> Tensor:
    scores = [
        torch.stack([cos(text, frame) for frame in query]).topk(min(4, len(query))).values.mean() for text in class_text
    ]
    return class_text[torch.stack(scores).argmax()]


def answer_one(model: MultiView, support: Tensor, query: Tensor, class_text: Tensor) -> dict[str, Tensor]:
    """One query of one episode.

    support (N, K, T, D), query (T, D), class_text (N, D); gives per view `logits` (N,) and `text` (N,).
    """
    prompt = select(model, query, class_text)
    answers = {}
    for view, branch in model.branches.items():
        fused_query = branch.fuse(query[None], prompt[None])[0]
        logits, similarities = [], []
        for videos, text in zip(support, class_text, strict=True):
            prototype = torch.stack([branch.fuse(video[None], text[None])[0] for video in videos]).mean(dim=0)
            logits.append(-distance(fused_query[1:], prototype[1:]))
            similarities.append(cos(fused_query[0], prototype[0]))
        answers[view] = torch.stack(logits)
        answers[f"{view}_text"] = torch.stack(similarities)
    return answers


def distill_loss(per_query: list[dict[str, Tensor]]) -> Tensor:
    """The mutual distillation of one episode, query by query."""
    total = torch.zeros(())
    for teacher, student in (("local", "global"), ("global", "local")):
        weights, divergences = [], []
        for answers in per_query:
            visual = {view: answers[view].softmax(0).max() for view in ("local", "global")}
            text = {view: answers[f"{view}_text"].softmax(0).max() for view in ("local", "global")}
            local_surer = [visual["local"] >= visual["global"], text["local"] >= text["global"]]
            teaches = all(local_surer) if teacher == "local" else not any(local_surer)
            if teaches:
                p, q = answers[teacher].softmax(0), answers[student].softmax(0)
                weights.append(visual[teacher] + text[teacher])
                divergences.append((p * (p / q).log()).sum())
        if weights:
            total = total + sum(w * d for w, d in zip(weights, divergences, strict=True)) / sum(weights)
    return total
