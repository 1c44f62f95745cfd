#!/usr/bin/env bash
# A private network on this machine: real cairnd processes on loopback.
# Needs Linux, bash and coreutils, and bin/cairnd ('make build').
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: scripts/testnet.sh VERB [options]

  up [-n 4] [--rpc-base 8545] [--p2p-base 30303] [--json] [-- INIT-FLAGS]
                   make the network, or resume it; ends when all nodes are
                   connected and a block is final. INIT-FLAGS go to
                   'cairnd testnet init', such as --heartbeat 0s
  status [--json]  show nodes and accounts
  kill NAME        SIGKILL a node
  stop NAME        stop a node cleanly
  start NAME       start a node; ends when its RPC answers
  restart [NAME]   stop a node cleanly and start it, or all of them
  add              add a full node; ends when it is synced; prints its name
  logs NAME [-f]   show a node's log
  down             stop all nodes; the data stays
  reset            stop all nodes and delete the network

Every verb takes --dir DIR (default ./.testnet). Options stand anywhere.
up, start, restart and add take --timeout SECONDS (default 120).
CAIRND names another cairnd than bin/cairnd.
TEXT
}

fail() { printf 'testnet.sh: %s\n' "$*" >&2; exit 1; }
misuse() { printf "testnet.sh: %s\ntry 'scripts/testnet.sh --help'\n" "$*" >&2; exit 2; }

# ---- command line ----------------------------------------------------------

verb='' name='' dir=./.testnet timeout=120 json=0 follow=0
init_flags=() given=()

parse() {
  local arg value
  while (($#)); do
    arg=$1
    shift
    case $arg in
      --) init_flags+=("$@"); given+=(--); break ;;
      -h | --help) usage; exit 0 ;;
      --json) json=1; given+=("$arg") ;;
      -f | --follow) follow=1; given+=(-f) ;;
      -n | --n | --dir | --rpc-base | --p2p-base | --timeout)
        (($#)) || misuse "$arg needs a value"
        option "$arg" "$1"
        shift
        ;;
      -n=* | --n=* | --dir=* | --rpc-base=* | --p2p-base=* | --timeout=*)
        value=${arg#*=}
        option "${arg%%=*}" "$value"
        ;;
      -n[0-9]*) option -n "${arg#-n}" ;;
      -*) misuse "unknown option $arg" ;;
      *)
        if [[ -z $verb ]]; then
          verb=$arg
        elif [[ -z $name ]]; then
          name=$arg
        else
          misuse "unexpected argument '$arg'"
        fi
        ;;
    esac
  done
}

option() {
  local key=${1/#--n/-n} value=$2
  case $key in
    --dir)
      [[ -n $value ]] || misuse "--dir needs a value"
      dir=$value
      return
      ;;
  esac
  [[ $value =~ ^[1-9][0-9]{0,5}$ ]] || misuse "$key '$value': want a whole number above 0"
  given+=("$key")
  case $key in
    --timeout) timeout=$value ;;
    *) init_flags+=("$key" "$value") ;;
  esac
}

# allow OPTION…: every given option is one of these.
allow() {
  local g a ok
  for g in ${given[@]+"${given[@]}"}; do
    ok=0
    for a in "$@"; do [[ $g == "$a" ]] && ok=1; done
    ((ok)) || misuse "$verb takes no $g"
  done
}

want_name() { [[ -n $name ]] || misuse "$verb needs the NAME of a node"; }
want_no_name() { [[ -z $name ]] || misuse "unexpected argument '$name'"; }

# ---- processes -------------------------------------------------------------

# start_time PID: when it started, in clock ticks since boot (field 22 of
# /proc/PID/stat); fails if there is no such process, or only its zombie. A pid
# is somebody else's after a while; a pid with its start time is not.
start_time() {
  local stat fields
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  read -r -a fields <<<"${stat##*) }" # the program's name in () may hold anything
  [[ ${fields[0]} != [ZX] ]] || return 1
  printf '%s\n' "${fields[19]}"
}

boot_id() { cat /proc/sys/kernel/random/boot_id; }

# identity PID: what identifies a process for ever.
identity() {
  local start
  start=$(start_time "$1") || return 1
  printf '%s %s %s\n' "$1" "$start" "$(boot_id)"
}

same_process() { # IDENTITY
  [[ $1 =~ ^[1-9][0-9]*\  ]] && [[ $(identity "${1%% *}") == "$1" ]]
}

# running NAME: sets pid, or fails.
running() {
  local line=''
  pid=''
  read -r line 2>/dev/null <"$dir/$1/cairnd.pid" || return 1
  same_process "$line" || return 1
  pid=${line%% *}
}

write_pid() { # NAME PID
  local line
  line=$(identity "$2") || return 0 # it has ended already
  printf '%s\n' "$line" >"$dir/$1/cairnd.pid.$BASHPID"
  mv -f "$dir/$1/cairnd.pid.$BASHPID" "$dir/$1/cairnd.pid"
}

launched=()

# launch NAME: starts a node and returns when its pid file is there. An interrupt
# in between waits, so that no node runs that on_exit does not know.
launch() {
  local child i interrupted=0
  trap 'interrupted=130' INT
  trap 'interrupted=143' TERM HUP
  rm -f "$dir/$1/cairnd.pid"
  launched+=("$1")
  set -m # a process group of its own: an interrupt of this script is not for it
  (
    trap - EXIT INT TERM HUP
    write_pid "$1" "$BASHPID" # before exec: no node runs without its pid file
    exec nohup "$cairnd" run --home "$dir/$1"
  ) </dev/null >>"$dir/$1/cairnd.log" 2>&1 &
  child=$!
  set +m
  for ((i = 0; i < 500; i++)); do
    if [[ -e $dir/$1/cairnd.pid ]] || ! kill -0 "$child" 2>/dev/null; then break; fi
    sleep 0.01 || true
  done
  disown "$child" 2>/dev/null || true
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  ((!interrupted)) || exit "$interrupted"
}

signal() { # SIGNAL NAME
  if running "$2"; then kill "-$1" "$pid" 2>/dev/null || true; fi
}

# gone NAME TENTHS: waits for the end of a process.
gone() {
  local i
  for ((i = 0; i < $2; i++)); do
    running "$1" || return 0
    sleep 0.1
  done
  ! running "$1"
}

# end NAME…: SIGTERM to all, then wait; SIGKILL to who does not stop.
end() {
  local n bad=0
  for n in "$@"; do signal TERM "$n"; done
  for n in "$@"; do
    if ! gone "$n" 100; then
      printf 'testnet.sh: %s did not stop within 10 s and is killed\n' "$n" >&2
      signal KILL "$n"
      gone "$n" 50 || fail "$n does not end"
      bad=1
    fi
    rm -f "$dir/$n/cairnd.pid"
  done
  return "$bad"
}

# ---- the network -----------------------------------------------------------

nodes() {
  local i
  for ((i = 0; i < 200; i++)); do
    [[ ! -e $dir/node$i/config.toml ]] || printf 'node%d\n' "$i"
  done
}

exists() { [[ -f $dir/testnet.json ]] || fail "$dir holds no testnet: make one with 'scripts/testnet.sh up --dir $dir'"; }

known() {
  exists
  [[ $name =~ ^node[0-9]+$ && -e $dir/$name/config.toml ]] || fail "no node '$name' in $dir: it has $(nodes | paste -sd ' ')"
}

# One verb at a time changes what runs. The lock is a symbolic link, which is
# made in one step together with its text: the holder's identity.
lock() {
  local me holder
  me=$(identity $$)
  until ln -s "$me" "$dir/.lock" 2>/dev/null; do
    holder=$(readlink "$dir/.lock") || continue
    same_process "$holder" || mv -T "$dir/.lock" "$dir/.lock.dead" 2>/dev/null || true
    sleep 0.05
  done
  locked=1
}

unlock() {
  ((locked)) || return 0
  rm -f "$dir/.lock"
  locked=0
}
locked=0

# A verb that fails or is interrupted leaves none of the nodes it started.
on_exit() {
  local code=$?
  trap '' INT TERM HUP
  unlock
  if ((code)) && ((${#launched[@]})); then
    printf 'testnet.sh: stopping %s again; the logs are in %s\n' "${launched[*]}" "$dir" >&2
    end "${launched[@]}" || true
  fi
  exit "$code"
}

wait_until() { # STATE [NAME…]
  local state=$1
  shift
  testnet wait --dir "$dir" --until "$state" --timeout "${timeout}s" "$@"
}

testnet() { "$cairnd" testnet "$@"; }

# ---- verbs -----------------------------------------------------------------

verb_up() {
  want_no_name
  allow -n --rpc-base --p2p-base --json --timeout --
  testnet init --resume --check-ports --dir "$dir" ${init_flags[@]+"${init_flags[@]}"} >&2
  local all n down=()
  mapfile -t all < <(nodes)
  lock
  for n in "${all[@]}"; do running "$n" || down+=("$n"); done
  if ((${#down[@]})); then
    testnet ports --dir "$dir" "${down[@]}"
    for n in "${down[@]}"; do launch "$n"; done
  fi
  unlock
  wait_until ready
  show
  ((json)) || hint
}

show() {
  if ((json)); then testnet status --dir "$dir" --json; else testnet status --dir "$dir"; fi
}

hint() {
  local at=''
  [[ $dir == ./.testnet ]] || at=" --dir $dir"
  printf '\nThe network runs. scripts/testnet.sh status|kill NAME|start NAME|restart|add|logs NAME|down|reset%s\n' "$at"
}

verb_status() {
  want_no_name
  allow --json
  exists
  show
}

verb_kill() {
  want_name
  allow
  known
  lock
  running "$name" || printf 'testnet.sh: %s does not run\n' "$name" >&2
  signal KILL "$name"
  gone "$name" 100 || fail "$name does not end"
  rm -f "$dir/$name/cairnd.pid"
}

verb_stop() {
  want_name
  allow
  known
  lock
  running "$name" || printf 'testnet.sh: %s does not run\n' "$name" >&2
  end "$name"
}

verb_start() {
  want_name
  allow --timeout
  known
  lock
  if ! running "$name"; then
    testnet ports --dir "$dir" "$name"
    launch "$name"
  fi
  unlock
  wait_until rpc "$name"
}

verb_restart() {
  allow --timeout
  exists
  local which n
  mapfile -t which < <(nodes)
  if [[ -n $name ]]; then
    known
    which=("$name")
  fi
  lock
  end "${which[@]}" || true # who had to be killed was named
  testnet ports --dir "$dir" "${which[@]}"
  for n in "${which[@]}"; do launch "$n"; done
  unlock
  if [[ -n $name ]]; then wait_until rpc "$name"; else wait_until ready; fi
}

verb_add() {
  want_no_name
  allow --timeout
  exists
  local n any=0
  for n in $(nodes); do ! running "$n" || any=1; done
  ((any)) || fail "no node of $dir runs, so a new one could not sync: start them with 'scripts/testnet.sh up --dir $dir'"
  lock
  name=$(testnet add --dir "$dir")
  testnet ports --dir "$dir" "$name"
  launch "$name"
  unlock
  wait_until synced "$name"
  printf '%s\n' "$name"
}

verb_logs() {
  want_name
  allow -f
  known
  if ((follow)); then exec tail -n +1 -f "$dir/$name/cairnd.log"; fi
  cat "$dir/$name/cairnd.log"
}

verb_down() {
  want_no_name
  allow
  exists
  lock
  local all
  mapfile -t all < <(nodes)
  end "${all[@]}"
}

verb_reset() {
  want_no_name
  allow
  [[ -e $dir ]] || return 0
  exists
  lock
  local all
  mapfile -t all < <(nodes)
  end "${all[@]}" || true
  rm -rf -- "$dir"
  locked=0
}

parse "$@"
case $verb in
  up | status | kill | stop | start | restart | add | logs | down | reset) ;;
  '') usage >&2; exit 2 ;;
  *) misuse "unknown verb '$verb'" ;;
esac

# A setting meant for one node would reach all of them.
for variable in "${!CAIRN_@}"; do
  [[ $variable == CAIRN_LOG_* ]] || unset "$variable"
done
cairnd=${CAIRND:-$(dirname "${BASH_SOURCE[0]}")/../bin/cairnd}
[[ -x $cairnd ]] || fail "no program $cairnd: run 'make build'"

trap on_exit EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
"verb_$verb"
