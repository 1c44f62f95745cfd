#!/usr/bin/env bash
# Runs make targets one after the other, up to the first that fails. At the end it
# tells how long each took, and of one that failed what it said of the failure.
# Usage: scripts/stages.sh TARGET… (with variables: "TARGET NAME=VALUE")
set -uo pipefail
cd "$(dirname "$0")/.."
said=$(mktemp)
trap 'rm -f "$said"' EXIT
took=()
for stage in "$@"; do
  printf '== make %s\n' "$stage"
  begun=$SECONDS
  # shellcheck disable=SC2086 # a target and its variables
  "${MAKE:-make}" --no-print-directory $stage 2>&1 | tee "$said"
  code=${PIPESTATUS[0]}
  took+=("$stage: $((SECONDS - begun)) s")
  [[ $code == 0 ]] || break
done
printf '\n== %s\n' "${took[@]}"
[[ $code == 0 ]] && exit 0
printf '\n== make %s FAILED (exit code %s). Of what it said:\n' "$stage" "$code"
grep -nE '^ *--- FAIL|^FAIL|^panic: |^fatal error: |WARNING: DATA RACE|_test\.go:[0-9]+: |again: |[Ee]rror' "$said" | cut -c1-400 | tail -n 60
printf '== its last lines:\n'
tail -n 15 "$said" | cut -c1-400
exit "$code"
