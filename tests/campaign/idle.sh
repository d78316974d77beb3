# shellcheck shell=bash disable=SC2034,SC2154 # one program with `run`, and what it sets
# Scenarios: how long things take when there is nothing else to do.

# ---- Reloads without a client: from HUP until the old workers, which wait for the new ones, are gone.

# What the master says is read from a FIFO as it is said: nothing is looked for, and nothing slept.
reload_times() {
  local ended=$1 times=() round line left
  for ((round = 0; round < 50; round++)); do
    left=2
    mark
    kill -HUP "$master"
    while ((left > 0)); do
      IFS= read -r -t 10 -u "$notices" line || exit 1
      [[ ! $line =~ $ended ]] || left=$((left - 1))
    done
    times+=($((${EPOCHREALTIME/[.,]/} - marked)))
  done
  mapfile -t times < <(printf '%s\n' "${times[@]}" | sort -n)
  least=${times[0]} median=${times[25]} most=${times[49]}
}

# A FIFO for what will be said.
notices_in() {
  mkfifo -- "$1"
  exec {notices}<>"$1"
}

idle_reloads_nginx() {
  notices_in "$dir/error.log"
  nginx_start 2
  reload_times 'worker process [0-9]+ exited'
  say "a reload takes $median us ($least to $most, 50 times)"
}

idle_reloads_httpd() {
  notices_in "$dir/notices"
  httpd_config workers=2
  free_port
  env --default-signal=INT,QUIT,PIPE "$HTTPD" --listen "127.0.0.1:$port" \
    --pid-file "$dir/httpd.pid" --config "$dir/httpd.conf" \
    >"$dir/stdout.log" 2>"$dir/notices" {never}>&- {notices}>&- </dev/null &
  master=$!
  local line left=2
  while ((left > 0)); do
    IFS= read -r -t 10 -u "$notices" line || exit 1
    [[ $line != *' ready'* ]] || left=$((left - 1))
  done
  reload_times '^worker .* exited'
  say "a reload takes $median us ($least to $most, 50 times)"
  expect 'a reload takes 10 ms at the most' test "$median" -le 10000
}

# ---- A worker hangs, and the master is told to end: each at its deadline.

hung_quit_nginx() { stopped_quit_nginx; }

hung_quit_httpd() {
  stopped_quit_httpd
  expect 'QUIT is over 30 s and 3 s later, and 1 s at the most after that' within 33000 34000
}

hung_term_nginx() { stopped_term_nginx; }

hung_term_httpd() {
  stopped_term_httpd
  expect 'TERM is over 3 s later, and 1 s at the most after that' within 3000 4000
}

within() {
  ((ms >= $1 && ms <= $2))
}
