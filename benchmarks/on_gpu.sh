#!/usr/bin/env bash
# All that is to be found out with a GPU, in a quarter of an hour, from a checkout, with torch and Triton alone:
#   benchmarks/on_gpu.sh [PART...]     parts as `python -m benchmarks.on_gpu --help` lists them, and `tests`; all by default
# Rows go to $OUT/gpu.jsonl (default out/gpu) as they are found. A part that fails or takes too long loses only its own rest, so two calls
# may share the parts. SECONDS_IN_ALL (default 840) ends the last one; PYTHON names the Python; REHEARSE=1 tries it without a GPU.
set -uo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
output=${OUT:-out/gpu}
end=$((SECONDS + ${SECONDS_IN_ALL:-840}))
rehearse=()
[ "${REHEARSE:-0}" = 1 ] && rehearse=(--rehearse)
declare -A limit=([compile]=120 [equality]=120 [tests]=120 [auto]=60 [float32]=90 [float16]=70 [tf32]=60 [bfloat16]=60 [choices]=90 [steps]=100 [ride]=60 [jax]=120)
parts=("$@")
[ "${#parts[@]}" -gt 0 ] || parts=(compile equality tests auto float32 float16 tf32 bfloat16 choices steps ride jax)

mkdir -p "$output"
export PYTHONPATH="src:.${PYTHONPATH:+:$PYTHONPATH}"
export SPATIAL_LSTM_CPP="${SPATIAL_LSTM_CPP:-0}" # nothing is compiled for the CPU
failed=0
for part in "${parts[@]}"; do
    left=$((end - SECONDS))
    seconds=${limit[$part]:-60}
    [ "$seconds" -le "$left" ] || seconds=$left
    if [ "$seconds" -lt 10 ]; then
        echo "$part: no time is left"
        failed=1
        continue
    fi
    command=(benchmarks.on_gpu "$part" --output "$output/gpu.jsonl" "${rehearse[@]}")
    # of the tests of CUDA those of what no other part looks at; without a GPU they skip themselves
    [ "$part" != tests ] || command=(pytest -q -p no:benchmark -k "bitwise or captured or compiled or tile" tests/test_cuda.py)
    timeout --kill-after=10 "$seconds" "$python" -m "${command[@]}" ||
        { echo "$part: ended with status $? (124: after its $seconds seconds); rows so far are kept"; failed=1; }
done
exit "$failed"
