"""Sharing with PyTorch, JAX or TensorFlow, run by `tests.core.test_dlpack`; 77: this Python lacks the library."""

import sys

import numpy as np

from core.array import asarray, from_dlpack

library = sys.argv[1]
values = np.random.default_rng(0).standard_normal((64, 33)).astype(np.float32)
x = asarray(values)


def refused(build, said):
    heard = ""
    try:
        from_dlpack(build())
    except ValueError as error:
        heard = str(error)
    assert said in heard, heard


if library == "torch":
    try:
        import torch
    except ImportError:
        sys.exit(77)
    for mine in (x, x.transpose(), x[3:9, 2:4], x * 2.0, x[:0], asarray(np.arange(5, dtype=np.int32))):
        theirs = torch.from_dlpack(mine)
        np.testing.assert_array_equal(theirs.numpy(), mine.numpy())
        assert theirs.data_ptr() == mine.numpy().ctypes.data or not theirs.numel()
    made = torch.from_numpy(values.copy())
    for theirs in (made, made.T, made[::2, 3:], made.half(), made.double(), made[:0], made[0, 0], made.int()):
        mine = from_dlpack(theirs)
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())
        assert mine.numpy().ctypes.data == theirs.data_ptr() or not theirs.numel()
    np.testing.assert_allclose((from_dlpack(made.T) @ x).numpy(), values.T @ values, rtol=1e-4, atol=1e-4)
    refused(lambda: made.to(torch.bfloat16), "torch.bfloat16 does not come in")
    refused(lambda: made.long(), "not int64: cast it to int32")
    refused(lambda: made.to(torch.complex64), "not complex64")
    refused(lambda: made.clone().requires_grad_(), "detach it")
elif library == "jax":
    try:
        import jax
        import jax.numpy as jnp
    except ImportError:
        sys.exit(77)
    jax.config.update("jax_platforms", "cpu")
    for mine in (x, x[3:9], x * 2.0, asarray(np.arange(5, dtype=np.int32))):
        np.testing.assert_array_equal(np.asarray(jnp.from_dlpack(mine)), mine.numpy())
    made = jnp.asarray(values) * 1.0
    mine = from_dlpack(made)
    np.testing.assert_array_equal(mine.numpy(), values)
    assert mine.numpy().ctypes.data == made.unsafe_buffer_pointer()
    refused(lambda: made.astype(jnp.bfloat16), "bfloat16 does not come in")
else:
    try:
        import tensorflow as tf
    except ImportError:
        sys.exit(77)
    for mine in (x, x[3:9], x * 2.0, x[:0], asarray(np.arange(5, dtype=np.int32))):
        theirs = tf.experimental.dlpack.from_dlpack(mine.__dlpack__())
        np.testing.assert_array_equal(theirs.numpy(), mine.numpy())
    made = tf.constant(values) * 1.0
    for theirs in (made, tf.transpose(made), tf.cast(made, tf.float16), tf.cast(made, tf.int32), made[:0], made[0, 0]):
        np.testing.assert_array_equal(from_dlpack(theirs).numpy(), theirs.numpy())
    assert from_dlpack(made).numpy().ctypes.data == np.from_dlpack(made).ctypes.data
    refused(lambda: tf.cast(made, tf.bfloat16), "does not come in as it is")
    refused(lambda: tf.cast(made, tf.int64), "not int64: cast it to int32")
