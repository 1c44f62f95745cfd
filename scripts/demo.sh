#!/usr/bin/env bash
# Brings a network of four up on this machine, makes one transfer with the
# wallet and shows it final on every node. Run by 'make testnet'. Arguments go to
# 'scripts/testnet.sh up'; DIR names another directory than .testnet.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=${DIR:-.testnet}
scripts/testnet.sh up --dir "$dir" "$@"

# Two of the funded development accounts.
network=$(scripts/testnet.sh status --json --dir "$dir")
keys=() addresses=() urls=()
rest=$network
while [[ $rest =~ \"address\":\ *\"(0x[0-9a-fA-F]{40})\",[[:space:]]*\"privateKey\":\ *\"(0x[0-9a-f]{64})\"(.*) ]]; do
  addresses+=("${BASH_REMATCH[1]}") keys+=("${BASH_REMATCH[2]}")
  rest=${BASH_REMATCH[3]}
done
rest=$network
while [[ $rest =~ \"rpc\":\ *\"([^\"]+)\"(.*) ]]; do
  urls+=("${BASH_REMATCH[1]}")
  rest=${BASH_REMATCH[2]}
done

keystore=$dir/keystore
password=$dir/keystore-password
if [[ ! -e $keystore/alice.json ]]; then
  (umask 077; echo 'development only' >"$password")
  printf '\n$ cairn account import alice --private-key-file FILE\n'
  # A pipe, not an argument: arguments are visible to every process.
  bin/cairn account import alice --private-key-file <(printf '%s\n' "${keys[0]}") --keystore "$keystore" --password-file "$password"
fi

printf '\n$ cairn send alice %s 1.5\n' "${addresses[1]}"
sent=$(bin/cairn send alice "${addresses[1]}" 1.5 --json --rpc "${urls[0]}" --keystore "$keystore" --password-file "$password")
[[ $sent =~ \"hash\":\ *\"(0x[0-9a-f]{64})\" ]]
hash=${BASH_REMATCH[1]}
[[ $sent =~ \"blockNumber\":\ *\"?([0-9a-fx]+) ]]
height=${BASH_REMATCH[1]}
printf 'transfer %s is final in block %s\n\n' "$hash" "$height"

printf '%-6s %-8s %-66s %s\n' node block hash 'state root'
seen=''
for i in "${!urls[@]}"; do
  # The node that was asked is done; the others are at most a moment behind.
  bin/cairn receipt "$hash" --wait --json --rpc "${urls[i]}" >/dev/null
  block=$(bin/cairn block "$height" --json --rpc "${urls[i]}")
  [[ $block =~ \"hash\":\ *\"(0x[0-9a-f]{64})\" ]]
  block_hash=${BASH_REMATCH[1]}
  [[ $block =~ \"stateRoot\":\ *\"(0x[0-9a-f]{64})\" ]]
  root=${BASH_REMATCH[1]}
  printf '%-6s %-8s %s %s\n' "node$i" "$height" "$block_hash" "$root"
  seen+="$block_hash $root"$'\n'
done
if [[ $(sort -u <<<"${seen%$'\n'}" | wc -l) != 1 ]]; then
  echo 'the nodes disagree: this is a bug' >&2
  exit 1
fi

cat <<TEXT

The network goes on running. What next:
  bin/cairn status                                   one screen about node0
  bin/cairn balance ${addresses[1]}
  bin/cairn send alice ${addresses[1]} 2 --keystore $keystore --password-file $password
  scripts/testnet.sh kill node3 --dir $dir     and send again: three of four go on
  scripts/testnet.sh start node3 --dir $dir    it catches up by itself
  scripts/testnet.sh add --dir $dir            one more full node
  scripts/testnet.sh down --dir $dir           stop; 'up' goes on with the same chain
A wallet such as MetaMask connects to ${urls[0]}; funded accounts are in $dir/accounts.json.
TEXT
