"""Data parallelism in TensorFlow, a process a worker: MultiWorkerMirroredStrategy.

TF_CONFIG says who is in the cluster and who this process is; nobody starts the processes for you.
With --keras the model and the optimiser are Keras's. Its `fit` fails under this strategy
(keras#20585), so the loop is ours.
"""

import argparse
import json
import os
import time
from pathlib import Path

import tensorflow as tf

parser = argparse.ArgumentParser()
parser.add_argument("--folder", type=Path, default=Path("build/multiworker"))
parser.add_argument("--steps", type=int, default=20)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--save-every", type=int, default=0)
parser.add_argument("--hidden", type=int, default=32)
parser.add_argument("--keras", action="store_true")
parser.add_argument("--preemptible", action="store_true", help="save and leave on SIGTERM")
parser.add_argument("--patience", type=float, default=60, help="seconds to wait for the others")
parser.add_argument("--pause", type=float, default=0, help="seconds between two steps")
asked = parser.parse_args()

config = json.loads(os.environ["TF_CONFIG"])
rank, addresses = config["task"]["index"], config["cluster"]["worker"]
world = len(addresses)
print(f"worker {rank} of {world}, process {os.getpid()}, of {addresses}", flush=True)
tf.config.threading.set_intra_op_parallelism_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
# The strategy comes before anything that TensorFlow computes: it starts this worker's server.
options = tf.distribute.experimental.CommunicationOptions(
    implementation=tf.distribute.experimental.CommunicationImplementation.RING,
    timeout_seconds=asked.patience,
)
strategy = tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)

from utils import lessons, parity  # noqa: E402  (the strategy comes first)

lesson = lessons.load("18_distributed", "keras" if asked.keras else "tensorflow")
s = lesson.SETTINGS
with strategy.scope():
    counter = tf.Variable(0, dtype=tf.int64)
    if asked.keras:
        model = lesson.KerasNet(asked.hidden)
        optimizer = lesson.keras.optimizers.SGD(s["learning_rate"])
        optimizer.build(model.trainable_variables)  # here: in a tf.function it would be too late
    else:
        model = lesson.TFNet(asked.hidden)
parity.set_weights(model, lesson.start(asked.hidden, asked.seed))

state = tf.train.Checkpoint(model=model, step=counter)
# Every worker takes part in saving; only the first one's files are for keeping.
place = asked.folder / ("checkpoints" if rank == 0 else f"scratch-{rank}")
latest = tf.train.latest_checkpoint(asked.folder / "checkpoints")
manager = tf.train.CheckpointManager(state, str(place), max_to_keep=2)
handler = None
if asked.preemptible:
    handler = tf.distribute.experimental.PreemptionCheckpointHandler(
        tf.distribute.cluster_resolver.TFConfigClusterResolver(), manager
    )
if latest:
    state.restore(latest).expect_partial()
    print(f"worker {rank}: goes on from step {counter.numpy()}", flush=True)


@tf.function
def step_tf(x, y):
    if asked.keras:
        strategy.run(step_keras, (x, y))
        return
    gradients = strategy.run(lesson.gradients_tf, (model, x, y))
    for weight, gradient in zip(parity.variables(model), gradients, strict=True):
        mean = strategy.reduce("MEAN", gradient, axis=None)  # over the network
        weight.assign_sub(s["learning_rate"] * mean)


def step_keras(x, y):
    """One replica's part. Keras divides the loss by the number of replicas; apply() sums."""
    with tf.GradientTape() as tape:
        loss = lesson.loss_keras()(y, model(x))
    optimizer.apply(tape.gradient(loss, model.trainable_variables))


def one_step():
    """Train on this worker's shard of the next batch."""
    whole = lesson.batch(int(counter.numpy()), s["batch_size"], asked.seed)
    x, y = (
        strategy.experimental_distribute_values_from_function(lambda _, p=part: tf.constant(p))
        for part in lesson.shard(whole, rank, world)
    )
    step_tf(x, y)
    counter.assign_add(1)


times = []
while counter.numpy() < asked.steps:
    started = time.perf_counter()
    handler.run(one_step) if handler else one_step()
    times.append(time.perf_counter() - started)
    step = int(counter.numpy())
    print(f"worker {rank}: step {step} of {asked.steps}", flush=True)
    if asked.save_every and step % asked.save_every == 0:
        manager.save()
    time.sleep(asked.pause)

if rank == 0:
    asked.folder.mkdir(parents=True, exist_ok=True)
    lesson.keep(asked.folder / "weights.npz", parity.get_weights(model))
    print(f"ms {1000 * sorted(times)[len(times) // 2]:.2f} a step", flush=True)
