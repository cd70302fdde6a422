"""Word-level tokenizer of the tiny encoder."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import torch
from torch import Tensor


class WordTokenizer:
    """Converts sentences to word ids.

    Id 0 is padding, id 1 starts a sentence, 2.. are the words in the order of `words`, and the largest id ends a
    sentence: open_clip's text tower reads the feature of a sentence at the position of the largest id.
    """

    def __init__(self, words: Sequence[str], *, context_length: int) -> None:
        if len(set(words)) != len(words):
            raise ValueError("the word list has a word twice")
        self.context_length = context_length
        self._ids = {word: index for index, word in enumerate(words, start=2)}
        self._start, self._end = 1, len(words) + 2

    @property
    def vocab_size(self) -> int:
        """Number of ids: the words, padding, start and end."""
        return self._end + 1

    def __call__(self, sentences: Sequence[str]) -> Tensor:
        """Ids (B, context_length) int64 of B sentences; case and a final full stop do not matter.

        Raises:
            ValueError: for an unknown word, or a sentence that is too long.
        """
        tokens = torch.zeros(len(sentences), self.context_length, dtype=torch.int64)
        for row, sentence in enumerate(sentences):
            ids = [self._start, *self._word_ids(sentence), self._end]
            tokens[row, : len(ids)] = torch.tensor(ids)
        return tokens

    def _word_ids(self, sentence: str) -> list[int]:
        words = sentence.lower().replace(",", " ").rstrip(" .").split()
        if len(words) > self.context_length - 2:
            raise ValueError(
                f"the tiny encoder reads sentences of at most {self.context_length - 2} words, "
                f"got {len(words)}: {sentence!r}"
            )
        unknown = [word for word in words if word not in self._ids]
        if unknown:
            near = difflib.get_close_matches(unknown[0], self._ids, n=3, cutoff=0.8)
            hint = f"; did you mean {', '.join(near)}?" if near else ""
            raise ValueError(
                f"the tiny encoder does not know {', '.join(map(repr, unknown))} in {sentence!r}{hint}; "
                f"it knows {len(self._ids)} words (tiny_clip.json); other texts need another encoder"
            )
        return [self._ids[word] for word in words]
