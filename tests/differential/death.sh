# shellcheck shell=bash disable=SC2034,SC2154 # one program with `run`, and what it sets
# Scenarios: masters and workers are killed, stopped, and told to end.

# ---- The master is killed.

master_kill_nginx() {
  nginx_start 2
  workers_of "$master"
  kill -KILL "$master"
  need 5 gone "$master"
  wait_until 2 all_gone "${workers[@]}" || :
  count_alive "${workers[@]}"
  local serve=no
  ask / && serve=yes
  mv -- "$dir/start.log" "$dir/first.log"
  local again=works
  nginx_run || again="fails: $(grep -om1 'bind() .*' "$dir/start.log")"
  say "2 s later $living of 2 workers live, and serve: $serve; a second start $again"
}

master_kill_httpd() {
  httpd_start 2
  workers_of "$master"
  mark
  kill -KILL "$master"
  expect 'workers end with their master' wait_until 10 all_gone "${workers[@]}"
  elapsed
  count_alive "${workers[@]}"
  say "$living of 2 workers live after $ms ms"
  httpd_run 2
  expect 'a second start works, with the pid file of the killed one there' \
    wait_until 10 httpd_is_ready 2
  expect 'the second one serves' ask /
}

# ---- A worker is killed: how long its place is empty.

# Kills the only worker again and again, and looks at nothing but the list of the master's children.
replace_times() {
  local times=() victim deadline
  for _ in {1..20}; do
    need 10 ask /
    victim=$pid
    deadline=$((${EPOCHREALTIME/[.,]/} + 5000000))
    mark
    kill -KILL "$victim"
    until workers_of "$master" && ((${#workers[@]} == 1)) && [[ ${workers[0]} != "$victim" ]]; do
      ((${EPOCHREALTIME/[.,]/} < deadline)) || exit 1
    done
    times+=($((${EPOCHREALTIME/[.,]/} - marked)))
  done
  mapfile -t times < <(printf '%s\n' "${times[@]}" | sort -n)
  least=${times[0]} median=${times[10]} most=${times[19]}
}

worker_kill_nginx() {
  nginx_start 1
  replace_times
  say "replaced after $median us ($least to $most, 20 times)"
}

worker_kill_httpd() {
  httpd_start 1 --restart always
  replace_times
  say "replaced after $median us ($least to $most, 20 times)"
  expect 'a killed worker is replaced in 50 ms' test "$median" -lt 50000
}

# ---- A worker hangs, and the master is told to end.

stopped_term_nginx() {
  nginx_start 2
  workers_of "$master"
  kill -STOP "${workers[0]}"
  mark
  kill -TERM "$master"
  wait_until 20 gone "$master" || :
  elapsed
  say "TERM with a stopped worker: over after $ms ms"
}

stopped_term_httpd() {
  httpd_start 2
  workers_of "$master"
  kill -STOP "${workers[0]}"
  mark
  kill -TERM "$master"
  expect 'TERM ends a master with a stopped worker' wait_until 20 gone "$master"
  elapsed
  say "TERM with a stopped worker: over after $ms ms"
  expect 'its deadline is 3 s, and not much more' test "$ms" -lt 8000
  expect 'nothing is left' none_of_ours
}

stopped_quit_nginx() {
  nginx_start 2
  workers_of "$master"
  kill -STOP "${workers[0]}"
  kill -QUIT "$master"
  if wait_until 5 gone "$master"; then
    say 'QUIT with a stopped worker: over'
    return
  fi
  mark
  kill -TERM "$master"
  wait_until 20 gone "$master" || :
  elapsed
  say "QUIT with a stopped worker: hangs (5 s were waited); TERM then took $ms ms"
}

stopped_quit_httpd() {
  httpd_start 2
  workers_of "$master"
  kill -STOP "${workers[0]}"
  mark
  kill -QUIT "$master"
  expect 'QUIT ends a master with a stopped worker' wait_until 45 gone "$master"
  elapsed
  say "QUIT with a stopped worker: over after $ms ms"
  expect 'its deadlines are 30 s and 3 s, and not much more' test "$ms" -lt 42000
  expect 'nothing is left' none_of_ours
}

# ---- No workers, and the master is told to end.

no_workers_term_nginx() {
  nginx_start 0
  kill -TERM "$master"
  local end='over'
  wait_until 2 gone "$master" || end='hangs (2 s were waited)'
  say "TERM with worker_processes 0: $end"
}

no_workers_term_httpd() {
  httpd_start 0
  mark
  kill -TERM "$master"
  expect 'TERM ends a master without workers at once' wait_until 2 gone "$master"
  elapsed
  say "TERM with --workers 0: over after $ms ms"
}

# ---- What starts, aborts at once, for 0.6 s.

# A library whose fork aborts in the child as long as a file is there, in $preload and $crash.
make_crasher() {
  crash=$dir/crash preload=$dir/crasher.so
  cc -shared -fPIC -O1 -o "$preload" -x c - <<'C'
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static char path[4096];
static void child(void) { if (access(path, F_OK) == 0) abort(); }
__attribute__((constructor)) static void begin(void) {
    const char *set = getenv("DIFFERENTIAL_CRASH");
    if (set != NULL && strlen(set) < sizeof path) {
        strcpy(path, set);
        pthread_atfork(NULL, NULL, child);
    }
}
C
}

# Lets one of two workers crash for 0.6 s; whether the other served all that time is in $served.
crash_for_a_while() {
  workers_of "$master"
  touch "$crash"
  kill -KILL "${workers[0]}"
  # A worker that is dying may take the wake-up for a connection along.
  need 5 gone "${workers[0]}"
  served=yes
  holds_for 600 ask / || served=no
  rm -- "$crash"
}

crash_loop_nginx() {
  make_crasher
  nginx_start 2 env LD_PRELOAD="$preload" DIFFERENTIAL_CRASH="$crash"
  crash_for_a_while
  nginx_starts
  say "$((lines - 2)) forks in 0.6 s; the other worker served: $served"
}

crash_loop_httpd() {
  make_crasher
  as=(env LD_PRELOAD="$preload" DIFFERENTIAL_CRASH="$crash")
  httpd_start 2 --restart backoff
  crash_for_a_while
  httpd_starts
  local forks=$((lines - 2))
  mark
  expect 'the slot is filled when what was wrong is over' wait_until 5 has_workers "$master" 2
  elapsed
  say "$forks forks in 0.6 s; the other worker served: $served; both again: $held, after $ms ms"
  expect 'a crash loop is slowed down' test "$forks" -le 12
  expect 'something crashed' test "$forks" -ge 2
  expect 'the other worker serves meanwhile' test "$served" = yes
}

# ---- A worker with clients is killed: its sibling's clients, and the counters.

# Opens connections until one worker has five, in $five, and tells who that is in $keeper.
five_clients() {
  local fd
  connect
  ask_on "$connection" /
  keeper=$pid
  five=("$connection")
  while ((${#five[@]} < 5)); do
    need 10 connect_to "$keeper"
    five+=("$connection")
  done
  for fd in "${five[@]}"; do
    ask_on "$fd" / && [[ $pid == "$keeper" ]]
  done
}

# How many of the five are still answered, and by the same worker.
count_answered() {
  local fd
  answered=0
  for fd in "${five[@]}"; do
    if ask_on "$fd" / && [[ $pid == "$keeper" ]]; then
      answered=$((answered + 1))
    fi
  done
}

# How many connections are open by nginx's own count, less the one that asks, in $active: the least
# that is seen in a second, since one that was closed a moment ago may be counted. Over at once if it is
# as many as there are.
count_active() {
  active=999
  wait_until 1 nginx_counts "$1" || :
}

nginx_counts() {
  ask /status && [[ $answer =~ connections:\ ([0-9]+) ]] || return 1
  local now=$((BASH_REMATCH[1] - 1))
  ((now >= active)) || active=$now
  ((active == $1))
}

clients_of_the_other_nginx() {
  nginx_start 2
  five_clients
  workers_of "$master"
  local one
  for one in "${workers[@]}"; do
    [[ $one == "$keeper" ]] || kill -KILL "$one"
  done
  need 5 nginx_has_started 3
  count_answered
  count_active 5
  local before=$active
  kill -KILL "$keeper"
  need 5 nginx_has_started 4
  need 5 ask /
  count_active 0
  say "a sibling killed: $answered of 5 clients are served; their own worker killed: $active" \
    "connections are counted as open, before it $before, and there is none"
}

clients_of_the_other_httpd() {
  httpd_start 2
  five_clients
  workers_of "$master"
  local one
  for one in "${workers[@]}"; do
    [[ $one == "$keeper" ]] || kill -KILL "$one"
  done
  need 5 noticed 3 ' ready'
  count_answered
  say "a sibling killed: $answered of 5 clients are served; counters: n/a, httpd has none"
  expect 'clients of another worker notice nothing' test "$answered" -eq 5
}
