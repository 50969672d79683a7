#!/bin/bash
# On every host, from the root of the course, with a folder that all of them see:
#   torchrun_hosts.sh HOSTS FIRST_HOST FOLDER       for example: torchrun_hosts.sh 2 node-a /shared/run1
# Which of them is rank 0 is settled when they meet; FIRST_HOST only says where.
set -euo pipefail

hosts=$1
first=$2
folder=$3
export PYTHONPATH="$PWD"

exec torchrun \
  --nnodes "$hosts" \
  --nproc-per-node "${GPUS_PER_HOST:-1}" \
  --max-restarts 3 \
  --rdzv-id "$(basename "$folder")" \
  --rdzv-backend c10d \
  --rdzv-endpoint "$first:29500" \
  chapters/05_scale/scripts/ddp.py --folder "$folder" --steps 1000 --save-every 100
