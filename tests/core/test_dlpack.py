"""Arrays shared without a copy: with NumPy always, with PyTorch and JAX where ZSPACE_PEER_PYTHON has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from core import reference
from core.array import Array, apply, asarray, from_dlpack
from core.backends import Backend, Buffer, open_backend
from core.backends.queue import LaunchQueue
from core.errors import BackendError
from core.frame import ZFrame
from core.ztensor import ZTensor, lift
from tests.core.cases import CASES
from tests.core.here import ask_peer, needs_peer


@pytest.fixture(scope="module")
def cpu() -> Backend:
    return open_backend("cpu", threads=2)


class Other:
    """A producer or consumer that keeps what it is asked."""

    def __init__(self, array: Any, device: tuple[int, int] = (1, 0)) -> None:
        self.array, self.device = array, device

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device


def test_numpy_sees_the_same_memory_read_only(cpu: Backend) -> None:
    x = asarray(np.arange(6, dtype=np.float32).reshape(2, 3), backend=cpu)
    for a in (x, x.transpose(), x * 2.0, x[:, 1:], x[:0], lift(x, ZFrame.octaves(3, 4))):
        seen = np.from_dlpack(a)
        assert np.shares_memory(seen, a.numpy()) or not a.size
        assert not seen.flags.writeable
        np.testing.assert_array_equal(seen, a.numpy())
    assert x.__dlpack_device__() == (1, 0)


def test_a_consumer_from_before_dlpack_1_gets_the_same_memory_unmarked(cpu: Backend) -> None:
    x = asarray(np.ones(3, np.float32), backend=cpu)

    class Old(Other):
        def __dlpack__(self, **options: Any) -> Any:
            return self.array.__dlpack__(stream=None)

    assert np.shares_memory(np.from_dlpack(Old(x)), x.numpy())


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.float16])
def test_numpy_comes_in_without_a_copy(dtype: Any, cpu: Backend) -> None:
    base = np.arange(24).reshape(4, 6).astype(dtype)
    locked = base.copy()
    locked.flags.writeable = False
    for values in (base, base.T, base[::2, 1:], base[::-1], base[:0], np.broadcast_to(base[0], (3, 6)), locked,
                   base[1, 2]):
        x = from_dlpack(np.asarray(values), cpu)
        assert (x.shape, x.dtype, x.backend) == (np.shape(values), dtype, cpu)
        np.testing.assert_array_equal(x.numpy(), values)
        assert np.shares_memory(x.numpy(), values) or not x.size or not np.ndim(values)


def test_a_huge_array_costs_nothing(cpu: Backend) -> None:
    x = from_dlpack(np.broadcast_to(np.float32(3), (2**33, 4)), cpu)
    assert x.size == 2**35
    np.testing.assert_array_equal(x[2**33 - 2:].numpy(), np.full((2, 4), 3))
    assert cpu.memory.live < 2**30


@pytest.mark.parametrize("name", CASES)
def test_every_primitive_takes_foreign_layouts(name: str, cpu: Backend) -> None:
    """Inputs in Fortran order, with gaps, read-only: as the reference says."""
    case = CASES[name][0]
    values = case.draw(7)
    want = reference.REFERENCE[name](*values, **case.params)

    def foreign(v: NDArray[Any]) -> NDArray[Any]:
        if not v.ndim:
            return v
        wide = np.zeros((*v.shape[:-1], 2 * v.shape[-1]), v.dtype, order="F")
        wide[..., ::2] = v
        wide.flags.writeable = False
        return wide[..., ::2]

    inputs = [from_dlpack(foreign(v if v.dtype.kind == "i" else v.astype(np.float64)), cpu) for v in values]
    if not inputs:
        pytest.skip("no inputs")
    got = apply(name, *inputs, **case.params).numpy()
    np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("values", "error", "message"), [
    (np.ones(2, np.int64), ValueError, "not int64: cast it to int32"),
    (np.ones(2, bool), ValueError, "not bool: cast it to int32"),
    (np.ones(2, np.complex64), ValueError, "not complex64: stack real and imaginary parts along a last axis"),
    (np.ones(2, ">f4"), ValueError, ">f4 does not come in as it is .*: cast it to float32"),
    (Other(np.ones(2), (2, 1)), BackendError, "'cpu' cannot take what lies on CUDA device 1: move it to the CPU first"),
    (Other(np.ones(2), (99, 0)), BackendError, "lies on DLPack device type 99, 0"),
    ([1.0], TypeError, "a list does not speak DLPack: asarray copies it"),
])
def test_what_cannot_come_in_says_why(values: Any, error: type[Exception], message: str, cpu: Backend) -> None:
    with pytest.raises(error, match=message):
        from_dlpack(values, cpu)


def test_a_backend_that_shares_no_memory_says_what_to_do() -> None:
    class Closed(LaunchQueue):
        name = "wgpu"

    closed = Closed({}, ())
    x = Array(closed, Buffer(), (3,), np.dtype(np.float32))  # type: ignore[arg-type]
    with pytest.raises(BackendError, match=r"'wgpu' shares no memory through DLPack: x.numpy\(\) copies to the host"):
        np.from_dlpack(x)  # type: ignore[arg-type]
    with pytest.raises(BackendError, match="shares no memory"):
        from_dlpack(np.ones(3), closed)  # type: ignore[arg-type]


def test_a_tensor_leaves_its_frame_and_gets_one_by_lift(cpu: Backend) -> None:
    frame = ZFrame.octaves(3, 4)
    x = from_dlpack(lift(np.ones((5, 2), np.float32), frame, backend=cpu), cpu)
    assert type(x) is Array
    assert isinstance(lift(x, frame), ZTensor)


@needs_peer
@pytest.mark.parametrize("library", ["torch", "jax", "tensorflow"])
def test_another_library_in_a_python_that_has_it(library: str) -> None:
    ask_peer("dlpack_peer.py", library, library)


def test_cuda(request: pytest.FixtureRequest) -> None:
    """`pytest tests/core/test_dlpack.py --backend cuda` where CuPy finds a GPU: no copy, other streams waited for."""
    if request.config.getoption("backend") != "cuda":
        pytest.skip("--backend is not cuda")
    cp = pytest.importorskip("cupy")
    cuda = open_backend("cuda")
    x = asarray(np.ones((512, 512), np.float32), backend=cuda)
    y = x
    for _ in range(50):
        y = y @ x * (1 / 512)
    with cp.cuda.Stream(non_blocking=True) as stream:
        seen = cp.from_dlpack(y)
        total = float(seen.sum())
    assert (total, seen.data.ptr) == (512 * 512, y.buffer.data.data.ptr)
    assert y.__dlpack_device__() == (2, cp.cuda.Device().id)
    with stream:
        made = cp.zeros((1024, 1024), cp.float32)
        for _ in range(200):
            made = made + 1
        mine = from_dlpack(made, cuda)  # here: CuPy has the importer wait for the stream that is current
    np.testing.assert_array_equal((mine + 0.0).numpy(), np.full((1024, 1024), 200))
    assert mine.buffer.data.data.ptr == made.data.ptr
    for values in (made.T, made[::2], made[:0], cp.arange(3, dtype=cp.int32)):
        np.testing.assert_array_equal(from_dlpack(values, cuda).numpy(), values.get())
    with pytest.raises(ValueError, match="not complex64"):
        from_dlpack(cp.ones(2, cp.complex64), cuda)
    with pytest.raises(BackendError, match="'cuda' cannot take what lies on the CPU: move it to CUDA device 0 first"):
        from_dlpack(np.ones(3, np.float32), cuda)
    with pytest.raises(BackendError, match="'cpu' cannot take what lies on CUDA device 0"):
        from_dlpack(made, open_backend("cpu"))


def test_cuda_and_pytorch(request: pytest.FixtureRequest) -> None:
    """Where both are in one Python: streams of each side wait for the other, and what CUDA lacks is said."""
    if request.config.getoption("backend") != "cuda":
        pytest.skip("--backend is not cuda")
    torch = pytest.importorskip("torch")
    cuda = open_backend("cuda")
    x = asarray(np.ones((1024, 1024), np.float32), backend=cuda)
    y = x
    for _ in range(50):
        y = y @ x * (1 / 1024)
    with torch.cuda.stream(torch.cuda.Stream()):
        theirs = torch.from_dlpack(y)
        assert theirs.sum().item() == 1024 * 1024
        assert theirs.data_ptr() == y.buffer.data.data.ptr
        made = torch.zeros((1024, 1024), device="cuda")
        for _ in range(200):
            made = made + 1
        mine = from_dlpack(made, cuda) * 1.0
    np.testing.assert_array_equal(mine.numpy(), np.full((1024, 1024), 200))
    with pytest.raises(ValueError, match=r"bfloat16.* cast it to float32"):
        from_dlpack(made.bfloat16(), cuda)
    with pytest.raises(BackendError, match="'cpu' cannot take what lies on CUDA device 0: move it to the CPU first"):
        from_dlpack(made, open_backend("cpu"))
