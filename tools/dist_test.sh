#!/usr/bin/env bash
# Evaluate with several processes on this machine: GPUs if there are any, else CPU processes.
# usage: tools/dist_test.sh CONFIG [CHECKPOINT] PROCESSES [arguments of tools/test.py]
# Several machines: NNODES, NODE_RANK, MASTER_ADDR and PORT in the environment of each.
set -euo pipefail

usage() {
    echo "usage: $0 CONFIG [CHECKPOINT] PROCESSES [arguments of tools/test.py]" >&2
    exit 2
}

[ $# -ge 2 ] || usage
CONFIG=$1
shift
CHECKPOINT=()
if ! [[ $1 =~ ^[0-9]+$ ]]; then
    CHECKPOINT=("$1")
    shift
fi
[[ ${1:-} =~ ^[1-9][0-9]*$ ]] || usage
PROCESSES=$1
shift

TOOLS=$(dirname "$0")
export PYTHONPATH="$TOOLS/..${PYTHONPATH:+:$PYTHONPATH}"
exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$PROCESSES" \
    "$TOOLS/test.py" "$CONFIG" ${CHECKPOINT[@]+"${CHECKPOINT[@]}"} --launcher pytorch "$@"
