#!/bin/bash
# The jobs of one command on all nodes of one SLURM job, given out by Ray as workers get free (docs/on_a_cluster.md):
#
#     sbatch --nodes=4 examples/slurm/ray.sh suite=vtab model=ViT-B/16 data=/shared/data out=/shared/runs/vtab
#
# Ray (2.49 or newer) starts on every node, the command runs on the first, and Ray stops with it.
#SBATCH --job-name=vit-bench-ray
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=1
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append

export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}"
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun ray symmetric-run --address "$first:6379" --min-nodes "$SLURM_NNODES" \
    --num-cpus "$SRUN_CPUS_PER_TASK" -- \
    python -m bench run "$@" engine=ray ray=auto
code=$?
if [ "$code" -eq 143 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
