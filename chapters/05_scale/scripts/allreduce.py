"""How long an all-reduce takes with gloo: torchrun --nproc-per-node 2 …/scripts/allreduce.py."""

import json
import sys
import time

import torch
import torch.distributed as dist

dist.init_process_group("gloo")
seconds = {}
for size in map(int, sys.argv[1:] or (1, 100_000, 1_000_000, 10_000_000)):
    values, times = torch.zeros(size), []
    for _ in range(6):
        dist.barrier()
        started = time.perf_counter()
        dist.all_reduce(values)
        times.append(time.perf_counter() - started)
    seconds[4 * size] = sorted(times[1:])[2]
if dist.get_rank() == 0:
    print("measured", json.dumps(seconds), flush=True)
dist.barrier()  # nobody hangs up while another still talks
dist.destroy_process_group()
