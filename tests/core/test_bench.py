"""What the benchmark calls peers must compute the same."""

from __future__ import annotations

import numpy as np
import pytest

from core.bench import CASES


@pytest.mark.parametrize("name", [name for name in CASES if name != "philox uniform"])
def test_ours_and_the_peer_agree(name: str) -> None:
    case = CASES[name]
    drawn = case.draw(np.random.default_rng(1), 1 << 14)
    ours = case.call(drawn)().numpy()
    peer = np.asarray(case.array(np, *drawn))
    if peer.dtype.kind == "c":
        peer = peer.view(np.float32).reshape(ours.shape)
    np.testing.assert_allclose(ours, peer, rtol=1e-4, atol=1e-4 * float(np.abs(peer).max()))
