"""Rows of `benchmarks/speed.py` about models: tests, alignment, a training step."""

import statistics

import numpy as np
import torch

from benchmarks.arithmetic import episode_multiply_adds, matrix_rate, video_multiply_adds
from benchmarks.feature_world import FeatureWorld
from benchmarks.plain import PlainM2df, one_way_otam, otam_baseline
from benchmarks.timing import Row, Timed, timed
from mdmf.data.features.bank import FeatureBank
from mdmf.distances.alignment import otam_distance
from mdmf.engine.evaluator import evaluate
from mdmf.models.build import build_model
from mdmf.models.method import Method
from mdmf.settings import method_settings

N_EPISODES = 10_000
D, T, HIDDEN = 512, 8, 2048


def bank_of(world: FeatureWorld) -> FeatureBank:
    """All features of a world, from its store."""
    return FeatureBank({"rgb": world.open()}, np.arange(len(world.class_ids)), class_text=world.class_text)


def m2df(world: FeatureWorld) -> Method:
    """CLIP-M2DF with seeded random weights."""
    torch.manual_seed(0)
    model = build_model(method_settings("m2df"), feature_sizes={"rgb": D})
    model.set_training_classes(world.class_text)
    return model


def protocol(
    world: FeatureWorld,
    *,
    n_way: int = 5,
    n_shot: int = 1,
    n_episodes: int = N_EPISODES,
    precision: str = "float32",
    repeats: int = 3,
) -> tuple[Timed, np.ndarray]:
    """Time and predictions of a test: the store is opened and read, and all episodes are answered."""
    model, predictions = m2df(world), []

    def work() -> None:
        evaluation = evaluate(
            {"m2df": model},
            bank_of(world),
            world.sampler(n_way=n_way, n_shot=n_shot).batch(0, n_episodes),
            batch_episodes=100,
            precision=precision,
        )
        predictions.append(evaluation.answers["m2df"].predictions)

    return timed(work, repeats=repeats), predictions[-1]


def plain_protocol(world: FeatureWorld, *, n_shot: int, n_episodes: int = 24) -> Timed:
    """Seconds per test episode of the plain version."""
    plain, bank = PlainM2df(m2df(world).eval()), bank_of(world)
    episode = bank.episode(world.sampler(n_shot=n_shot).batch(0, n_episodes))
    support, query, text = episode.support["rgb"], episode.query["rgb"], episode.class_text

    @torch.inference_mode()
    def work() -> None:
        for e in range(n_episodes):
            plain.answer(support[e], query[e], text[e])

    return Timed([seconds / n_episodes for seconds in timed(work, repeats=3).seconds])


def test_rows(world: FeatureWorld) -> list[Row]:
    """Time of the test protocol with CLIP-M2DF."""
    rows = []
    for n_shot, least_ratio, most_seconds in ((1, 25, 9.0), (5, 30, 13.0)):
        ours, predictions = protocol(world, n_shot=n_shot, precision="float32")
        plain = plain_protocol(world, n_shot=n_shot)
        ratio = plain.median * N_EPISODES / ours.median
        rows.append(
            Row(
                f"test, m2df, 5-way {n_shot}-shot, {N_EPISODES:,} episodes, float32",
                ours,
                f">= {least_ratio}x, <= {most_seconds:g} s",
                ratio >= least_ratio and ours.median <= most_seconds,
                plain=plain,
                ratio=ratio,
            )
        )
        if n_shot == 1:
            half, half_predictions = protocol(world, n_shot=1, precision="bfloat16")
            same = float((half_predictions == predictions).mean())
            rows.append(
                Row(
                    f"the same, bfloat16 weights ({100 * same:.2f} % same predictions)",
                    half,
                    "<= 4 s, >= 99.9 % same",
                    half.median <= 4 and same >= 0.999,
                    plain=plain,
                    ratio=plain.median * N_EPISODES / half.median,
                    more={"share_of_same_predictions": same},
                )
            )
    return rows


def baseline_row(world: FeatureWorld, *, n_episodes: int = N_EPISODES) -> Row:
    """Time of the test protocol with the `otam` baseline."""
    model = build_model(method_settings("otam"), feature_sizes={"rgb": D})

    def work() -> None:
        evaluate({"otam": model}, bank_of(world), world.sampler().batch(0, n_episodes), batch_episodes=100)

    ours = timed(work, repeats=3)
    episode = bank_of(world).episode(world.sampler().batch(0, 24))

    @torch.inference_mode()
    def plain_work() -> None:
        for support, query in zip(episode.support["rgb"], episode.query["rgb"], strict=True):
            otam_baseline(support, query)

    plain = Timed([seconds / 24 for seconds in timed(plain_work, repeats=3).seconds])
    ratio = plain.median * n_episodes / ours.median
    what = f"test, otam baseline, {n_episodes:,} episodes"
    return Row(what, ours, "<= 2 s", ours.median <= 2, plain=plain, ratio=ratio)


def alignment_row() -> Row:
    """Time of OTAM forward and backward, 16 episodes of 25 queries and 5 classes, both directions."""
    cost = torch.rand(16, 25, 5, T, T, generator=torch.Generator().manual_seed(0)) * 2

    def work() -> None:
        otam_distance(cost.clone().requires_grad_()).sum().backward()

    def plain_work() -> None:
        for episode in cost:
            leaf = episode.clone().requires_grad_()
            per_class = leaf.unbind(dim=1)
            distances = [one_way_otam(of_class, 0.5) + one_way_otam(of_class.mT, 0.5) for of_class in per_class]
            torch.stack(distances).sum().backward()

    ours, plain = timed(work, repeats=21, warm_up=3), timed(plain_work, repeats=3)
    ratio = plain.median / ours.median
    what = "OTAM forward + backward, 16 episodes of 25 x 5, both directions"
    return Row(what, ours, ">= 15x", ratio >= 15, plain=plain, ratio=ratio)


def training_row(world: FeatureWorld) -> Row:
    """Time of a training step of 16 episodes of 25 queries; the limit is its matrix work at the rate of the machine."""
    E, N, n_query = 16, 5, 5
    model = m2df(world).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    bank, sampler = bank_of(world), world.sampler(n_query=n_query)
    rates: list[float] = []

    def work() -> None:
        episode = bank.episode(sampler.batch(0, E))
        optimizer.zero_grad(set_to_none=True)
        model.total_loss(model(episode)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()

    plain = PlainM2df(m2df(world).train())
    plain_optimizer = torch.optim.AdamW(plain.model.parameters(), lr=1e-4)

    def plain_work() -> None:
        episode = bank.episode(sampler.batch(0, 2))
        plain_optimizer.zero_grad(set_to_none=True)
        for e in range(2):
            answer = plain.answer(
                episode.support["rgb"][e],
                episode.query["rgb"][e],
                episode.class_text[e],
                labels=episode.query_labels[e],
                class_ids=episode.class_ids[e],
                draws=episode.query_draws[e],
            )
            (plain.total_loss(answer) / 2).backward()
        torch.nn.utils.clip_grad_norm_(plain.model.parameters(), 5.0)

    timed(work, repeats=2)
    seconds = []
    for _ in range(7):  # the rate is measured between the steps, because the clock rate of the machine varies
        rates.append(matrix_rate())
        seconds += timed(work, repeats=1, warm_up=0).seconds
    ours = Timed(seconds)
    per_episode = Timed([value / 2 for value in timed(plain_work, repeats=3).seconds])
    videos = E * (N + N * n_query)
    needed = videos * video_multiply_adds(T=T, D=D, hidden=HIDDEN, trains=True)
    needed += 3 * E * episode_multiply_adds(N=N, Q=N * n_query, T=T, D=D)
    rate = statistics.median(rates)
    share = needed / rate / ours.median
    ratio = per_episode.median * E / ours.median
    return Row(
        f"training step, 16 episodes of 25 queries ({100 * share:.0f} % of the arithmetic limit)",
        ours,
        ">= 1.6x, >= 65 % of the limit",
        ratio >= 1.6 and share >= 0.65,
        plain=per_episode,
        ratio=ratio,
        more={"giga_multiply_adds": needed / 1e9, "giga_multiply_adds_per_second": rate / 1e9, "share_of_limit": share},
    )
