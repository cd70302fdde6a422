"""AMFAR and AMFIR as docs/methods.md states them, on plain numbers, one video at a time: the oracle of the tests.

A video is the list of its head's tokens (T lists of H numbers), or None where this modality has no features of it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Video = list[list[float]] | None
Support = list[list[Video]]  # by class, by shot
MODALITIES = ("rgb", "flow")


def cos(x: Sequence[float], y: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(x, y, strict=True)) / (math.hypot(*x) * math.hypot(*y) + 0.01)


def soft_minimum(values: list[float]) -> float:
    return -0.5 * math.log(sum(math.exp(-value / 0.5) for value in values))


def otam_one_way(cost: list[list[float]]) -> float:
    padded = [[0.0, *row, 0.0] for row in cost]
    before = [sum(padded[0][: column + 1]) for column in range(len(padded[0]))]
    for row in padded[1:]:
        here = [0.0]
        for column in range(1, len(row)):
            ways = [before[column - 1], here[column - 1]]
            if column in (1, len(row) - 1):
                ways.append(before[column])
            here.append(row[column] + soft_minimum(ways))
        before = here
    return before[-1]


def otam(query: list[list[float]], prototype: list[list[float]]) -> float:
    cost = [[1 - cos(x, y) for y in prototype] for x in query]
    return otam_one_way(cost) + otam_one_way([list(column) for column in zip(*cost, strict=True)])


def mean_frame(video: list[list[float]]) -> list[float]:
    return [sum(values) / len(values) for values in zip(*video, strict=True)]


def distance_of_means(query: list[list[float]], prototype: list[list[float]]) -> float:
    return 1 - cos(mean_frame(query), mean_frame(prototype))


Distance = Callable[[list[list[float]], list[list[float]]], float]
DISTANCES: dict[str, Distance] = {"otam": otam, "prototype": distance_of_means}


def softmax(logits: Sequence[float]) -> list[float]:
    total = sum(math.exp(value - max(logits)) for value in logits)
    return [math.exp(value - max(logits)) / total for value in logits]


def kl(p: Sequence[float], q: Sequence[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def prototype(shots: list[Video]) -> Video:
    there = [video for video in shots if video is not None]
    if not there:
        return None
    return [[sum(values) / len(there) for values in zip(*frames, strict=True)] for frames in zip(*there, strict=True)]


@dataclass
class Modality:
    """One modality of one episode."""

    support: Support
    queries: list[Video]
    distance: Distance
    temperature: float

    def classify(self, video: list[list[float]], prototypes: list[Video]) -> list[float]:
        return [-self.distance(video, one) / self.temperature for one in prototypes]

    def logits(self, q: int) -> list[float] | None:
        """None where the query cannot be answered: it, or every shot of some class, is missing."""
        prototypes = [prototype(shots) for shots in self.support]
        if self.queries[q] is None or None in prototypes:
            return None
        return self.classify(self.queries[q], prototypes)

    def evidence(self) -> float | None:
        """Mean log-likelihood of the support's labels, each video left out of its own class; None: not known."""
        likelihoods = []
        for n, shots in enumerate(self.support):
            for k, video in enumerate(shots):
                prototypes = [prototype(other) for other in self.support]
                prototypes[n] = prototype(shots[:k] + shots[k + 1 :])
                if video is not None and None not in prototypes:
                    likelihoods.append(math.log(softmax(self.classify(video, prototypes))[n]))
        return sum(likelihoods) / len(likelihoods) if likelihoods else None


@dataclass
class Answer:
    """To one query."""

    branches: dict[str, list[float] | None]
    trust: dict[str, float]  # c of AMFAR, π of AMFIR: what the teacher is weighted by
    teacher: str | None

    @property
    def shares(self) -> dict[str, float]:
        there = [m for m in MODALITIES if self.branches[m] is not None]
        if not there:
            return dict.fromkeys(MODALITIES, 0.5)
        return {m: self.trust[m] / sum(self.trust[o] for o in there) if m in there else 0.0 for m in MODALITIES}

    def of(self, modality: str, n_classes: int) -> list[float]:
        return self.branches[modality] or [0.0] * n_classes

    def fused(self, n_classes: int) -> list[float]:
        pairs = zip(*(self.of(m, n_classes) for m in MODALITIES), strict=True)
        return [self.shares["rgb"] * rgb + self.shares["flow"] * flow for rgb, flow in pairs]


def amfar(branches: dict[str, list[float] | None]) -> Answer:
    posteriors = {m: softmax(logits) for m, logits in branches.items() if logits is not None}
    c = {m: max(p) for m, p in posteriors.items()}
    h = {m: sum(value * math.log(value) for value in p) for m, p in posteriors.items()}
    teacher = None
    if len(c) == 2 and c["rgb"] > c["flow"] and h["rgb"] > h["flow"]:
        teacher = "rgb"
    if len(c) == 2 and c["rgb"] < c["flow"] and h["rgb"] < h["flow"]:
        teacher = "flow"
    return Answer(branches, c, teacher)


def amfir(branches: dict[str, list[float] | None], evidence: Mapping[str, float | None]) -> Answer:
    if None in branches.values():
        return Answer(branches, dict.fromkeys(MODALITIES, 1.0), None)
    posteriors = {m: softmax(branches[m]) for m in MODALITIES}
    means = [math.sqrt(a * b) for a, b in zip(posteriors["rgb"], posteriors["flow"], strict=True)]
    consensus = [value / sum(means) for value in means]
    prior = dict.fromkeys(MODALITIES, 0.0) if None in evidence.values() else evidence
    scores = {}
    for m, p in posteriors.items():
        ambiguity, risk = -sum(value * math.log(value) for value in p), kl(p, consensus)
        scores[m] = prior[m] - (ambiguity + risk)
    belief = dict(zip(MODALITIES, softmax([scores["rgb"], scores["flow"]]), strict=True))
    surest = max(MODALITIES, key=lambda m: belief[m])
    return Answer(branches, belief, surest if belief[surest] > 0.55 else None)


def answer(name: str, modalities: dict[str, Modality]) -> list[Answer]:
    """Every query of one episode."""
    evidence = {m: modality.evidence() for m, modality in modalities.items()} if name == "amfir" else {}
    answers = []
    for q in range(len(modalities["rgb"].queries)):
        branches = {m: modality.logits(q) for m, modality in modalities.items()}
        answers.append(amfar(branches) if name == "amfar" else amfir(branches, evidence))
    return answers


def distill_loss(answers: list[Answer]) -> float:
    """Of one episode: what each modality asks of the other."""
    total = 0.0
    for teacher, student in (MODALITIES, MODALITIES[::-1]):
        taught = [one for one in answers if one.teacher == teacher]
        if taught:
            asked = [
                one.trust[teacher] * kl(softmax(one.branches[teacher]), softmax(one.branches[student]))
                for one in taught
            ]
            total += sum(asked) / sum(one.trust[teacher] for one in taught)
    return total


def cross_entropy(answers: list[Answer], labels: list[int], n_classes: int) -> float:
    """CE(P_r) + CE(P_f), each a mean over queries; a modality that cannot answer says 1/N."""
    return sum(
        -math.log(softmax(one.of(m, n_classes))[label]) / len(labels)
        for m in MODALITIES
        for one, label in zip(answers, labels, strict=True)
    )
