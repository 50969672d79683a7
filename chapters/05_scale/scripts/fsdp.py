"""Each process keeps a part of every weight: torchrun --nproc-per-node 2 …/scripts/fsdp.py.

FSDP2 gathers a layer's weights when they are needed, drops them again, and sends each gradient
only to the process that keeps that part of the weight.
"""

import argparse
import os
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard
from torch.nn import functional as F

from utils import lessons, parity

parser = argparse.ArgumentParser()
parser.add_argument("--folder", type=Path, default=Path("build/fsdp"))
parser.add_argument("--steps", type=int, default=20)
parser.add_argument("--seed", type=int, default=0)
asked = parser.parse_args()

lesson = lessons.load("18_distributed", "torch")
s = lesson.SETTINGS
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
mesh = dist.device_mesh.init_device_mesh("cpu", (int(os.environ["WORLD_SIZE"]),))
rank, world = dist.get_rank(), dist.get_world_size()

model = lesson.TorchNet(s["hidden"])
parity.set_weights(model, lesson.start(s["hidden"], asked.seed))
for layer in (model.hidden, model.logits, model):  # the layers first, then what is around them
    fully_shard(layer, mesh=mesh)
optimizer = torch.optim.SGD(model.parameters(), s["learning_rate"])  # after the weights are cut

kernel = model.hidden.weight
mine = sum(p.to_local().numel() for p in model.parameters())
print(
    f"rank {rank}: {tuple(kernel.shape)} held as {tuple(kernel.to_local().shape)}, "
    f"{mine} of {sum(p.numel() for p in model.parameters())} numbers",
    flush=True,
)
for step in range(asked.steps):
    x, y = lesson.shard(lesson.batch(step, s["batch_size"], asked.seed), rank, world)
    loss = F.cross_entropy(model(torch.as_tensor(x)), torch.as_tensor(y))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

whole = {name: part.full_tensor() for name, part in model.state_dict().items()}  # an all-gather
if rank == 0:
    complete = lesson.TorchNet(s["hidden"])
    complete.load_state_dict(whole)
    asked.folder.mkdir(parents=True, exist_ok=True)
    lesson.keep(asked.folder / "weights.npz", parity.get_weights(complete))
dist.barrier()  # nobody hangs up while another still talks
dist.destroy_process_group()
