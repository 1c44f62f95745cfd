#!/usr/bin/env bash
# Lists the modules that are linked into cairnd and cairn, with their licences,
# as the table of THIRD_PARTY_NOTICES.md; --texts DIR copies their licence and
# notice files to DIR, which goes with every binary that is passed on.
#
#   scripts/notices.sh            print the table
#   scripts/notices.sh --write    put it into THIRD_PARTY_NOTICES.md
#   scripts/notices.sh --texts DIR
set -euo pipefail
cd "$(dirname "$0")/.."

programs=(./cmd/cairnd ./cmd/cairn)
page=THIRD_PARTY_NOTICES.md
begin='<!-- scripts/notices.sh --write begins here -->'

modules() {
  go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}} {{if .Indirect}}-{{else}}direct{{end}}{{end}}{{end}}' "${programs[@]}" | sort -u
}

# texts DIR: the licence and notice files of a module.
texts() {
  find "$1" -maxdepth 1 -type f \( -iname '*licen[cs]e*' -o -iname 'copying*' -o -iname 'notice*' -o -iname 'patents*' \) ! -name '*.go' | sort
}

# kind DIR: the names of the licences that the texts of a module hold.
kind() {
  local all found=()
  all=$(texts "$1" | xargs -r -d '\n' cat | tr -s ' \n\t' ' ')
  [[ $all == *'GNU LESSER GENERAL PUBLIC LICENSE'* ]] && found+=(LGPL-3.0)
  [[ $all == *'Apache License'*'Version 2.0'* || $all == *'apache.org/licenses/LICENSE-2.0'* ]] && found+=(Apache-2.0)
  [[ $all == *'Mozilla Public License'*'2.0'* ]] && found+=(MPL-2.0)
  [[ $all == *'Permission is hereby granted, free of charge'* ]] && found+=(MIT)
  [[ $all == *'Permission to use, copy, modify, and'*'distribute this software'* ]] && found+=(ISC)
  if [[ $all == *'Redistribution and use in source and binary forms'* ]]; then
    if [[ $all == *'Neither the name'* || $all == *'The names of'*'endorse'* || $all == *'may not be used to endorse'* ]]; then found+=(BSD-3-Clause); else found+=(BSD-2-Clause); fi
  fi
  ((${#found[@]})) || found=('see the module')
  local IFS='+'
  printf '%s\n' "${found[*]}" | sed 's/+/, /g'
}

# copy FROM TO: the texts of a directory.
copy() {
  local files
  mapfile -t files < <(texts "$1")
  ((${#files[@]})) || return 0
  mkdir -p "$2"
  cp -f --no-preserve=mode "${files[@]}" "$2"
}

table() {
  local path version dir direct
  printf '| module | version | licence | |\n|---|---|---|---|\n'
  modules | while read -r path version dir direct; do
    printf '| `%s` | %s | %s | %s |\n' "$path" "$version" "$(kind "$dir")" "${direct#-}"
  done
}

case ${1-} in
  '') table ;;
  --write)
    new=$(awk -v begin="$begin" '{ print } $0 == begin { exit }' "$page" && echo && table)
    [[ $new == *"$begin"* ]] || { echo "notices.sh: $page has no line '$begin'" >&2; exit 1; }
    printf '%s\n' "$new" >"$page"
    ;;
  --texts)
    out=${2:?'usage: scripts/notices.sh --texts DIR'}
    modules | while read -r path _ dir _; do copy "$dir" "$out/$path"; done
    # Code inside a module with a licence of its own, such as libsecp256k1.
    go list -deps -f '{{with .Module}}{{if not .Main}}{{$.ImportPath}} {{$.Dir}}{{end}}{{end}}' "${programs[@]}" |
      while read -r path dir; do copy "$dir" "$out/$path"; done
    secp=$(go list -f '{{.Dir}}' github.com/ethereum/go-ethereum/crypto/secp256k1)
    copy "$secp/libsecp256k1" "$out/libsecp256k1"
    ;;
  *) echo "notices.sh: unknown option $1" >&2; exit 2 ;;
esac
