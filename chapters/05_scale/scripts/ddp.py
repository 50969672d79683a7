"""Data parallelism in PyTorch: torchrun --nproc-per-node 2 chapters/05_scale/scripts/ddp.py.

torchrun starts the processes and tells each, in environment variables, its rank, how many there
are, and where rank 0 listens. Everything else is the loop that one process would run.
"""

import argparse
import datetime
import os
import signal
import time
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from utils import lessons, parity

parser = argparse.ArgumentParser()
parser.add_argument("--folder", type=Path, default=Path("build/ddp"))
parser.add_argument("--steps", type=int, default=20)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--save-every", type=int, default=0)
parser.add_argument("--hidden", type=int, default=32)
parser.add_argument("--hook", choices=["none", "fp16"], default="none")
parser.add_argument("--patience", type=float, default=60, help="seconds to wait for the others")
parser.add_argument("--pause", type=float, default=0, help="seconds between two steps")
asked = parser.parse_args()

lesson = lessons.load("18_distributed", "torch")
s = lesson.SETTINGS
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
gpu = torch.cuda.is_available()  # one for each process, where there are any
device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if gpu else "cpu"
backend = "nccl" if gpu else "gloo"
dist.init_process_group(backend, timeout=datetime.timedelta(seconds=asked.patience))
rank, world = dist.get_rank(), dist.get_world_size()
store = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
print(f"rank {rank} of {world}, process {os.getpid()}, met at {store}", flush=True)

model = lesson.TorchNet(asked.hidden).to(device)
parity.set_weights(model, lesson.start(asked.hidden, asked.seed))
replica = DistributedDataParallel(model)  # from here on, backward() averages the gradients
if asked.hook == "fp16":
    replica.register_comm_hook(None, default_hooks.fp16_compress_hook)
optimizer = torch.optim.SGD(model.parameters(), s["learning_rate"])

# A restarted process begins here as well: it goes on from the last checkpoint, if there is one.
kept, step = asked.folder / "checkpoint.pt", 0
if kept.exists():
    state = torch.load(kept, map_location=device)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    step = state["step"]
    print(f"rank {rank}: goes on from step {step}", flush=True)


def save():
    """Rank 0 saves; under another name first, so that no reader ever sees half a file."""
    if rank == 0:
        asked.folder.mkdir(parents=True, exist_ok=True)
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
        torch.save(state, kept.with_suffix(".part"))
        kept.with_suffix(".part").replace(kept)


leaving = False


def leave(*_):
    """SIGTERM: the machine is wanted back. Remember it; the loop saves at a step's end."""
    global leaving
    leaving = True


signal.signal(signal.SIGTERM, leave)
times = []
while step < asked.steps:
    started = time.perf_counter()
    x, y = lesson.shard(lesson.batch(step, s["batch_size"], asked.seed), rank, world)
    x, y = torch.as_tensor(x, device=device), torch.as_tensor(y, device=device)
    loss = F.cross_entropy(replica(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    times.append(time.perf_counter() - started)
    step += 1
    print(f"rank {rank}: step {step} of {asked.steps}", flush=True)
    # All leave together, or those who stay would wait for the others: one word, the largest.
    word = torch.tensor(int(leaving), device=device)
    dist.all_reduce(word, dist.ReduceOp.MAX)
    if word or (asked.save_every and step % asked.save_every == 0):
        save()
    if word:
        print(f"rank {rank}: asked to leave after step {step}, saved", flush=True)
        break
    time.sleep(asked.pause)

if rank == 0 and step == asked.steps:
    asked.folder.mkdir(parents=True, exist_ok=True)
    lesson.keep(asked.folder / "weights.npz", parity.get_weights(model))
    print(f"ms {1000 * sorted(times)[len(times) // 2]:.2f} a step", flush=True)
dist.barrier()  # nobody hangs up while another still talks
dist.destroy_process_group()
