"""Statistics of another library's tensors, run by `tests.core.test_weights_partials`; 77: the library is not there."""

import sys

import numpy as np

from core.foreign import locate, to_host
from core.inference.dlpack import summarise_weights, weights_partial_from_dlpack

library = sys.argv[1]
values = np.random.default_rng(0).standard_normal((64, 33)).astype(np.float32)


def agree(tensor, want):
    want = np.asarray(want, np.float64)
    got = summarise_weights(tensor)
    assert got.count == want.size
    np.testing.assert_allclose(got.mean, want.mean(), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(got.variance, want.var(), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(got.l1, np.abs(want).sum(), rtol=1e-9)
    assert got.linf == np.abs(want).max(initial=0)


def refused(tensor, said):
    heard = ""
    try:
        summarise_weights({"w": tensor})
    except (ValueError, RuntimeError) as error:
        heard = str(error)
    assert said in heard, heard


if library == "torch":
    try:
        import torch
    except ImportError:
        sys.exit(77)
    made = torch.from_numpy(values.copy())
    for tensor in (made, made.T, made[::2, 3:], made.half(), made.bfloat16(), made.double(), made.long(), made > 0,
                   made.expand(3, 64, 33), made[0, 0], made.conj(), torch.from_numpy(values).requires_grad_()):
        agree(tensor, tensor.detach().double().numpy())
    assert summarise_weights(made[:0]).count == 0
    for tensor in (made, made.T, made[::2, 3:], made.half(), torch.from_numpy(values.copy()).requires_grad_()):
        array = locate(tensor)[1]
        assert array.ctypes.data == tensor.data_ptr()  # no copy
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Embedding(7, 5), torch.nn.GRU(5, 6), torch.nn.Linear(6, 2))
    flat = np.concatenate([p.detach().numpy().ravel() for p in model.parameters()])
    agree(model.state_dict(), flat)
    agree(model.parameters(), flat)
    agree([dict(model.named_parameters()), made], np.concatenate([flat, values.ravel()]))
    partial = weights_partial_from_dlpack(model.state_dict(), label="gru")
    assert partial.metrics["import_count"] == flat.size
    np.testing.assert_array_equal(to_host(made.bfloat16()), made.bfloat16().float().numpy())
    refused(made.to(torch.complex64), "holds complex64")
    refused(made.to_sparse(), "cannot be read as it is")
    refused(made.to("meta"), "cannot be read as it is")
    refused(torch.tensor([1.0, float("inf")]), "['w'] holds infinite values")
    agree(torch.tensor([1.0, float("nan"), 3.0]), [1.0, 3.0])
elif library == "jax":
    try:
        import jax
        import jax.numpy as jnp
    except ImportError:
        sys.exit(77)
    jax.config.update("jax_platforms", "cpu")
    made = jnp.asarray(values) * 1.0
    for tensor in (made, made.T, made[::2], made.astype(jnp.bfloat16), made.astype(jnp.float16), made > 0):
        agree(tensor, np.asarray(tensor).astype(np.float64))
    agree({"a": {"b": made}, "c": [made]}, np.concatenate([values, values]))
    assert locate(made)[1].ctypes.data == made.unsafe_buffer_pointer()
else:
    try:
        import tensorflow as tf
    except ImportError:
        sys.exit(77)
    made = tf.constant(values) * 1.0
    for tensor in (made, tf.transpose(made), tf.cast(made, tf.bfloat16), tf.cast(made, tf.float16),
                   tf.cast(made, tf.int64), made > 0, tf.Variable(made)):
        agree(tensor, np.asarray(tensor).astype(np.float64))
    assert summarise_weights(made[:0]).count == 0
    assert locate(made)[1].ctypes.data == np.from_dlpack(made).ctypes.data
    model = tf.keras.Sequential([tf.keras.Input((5,)), tf.keras.layers.Dense(4), tf.keras.layers.Dense(2)])
    agree(model.trainable_variables, np.concatenate([v.numpy().ravel() for v in model.trainable_variables]))
    refused(tf.cast(made, tf.complex64), "holds complex64")
