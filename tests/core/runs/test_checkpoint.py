"""Checkpoints: bits come back as they went, and a broken file never stops a resume."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import struct
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from core.errors import RunError
from core.runs.checkpoint import digest, latest_checkpoint, load_checkpoint, save_checkpoint
from core.runs.failpoints import VARIABLE
from core.runs.store import RunFolder, RunStore


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    return RunStore(tmp_path).create({})


def some_arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    square = rng.standard_normal((6, 8))
    return {
        "weights": rng.standard_normal((5, 7)).astype(np.float32),
        "transposed": square.T,
        "strided": square[::2, ::-3],
        "fortran": np.asfortranarray(square),
        "scalar": np.array(0.1),
        "empty": np.zeros((0, 3), np.float32),
        "step": np.array([2**62], np.int64),
        "mask": np.array([True, False]),
        "bytes": np.arange(256, dtype=np.uint8),
        "odd": np.array([np.nan, -np.nan, np.inf, -0.0, 5e-324]),
    }


def test_every_bit_shape_and_dtype_comes_back(folder):
    arrays = some_arrays()
    meta = {"rng": [1, 2**60], "lr": 0.1 + 0.2, "text": "漢\U0001f426", "nested": {"none": None}}
    path = save_checkpoint(folder, 1234, arrays, meta)
    assert path == folder.path / "checkpoints" / "step-00001234.safetensors"
    loaded, loaded_meta = load_checkpoint(path)
    assert loaded_meta == meta
    assert set(loaded) == set(arrays)
    for name, array in arrays.items():
        assert loaded[name].dtype == array.dtype
        assert loaded[name].shape == array.shape
        assert loaded[name].tobytes() == array.tobytes()


def test_the_file_is_plain_safetensors(folder):
    """Read with nothing but the format's description: 8 bytes length, JSON header, then the values row by row."""
    matrix = np.arange(6, dtype="<f4").reshape(2, 3)
    data = save_checkpoint(folder, 0, {"m": matrix.T}, {"a": 1}).read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    assert header["m"]["dtype"] == "F32"
    assert header["m"]["shape"] == [3, 2]
    begin, end = header["m"]["data_offsets"]
    assert struct.unpack("<6f", data[8 + size + begin : 8 + size + end]) == (0, 3, 1, 4, 2, 5)
    zspace = json.loads(header["__metadata__"]["zspace"])
    assert (zspace["schema"], zspace["step"], zspace["meta"]) == ("zspace.checkpoint.v1", 0, {"a": 1})


def test_digest_is_the_stated_sha256():
    arrays = {"b": np.array([[1, 2]], np.int16), "a": np.array(1.5, np.float32)}
    expected = hashlib.sha256(
        b'["a", "<f4", []]' + struct.pack("<f", 1.5) + b'["b", "<i2", [1, 2]]' + struct.pack("<2h", 1, 2)
    )
    assert digest(arrays) == expected.hexdigest()
    assert digest(dict(reversed(arrays.items()))) == expected.hexdigest()
    assert digest({"b": np.array([[1, 2]], ">i2"), "a": arrays["a"]}) == expected.hexdigest()
    assert digest({"b": np.asfortranarray(np.array([[1, 2]], np.int16)), "a": arrays["a"]}) == expected.hexdigest()


def test_digest_sees_every_difference():
    base = np.zeros((2, 3), np.float32)
    one_ulp = base.copy()
    one_ulp[1, 2] = 1e-45
    others = [{"a": one_ulp}, {"a": -base}, {"a": base.reshape(3, 2)}, {"a": base.view(np.int32)}, {"b": base}]
    others += [{}, {"a": base, "b": base[:0]}, {"a": base.astype(np.float64)[:1]}]
    digests = {digest(arrays) for arrays in [{"a": base}, *others]}
    assert len(digests) == len(others) + 1


def test_the_newest_stay(folder):
    for step in (5, 100_000_000, 20, 99_999_999, 40):
        save_checkpoint(folder, step, {"a": np.zeros(1)}, {}, keep=3)
    kept = [f"step-{step}.safetensors" for step in ("00000040", "100000000", "99999999")]
    assert sorted(os.listdir(folder.checkpoints)) == kept
    save_checkpoint(folder, 50, {"a": np.zeros(1)}, {}, keep=1)
    assert os.listdir(folder.checkpoints) == ["step-100000000.safetensors"]


def test_a_spared_step_stays_beside_the_newest(folder):
    for step in (2, 4, 6, 8, 10):
        save_checkpoint(folder, step, {"a": np.zeros(1)}, {}, keep=2, spare=(4,))
    assert sorted(os.listdir(folder.checkpoints)) == [f"step-000000{step}.safetensors" for step in ("04", "08", "10")]
    save_checkpoint(folder, 12, {"a": np.zeros(1)}, {}, keep=2, spare=(12,))  # a new one counts among the newest
    assert sorted(os.listdir(folder.checkpoints)) == ["step-00000010.safetensors", "step-00000012.safetensors"]


def test_only_states_from_before_a_step_are_looked_at(folder):
    paths = [save_checkpoint(folder, step, {"a": np.zeros(1)}, {}, keep=9) for step in (0, 3, 5)]
    paths[2].write_bytes(b"")
    assert latest_checkpoint(folder, before=5) == (paths[1], [])
    assert latest_checkpoint(folder, before=3) == (paths[0], [])
    assert latest_checkpoint(folder, before=0) == (None, [])
    assert paths[2].exists()


def test_broken_files_are_set_aside_and_told(folder):
    assert latest_checkpoint(folder) == (None, [])
    paths = [save_checkpoint(folder, step, {"a": np.arange(50.0) + step}, {}, keep=9) for step in range(6)]
    whole = [path.read_bytes() for path in paths]
    paths[5].write_bytes(b"")
    paths[4].write_bytes(whole[4][:-1])
    paths[3].write_bytes(whole[3][:-3] + bytes([whole[3][-3] ^ 1]) + whole[3][-2:])  # one bit of one value
    from safetensors.numpy import save

    paths[2].write_bytes(save({"a": np.zeros(2)}))  # safetensors, but nobody's checkpoint
    path, warnings = latest_checkpoint(folder)
    assert path == paths[1]
    assert len(warnings) == 4
    for number, warning in zip((5, 4, 3, 2), warnings, strict=True):
        assert f"step-0000000{number}.safetensors" in warning
        assert f"step-0000000{number}.safetensors.broken" in warning
    assert (folder.checkpoints / "step-00000004.safetensors.broken").read_bytes() == whole[4][:-1]
    assert latest_checkpoint(folder) == (paths[1], [])


def test_another_versions_checkpoint_is_not_called_broken(folder):
    path = save_checkpoint(folder, 3, {"a": np.zeros(1)}, {})
    path.write_bytes(path.read_bytes().replace(b"zspace.checkpoint.v1", b"zspace.checkpoint.v7"))
    with pytest.raises(RunError, match=r"zspace\.checkpoint\.v7"):
        latest_checkpoint(folder)
    assert path.exists()


@pytest.mark.parametrize(("place", "newest"), [("half", 1), ("before_replace", 1), ("after_replace", 2)])
def test_killed_while_writing_the_last_whole_one_is_found(folder, place, newest):
    script = textwrap.dedent(
        """
        import sys, pathlib
        import numpy as np
        from core.runs.checkpoint import save_checkpoint
        from core.runs.store import RunFolder

        for step in (1, 2, 3):
            save_checkpoint(RunFolder(pathlib.Path(sys.argv[1])), step, {"a": np.full(1000, step)}, {"step": step})
        """
    )
    environment = {**os.environ, VARIABLE: f"checkpoint.{place}:2"}
    process = subprocess.run([sys.executable, "-c", script, str(folder.path)], env=environment, timeout=60)
    assert process.returncode == -signal.SIGKILL
    path, warnings = latest_checkpoint(folder)
    assert warnings == []
    assert path is not None
    arrays, meta = load_checkpoint(path)
    assert meta == {"step": newest}
    assert np.array_equal(arrays["a"], np.full(1000, newest))
    save_checkpoint(folder, 2, {"a": np.zeros(1)}, {})  # the step is taken again, and what lay beside is gone
    assert sorted(os.listdir(folder.checkpoints)) == ["step-00000001.safetensors", "step-00000002.safetensors"]


def test_refusals_name_the_cause(folder):
    with pytest.raises(RunError, match="step=-1"):
        save_checkpoint(folder, -1, {}, {})
    with pytest.raises(RunError, match="keep=0"):
        save_checkpoint(folder, 0, {}, {}, keep=0)
    with pytest.raises(RunError, match="step 4"):
        save_checkpoint(folder, 4, {"a": np.array(["text"])}, {})
    with pytest.raises(RunError, match="step 4"):
        save_checkpoint(folder, 4, {}, {"loss": float("nan")})
    with pytest.raises(RunError, match="could not read the checkpoint"):
        load_checkpoint(folder.checkpoints / "step-00000004.safetensors")
    assert os.listdir(folder.checkpoints) == []
