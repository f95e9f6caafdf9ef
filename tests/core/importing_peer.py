"""Our five families in PyTorch, run by `tests.core.test_importing` with a Python that has it; 77 means it has not.

Arguments: a folder. Writes for each family {family}.safetensors and {family}.npz with tokens and logits.
"""

import sys
from pathlib import Path

import numpy as np

try:
    import torch
    from safetensors.torch import save_file
    from torch import nn
    from torch.nn import functional
except ImportError:
    sys.exit(77)

V, D, T, N = 11, 64, 40, 3
SIZES = {"rnn": (96, 2), "conv": (96, 3), "mixer": (96, 2), "wave": (48, 2), "scan": (96, 2)}  # of preset tiny
torch.manual_seed(0)


def causal(conv, x):
    """A Conv1d over time that sees the past alone: [N,T,C] -> [N,T,C]."""
    past = (conv.kernel_size[0] - 1) * conv.dilation[0]
    return conv(functional.pad(x.transpose(1, 2), (past, 0))).transpose(1, 2)


def recur(keep, new):
    h, states = torch.zeros_like(new[:, 0]), []
    for k, b in zip(keep.unbind(1), new.unbind(1), strict=True):
        h = k * h + b
        states.append(h)
    return torch.stack(states, 1)


class Block(nn.Module):
    def __init__(self, family, i):
        super().__init__()
        self.family, (H, _) = family, SIZES[family]
        width, small = {"wave": (2 * H, H), "scan": (H, 32)}.get(family, (H, H))
        self.norm = nn.RMSNorm(D, eps=1e-6)
        self.conv = nn.Conv1d(D, D, 4, groups=D, bias=False)
        self.value, self.gate = nn.Linear(D, width, bias=False), nn.Linear(D, width, bias=False)
        self.out = nn.Linear(width, D, bias=False)
        if family in ("rnn", "scan"):
            self.forget = nn.Linear(D, small)
        else:
            self.enter = nn.Linear(D, small, bias=False)
        if family == "conv":
            self.long_conv = nn.Conv1d(H, H, 8, groups=H, bias=False, dilation=2**i)
        if family == "mixer":
            self.decay = nn.Parameter(torch.randn(H))
        if family == "wave":
            self.damping, self.angle = nn.Parameter(torch.randn(H)), nn.Parameter(torch.rand(H))
        if family == "scan":
            self.read = nn.Linear(D, small, bias=False)

    def forward(self, x):
        u = causal(self.conv, self.norm(x))
        return x + self.out(getattr(self, "inside_" + self.family)(u) * functional.silu(self.gate(u)))

    def inside_rnn(self, u):
        f = torch.sigmoid(self.forget(u))
        return recur(1 - f, f * self.value(u))

    def inside_conv(self, u):
        return causal(self.long_conv, torch.sigmoid(self.enter(u)) * self.value(u))

    def inside_mixer(self, u):
        d = torch.sigmoid(self.decay)
        new = (1 - d) * torch.sigmoid(self.enter(u)) * self.value(u)
        return recur(d.expand_as(new), new)

    def inside_wave(self, u):
        size = torch.exp(-torch.exp(self.damping))
        new = ((1 - size) * torch.sigmoid(self.enter(u))) * torch.view_as_complex(self.value(u).unflatten(-1, (-1, 2)))
        return torch.view_as_real(recur(torch.polar(size, self.angle).expand_as(new), new)).flatten(-2)

    def inside_scan(self, u):
        f = torch.sigmoid(self.forget(u)).unflatten(-1, (8, 4, 1))
        h = recur(1 - f, f * self.value(u).unflatten(-1, (8, 1, -1)))
        return (self.read(u).unflatten(-1, (8, 4, 1)) * h).sum(3).flatten(2)


class Model(nn.Module):
    def __init__(self, family):
        super().__init__()
        self.embedding, self.norm, self.head = nn.Embedding(V, D), nn.RMSNorm(D, eps=1e-6), nn.Linear(D, V)
        self.blocks = nn.Sequential(*(Block(family, i) for i in range(SIZES[family][1])))

    def forward(self, tokens):
        return self.head(self.norm(self.blocks(self.embedding(tokens))))


for family in SIZES:
    model, tokens = Model(family), torch.randint(0, V, (N, T))
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.05 * torch.randn_like(p))  # norms and biases are not what they are at first
        logits = model(tokens)
    folder = Path(sys.argv[1])
    save_file(model.state_dict(), folder / f"{family}.safetensors")
    np.savez(folder / f"{family}.npz", tokens=tokens.numpy(), logits=logits.numpy())

if len(sys.argv) > 2:  # what a state dict in the same process is read like, bfloat16 too
    from core.importing import parameters_from_torch, read_state
    from core.nn.families import build

    ours = build("rnn", "tiny", V)
    model = Model("rnn")
    direct = parameters_from_torch(ours, model.state_dict())
    half = {k: v.bfloat16() for k, v in model.state_dict().items()}
    save_file(half, folder / "half.safetensors")
    held, read = parameters_from_torch(ours, half), parameters_from_torch(ours, read_state(folder / "half.safetensors"))
    for name, values in direct.items():
        np.testing.assert_array_equal(held[name], read[name])
        np.testing.assert_allclose(held[name], values, rtol=1e-2)
    wrapped = parameters_from_torch(ours, {f"_orig_mod.module.{k}": v for k, v in model.state_dict().items()})
    np.testing.assert_array_equal(wrapped["0.conv"], direct["0.conv"])
    heard = ""
    try:
        parameters_from_torch(ours, nn.GRU(D, 96).state_dict())
    except ValueError as error:
        heard = str(error)
    assert "weight_hh_l0 is a hidden-to-hidden matrix" in heard, heard
