"""Training around a parameter server: the variables live in one process, the workers come to them.

Every process runs this script; TF_CONFIG says whether it is a worker, the parameter server ("ps")
or the chief, who hands out the work. The first two only serve, and end when they are ended.
"""

import argparse
import json
import os
import sys
import time
import traceback
from pathlib import Path

os.environ["GRPC_FAIL_FAST"] = "use_caller"  # a dead process is to be noticed, not waited for
import tensorflow as tf  # noqa: E402

parser = argparse.ArgumentParser()
parser.add_argument("--folder", type=Path, default=Path("build/parameter_server"))
parser.add_argument("--steps", type=int, default=20)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--save-every", type=int, default=0)
parser.add_argument("--asynchronous", action="store_true", help="nobody waits for anybody")
parser.add_argument("--pause", type=float, default=0, help="seconds between two steps")
asked = parser.parse_args()

tf.config.threading.set_intra_op_parallelism_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
task = json.loads(os.environ["TF_CONFIG"])["task"]
name = f"{task['type']} {task['index']}"
print(f"{name}, process {os.getpid()}", flush=True)

if task["type"] in ("worker", "ps"):
    server = tf.distribute.Server(
        resolver.cluster_spec(), job_name=task["type"], task_index=task["index"], protocol="grpc"
    )
    print(f"{name} listens at {server.target}", flush=True)
    server.join()
    sys.exit()

strategy = tf.distribute.ParameterServerStrategy(resolver)
coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)

from utils import lessons, parity  # noqa: E402

lesson = lessons.load("18_distributed", "tensorflow")
s = lesson.SETTINGS
with strategy.scope():
    model = lesson.TFNet(s["hidden"])  # its variables are made on the parameter server
    counter = tf.Variable(0, dtype=tf.int64)
variables = parity.variables(model)
workers = len(resolver.cluster_spec().job_tasks("worker"))
print("the first kernel lives at", variables[0].device, flush=True)
parity.set_weights(model, lesson.start(s["hidden"], asked.seed))
state = tf.train.Checkpoint(model=model, step=counter)
manager = tf.train.CheckpointManager(state, str(asked.folder / "checkpoints"), max_to_keep=2)
if manager.latest_checkpoint:
    state.restore(manager.latest_checkpoint).expect_partial()
    print(f"chief: goes on from step {counter.numpy()}", flush=True)


@tf.function
def gradients(x, y):
    """Runs on a worker: fetches the weights, and sends back gradients."""
    return lesson.gradients_tf(model, x, y)


@tf.function
def whole_step(x, y):
    """Runs on a worker, which changes the weights itself, whatever the others do meanwhile."""
    for weight, gradient in zip(variables, lesson.gradients_tf(model, x, y), strict=True):
        weight.assign_sub(s["learning_rate"] / workers * gradient)


status = 1
try:
    while counter.numpy() < asked.steps:
        batch = lesson.batch(int(counter.numpy()), s["batch_size"], asked.seed)
        shards = [tuple(map(tf.constant, lesson.shard(batch, r, workers))) for r in range(workers)]
        if asked.asynchronous:
            for one in shards:
                coordinator.schedule(whole_step, one)  # returns at once
        else:
            parts = coordinator.fetch([coordinator.schedule(gradients, one) for one in shards])
            for weight, *found in zip(variables, *parts, strict=True):
                weight.assign_sub(s["learning_rate"] * sum(found) / workers)
        counter.assign_add(1)
        step = int(counter.numpy())
        print(f"chief: step {step} of {asked.steps}", flush=True)
        if asked.save_every and step % asked.save_every == 0:
            coordinator.join()
            manager.save()
        time.sleep(asked.pause)

    coordinator.join()
    asked.folder.mkdir(parents=True, exist_ok=True)
    lesson.keep(asked.folder / "weights.npz", parity.get_weights(model))
    print("chief: done", flush=True)
    status = 0
except tf.errors.UnavailableError as error:  # the parameter server is gone, and the weights with it
    print(f"UnavailableError: {str(error).splitlines()[0]}", flush=True)
finally:
    if sys.exc_info()[0]:
        traceback.print_exc()
    # At a normal end TensorFlow would go on waiting for a worker that has died meanwhile.
    sys.stdout.flush()
    os._exit(status)
