#!/usr/bin/env bash
# cast, Foundry's command line: one process a call. It has no batches. Run by
# scripts/clients.sh, which names the networks in CLIENTS_….
set -uo pipefail
cd "$(dirname "$0")"

# The program itself: @foundry-rs/cast wraps it, and loses its exit code.
program=node_modules/@foundry-rs/cast-linux-amd64/bin/cast
[[ -x $program ]] || { echo "cast.sh: no $program: this suite needs Linux on amd64" >&2; exit 1; }
cast() { timeout 30 "$program" "$@"; }
version=$(cast --version | sed -n '1s/.*: //p')

registry=0x000000000000000000000000000000000000ca10
missing=0x$(printf '9%.0s' {1..64})
passed=0 failed=0 expected=76 # checks of both networks

# equal TITLE HAVE WANT
equal() {
  if [[ $2 == "$3" ]]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    printf 'FAIL cast %s: %s: %s: have %s, want %s\n' "$version" "$kind" "$1" "$2" "$3" >&2
  fi
}

# refused TITLE TEXT CAST-ARGUMENTS…: it fails and says why
refused() {
  local title=$1 text=$2 said code
  shift 2
  said=$(cast "$@" 2>&1)
  code=$?
  [[ $code != 0 && $said == *"$text"* ]] && said=$text
  equal "$title" "$said" "$text"
}

field() { grep -o "\"$1\":\"[^\"]*\"" | cut -d '"' -f 4; } # of JSON on one line

# transfer TITLE TYPE CAST-ARGUMENTS…
transfer() {
  local title=$1 type=$2 before receipt price
  shift 2
  before=$(cast balance "$from")
  receipt=$(cast send --json --private-key "$key" "$to" --value 7wei "$@")
  equal "$title: type" "$(field type <<<"$receipt")" "$type"
  equal "$title: status" "$(field status <<<"$receipt")" 0x1
  price=$(($(field effectiveGasPrice <<<"$receipt")))
  equal "$title: is free" "$((price == 0))" "$free"
  # Whole balances are beyond the shell's numbers; what one transfer takes is not.
  equal "$title: paid" "$(minus "$before" "$(cast balance "$from")")" "$(($(field gasUsed <<<"$receipt") * price + 7))"
}

minus() { # A B, with A - B below 2^62 and A below 10^36
  local a=$1 b=$2 high low
  a=$(printf '%036d' 0)$a b=$(printf '%036d' 0)$b
  a=${a: -36} b=${b: -36}
  high=$((10#${a:0:18} - 10#${b:0:18})) low=$((10#${a:18} - 10#${b:18}))
  echo $((high * 1000000000000000000 + low))
}

run() { # KIND URL DIR
  kind=$1 dir=$3
  export ETH_RPC_URL=$2
  local ws=ws${2#http} accounts chain i
  free=$([[ $kind == free ]] && echo 1 || echo 0)
  accounts=$(tr -d ' \n' <"$dir/accounts.json")
  from=$(field address <<<"$accounts" | sed -n 4p)
  key=$(field privateKey <<<"$accounts" | sed -n 4p)
  to=0x$(printf '%040x' $((RANDOM * RANDOM + 1000000)))
  chain=$(tr -d ' \n' <"$dir/testnet.json" | grep -o '"chainId":[0-9]*' | cut -d : -f 2)

  equal 'connects' "$(cast chain-id)" "$chain"
  equal 'connects over WebSocket' "$(cast chain-id --rpc-url "$ws")" "$chain"
  equal 'no code' "$(cast code "$to")" 0x
  equal 'gas price is 0' "$(($(cast gas-price) == 0))" "$free"
  equal 'gas of a transfer' "$(cast estimate "$to" --value 1wei --from "$from")" 21000

  i=$(cast nonce "$from")
  transfer legacy 0x0 --legacy
  transfer EIP-2930 0x1 --legacy --access-list "[{\"address\":\"$to\",\"storageKeys\":[\"$missing\"]}]"
  transfer EIP-1559 0x2
  equal 'received' "$(cast balance "$to")" 21
  equal 'received, at block 0' "$(cast balance "$to" --block 0)" 0
  equal 'nonce' "$(cast nonce "$from")" "$((i + 3))"
  ETH_RPC_URL=$ws transfer 'EIP-1559 over WebSocket' 0x2

  refused 'insufficient funds' 'insufficient funds for gas * price + value' send --private-key "$key" "$to" --value 1000000000000000ether --gas-limit 21000
  refused 'nonce too low' 'error code -32000: nonce too low' send --private-key "$key" "$to" --value 1wei --nonce 0 --gas-limit 21000
  refused 'call of the registry' 'error code 3: execution reverted: no such method' call "$registry" 0x12345678
  refused 'transaction to the registry' 'error code 3: execution reverted: no such method' send --private-key "$key" "$registry" 0x12345678
  refused 'unknown method' 'error code -32601' rpc eth_nope
  refused 'unknown transaction' 'tx not found' receipt --async "$missing"

  for i in latest 0 1; do
    equal "header hash recomputed: $i" "$(cast block "$i" --raw | cast keccak)" "$(cast block "$i" --field hash)"
  done
  i=$(cast block-number)
  for account in "$from" "$to" "0x$(printf '%040x' "$RANDOM$RANDOM")"; do
    equal "account proof of $account" "$(cast proof "$account" --block "$i" | node proof.mjs "$(cast block "$i" --field stateRoot)" "$account" 2>&1 && echo proven)" proven
  done

  equal 'proof of the registry and its storage' "$(cast proof "$registry" 0x1 0x3 0x63 --block "$i" | node proof.mjs "$(cast block "$i" --field stateRoot)" "$registry" 2>&1 && echo proven)" proven

  i=$(cast rpc --rpc-url "$ws" eth_subscribe newHeads)
  equal 'subscription over WebSocket' "$([[ $i =~ ^\"0x[0-9a-f]+\"$ ]] && echo made || echo "$i")" made
}

run fees "$CLIENTS_FEES_RPC" "$CLIENTS_FEES_DIR"
run free "$CLIENTS_FREE_RPC" "$CLIENTS_FREE_DIR"
((passed + failed == expected)) || equal 'checks that were made' "$((passed + failed))" "$expected"
printf 'cast %s: %d passed, %d failed\n' "$version" "$passed" "$failed"
((failed == 0))
