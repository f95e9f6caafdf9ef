"""A PyTorch model's weights in ours: the same outputs, whole runs from them, and a sentence where they do not fit."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from core.array import asarray
from core.backends import use_backend
from core.data import read_corpus
from core.errors import RunError, StateError
from core.functions import take
from core.importing import parameters_from_torch, read_state, torch_layout
from core.nn.families import FAMILIES, build
from core.nn.hyperbolic import log_map
from core.runs.checkpoint import load_checkpoint
from core.runs.config import RunConfig
from core.runs.control import paint, send
from core.runs.events import comparable
from core.runs.journal import read_records
from core.runs.opening import create_run
from core.runs.replay import replay
from core.runs.step import windows
from core.runs.store import RunFolder, RunStore
from core.runs.sweep import find_run
from core.runs.trainer import Trainer
from core.runs.twin import make_twin
from tests.core.here import ask_peer, needs_peer

V, D, H, K = 11, 64, 96, 4  # of rnn, preset tiny
State = dict[str, NDArray[Any]]


def torch_state(vocabulary: int = V, seed: int = 0) -> State:
    """What PyTorch's `state_dict` of the model in `tests/bench/step_peer.py` holds, as arrays."""
    rng = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {
        "embedding.weight": (vocabulary, D), "norm.weight": (D,), "head.weight": (vocabulary, D),
        "head.bias": (vocabulary,)}
    for i in range(2):
        inside: dict[str, tuple[int, ...]] = {
            "norm.weight": (D,), "conv.weight": (D, 1, K), "value.weight": (H, D), "gate.weight": (H, D),
            "forget.weight": (H, D), "forget.bias": (H,), "out.weight": (D, H)}
        shapes |= {f"blocks.{i}.{name}": shape for name, shape in inside.items()}
    return {name: (rng.standard_normal(shape) * 0.2 + ("norm" in name)).astype(np.float32)
            for name, shape in shapes.items()}


def torch_forward(state: State, tokens: NDArray[Any]) -> NDArray[np.float64]:
    """PyTorch's layers by their documentation, in float64, a character at a time."""
    s = {k: v.astype(np.float64) for k, v in state.items()}

    def norm(x: Any, weight: Any) -> Any:
        return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + 1e-6) * weight

    def sigmoid(x: Any) -> Any:
        return 1 / (1 + np.exp(-x))

    x = s["embedding.weight"][tokens]
    for i in range(2):
        p = {k.removeprefix(f"blocks.{i}."): v for k, v in s.items() if k.startswith(f"blocks.{i}.")}
        padded = np.concatenate([np.zeros((len(x), K - 1, D)), norm(x, p["norm.weight"])], axis=1)
        # a correlation: y[t] = sum_j w[j] padded[t + j]
        u = sum(p["conv.weight"][:, 0, j] * padded[:, j : j + x.shape[1]] for j in range(K))
        f, v = sigmoid(u @ p["forget.weight"].T + p["forget.bias"]), u @ p["value.weight"].T
        h, states = np.zeros((len(x), H)), []
        for t in range(x.shape[1]):
            h = h + f[:, t] * (v[:, t] - h)
            states.append(h)
        g = u @ p["gate.weight"].T
        x = x + (np.stack(states, axis=1) * g * sigmoid(g)) @ p["out.weight"].T
    return norm(x, s["norm.weight"]) @ s["head.weight"].T + s["head.bias"]


def our_logits(family: str, parameters: State, tokens: NDArray[Any], vocabulary: int = V) -> NDArray[Any]:
    model = build(family, "tiny", vocabulary)
    p = {k: asarray(v) for k, v in parameters.items()}
    x, _, _ = model.states(p, asarray(tokens.astype(np.int32)), model.initial_state(len(tokens)))
    return model.logits(p, x).numpy()


# --- equal outputs ----------------------------------------------------------------------------------------------------


def test_outputs_are_those_of_pytorchs_layers() -> None:
    state, tokens = torch_state(), np.random.default_rng(1).integers(0, V, (3, 40))
    got = our_logits("rnn", parameters_from_torch(build("rnn", "tiny", V), state), tokens)
    np.testing.assert_allclose(got, torch_forward(state, tokens), rtol=1e-5, atol=1e-5)


@needs_peer
def test_every_family_computes_what_pytorch_does(tmp_path: Path) -> None:
    ask_peer("importing_peer.py", "torch", str(tmp_path), "more")
    for family in FAMILIES:
        made = np.load(tmp_path / f"{family}.npz")
        parameters = parameters_from_torch(build(family, "tiny", V), read_state(tmp_path / f"{family}.safetensors"))
        np.testing.assert_allclose(our_logits(family, parameters, made["tokens"]), made["logits"], rtol=1e-5, atol=1e-5,
                                   err_msg=family)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_has_one_counterpart(family: str) -> None:
    model = build(family, "tiny", V)
    layout = torch_layout(model)
    ours = {k: v.shape for k, v in model.initial_parameters(0).items()}
    assert set(layout) == set(ours)
    assert len({theirs for theirs, _ in layout.values()}) == len(ours)
    found = parameters_from_torch(model, {theirs: np.zeros(shape, np.float32) for theirs, shape in layout.values()})
    assert {k: v.shape for k, v in found.items()} == ours


def test_in_the_ball_the_log_map_gives_the_vectors_back() -> None:
    state = torch_state()
    state["embedding.weight"][3] = 0  # as a padding_idx leaves it
    p = parameters_from_torch(build("rnn", "tiny", V, -1.0), state)
    back = take(log_map(asarray(p["embedding"]), -1.0), asarray(np.arange(V))).numpy()
    np.testing.assert_allclose(back, state["embedding.weight"], rtol=1e-4, atol=1e-6)


def test_what_wraps_a_model_in_pytorch_is_taken_off() -> None:
    model, state = build("rnn", "tiny", V), torch_state()
    plain, wrapped = (parameters_from_torch(model, {prefix + k: v for k, v in state.items()})
                      for prefix in ("", "module._orig_mod."))
    assert all(np.array_equal(plain[k], wrapped[k]) for k in plain)


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_files_of_floats(dtype: str, tmp_path: Path) -> None:
    state = {k: v.astype(dtype) for k, v in torch_state().items()}
    save_file(state, tmp_path / "s.safetensors")
    for name, values in read_state(tmp_path / "s.safetensors").items():
        np.testing.assert_array_equal(values, state[name])


def test_a_file_of_bfloat16(tmp_path: Path) -> None:
    """The format by its specification: a length, a JSON header, the bytes; bfloat16 is float32's upper half."""
    values = np.array([[1.0, -2.5], [3.140625, 2.0**100]], np.float32)
    data = (values.view(np.uint32) >> 16).astype("<u2").tobytes()
    header = json.dumps({"a": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, len(data)]}}).encode()
    (tmp_path / "b").write_bytes(len(header).to_bytes(8, "little") + header + data)
    np.testing.assert_array_equal(read_state(tmp_path / "b")["a"], values)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"nowhere cannot be read \(No such file or directory\): name a .safetensors"):
        read_state(tmp_path / "nowhere")
    (tmp_path / "p.pt").write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(StateError, match=r"is no safetensors file .*: write one with safetensors.torch.save_file"):
        read_state(tmp_path / "p.pt")
    save_file({"a": np.ones(2, np.int64)}, tmp_path / "i")
    with pytest.raises(StateError, match="a holds I64: save floats, one of F64, F32, F16, BF16"):
        read_state(tmp_path / "i")


# --- what does not fit ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("change", "message"), [
    ({"blocks.0.weight_hh_l0": np.ones((3, 3))}, "blocks.0.weight_hh_l0 is a hidden-to-hidden matrix, as a GRU or an "),
    ({"blocks.0.attention.weight": np.ones(3)}, "blocks.0.attention.weight is nothing of the Rnn of width 64, hidden "
     "96 and 2 layers: choose the family and preset"),
    ({"blocks.1.value.bias": np.ones(H)}, "blocks.1.value.bias is nothing of .*: make that layer without bias"),
    ({"blocks.2.out.weight": np.ones((D, H))}, "blocks.2.out.weight is nothing of the"),
    ({"blocks.1.out.weight": None}, r"blocks.1.out.weight \[64, 96\] is missing, which the Rnn .* needs: save it"),
    ({"embedding.weight": np.ones((9, D))}, r"embedding.weight has shape \[9, 64\], the Rnn of .* needs \[11, 64\]: "
     r"one row for each symbol of the run's text, U\+FFFD first"),
    ({"head.bias": np.ones(9)}, r"head.bias has shape \[9\], .* needs \[11\]: one row for each symbol"),
    ({"embedding.weight": np.ones((V, 32))}, r"needs \[11, 64\]: choose the preset of your model's sizes"),
    ({"blocks.0.conv.weight": np.ones((D, D, K))}, r"conv.weight has shape \[64, 64, 4\], .* needs \[64, 1, 4\]: a "
     "Conv1d with groups=channels and as many taps"),
    ({"blocks.0.value.weight": np.ones((D, H))}, r"value.weight has shape \[64, 96\], the .* needs \[96, 64\]: choose"),
    ({"norm.weight": np.full(D, np.nan)}, "norm.weight holds values that are not finite in float32"),
    ({"norm.weight": np.full(D, 1e300)}, "norm.weight holds values that are not finite in float32"),
    ({"norm.weight": np.ones(D, np.int64)}, "norm.weight holds int64: give floats"),
    ({"norm.weight": np.ones(D, np.complex64)}, "norm.weight holds complex64"),
    ({"norm.weight": "text"}, "norm.weight is 'text', a str: give a tensor"),
])
def test_what_does_not_fit_says_which_and_what_to_do(change: dict[str, Any], message: str) -> None:
    state = {k: v for k, v in {**torch_state(), **change}.items() if v is not None}
    with pytest.raises(StateError, match=message):
        parameters_from_torch(build("rnn", "tiny", V), state)


# --- runs -------------------------------------------------------------------------------------------------------------

SETTINGS: dict[str, Any] = {"window": 16, "batch": 4, "steps": 12, "field_every": 6, "evaluate_every": 4,
                            "sample_every": 12, "checkpoint_every": 6, "digest_every": 1, "warmup": 2, "capacity": 2}
WORDS = ["the", "tide", "turns", "under", "grey", "moon", "and", "nobody", "counts"]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "tide.txt"
    path.write_text(" ".join(np.random.default_rng(0).choice(WORDS, 600)) + "\n")
    return path


@pytest.fixture
def make_run(text: Path, tmp_path: Path) -> Callable[..., RunFolder]:
    def make(**changes: Any) -> RunFolder:
        config = RunConfig.from_preset((str(text),), "tiny", threads=2, **{**SETTINGS, **changes})
        folder = create_run(tmp_path / "runs", config, torch_state(len(read_corpus(text).vocabulary)))
        send(folder, "start")
        return folder

    return make


def rows(folder: RunFolder) -> list[dict[str, Any]]:
    return [comparable(r) for r in read_records(folder.metrics)[0]]


def test_a_run_begins_with_the_weights_and_replays_to_the_bit(make_run: Callable[..., RunFolder]) -> None:
    folder = make_run()
    trainer = Trainer(folder)
    state = torch_state(len(trainer.corpus.vocabulary))
    want = parameters_from_torch(trainer.model, state)
    assert all(np.array_equal(trainer.parameters[k].numpy(), v) for k, v in want.items())
    assert len(trainer.parameters) == len(want)
    trainer.run()
    assert trainer.frame.shape == (6, 8, 4)  # frame and scheduler are as usual
    first, second = rows(folder)[:2]
    assert (first["step"], first["split"], second["step"]) == (0, "validation", 1)
    tokens = windows(trainer.corpus.train, trainer.config, 1)
    z = torch_forward(state, tokens[:, :-1])
    top = z.max(axis=-1, keepdims=True)
    nats = np.log(np.exp(z - top).sum(-1)) + top[..., 0] - np.take_along_axis(z, tokens[:, 1:, None], 2)[..., 0]
    assert second["loss"] == pytest.approx(nats.mean(), rel=1e-5)  # what PyTorch would meet at its next step
    result = replay(folder)
    assert (result.verdict, result.steps) == ("equal", 12)


def test_a_run_goes_on_from_its_checkpoint_not_from_the_weights(make_run: Callable[..., RunFolder]) -> None:
    whole, halves = make_run(), make_run()
    Trainer(whole).run()
    Trainer(halves, until=7).run()
    trainer = Trainer(halves)
    assert trainer.step == 7
    trainer.run()
    assert rows(whole) == rows(halves)


def test_a_diverging_run_goes_back_to_the_weights(make_run: Callable[..., RunFolder]) -> None:
    trainer = Trainer(make_run())
    first = {k: v.numpy() for k, v in trainer.parameters.items()}
    with use_backend(trainer.backend):
        trainer.parameters = {k: asarray(np.full(v.shape, math.nan, np.float32)) for k, v in first.items()}
        trainer._roll_back(1, "the loss became nan")
    assert trainer.rollbacks == 1
    assert all(np.array_equal(trainer.parameters[k].numpy(), v) for k, v in first.items())


def test_its_twin_begins_with_them_too(make_run: Callable[..., RunFolder]) -> None:
    folder = make_run()
    paint(folder, np.full((6, 8), 2.0))  # steers from the first step on
    Trainer(folder).run()
    twin = make_twin(folder)
    assert twin.initial.read_bytes() == folder.initial.read_bytes()
    (twin.checkpoints / "step-00000000.safetensors").unlink()  # so that it goes back to the start of all
    Trainer(twin).run()
    assert rows(twin)[0] == rows(folder)[0]


def test_weights_that_changed_since_are_refused(make_run: Callable[..., RunFolder]) -> None:
    folder, other = make_run(), make_run()
    record = other.read_config()
    other.write_config({**record, "initial": "0" * 64})
    with pytest.raises(RunError, match=rf"initial.safetensors is not what run {other.id} began with: restore it"):
        Trainer(other)
    folder.initial.unlink()
    with pytest.raises(RunError, match=r"initial\.safetensors"):
        Trainer(folder)


def test_weights_that_do_not_fit_leave_no_run(text: Path, tmp_path: Path) -> None:
    config = RunConfig.from_preset((str(text),), "tiny", threads=2, **SETTINGS)
    with pytest.raises(StateError, match="one row for each symbol"):
        create_run(tmp_path / "runs", config, torch_state(7))
    assert RunStore(tmp_path / "runs").list() == []


def test_a_sweep_takes_no_such_run_for_a_cell(make_run: Callable[..., RunFolder], tmp_path: Path) -> None:
    folder = make_run()
    Trainer(folder).run()
    record = folder.read_config()
    assert find_run(tmp_path / "runs", RunConfig.from_json(record), record["corpus"]["digest"]) is None
    assert set(load_checkpoint(folder.initial)[0]) == {f"p.{name}" for name in torch_layout(build("rnn", "tiny", V))}
