"""TRX against the authors' code (golden values), a plain loop, and its rules."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mdmf.models.build import build_model
from mdmf.models.zoo.trx import positions, tuple_distance
from mdmf.settings import method_settings
from mdmf.structures import Episode

# authors' name -> ours; norm_v and pe are not weights of the answer
NAMES = {"k_linear": "key", "v_linear": "value", "norm_k": "norm"}


def small_trx(size: int, key_size: int = 24, **settings) -> torch.nn.Module:
    model = build_model(method_settings({"name": "trx", "key_size": key_size, **settings}), feature_sizes={"rgb": size})
    return model.eval()


def load_authors_weights(model: torch.nn.Module, golden: np.lib.npyio.NpzFile) -> None:
    state = {}
    for name in golden:
        parts = name.removeprefix("state/transformers.").split(".")
        if name.startswith("state/") and parts[1] in NAMES:
            state[f"branches.rgb.encoders.{parts[0]}.{NAMES[parts[1]]}.{parts[2]}"] = torch.from_numpy(golden[name])
    model.load_state_dict(state)


def close(value: Tensor, expected: np.ndarray, tolerance: float) -> None:
    torch.testing.assert_close(
        value.detach(), torch.from_numpy(expected), atol=tolerance * float(np.abs(expected).max()), rtol=0
    )


def test_outputs_loss_and_gradients_are_the_authors(shared_data: Path):
    golden = np.load(shared_data / "golden" / "zoo" / "trx_case.npz")
    model = small_trx(32)
    load_authors_weights(model, golden)
    support, query = (torch.from_numpy(golden[name]).requires_grad_() for name in ("support", "query"))
    labels = torch.from_numpy(golden["query_labels"])
    logits = model(Episode({"rgb": support}, {"rgb": query})).logits
    close(logits, golden["out/logits"], 1e-5)
    losses = torch.stack(
        [functional.cross_entropy(*pair, reduction="sum") for pair in zip(logits, labels, strict=True)]
    )
    close(losses, golden["loss/ce_sum"], 1e-5)
    losses.sum().backward()
    close(support.grad, golden["grad/support"], 1e-4)
    close(query.grad, golden["grad/query"], 1e-4)


@pytest.mark.parametrize("n_shot", [1, 3])
def test_distance_equals_a_plain_loop(n_shot):
    """Shots share one softmax; an absent shot counts for nothing."""
    torch.manual_seed(0)
    query_keys, query_values = torch.randn(1, 2, 3, 4), torch.randn(1, 2, 3, 4)
    keys, values = torch.randn(1, 2, n_shot, 3, 4), torch.randn(1, 2, n_shot, 3, 4)
    present = torch.ones(1, 2, n_shot, dtype=torch.bool)
    if n_shot > 1:
        present[0, 1, 2] = False
    distance = tuple_distance(query_keys, query_values, keys, values, present=present)
    for q in range(2):
        for n in range(2):
            shots = [k for k in range(n_shot) if present[0, n, k]]
            k_flat = torch.cat([keys[0, n, k] for k in shots])
            v_flat = torch.cat([values[0, n, k] for k in shots])
            total = 0.0
            for p in range(3):
                share = torch.softmax(torch.stack([query_keys[0, q, p] @ key for key in k_flat]) / 2, dim=0)
                prototype = sum(s * v for s, v in zip(share, v_flat, strict=True))
                total += float(((query_values[0, q, p] - prototype) ** 2).sum()) / 3
            assert distance[0, q, n].item() == pytest.approx(total, rel=1e-5)


def test_tuples_are_ordered_and_lexicographic():
    model = small_trx(4, key_size=3, cardinalities=[2], dropout=0.0)
    frames = torch.randn(1, 4, 4)
    encoder = model.branches["rgb"].encoders[0]
    placed = frames + positions(frames)
    pairs = torch.stack([torch.cat([placed[0, i], placed[0, j]]) for i, j in combinations(range(4), 2)])
    torch.testing.assert_close(encoder(frames)[1][0], encoder.value(pairs))


def test_order_of_frames_matters_and_order_of_shots_does_not():
    torch.manual_seed(0)
    model, support, query = small_trx(8), torch.randn(2, 3, 2, 4, 8), torch.randn(2, 2, 4, 8)

    def logits(support: Tensor, query: Tensor) -> Tensor:
        return model(Episode({"rgb": support}, {"rgb": query})).logits

    torch.testing.assert_close(logits(support, query), logits(support.flip(2), query), atol=1e-5, rtol=1e-5)
    assert (logits(support, query) - logits(support, query.flip(2))).abs().max() > 1e-3


def test_too_few_frames_are_refused():
    with pytest.raises(ValueError, match="at least 3 frames"):
        small_trx(8)(Episode({"rgb": torch.zeros(1, 2, 1, 2, 8)}, {"rgb": torch.zeros(1, 1, 2, 8)}))
