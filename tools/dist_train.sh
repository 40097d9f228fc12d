#!/usr/bin/env bash
# Train or evaluate with several processes on this machine: GPUs if there are any, else CPU processes.
# usage: tools/dist_train.sh CONFIG PROCESSES [arguments of tools/train.py]
#        tools/dist_test.sh CONFIG [CHECKPOINT] PROCESSES [arguments of tools/test.py]
# dist_test.sh is a link to this file, which does what the name says that it was called by.
# Several machines: NNODES, NODE_RANK, MASTER_ADDR and PORT in the environment of each.
set -euo pipefail

TASK=$(basename "$0" .sh)
TASK=${TASK#dist_}

usage() {
    words='CONFIG PROCESSES'
    [ "$TASK" = train ] || words='CONFIG [CHECKPOINT] PROCESSES'
    echo "usage: $0 $words [arguments of tools/$TASK.py]" >&2
    exit 2
}

[ $# -ge 2 ] || usage
FILES=("$1")
shift
if [ "$TASK" = test ] && ! [[ $1 =~ ^[0-9]+$ ]]; then
    FILES+=("$1")
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
    "$TOOLS/$TASK.py" "${FILES[@]}" --launcher pytorch "$@"
