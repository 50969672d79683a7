"""Data parallelism in one TensorFlow process: MirroredStrategy, a replica on each device.

Without two GPUs one CPU is split into two logical devices, before TensorFlow first looks at it.
"""

import argparse
import os
from pathlib import Path

import tensorflow as tf

parser = argparse.ArgumentParser()
parser.add_argument("--folder", type=Path, default=Path("build/mirrored"))
parser.add_argument("--steps", type=int, default=20)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--keras", action="store_true", help="Keras's fit in place of a loop")
asked = parser.parse_args()

tf.config.threading.set_intra_op_parallelism_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
devices = tf.config.list_physical_devices("GPU")
if len(devices) < 2:
    tf.config.set_visible_devices([], "GPU")
    [cpu] = tf.config.list_physical_devices("CPU")
    halves = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, halves)
    devices = tf.config.list_logical_devices("CPU")
strategy = tf.distribute.MirroredStrategy([device.name for device in devices[:2]])
print(f"{strategy.num_replicas_in_sync} replicas: {[d.name for d in devices[:2]]}", flush=True)

from utils import lessons, parity  # noqa: E402  (the devices come first)

lesson = lessons.load("18_distributed", "keras" if asked.keras else "tensorflow")
s = lesson.SETTINGS
weights = lesson.start(s["hidden"], asked.seed)
feed = [lesson.batch(step, s["batch_size"], asked.seed) for step in range(asked.steps)]

if asked.keras:
    with strategy.scope():
        model = lesson.KerasNet(s["hidden"])
        model.compile(lesson.keras.optimizers.SGD(s["learning_rate"]), lesson.loss_keras())
    parity.set_weights(model, weights)
    x, y = (tf.concat(part, 0) for part in zip(*feed, strict=True))
    batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(s["batch_size"])
    model.fit(batches, shuffle=False, verbose=0)  # one epoch, each batch cut into halves
else:
    with strategy.scope():
        model = lesson.TFNet(s["hidden"])  # one variable is one copy on each device
    parity.set_weights(model, weights)

    @tf.function
    def step_tf(x, y):
        gradients = strategy.run(lesson.gradients_tf, (model, x, y))  # each replica on its shard
        for weight, gradient in zip(parity.variables(model), gradients, strict=True):
            mean = strategy.reduce("MEAN", gradient, axis=None)  # the all-reduce
            weight.assign_sub(s["learning_rate"] * mean)  # on all copies alike

    def mine(part):
        """One replica's shard of a part of the batch, as the strategy asks for it."""
        n = strategy.num_replicas_in_sync
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(part[context.replica_id_in_sync_group :: n])
        )

    for x, y in feed:
        step_tf(mine(x), mine(y))

asked.folder.mkdir(parents=True, exist_ok=True)
lesson.keep(asked.folder / "weights.npz", parity.get_weights(model))
