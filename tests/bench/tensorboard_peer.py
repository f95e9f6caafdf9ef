"""The peer of `tests.bench.dashboard`, run by a Python that has TensorBoard (never a dependency of ours).

    PEER tensorboard_peer.py CURVES.json FOLDER PORT

Writes the curves {tag: [[step, value, time], ...]} as one event file into the folder, then becomes TensorBoard on it.
"""

import json
import os
import sys

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

curves, folder, port = sys.argv[1:]
with open(curves) as file:
    tags = json.load(file)
writer = EventFileWriter(os.path.join(folder, "run"))
for tag, rows in tags.items():
    for step, value, when in rows:
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
        writer.add_event(Event(step=int(step), wall_time=when, summary=summary))
writer.close()
os.execv(sys.executable, [sys.executable, "-m", "tensorboard.main", "--logdir", folder, "--host", "127.0.0.1",
                          "--port", port])
