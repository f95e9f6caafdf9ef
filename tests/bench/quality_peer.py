"""The peers of `tests.bench.quality`, run by a Python that has PyTorch (never a dependency of ours).

Reads one JSON object {model, preset, symbols, vocabulary, seed, steps, batch, window, rate, dropout, threads, backend,
scored} from standard input; prints one: parameters, seconds, and of each window of `scored` characters the nats and how
many there were. Adam without decay, 50 steps of warm-up, then straight down to zero.
"""

import json
import sys
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional

ask = json.load(sys.stdin)
torch.set_num_threads(ask["threads"])
torch.manual_seed(ask["seed"])
device = torch.device("cuda" if ask["backend"] == "cuda" else "cpu")
V = ask["vocabulary"]
# model -> channels and layers, by the preset of ours: 1.1 million parameters at most, and 5 million
SIZES = {"base": {"lstm": (352, 1), "gru": (408, 1), "mingru": (144, 4), "transformer": (144, 4)},
         "large": {"lstm": (552, 2), "gru": (632, 2), "mingru": (256, 6), "transformer": (256, 6)}}
D, LAYERS = SIZES[ask["preset"]][ask["model"]]
LOST = ask["dropout"]


class MinGRU(nn.Module):
    """Feng et al. 2024 (arXiv 2410.01201), appendix B: positive states, Heinsen's scan in log space, state 1.5 D."""

    def __init__(self):
        super().__init__()
        self.inner, self.out = nn.Linear(D, 3 * D, bias=False), nn.Linear(3 * D // 2, D, bias=False)

    def forward(self, x):
        hidden, gate = self.inner(x).chunk(2, -1)
        log_keep, log_enter = -functional.softplus(gate), -functional.softplus(-gate)
        log_value = torch.where(hidden >= 0, (functional.relu(hidden) + 0.5).log(), -functional.softplus(-hidden))
        kept = torch.cumsum(log_keep, 1)
        return self.out((kept + torch.logcumsumexp(log_enter + log_value - kept, 1)).exp())


class MinGRUBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix, self.norm, self.norm2 = MinGRU(), nn.RMSNorm(D), nn.RMSNorm(D)
        self.feed = nn.Sequential(nn.Linear(D, 4 * D), nn.GELU(), nn.Linear(4 * D, D))

    def forward(self, x):
        x = x + functional.dropout(self.mix(self.norm(x)), LOST, self.training)
        return x + functional.dropout(self.feed(self.norm2(x)), LOST, self.training)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.head, self.lose = nn.Embedding(V, D), nn.Linear(D, V), nn.Dropout(LOST)
        if ask["model"] in ("lstm", "gru"):
            kind = nn.LSTM if ask["model"] == "lstm" else nn.GRU
            self.body = kind(D, D, LAYERS, batch_first=True, dropout=LOST if LAYERS > 1 else 0.0)
        elif ask["model"] == "mingru":
            self.body = nn.Sequential(*(MinGRUBlock() for _ in range(LAYERS)), nn.RMSNorm(D))
        else:
            self.places = nn.Parameter(0.02 * torch.randn(ask["window"], D))
            layer = nn.TransformerEncoderLayer(D, D // 32, 4 * D, LOST, "gelu", batch_first=True,
                                               norm_first=True)
            self.body = nn.TransformerEncoder(layer, LAYERS, nn.LayerNorm(D), enable_nested_tensor=False)

    def forward(self, tokens):
        x, T = self.lose(self.embedding(tokens)), tokens.shape[1]
        if ask["model"] == "transformer":
            mask = nn.Transformer.generate_square_subsequent_mask(T, device=x.device)
            return self.head(self.body(x + self.places[:T], mask, is_causal=True))
        x = self.body(x)
        return self.head(self.lose(x[0] if isinstance(x, tuple) else x))


def losses(model, tokens):
    """Nats [N, T]."""
    scores = model(tokens[:, :-1])
    return functional.cross_entropy(scores.transpose(1, 2), tokens[:, 1:], reduction="none")


symbols = np.load(ask["symbols"])
train, held_out = (torch.tensor(symbols[k].astype(np.int64), device=device) for k in ("train", "validation"))
model = Model().to(device)
run = torch.compile(model) if device.type == "cuda" and ask["model"] == "mingru" else model
optimiser = torch.optim.Adam(model.parameters(), ask["rate"], betas=(0.9, 0.95))
warm = min(50, ask["steps"] // 10)
schedule = torch.optim.lr_scheduler.LambdaLR(
    optimiser, lambda n: min(1, (n + 1) / max(warm, 1)) * (1 - n / ask["steps"]))
draw = torch.Generator().manual_seed(ask["seed"])
began = time.perf_counter()
for _ in range(ask["steps"]):
    at = torch.randint(0, len(train) - ask["window"], (ask["batch"], 1), generator=draw)
    loss = losses(run, train[(at + torch.arange(ask["window"] + 1)).to(device)]).mean()
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    schedule.step()
seconds = time.perf_counter() - began
sums, counts, T = [], [], ask["scored"]
model.eval()
with torch.no_grad():
    whole = (len(held_out) - 1) // T
    windows = held_out[: whole * T + 1].unfold(0, T + 1, T)  # neighbours share one character
    rest = held_out[None, whole * T:]
    for rows in [*windows.split(32), *([rest] if rest.shape[1] > 1 else [])]:
        sums += losses(model, rows).double().sum(1).tolist()
        counts += [rows.shape[1] - 1] * len(rows)
print(json.dumps({"parameters": sum(p.numel() for p in model.parameters()), "seconds": seconds, "sums": sums,
                  "counts": counts}))
