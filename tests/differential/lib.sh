# shellcheck shell=bash disable=SC2034,SC2154 # one program with `run`, and what it sets
# What the scenarios share: waiting, saying and judging, processes, and HTTP by bash alone.
#
# Functions that find something leave it in a variable, since a subshell costs milliseconds:
# `ask` in $answer and $pid, `workers_of` in $workers, `find_ours` in $ours, `elapsed` in $ms.

# ---- the stage

# Where everything happens, in $root; and the program, where `nobody` can execute it.
make_root() {
  trap 'exit 143' TERM INT
  trap '' PIPE # a client whose server is gone is told by the write
  root=$(mktemp -d "${TMPDIR:-/tmp}/forkmesh-$(basename "$here").XXXXXX")
  chmod 755 "$root"
  mkdir "$root/bin" "$root/ports"
  cp -- "$HTTPD" "$root/bin/httpd"
  HTTPD=$root/bin/httpd
  : >"$root/failures"
  mkfifo "$root/never"
  exec {never}<>"$root/never"
}

# Runs one half of a scenario in this subshell: in a directory of its own, and with an end to all
# that it started. Its lines go to stdout.
run_half() {
  scenario=$1 half=$2 dir=$root/$1.$2
  mkdir "$dir"
  chmod 755 "$dir"
  trap 'exit 143' TERM INT
  trap 'end_ours' EXIT
  "${scenario}_$half"
}

# ---- time

# Until a command succeeds, tried every few milliseconds; fails after so many seconds.
wait_until() {
  local deadline=$((${EPOCHREALTIME/[.,]/} + $1 * 1000000))
  shift
  until "$@"; do
    ((${EPOCHREALTIME/[.,]/} < deadline)) || return 1
    pause 0.005
  done
}

# The same for what a scenario rests on: without it there is no result.
need() {
  wait_until "$@" && return
  echo "waited for $1 s in vain: ${*:2}" >&2
  exit 1
}

# For so many milliseconds a command keeps succeeding.
holds_for() {
  local deadline=$((${EPOCHREALTIME/[.,]/} + $1 * 1000))
  shift
  while ((${EPOCHREALTIME/[.,]/} < deadline)); do
    "$@" || return 1
    pause 0.02
  done
}

# Lets time pass; nothing is ever written there.
pause() {
  read -r -t "$1" -u "$never" || :
}

# From here on it is counted.
mark() {
  marked=${EPOCHREALTIME/[.,]/}
}

# How many milliseconds have gone by since.
elapsed() {
  ms=$(((${EPOCHREALTIME/[.,]/} - marked) / 1000))
}

# ---- saying and judging

say() {
  printf '  %-6s %s\n' "$half" "$*"
}

fail() {
  printf '  FAILED %s\n' "$2"
  printf '%s: %s\n' "$1" "$2" >>"$root/failures"
}

# A sentence that must be true, and the command that succeeds if it is; $held is yes or no.
expect() {
  local sentence=$1
  shift
  held=yes
  "$@" || held=no
  [[ $held == yes ]] || fail "$scenario" "$sentence"
}

# ---- processes

# Neither gone nor a zombie.
alive() {
  local stat
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
  [[ ${stat##*) } != [ZX]* ]]
}

gone() {
  ! alive "$1"
}

all_gone() {
  local one
  for one in "$@"; do
    gone "$one" || return 1
  done
}

# How many of these live.
count_alive() {
  local one
  living=0
  for one in "$@"; do
    if alive "$one"; then
      living=$((living + 1))
    fi
  done
}

# The children of a master that live.
workers_of() {
  local list='' one
  workers=()
  { read -r list <"/proc/$1/task/$1/children"; } 2>/dev/null || :
  for one in $list; do
    if alive "$one"; then
      workers+=("$one")
    fi
  done
}

has_workers() {
  workers_of "$1"
  ((${#workers[@]} == $2))
}

# What this half of the scenario has started: their stderr is a file in its directory.
find_ours() {
  local link
  ours=()
  while IFS= read -r link; do
    link=${link#/proc/}
    ours+=("${link%%/*}")
  done < <(find /proc/[0-9]*/fd/2 -maxdepth 0 -lname "$dir/*" 2>/dev/null)
}

none_of_ours() {
  find_ours
  ((${#ours[@]} == 0))
}

# Ends whatever this half has started. A master may fork while it is looked for: until none is left.
end_ours() {
  local deadline=$((${EPOCHREALTIME/[.,]/} + 10000000))
  find_ours
  while ((${#ours[@]} > 0 && ${EPOCHREALTIME/[.,]/} < deadline)); do
    kill -KILL "${ours[@]}" 2>/dev/null || :
    find_ours
  done
}

# Root has no limit of processes: what is to have one runs as nobody; sets $as_nobody.
nobody_owns_dir() {
  as_nobody=()
  if ((EUID == 0)); then
    as_nobody=(setpriv --reuid 65534 --regid 65534 --clear-groups)
    chown 65534:65534 "$dir"
  fi
}

# The limits of a process, which a user may change of its own processes; root's own right to change
# those of others is not everywhere.
limits_of() {
  local uid as_owner=()
  uid=$(awk '/^Uid:/ { print $2 }' "/proc/$1/status")
  if ((EUID == 0 && uid != 0)); then
    as_owner=(setpriv --reuid "$uid" --regid 65534 --clear-groups)
  fi
  ${as_owner[@]+"${as_owner[@]}"} prlimit --pid "$@"
}

# No process more for this one; and again as many as it may have.
forbid_forks() {
  limits_of "$1" --nproc=1:
}

allow_forks() {
  local hard
  hard=$(limits_of "$1" --nproc --output HARD --noheadings --raw)
  limits_of "$1" --nproc="$hard:"
}

# The number of lines of a file with this in it; 0 where there is no file.
count_lines() {
  lines=$(cat -- "${@:2}" 2>/dev/null | grep -cE -- "$1" || :)
}

has_lines() {
  count_lines "$2" "${@:3}"
  ((lines >= $1))
}

# ---- HTTP

# A port of loopback where nobody listens, outside of what the kernel gives to clients, and given to
# nobody else here; in $port.
free_port() {
  local hex
  while :; do
    port=$((20000 + RANDOM % 12000))
    printf -v hex ':%04X ' "$port"
    grep -qF -- "$hex" /proc/net/tcp /proc/net/tcp6 2>/dev/null && continue
    mkdir -- "$root/ports/$port" 2>/dev/null && return
  done
}

# Opens a connection; its number is in $connection.
connect() {
  { exec {connection}<>"/dev/tcp/127.0.0.1/$port"; } 2>/dev/null
}

# One page over a connection that stays; what came is in $answer, and who says it answered in $pid.
ask_on() {
  local fd=$1 path=$2 line length=0
  answer='' pid=''
  printf 'GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n' "$path" 2>/dev/null 1>&"$fd" || return 1
  IFS= read -r -t 2 -u "$fd" line || return 1
  [[ $line == 'HTTP/1.1 200'* ]] || return 1
  while IFS= read -r -t 2 -u "$fd" line && [[ $line != $'\r' ]]; do
    if [[ ${line,,} =~ ^content-length:\ *([0-9]+) ]]; then
      length=${BASH_REMATCH[1]}
    fi
  done
  ((length > 0)) || return 1
  LC_ALL=C IFS= read -r -N "$length" -t 2 -u "$fd" answer || return 1
  if [[ $answer =~ pid\ ([0-9]+) ]]; then
    pid=${BASH_REMATCH[1]}
  fi
}

# One page over a connection of its own; fails if there is no answer within two seconds.
ask() {
  local connection code=0
  connect || return 1
  ask_on "$connection" "${1:-/}" || code=1
  exec {connection}>&-
  return "$code"
}

# A connection that the worker with this pid has, in $connection.
connect_to() {
  connect || return 1
  if ask_on "$connection" / && [[ $pid == "$1" ]]; then
    return 0
  fi
  exec {connection}>&-
  return 1
}

# What a page says behind a word, of the last answer.
said() {
  [[ $answer =~ (^|$'\n')"$1 "([^$'\n']*) ]] && value=${BASH_REMATCH[2]}
}

# The epoch that answers is this one.
epoch_is() {
  ask / && said epoch && [[ $value == "$1" ]]
}

epoch_is_above() {
  ask / && said epoch && ((value > $1))
}
