"""A cache of the tokens of videos."""

from collections.abc import Callable

import torch
from torch import Tensor
from tqdm import tqdm

MakeTokens = Callable[[Tensor], dict[str, Tensor]]  # keys (B,) -> name -> (B, ...)

CACHE_BYTES = 2 * 2**30
# On a CPU, few enough that activations stay in its cache: allocating fresh memory would cost more than the arithmetic.
_KEYS_PER_CALL = {"cpu": 128, "cuda": 4096}


class TokenCache:
    """Tokens by key, for one set of weights: invalid after a training step.

    Args:
        n_keys: keys are 0 … n_keys - 1.
        make: returns the tokens, by name, of sorted and distinct keys.
        device: of the keys and the tokens.
        max_bytes: size at which the cache is emptied.
    """

    def __init__(self, n_keys: int, make: MakeTokens, *, device: torch.device, max_bytes: int = CACHE_BYTES) -> None:
        self._make, self._max_bytes = make, max_bytes
        self._slot = torch.full((n_keys,), -1, dtype=torch.long, device=device)
        self._tokens: dict[str, Tensor] = {}
        self._n_used, self._bytes_per_key = 0, 0
        self._keys_per_call = _KEYS_PER_CALL.get(device.type, 1024)

    def compute(self, keys: Tensor) -> None:
        """Compute the missing tokens of `keys` (any shape); they can be looked up until the next call."""
        missing = self._missing(keys)
        if (self._n_used + len(missing)) * self._bytes_per_key > self._max_bytes:
            self._slot.fill_(-1)
            self._n_used, self._tokens, missing = 0, {}, keys.unique()
        for chunk in self._chunks(missing):
            self._add(chunk)

    def precompute(self, keys: Tensor, *, progress: str | None = None) -> None:
        """Compute tokens in full chunks until the cache is full; `compute` adds the remaining ones when needed.

        Args:
            keys: any shape.
            progress: title of a progress bar; None shows none.
        """
        missing = self._missing(keys)
        with tqdm(total=len(missing), desc=progress, unit="embedding", disable=progress is None, leave=False) as bar:
            for chunk in self._chunks(missing):
                if (self._n_used + len(chunk)) * self._bytes_per_key > self._max_bytes:
                    return
                self._add(chunk, n_expected=self._n_used + len(missing))
                bar.update(len(chunk))

    def tokens(self, name: str, keys: Tensor) -> Tensor:
        """Tokens of computed keys: (...) -> (..., *shape of the tokens of a key)."""
        slots = self._slot[keys]
        return self._tokens[name].index_select(0, slots.flatten()).unflatten(0, slots.shape)

    def _missing(self, keys: Tensor) -> Tensor:
        keys = keys.unique()
        return keys[self._slot[keys] < 0]

    def _chunks(self, keys: Tensor) -> tuple[Tensor, ...]:
        return keys.split(self._keys_per_call) if len(keys) else ()

    def _add(self, keys: Tensor, *, n_expected: int = 0) -> None:
        """Compute and store the tokens of some keys; `n_expected` is the final number of keys, if known."""
        new_tokens = self._make(keys)
        self._bytes_per_key = sum(tokens[0].numel() * tokens.element_size() for tokens in new_tokens.values())
        first, self._n_used = self._n_used, self._n_used + len(keys)
        n_fit = self._max_bytes // max(1, self._bytes_per_key)
        n_rows = max(self._n_used, min(n_expected, n_fit))
        self._slot[keys] = torch.arange(first, self._n_used, device=keys.device)
        for name, tokens in new_tokens.items():
            self._tokens[name] = _with_room(self._tokens.get(name), n_rows, n_filled=first, like=tokens)
            self._tokens[name][first : self._n_used] = tokens


def _with_room(tokens: Tensor | None, n_rows: int, *, n_filled: int, like: Tensor) -> Tensor:
    """The same rows in a tensor with room for `n_rows`; its length at least doubles, so that few copies are made."""
    if tokens is not None and len(tokens) >= n_rows:
        return tokens
    larger = like.new_empty(max(n_rows, 2 * (0 if tokens is None else len(tokens))), *like.shape[1:])
    if tokens is not None:
        larger[:n_filled] = tokens[:n_filled]
    return larger
