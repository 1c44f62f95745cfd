#!/usr/bin/env bash
# Wallet clients that people use (ethers, viem, web3.js, cast, go-ethereum's
# ethclient), and the calls of those that cannot run here (MetaMask, Hardhat,
# Otterscan), against two real networks of four, one with fees and one without. Run
# by 'make clients'. Needs Go, Node.js, npm and bin/cairnd ('make build').
# SKIP_CLIENTS=1 skips it.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { printf 'clients.sh: %s\n' "$*" >&2; exit 1; }

if [[ ${SKIP_CLIENTS:-} == 1 ]]; then
  echo 'clients.sh: SKIPPED, because SKIP_CLIENTS=1: no wallet client was tried'
  exit 0
fi
for program in go node npm; do
  command -v "$program" >/dev/null || fail "no $program: install Go, and Node.js 20 or newer with npm, or set SKIP_CLIENTS=1"
done
(($(node -p 'process.versions.node.split(".")[0]') >= 20)) || fail "Node.js $(node --version) is too old: 20 or newer is needed"

dir=$(mktemp -d)
clean_up() {
  local code=$?
  trap '' INT TERM HUP
  for kind in fees free; do
    [[ ! -e $dir/$kind/testnet.json ]] || scripts/testnet.sh reset --dir "$dir/$kind" || true
  done
  rm -rf -- "$dir"
  exit "$code"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

(cd clients && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) >"$dir/npm.log" 2>&1 ||
  { cat "$dir/npm.log" >&2; fail 'npm ci failed in clients/'; }

base=0
# network KIND INIT-FLAGS…: on ports that are free, the first of which is $base.
network() {
  local kind=$1 try
  shift
  for ((try = 0; try < 20; try++)); do
    base=$((10000 + RANDOM % 20000 / 10 * 10))
    if scripts/testnet.sh up --dir "$dir/$kind" -n 4 --rpc-base "$base" --p2p-base "$((base + 4))" -- "$@" >"$dir/up.log" 2>&1; then
      return
    fi
    rm -rf -- "${dir:?}/$kind"
  done
  cat "$dir/up.log" >&2
  fail "no network comes up"
}
network fees
export CLIENTS_FEES_DIR=$dir/fees CLIENTS_FEES_RPC=http://127.0.0.1:$base
network free --free
export CLIENTS_FREE_DIR=$dir/free CLIENTS_FREE_RPC=http://127.0.0.1:$base

passed=0 failed=0 broken=0
for suite in 'node clients/ethers.mjs' 'node clients/viem.mjs' 'node clients/web3.mjs' clients/cast.sh 'go run ./clients/ethclient' 'node clients/calls.mjs'; do
  code=0
  # Words are split on purpose. A suite that hangs or dies has no line of counts;
  # one that made fewer checks than it has counts a failure.
  # shellcheck disable=SC2086
  said=$(timeout 300 $suite) || code=$?
  if [[ $said =~ \ ([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
    passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2]))
    printf '%s\n' "$said"
    ((code == 0 || BASH_REMATCH[2] > 0)) || broken=$((broken + 1))
  else
    broken=$((broken + 1))
    printf '%s\n%s: did not end as a suite does: exit code %d\n' "$said" "$suite" "$code"
  fi
done
printf 'clients: %d passed, %d failed' "$passed" "$failed"
((broken == 0)) || printf ', %d suites broken' "$broken"
printf '\n'
((failed == 0 && broken == 0 && passed > 0))
