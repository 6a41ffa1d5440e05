"""Makes tensorboard.tfevents: three epochs as TensorBoard's own writer stores them, read back by its reader.

Needs tensorboard 2.21 or later. Run it in this folder: python tensorboard_events.py
"""

from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

START = 1.7e9 + 0.25

def scalars(epoch, steps, loss, dice):
    values = [("loss/total", loss), ("loss/dice", loss / 2), ("loss/cross_entropy", 0.125)]
    if dice:
        values.append(("dice/mean", sum(dice) / 2))
        values += [(f"dice/label_{label}", d) for label, d in zip((1, 2), dice)]
    values += [("training/learning_rate", 1e-3), ("training/gradient_norm", 2.5)]
    values += [("training/wait_share", 0.01), ("training/seconds", 12.0)]
    summary = Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values])
    return Event(wall_time=START + epoch, step=steps, summary=summary)

events = [
    Event(wall_time=START, file_version="brain.Event:2"),
    scalars(0, 100, 1.5, None),
    scalars(1, 200, 0.75, (0.5, 0.75)),
    scalars(2, 300, 0.25, None),
]
name = "tensorboard.tfevents"
with open(name, "wb") as file:
    writer = RecordWriter(file)
    for event in events:
        writer.write(event.SerializeToString())
    writer.flush()
assert [e.step for e in EventFileLoader(name).Load()] == [0, 100, 200, 300]
