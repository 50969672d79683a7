"""Compute, fork, compute again in the child: ``fork.py FRAMEWORK SECONDS``. Does it answer?

This is what gunicorn's --preload does with a model that is warmed up before the workers are made.
"""

import os
import signal
import sys
import time

framework, seconds = sys.argv[1], float(sys.argv[2])
if framework == "tensorflow":
    import tensorflow as tf

    product = tf.function(lambda x: tf.reduce_sum(tf.nn.relu(tf.matmul(x, x)) + tf.sin(x)))
    compute = lambda: float(product(tf.ones((600, 600))))  # noqa: E731
else:
    import torch

    torch.set_num_threads(2)
    compute = lambda: float((torch.ones(600, 600) @ torch.ones(600, 600)).sin().sum())  # noqa: E731

compute()
print("the parent has computed", flush=True)
child = os.fork()
if not child:
    compute()
    print("the child has computed", flush=True)
    os._exit(0)
end = time.monotonic() + seconds
while time.monotonic() < end:
    done, _ = os.waitpid(child, os.WNOHANG)
    if done:
        sys.exit()
    time.sleep(0.05)
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
print(f"the child had to be ended: no answer in {seconds:g} s", flush=True)
