import pytest
import torch

from mdmf.engine.token_cache import TokenCache


class Counting:
    """Makes (B, 2) tokens that tell their key, and notes what was asked."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []

    def __call__(self, keys: torch.Tensor) -> dict[str, torch.Tensor]:
        self.asked.append(keys.tolist())
        return {"token": torch.stack([keys, 10 * keys], dim=1).float(), "number": keys.float()}


def make_cache(make: Counting, **settings) -> TokenCache:
    return TokenCache(1000, make, device=torch.device("cpu"), **settings)


def test_tokens_are_those_of_their_keys_whatever_the_order():
    make = Counting()
    cache = make_cache(make)
    keys = torch.tensor([[7, 3, 7], [999, 0, 3]])
    cache.compute(keys)
    assert torch.equal(cache.tokens("token", keys), torch.stack([keys, 10 * keys], dim=-1).float())
    assert make.asked == [[0, 3, 7, 999]]  # sorted, each once
    cache.compute(torch.tensor([3, 5]))
    assert make.asked[1:] == [[5]]
    assert torch.equal(cache.tokens("number", keys), keys.float())


@pytest.mark.parametrize("n_fit", [0, 1, 130, 10_000])
def test_room_for_some_gives_the_same_tokens(n_fit):
    make = Counting()
    cache = make_cache(make, max_bytes=12 * n_fit)
    generator = torch.Generator().manual_seed(n_fit)
    cache.precompute(torch.arange(0, 1000, 3))
    for _ in range(30):
        keys = torch.randint(1000, (40,), generator=generator)
        cache.compute(keys)
        assert torch.equal(cache.tokens("number", keys), keys.float())


def test_preparing_ahead_stops_where_the_room_ends():
    make = Counting()
    cache = make_cache(make, max_bytes=12 * 300)
    cache.precompute(torch.arange(1000))
    assert [len(keys) for keys in make.asked] == [128, 128]
    cache.compute(torch.tensor([255, 256]))
    assert make.asked[2] == [256]


def test_nothing_to_prepare_is_nothing_to_make():
    make = Counting()
    cache = make_cache(make)
    cache.precompute(torch.empty(0, dtype=torch.long))
    cache.compute(torch.empty(0, dtype=torch.long))
    assert make.asked == []
