"""Philox4x32-10 against Random123's known answers and a scalar version; draws as a pure function."""

from __future__ import annotations

import numpy as np
import pytest

from core.random import Philox, philox

KNOWN = [  # kat_vectors of Random123: counter, key, answer
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text: str) -> list[int]:
    return [int(w, 16) for w in text.split()]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_known_answers(counter: str, key: str, answer: str) -> None:
    k0, k1 = words(key)
    np.testing.assert_array_equal(philox((k0, k1), np.array(words(counter), np.uint32)), words(answer))


def scalar(key: tuple[int, int], c: list[int]) -> list[int]:
    (k0, k1), mask = key, 0xFFFFFFFF
    for _ in range(10):
        p, q = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(q >> 32) ^ c[1] ^ k0, q & mask, (p >> 32) ^ c[3] ^ k1, p & mask]
        k0, k1 = (k0 + 0x9E3779B9) & mask, (k1 + 0xBB67AE85) & mask
    return c


def test_draws_are_the_cipher_of_stream_step_and_offset() -> None:
    seed, stream, step = 0x123456789ABCDEF0, 7, (3 << 32) + 5
    want = [w for i in range(3) for w in scalar((0x9ABCDEF0, 0x12345678), [i, 5, 3, 7])]
    np.testing.assert_array_equal(Philox(seed).integers32(stream, step, 11), want[:11])


def test_uniforms_are_24_bit_and_even() -> None:
    u = Philox(1).uniform(0, 0, (100, 1000))
    assert u.min() >= 0
    assert u.max() < 1
    np.testing.assert_array_equal(u * 2**24, np.floor(u * 2**24))
    np.testing.assert_array_equal(u.astype(np.float32).astype(np.float64), u)
    counts = np.bincount((u * 64).astype(int).ravel(), minlength=64)
    assert ((counts - u.size / 64) ** 2 / (u.size / 64)).sum() < 131  # chi-square, 63 degrees: exceeded once in 10^6


def test_normals_have_the_moments_of_normals() -> None:
    x = Philox(2).normal(1, 0, (200_000,))
    assert abs(x.mean()) < 5 / np.sqrt(x.size)
    assert abs(x.var() - 1) < 5 * np.sqrt(2 / x.size)
    assert abs((x**4).mean() - 3) < 5 * np.sqrt(96 / x.size)
    assert Philox(2).normal(1, 0, (3, 5)).shape == (3, 5)


def test_offsets_stay_below_their_bound_and_reach_it() -> None:
    drawn = Philox(3).choice_offsets(2, 9, 5000, 7)
    np.testing.assert_array_equal(np.unique(drawn), np.arange(7))
    counts = np.bincount(drawn)
    assert ((counts - 5000 / 7) ** 2 / (5000 / 7)).sum() < 40  # chi-square, 6 degrees
    assert Philox(3).choice_offsets(2, 9, 100, 1).max() == 0
    with pytest.raises(ValueError, match="upper is 0"):
        Philox(3).choice_offsets(0, 0, 1, 0)


def test_longer_draws_begin_alike_and_other_places_differ() -> None:
    p = Philox(4)
    np.testing.assert_array_equal(p.integers32(1, 2, 5), p.integers32(1, 2, 50)[:5])
    places = [p.integers32(1, 2, 8), p.integers32(2, 1, 8), p.integers32(1, 3, 8), Philox(5).integers32(1, 2, 8)]
    assert len({tuple(x) for x in places}) == 4
