"""The peer of `tests.bench.learning`: torch.nn.GRU, run by a Python that has PyTorch (never a dependency of ours).

Reads one JSON object {text, steps, batch, window, threads, rate, evaluate} from standard input; prints one.
"""

import json
import math
import pathlib
import sys
import time

import numpy as np
import torch
from torch import nn

ask = json.load(sys.stdin)
torch.set_num_threads(ask["threads"])
torch.manual_seed(0)
text = pathlib.Path(ask["text"]).read_text(encoding="utf-8")
cut = len(text) - int(len(text) * 0.1)
vocabulary = sorted(set(text[:cut]))
index = {c: i + 1 for i, c in enumerate(vocabulary)}
data = torch.tensor(np.array([index.get(c, 0) for c in text], np.int64))
train, held_out = data[:cut], data[cut:]
V, T, B = len(vocabulary) + 1, ask["window"], ask["batch"]


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(V, 256), nn.Linear(256, V)
        self.gru = nn.GRU(256, 256, 2, batch_first=True)

    def forward(self, x):
        return self.head(self.gru(self.embedding(x))[0])


model = Model()
optimiser = torch.optim.AdamW(model.parameters(), ask["rate"])
loss_of = nn.CrossEntropyLoss()
draw = torch.Generator().manual_seed(0)
times = []
for _ in range(ask["steps"]):
    began = time.perf_counter()
    at = torch.randint(0, cut - T - 1, (B,), generator=draw)[:, None] + torch.arange(T + 1)
    tokens = train[at]
    loss = loss_of(model(tokens[:, :-1]).reshape(-1, V), tokens[:, 1:].reshape(-1))
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    times.append(time.perf_counter() - began)
answer = {"parameters": sum(p.numel() for p in model.parameters()),
          "characters_per_second": B * T / float(np.median(times)), "bits": None}
if ask["evaluate"]:
    windows = (len(held_out) - 1) // T
    total = 0.0
    with torch.no_grad():
        for i in range(0, windows, 32):
            n = min(32, windows - i)
            x = held_out[i * T:(i + n) * T].reshape(n, T)
            y = held_out[i * T + 1:(i + n) * T + 1]
            total += nn.functional.cross_entropy(model(x).reshape(-1, V), y, reduction="sum").item()
    answer["bits"] = total / (windows * T) / math.log(2)
print(json.dumps(answer))
