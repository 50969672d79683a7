"""Keras on PyTorch, data parallel: torchrun --nproc-per-node 2 …/scripts/keras_ddp.py.

A Keras model on this backend is a PyTorch module, so PyTorch's own engine drives it.
"""

import argparse
import os
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"
import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402
from torch.nn.parallel import DistributedDataParallel  # noqa: E402

from utils import lessons, parity  # noqa: E402

parser = argparse.ArgumentParser()
parser.add_argument("--folder", type=Path, default=Path("build/keras_ddp"))
parser.add_argument("--steps", type=int, default=20)
parser.add_argument("--seed", type=int, default=0)
asked = parser.parse_args()

lesson = lessons.load("18_distributed", "keras")
s = lesson.SETTINGS
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
dist.init_process_group("gloo")
rank, world = dist.get_rank(), dist.get_world_size()

model = lesson.KerasNet(s["hidden"])
parity.set_weights(model, lesson.start(s["hidden"], asked.seed))
replica = DistributedDataParallel(model)
optimizer = torch.optim.SGD(model.parameters(), s["learning_rate"])
loss_of = lesson.loss_keras()
for step in range(asked.steps):
    x, y = lesson.shard(lesson.batch(step, s["batch_size"], asked.seed), rank, world)
    loss = loss_of(torch.as_tensor(y), replica(torch.as_tensor(x)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

if rank == 0:
    asked.folder.mkdir(parents=True, exist_ok=True)
    lesson.keep(asked.folder / "weights.npz", parity.get_weights(model))
dist.barrier()  # nobody hangs up while another still talks
dist.destroy_process_group()
