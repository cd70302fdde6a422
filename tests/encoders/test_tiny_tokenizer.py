"""Words to tokens of the tiny encoder."""

import pytest

from mdmf.encoders.tiny_tokenizer import WordTokenizer

WORDS = ["a", "dark", "frame", "light"]


def test_tokens_are_start_words_end_and_filling() -> None:
    tokenizer = WordTokenizer(WORDS, context_length=6)
    assert tokenizer.vocab_size == 7
    assert tokenizer(["a dark frame", "Light."]).tolist() == [[1, 2, 3, 4, 6, 0], [1, 5, 6, 0, 0, 0]]


def test_end_has_the_largest_id_of_every_sentence() -> None:
    tokens = WordTokenizer(WORDS, context_length=6)(["a dark frame", "light"])
    assert tokens.argmax(dim=-1).tolist() == [4, 2]  # open_clip reads the feature there


def test_unknown_word_is_named_with_the_nearest_known_one() -> None:
    tokenizer = WordTokenizer(WORDS, context_length=6)
    with pytest.raises(ValueError, match=r"does not know 'frames' in 'a dark frames'; did you mean frame\?"):
        tokenizer(["a light frame", "a dark frames"])


def test_too_long_a_sentence_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 4 words, got 5"):
        WordTokenizer(WORDS, context_length=6)(["a a a a a"])


def test_repeated_word_in_the_list_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        WordTokenizer(["a", "a"], context_length=6)
