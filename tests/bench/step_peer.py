"""The peer of `tests.bench.step`: our `rnn` in PyTorch, run by a Python that has it (never a dependency of ours).

Reads one JSON object {vocabulary, width, hidden, layers, taps, batch, window, steps, threads, backend, scan} from
standard input; prints one. The recurrence is either a loop over time ("loop": one fused `lerp` a character, which keeps
neither 1 - f nor f v) or Heinsen's scan in log space ("log"), as minGRU's authors have it.
"""

import json
import pathlib
import sys
import time

import torch
from torch import nn
from torch.nn import functional

ask = json.load(sys.stdin)
torch.set_num_threads(ask["threads"])
torch.manual_seed(0)
device = torch.device("cuda" if ask["backend"] == "cuda" else "cpu")
V, D, H, K = ask["vocabulary"], ask["width"], ask["hidden"], ask["taps"]


def loop(f, v):
    h, states = torch.zeros_like(v[:, 0]), []
    for v_t, f_t in zip(v.unbind(1), f.unbind(1), strict=True):
        h = torch.lerp(h, v_t, f_t)
        states.append(h)
    return torch.stack(states, 1)


def log_scan(f, v):
    """h[t] = (1 - f) h + f v with h[-1] = 0; v split by sign, as logarithms take no negative numbers."""
    decay = torch.cumsum(torch.log1p(-f), 1)

    def part(x):
        return torch.exp(decay + torch.logcumsumexp(torch.log(f * x + 1e-12) - decay, 1))

    return part(functional.relu(v)) - part(functional.relu(-v))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.RMSNorm(D, eps=1e-6)
        self.conv = nn.Conv1d(D, D, K, groups=D, bias=False)
        self.value, self.gate = nn.Linear(D, H, bias=False), nn.Linear(D, H, bias=False)
        self.forget, self.out = nn.Linear(D, H), nn.Linear(H, D, bias=False)

    def forward(self, x):
        u = self.conv(functional.pad(self.norm(x).transpose(1, 2), (K - 1, 0))).transpose(1, 2)
        h = {"loop": loop, "log": log_scan}[ask["scan"]](torch.sigmoid(self.forget(u)), self.value(u))
        return x + self.out(h * functional.silu(self.gate(u)))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.norm, self.head = nn.Embedding(V, D), nn.RMSNorm(D, eps=1e-6), nn.Linear(D, V)
        self.blocks = nn.Sequential(*(Block() for _ in range(ask["layers"])))

    def forward(self, tokens):
        return self.head(self.norm(self.blocks(self.embedding(tokens))))


def resident(name):
    """Kilobytes from /proc/self/status: VmRSS now, VmHWM at most."""
    return next(int(line.split()[1]) for line in pathlib.Path("/proc/self/status").read_text().splitlines()
                if line.startswith(name))


model = Model().to(device)
run = torch.compile(model, dynamic=False) if device.type == "cuda" else model
optimiser = torch.optim.Adam(model.parameters(), 1e-3, betas=(0.9, 0.95), fused=device.type == "cuda")


def step(batch, window):
    tokens = torch.randint(0, V, (batch, window + 1), device=device)
    loss = functional.cross_entropy(run(tokens[:, :-1]).reshape(-1, V), tokens[:, 1:].reshape(-1))
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    return loss.item()


step(1, 8)  # code, threads and the optimiser's state are there before anything counts
optimiser.zero_grad()
before = resident("VmRSS")
pathlib.Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew
seconds = []
for _ in range(ask["steps"]):
    began = time.perf_counter()
    step(ask["batch"], ask["window"])
    seconds.append(time.perf_counter() - began)
print(json.dumps({"parameters": sum(p.numel() for p in model.parameters()),
                  "peak": 1024 * (resident("VmHWM") - before), "seconds": sorted(seconds)[len(seconds) // 2]}))
