"""LTCE and GTCE: a frame in the context of its neighbours, and in the context of the whole video."""

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm


class LocalContext(nn.Module):
    """LTCE: two convolutions over time, kernel 3, nothing between them (CLIP-M2DF)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(size, size, kernel_size=3, padding=1)
        self.second = nn.Conv1d(size, size, kernel_size=3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        return self.second(self.first(features.transpose(1, 2))).transpose(1, 2)


class CausalBlock(nn.Module):
    """One residual block of the TCN, on a sequence that holds only the steps its dilation reaches.

    The block with dilation d sees every d-th step, counted back from the last, so its own convolutions are not dilated.
    Its second convolution is needed at every second of those steps only: they are what the next block sees.
    """

    def __init__(self, size: int, *, dropout: float) -> None:
        super().__init__()
        self.first = weight_norm(nn.Conv1d(size, size, kernel_size=3))
        self.second = weight_norm(nn.Conv1d(size, size, kernel_size=3, stride=2))
        self.dropout = nn.Dropout(dropout)

    def forward(self, steps: Tensor) -> Tensor:
        """(B, D, L) -> (B, D, ceil(L / 2)), both ending at the last step of the video."""
        skip = (steps.shape[-1] - 1) % 2  # so that every second step, counted from `skip`, ends at the last one
        hidden = self._convolve(self.first, steps, n_padded=2)
        outcome = self._convolve(self.second, hidden, n_padded=2 - skip)
        return functional.relu(outcome + steps[..., skip::2])

    def _convolve(self, convolution: nn.Module, steps: Tensor, *, n_padded: int) -> Tensor:
        return self.dropout(functional.relu(convolution(functional.pad(steps, (n_padded, 0)))))


class GlobalContext(nn.Module):
    """GTCE: `TCN(F)[T-1] + F[t]` (CLIP-M2DF).

    The TCN is causal: blocks with dilations 1, 2, 4, each 2 × [weight-normed Conv1d of kernel 3, ReLU, dropout] and a
    residual. Only its last step is used, so only the steps that reach it are computed: for T = 8 that is 21 of 48
    convolved positions.
    """

    def __init__(self, size: int, *, n_blocks: int = 3, dropout: float = 0.1) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(CausalBlock(size, dropout=dropout) for _ in range(n_blocks))

    def summary(self, features: Tensor) -> Tensor:
        """The TCN's last step: (B, T, D) -> (B, D)."""
        steps = features.transpose(1, 2)  # (B, T, D) -> (B, D, T)
        for n_later, block in zip(reversed(range(len(self.blocks))), self.blocks, strict=True):
            n_needed = 2 ** (n_later + 3) - 3  # 5 steps reach the last block's last output, 13 the one before, 29, ...
            steps = block(steps[..., -n_needed:])
        return steps[..., -1]

    def forward(self, features: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        return features + self.summary(features)[:, None]
