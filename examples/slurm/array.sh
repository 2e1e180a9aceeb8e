#!/bin/bash
# The jobs of one command on the machines of a SLURM array, each with a part of them (docs/on_a_cluster.md):
#
#     sbatch examples/slurm/array.sh suite=vtab model=ViT-B/16 weights=in21k data=/shared/data out=/shared/runs/vtab
#
# Two minutes before the time limit SLURM sends SIGTERM to the run. It leaves a checkpoint and ends with exit code 143;
# the part is queued again, and goes on.
#SBATCH --job-name=vit-bench
#SBATCH --array=1-16
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-task=1
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append

parts=16  # of --array above; leave it at that where some of the array is sent again, as by `sbatch --array=3`

export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-1}"
export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}"
srun python -m bench run "$@" shard="$SLURM_ARRAY_TASK_ID/$parts"
code=$?
if [ "$code" -eq 143 ]; then
    scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
fi
exit "$code"
