import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmf.distances.alignment import bi_mhm_distance, frame_wise_distance, otam_distance


def plain_otam(cost: np.ndarray, temperature: float) -> float:
    """One direction of docs/methods.md, cell by cell, in float64: the oracle."""
    padded = np.pad(cost.astype(np.float64), ((0, 0), (1, 1)))
    n_rows, n_columns = padded.shape
    table = np.zeros_like(padded)
    table[0] = np.cumsum(padded[0])
    for row in range(1, n_rows):
        for column in range(1, n_columns):
            before = [table[row - 1, column - 1], table[row, column - 1]]
            if column in (1, n_columns - 1):
                before.append(table[row - 1, column])
            lowest = min(before)
            soft = lowest - temperature * math.log(sum(math.exp((lowest - value) / temperature) for value in before))
            table[row, column] = padded[row, column] + soft
    return float(table[-1, -1])


def test_one_frame_by_hand():
    """T = 1: the only path pays the one cell, in each direction."""
    assert otam_distance(torch.tensor([[0.7]]), directions="query_to_support").item() == pytest.approx(0.7)
    assert otam_distance(torch.tensor([[0.7]])).item() == pytest.approx(1.4)


def test_two_by_one_by_hand():
    """Row 1 starts from the left column (0), the diagonal (0) and above (a), then three ways lead to the last cell."""
    a, b, soft = 0.2, 0.6, 0.5

    def softmin(*values: float) -> float:
        return -soft * math.log(sum(math.exp(-value / soft) for value in values))

    second = b + softmin(0.0, 0.0, a)  # left, diagonal, above
    expected = softmin(a, second, a)  # diagonal, left, above: the padded column costs nothing
    got = otam_distance(torch.tensor([[a], [b]]), temperature=soft, directions="query_to_support")
    assert got.item() == pytest.approx(expected, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 12), st.integers(1, 12), st.sampled_from([0.05, 0.1, 0.5, 2.0]), st.integers(0, 2**31), st.booleans()
)
def test_equals_the_plain_version(n_query, n_support, temperature, seed, both):
    cost = torch.rand(3, n_query, n_support, generator=torch.Generator().manual_seed(seed)) * 2
    got = otam_distance(cost, temperature=temperature, directions="both" if both else "query_to_support")
    expected = [plain_otam(one.numpy(), temperature) for one in cost]
    if both:
        expected = [value + plain_otam(one.numpy().T, temperature) for value, one in zip(expected, cost, strict=True)]
    torch.testing.assert_close(got, torch.tensor(expected, dtype=torch.float32), atol=1e-4, rtol=1e-5)


def test_long_sharp_alignment_stays_finite():
    cost = torch.rand(2, 64, 64, generator=torch.Generator().manual_seed(0)) * 2
    cost.requires_grad_()
    distance = otam_distance(cost, temperature=0.05)
    expected = [plain_otam(c, 0.05) + plain_otam(c.T, 0.05) for c in cost.detach().numpy()]
    torch.testing.assert_close(distance, torch.tensor(expected, dtype=torch.float32), atol=1e-3, rtol=1e-5)
    distance.sum().backward()
    assert torch.isfinite(cost.grad).all()


@pytest.mark.parametrize("shape", [(4, 5), (1, 1), (1, 4), (4, 1), (2, 2)])
@pytest.mark.parametrize("directions", ["both", "query_to_support"])
def test_gradient_equals_finite_differences(shape, directions):
    cost = torch.rand(2, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda value: otam_distance(value, temperature=0.3, directions=directions), (cost,), atol=1e-6
    )


def test_leading_dimensions_are_a_batch():
    cost = torch.rand(2, 3, 4, 5, 6, generator=torch.Generator().manual_seed(2))
    batched = otam_distance(cost)
    assert batched.shape == (2, 3, 4)
    torch.testing.assert_close(batched[1, 2, 3], otam_distance(cost[1, 2, 3]), atol=1e-6, rtol=0)


def test_swapping_query_and_support_changes_nothing_in_both_directions():
    cost = torch.rand(5, 4, 7, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(otam_distance(cost), otam_distance(cost.mT), atol=1e-5, rtol=0)


def test_time_matters_to_otam():
    x = torch.eye(4)
    in_order, reversed_ = 1 - x @ x.T, 1 - x @ x.flip(0).T
    assert otam_distance(in_order, temperature=0.05) < otam_distance(reversed_, temperature=0.05)


@pytest.mark.parametrize("case", ["one_direction_lambda_0_5", "one_direction_lambda_0_1", "both_directions_lambda_0_5"])
def test_golden_values(shared_data, case):
    golden = np.load(shared_data / "golden" / "otam.npz")
    distance = otam_distance(
        torch.from_numpy(golden["dists"]),
        temperature=0.1 if "0_1" in case else 0.5,
        directions="both" if case.startswith("both") else "query_to_support",
    )
    torch.testing.assert_close(distance, torch.from_numpy(golden[case]), atol=1e-5, rtol=0)


def test_never_under_autocast():
    cost = torch.rand(2, 6, 6, generator=torch.Generator().manual_seed(4))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert otam_distance(cost.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperature": 0.0}, "temperature must be positive, got 0.0"),
        ({"directions": "all"}, "directions must be one of"),
    ],
)
def test_refuses_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        otam_distance(torch.zeros(2, 2), **arguments)


def test_refuses_no_frames():
    with pytest.raises(ValueError, match="with frames"):
        otam_distance(torch.zeros(3, 0, 2))


def test_bi_mhm_by_hand():
    cost = torch.tensor([[0.1, 0.9], [0.5, 0.3], [0.8, 0.2]])
    assert bi_mhm_distance(cost).item() == pytest.approx((0.1 + 0.3 + 0.2) + (0.1 + 0.2))


def test_frame_wise_by_hand():
    assert frame_wise_distance(torch.tensor([[0.1, 0.9], [0.5, 0.3]])).item() == pytest.approx(0.2)
    with pytest.raises(ValueError, match="as many query as support frames"):
        frame_wise_distance(torch.zeros(2, 3))
