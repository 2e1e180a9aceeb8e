#!/usr/bin/env bash
# What holds on a GPU, in one go: exactness, throughput beside timm, fine-tuning, few-shot features and probe, the tests
# that need one. Steps run in order of worth, each in a process and with a time limit of its own; one that fails stops no
# other. docs/gpu.md says how to read what comes out.
#
#   tests/gpu/run.sh                    everything, at most 5 minutes on one large GPU
#   SCALE=tiny tests/gpu/run.sh         the same steps on small networks: a minute or two on 2 cores, without a GPU
#   STEPS=throughput,fewshot tests/gpu/run.sh                   these alone
#   OUT=DIR                             where results.json, table.txt and log.txt go; else a new folder, which is told
#   WHEELS=DIR                          wheels of Python packages that the machine lacks (OmegaConf, say); else the
#                                       folder tests/gpu/wheels, where there is one. They are unpacked into a temporary
#                                       folder: the machine's own packages stay as they are, and no network is used.
#   PYTHON=python3.12  DEVICE=cpu       the interpreter; the device, else a GPU if there is one
#   DEADLINE=300                        seconds after which no step begins and none goes on
#
# The clone is used as it lies there, installed or not. Exit code: 0 all steps are ok, 1 one is not, 2 nothing was run.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-python3}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

wheels=${WHEELS:-}
if [ -z "$wheels" ] && [ -d "$here/wheels" ]; then wheels=$here/wheels; fi
if [ -n "$wheels" ]; then
  if ! compgen -G "$wheels/*.whl" >/dev/null; then
    echo "WHEELS=$wheels: there are no wheels (*.whl) in this folder" >&2
    exit 2
  fi
  "$python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-compile --no-cache-dir \
    --target "$scratch/site" "$wheels"/*.whl || { echo "WHEELS=$wheels: pip could not unpack these wheels" >&2; exit 2; }
fi

mkdir "$scratch/clone"
ln -s "$(dirname "$(dirname "$here")")" "$scratch/clone/vit_bench"  # this clone, also where another one is installed
export PYTHONPATH="$scratch/clone:$scratch/site${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
if ! missing=$("$python" -c 'import omegaconf, torch' 2>&1); then
  echo "${missing##*$'\n'}. Put a wheel of it into a folder (pip download --no-deps -d DIR PACKAGE, where there is a" >&2
  echo "network) and type WHEELS=DIR $0" >&2
  exit 2
fi
export SCRATCH="$scratch" BENCH_CACHE="$scratch/cache" BENCH_OFFLINE=1
"$python" "$here/run_steps.py"
