"""Desires as they are written, commas and equals signs among them."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.wishes import read_hint, read_wishes

SYMBOLS = ("\ufffd", "\n", ",", "1", "=", "a", "e")


@pytest.mark.parametrize(("text", "scores"), [
    ("", None), ("a=1", {"a": 1}), ("ae=-.5,a=2", {"a": 1.5, "e": -0.5}), (",=1", {",": 1}),
    ("==1,,=2", {"=": 1, ",": 2}), ("1=1e-2,\n=+3", {"1": 0.01, "\n": 3}),
    ("vowels=1,punctuation=-1", {"a": 1, "e": 1, ",": -1}),
])
def test_wishes_are_read(text: str, scores: dict[str, float] | None) -> None:
    found = read_wishes("--desire", text, SYMBOLS)
    assert scores == (None if found is None else {c: s for c, s in zip(SYMBOLS, found, strict=True) if s})


@pytest.mark.parametrize("text", ["a", "a=", "=1", "a=1,", "a=x", "a=1;e=2x", "a=nan"])
def test_what_is_no_wish_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"--desire .* is not understood: write it like"):
        read_wishes("--desire", text, SYMBOLS)


def test_a_window_counts_as_its_shares() -> None:
    window, shares = read_hint("aea", "", SYMBOLS), read_hint("", "a=4,e=2", SYMBOLS)
    np.testing.assert_array_equal(window, shares)
    assert read_hint("", "", SYMBOLS) is None
