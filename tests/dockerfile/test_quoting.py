"""Whatever a user's value holds, it stays one value: it never becomes an instruction or another word."""

from __future__ import annotations

import json
import re
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdai_build.dockerfile import quote_shell, quote_value, quote_words

one_line = st.text(st.characters(blacklist_characters="\x00\n\r", blacklist_categories=["Cs"]))


def unquote(word: str) -> str:
    """A double-quoted word as BuildKit's shell lexer reads it."""
    assert word[0] == word[-1] == '"'
    read, position = [], 1
    while position < len(word) - 1:
        character = word[position]
        if character == "\\":
            position += 1
            character = word[position]
            assert position < len(word) - 1, "a backslash must not reach the closing quote"
        else:
            assert character not in '"$'
        read.append(character)
        position += 1
    return "".join(read)


@given(one_line)
def test_a_quoted_value_reads_back(value: str) -> None:
    assert unquote(quote_value(value)) == value


@given(one_line)
def test_a_shell_word_reads_back(value: str) -> None:
    assert shlex.split(quote_shell(value)) == [value]


@given(st.lists(one_line))
def test_exec_words_read_back(words: list[str]) -> None:
    assert json.loads(quote_words(words)) == words


@given(st.text(), st.sampled_from("\n\r\x00"), st.text())
def test_line_breaks_are_refused(before: str, breaker: str, after: str) -> None:
    for quote in (quote_value, quote_shell):
        with pytest.raises(ValueError, match="cannot stand in a Dockerfile"):
            quote(before + breaker + after)


@given(st.text(st.characters(blacklist_characters="\x00\n\r")))
def test_nothing_quoted_holds_a_line_break(value: str) -> None:
    assert not re.search(r"[\n\r]", quote_value(value) + quote_shell(value))
