#!/usr/bin/env bash
# Train or evaluate on a slurm cluster, one process a GPU.
# usage: tools/slurm_train.sh PARTITION JOB_NAME CONFIG [arguments of tools/train.py]
#        tools/slurm_test.sh PARTITION JOB_NAME CONFIG [CHECKPOINT] [arguments of tools/test.py]
# slurm_test.sh is a link to this file, which does what the name says that it was called by.
# Environment: GPUS (all), GPUS_PER_NODE, CPUS_PER_TASK, SRUN_ARGS (more words for srun).
set -euo pipefail

TASK=$(basename "$0" .sh)
TASK=${TASK#slurm_}

if [ $# -lt 3 ]; then
    words='PARTITION JOB_NAME CONFIG'
    [ "$TASK" = train ] || words="$words [CHECKPOINT]"
    echo "usage: $0 $words [arguments of tools/$TASK.py]" >&2
    exit 2
fi
PARTITION=$1
JOB_NAME=$2
shift 2
GPUS=${GPUS:-8}
GPUS_PER_NODE=${GPUS_PER_NODE:-$((GPUS < 8 ? GPUS : 8))}

TOOLS=$(dirname "$0")
export PYTHONPATH="$TOOLS/..${PYTHONPATH:+:$PYTHONPATH}"
# SRUN_ARGS is meant to be split into words.
# shellcheck disable=SC2086
exec srun --partition="$PARTITION" \
    --job-name="$JOB_NAME" \
    --gres=gpu:"$GPUS_PER_NODE" \
    --ntasks="$GPUS" \
    --ntasks-per-node="$GPUS_PER_NODE" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" \
    --kill-on-bad-exit=1 \
    ${SRUN_ARGS:-} \
    "${PYTHON:-python}" -u "$TOOLS/$TASK.py" "$@" --launcher slurm
