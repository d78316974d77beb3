# shellcheck shell=bash disable=SC2034,SC2154 # one program with `run`, and what it sets
# Scenarios: what is done again and again while wrk asks.

reloads=50 upgrades=20 rests=20
nginx_connections=1024

# ---- wrk

# Asks until it is told to end; its connections are kept, or closed after each answer.
load_begins() {
  local header=()
  if [[ $1 == closed ]]; then
    header=(-H 'Connection: close')
  fi
  wrk -t 1 -c 64 -d 3600s ${header[@]+"${header[@]}"} "http://127.0.0.1:$port/" \
    >"$dir/wrk.out" 2>"$dir/wrk.log" {never}>&- </dev/null &
  load=$!
  # So that something is going on when the first thing happens.
  need 10 connections_are 32
}

# There are at least so many connections of our port, or were a moment ago.
connections_are() {
  local hex count
  printf -v hex ':%04X 0100007F:' "$port"
  count=$(grep -c -- "$hex" /proc/net/tcp || :)
  ((count >= $1))
}

# Ends it; what it did in $requests, and what went wrong in $errors.
load_ends() {
  need 10 alive "$load"
  kill -INT "$load"
  wait "$load" || :
  requests=$(sed -n 's/^ *\([0-9]*\) requests in .*/\1/p' "$dir/wrk.out")
  errors=$(grep -E 'Socket errors|Non-2xx' "$dir/wrk.out" | sed 's/^ *//' | paste -sd, || :)
  [[ -n $requests ]] || exit 1
}

# Says it; judges it for httpd.
report_load() {
  say "$1; $requests requests, ${errors:-no errors}"
  if [[ $half == httpd ]]; then
    expect 'no client notices anything' test -z "$errors"
    expect 'clients were served' test "$requests" -gt 1000
  fi
}

# ---- Reloads: the next one as soon as the one before it is done.

reloads_of_nginx() {
  nginx_start 2
  load_begins "$1"
  local round
  mark
  for ((round = 2; round <= reloads + 1; round++)); do
    kill -HUP "$master"
    need 10 nginx_has_started $((2 * round))
  done
  elapsed
  load_ends
  report_load "$reloads reloads in $ms ms"
}

reloads_of_httpd() {
  httpd_config workers=2
  httpd_start 2 --config "$dir/httpd.conf"
  load_begins "$1"
  local round
  mark
  for ((round = 1; round <= reloads; round++)); do
    kill -HUP "$master"
    need 10 noticed 1 "^epoch $round serves"
  done
  elapsed
  expect 'the status has all reloads' status_says "reloads $reloads done, 0 failed"
  load_ends
  report_load "$reloads reloads in $ms ms"
  expect 'the workers of the last epoch alone are left' wait_until 40 workers_are 2 "$master"
}

status_says() {
  "$HTTPD" -s status --pid-file "$dir/httpd.pid" | grep -qx -- "$1"
}

reloads_kept_nginx() { reloads_of_nginx kept; }
reloads_kept_httpd() { reloads_of_httpd kept; }
reloads_closed_nginx() { reloads_of_nginx closed; }
reloads_closed_httpd() { reloads_of_httpd closed; }

# ---- Upgrades: the next one when the old master is gone.

upgrades_of_nginx() {
  nginx_start 2
  load_begins "$1"
  local round before
  mark
  for ((round = 1; round <= upgrades; round++)); do
    before=$master
    kill -USR2 "$before"
    need 10 nginx_is_succeeded "$before"
    kill -QUIT "$before"
    need 20 gone "$before"
  done
  elapsed
  load_ends
  report_load "$upgrades upgrades in $ms ms"
}

nginx_is_succeeded() {
  nginx_has_pid && [[ $master != "$1" ]] && has_workers "$master" 2
}

upgrades_of_httpd() {
  httpd_start 2 --probation-ms 200
  load_begins "$1"
  local round before
  mark
  for ((round = 1; round <= upgrades; round++)); do
    before=$master
    kill -USR2 "$before"
    need 10 noticed "$round" '^upgraded'
    need 40 gone "$before"
    httpd_was_succeeded "$before"
    master=$named
  done
  elapsed
  expect 'no upgrade failed' has_none '^not upgraded'
  load_ends
  report_load "$upgrades upgrades in $ms ms"
  expect 'the last master alone is left' wait_until 40 workers_are 2 "$master"
}

has_none() {
  count_lines "$1" "$dir/notices.log"
  ((lines == 0))
}

upgrades_kept_nginx() { upgrades_of_nginx kept; }
upgrades_kept_httpd() { upgrades_of_httpd kept; }
upgrades_closed_nginx() { upgrades_of_nginx closed; }
upgrades_closed_httpd() { upgrades_of_httpd closed; }

# ---- Rests: the workers are sent home, and less than a second later others are asked for.

rests_of_nginx() {
  nginx_start 2
  load_begins "$1"
  local round
  for ((round = 0; round < rests; round++)); do
    rest_for "$round"
    wait_until 3 has_new_workers || :
  done
  load_ends
  workers_of "$master"
  report_load "$rests rests; ${#workers[@]} workers for worker_processes 2"
}

# WINCH, and HUP 0 to 950 ms later; who was there before is in $old.
rest_for() {
  workers_of "$master"
  old=("${workers[@]}")
  kill -WINCH "$master"
  pause "$(printf '0.%03d' $((50 * $1 + 1)))"
  kill -HUP "$master"
}

has_new_workers() {
  workers_of "$master"
  local one
  for one in "${workers[@]}"; do
    [[ " ${old[*]} " != *" $one "* ]] || return 1
  done
  ((${#workers[@]} >= 2))
}

rests_of_httpd() {
  httpd_config workers=2
  httpd_start 2 --config "$dir/httpd.conf"
  load_begins "$1"
  local round
  for ((round = 0; round < rests; round++)); do
    rest_for "$round"
    need 10 noticed 1 "^epoch $((round + 1)) serves"
    need 40 has_new_workers
  done
  expect 'the status has all reloads' status_says "reloads $rests done, 0 failed"
  load_ends
  expect 'two workers are left' wait_until 40 workers_are 2 "$master"
  workers_of "$master"
  report_load "$rests rests; ${#workers[@]} workers for --workers 2"
}

rests_kept_nginx() { rests_of_nginx kept; }
rests_kept_httpd() { rests_of_httpd kept; }
rests_closed_nginx() { rests_of_nginx closed; }
rests_closed_httpd() { rests_of_httpd closed; }
