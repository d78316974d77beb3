# shellcheck shell=bash disable=SC2034,SC2154 # one program with `run`, and what it sets
# Scenarios: a worker without descriptors, a worker that does not listen, a master that cannot fork.

# ---- One worker has no descriptor left when its sibling is replaced.

# Lets a process have no new descriptor, not even in the place of one that it closes: only 0 to 2,
# which it has, are below the limit. And gives it back what it had.
forbid_descriptors() {
  allowed=$(limits_of "$1" --nofile --output SOFT --noheadings --raw)
  limits_of "$1" --nofile=3:
}

allow_descriptors() {
  limits_of "$1" --nofile="$allowed:"
}

nofile_nginx() {
  nginx_start 2
  workers_of "$master"
  local deaf=${workers[0]} end reloaded
  forbid_descriptors "$deaf"
  kill -KILL "${workers[1]}"
  need 5 nginx_has_started 3
  wait_until 2 has_lines 1 'ancillary|recvmsg' "$dir/error.log" || :
  allow_descriptors "$deaf"
  kill -HUP "$master"
  need 5 nginx_has_started 5
  reloaded='ended with a reload'
  wait_until 3 gone "$deaf" || reloaded='lives on after a reload'
  kill -QUIT "$master"
  end='ends the master'
  if ! wait_until 3 gone "$master"; then
    mark
    kill -TERM "$master"
    wait_until 20 gone "$master" || :
    elapsed
    end="hangs (3 s were waited); TERM then took $ms ms"
  fi
  say "the worker without descriptors $reloaded; QUIT $end"
}

nofile_httpd() {
  httpd_config workers=2
  httpd_start 2 --config "$dir/httpd.conf"
  workers_of "$master"
  local deaf=${workers[0]} replaced=yes
  need 5 connect_to "$deaf"
  local to_deaf=$connection
  forbid_descriptors "$deaf"
  kill -KILL "${workers[1]}"
  need 5 other_than "$deaf" "${workers[1]}"
  need 5 noticed 3 ' ready'
  local known_before=no
  ! knows "$to_deaf" "$other" || known_before=yes
  allow_descriptors "$deaf"
  expect 'the worker comes to know its new sibling' wait_until 5 knows "$to_deaf" "$other"
  local known=$held
  exec {to_deaf}>&-
  mark
  kill -HUP "$master"
  wait_until 10 all_gone "$deaf" "$other" || replaced=no
  elapsed
  say "the worker without descriptors knew its new sibling: $known_before, and with them: $known;" \
    "replaced by a reload: $replaced, after $ms ms"
  expect 'a reload replaces that worker' test "$replaced" = yes
  expect 'the new configuration is in force' epoch_is 1
  mark
  kill -QUIT "$master"
  expect 'QUIT ends the master' wait_until 10 gone "$master"
  elapsed
  say "QUIT ends the master after $ms ms"
}

# The worker at the other end of a connection can send to the sibling with this pid.
knows() {
  local slot
  slot=$(sed -n "s/^worker \([0-9]*\.[0-9]*\) spawned, pid $2\$/\1/p" "$dir/notices.log")
  ask_on "$1" "/tell?slot=${slot%.*}&text=hello" && [[ $answer == "sent to slot $slot"* ]]
}

# ---- One worker is stopped while its sibling is replaced 200 times.

# Kills the sibling of a stopped worker so often.
replace_beside() {
  local stopped=$1 rounds=$2 last=0
  kill -STOP "$stopped"
  for ((; rounds > 0; rounds--)); do
    need 10 other_than "$stopped" "$last"
    last=$other
    kill -KILL "$other"
  done
  need 10 other_than "$stopped" "$last"
}

# The one worker that is neither of these, in $other.
other_than() {
  local one
  has_workers "$master" 2 || return 1
  for one in "${workers[@]}"; do
    if [[ $one != "$1" && $one != "$2" ]]; then
      other=$one
      return 0
    fi
  done
  return 1
}

stopped_sibling_nginx() {
  nginx_level=debug_core
  nginx_start 2
  workers_of "$master"
  local stopped=${workers[0]} opened
  replace_beside "$stopped" 200
  kill -CONT "$stopped"
  need 5 has_lines 1 "$stopped#.*get channel s:" "$dir/error.log"
  # It has read all that there was when it has answered.
  need 5 connect_to "$stopped"
  count_lines "$stopped#.*get channel s:" "$dir/error.log"
  opened=$lines
  local last=wrong
  if has_lines 1 "$stopped#.*get channel s:[0-9]+ pid:$other " "$dir/error.log"; then
    last=right
  fi
  say "of 200 new siblings the stopped worker heard of $opened; what it has in the end is $last"
}

stopped_sibling_httpd() {
  httpd_start 2 --restart always
  workers_of "$master"
  local stopped=${workers[0]}
  replace_beside "$stopped" 200
  kill -CONT "$stopped"
  mark
  need 5 connect_to "$stopped"
  expect 'a worker that was stopped comes to know the sibling that lives' \
    wait_until 5 knows "$connection" "$other"
  elapsed
  say "after 200 new siblings the stopped worker knows the one that lives: $held, $ms ms after it went on"
  workers_of "$master"
  expect 'the stopped worker was not replaced' alive "$stopped"
}

# ---- The master cannot fork while workers die and the log is to be opened anew.

nproc_restart_nginx() {
  nobody_owns_dir
  nginx_start 3 ${as_nobody[@]+"${as_nobody[@]}"}
  workers_of "$master"
  forbid_forks "$master"
  kill -KILL "${workers[0]}"
  need 5 has_lines 1 'fork\(\) failed' "$dir/error.log"
  mv -- "$dir/error.log" "$dir/error.log.1"
  kill -USR1 "$master"
  need 5 test -e "$dir/error.log"
  kill -KILL "${workers[1]}"
  wait_until 1 has_lines 2 'fork\(\) failed' "$dir"/error.log* || :
  allow_forks "$master"
  wait_until 3 has_workers "$master" 3 || :
  workers_of "$master"
  count_lines 'Bad file descriptor|ENOTSOCK|Socket operation on non-socket|No such process' \
    "$dir"/error.log*
  say "3 s after it can fork again there are ${#workers[@]} of 3 workers; $lines alerts of stale descriptors and pids"
}

nproc_restart_httpd() {
  nobody_owns_dir
  as=(env ${as_nobody[@]+"${as_nobody[@]}"})
  httpd_start 3 --log "$dir/httpd.log"
  workers_of "$master"
  local third=${workers[2]}
  forbid_forks "$master"
  kill -KILL "${workers[0]}"
  need 5 noticed 1 'could not be spawned'
  mv -- "$dir/httpd.log" "$dir/httpd.log.1"
  kill -USR1 "$master"
  expect 'USR1 opens the log anew' wait_until 5 test -e "$dir/httpd.log"
  kill -KILL "${workers[1]}"
  need 5 noticed 2 'killed by signal 9'
  allow_forks "$master"
  mark
  expect 'all workers are there again' wait_until 5 has_workers "$master" 3
  elapsed
  workers_of "$master"
  say "$ms ms after it can fork again there are ${#workers[@]} of 3 workers"
  expect 'the third worker was left alone' alive "$third"
  expect 'they serve' wait_until 5 ask /
}

# ---- The master cannot fork, and is told to reload.

nproc_reload_nginx() {
  nobody_owns_dir
  nginx_start 2 ${as_nobody[@]+"${as_nobody[@]}"}
  forbid_forks "$master"
  kill -HUP "$master"
  wait_until 3 has_workers "$master" 0 || :
  nginx_is_left_with 'a reload without forks'
}

# What is left of a server of 2 workers, and what its clients get.
nginx_is_left_with() {
  workers_of "$master"
  local clients=refused
  if connect; then
    exec {connection}>&-
    clients='connected, and not answered in 2 s'
    ask / && clients=answered
  fi
  say "$1: ${#workers[@]} of 2 workers left, clients are $clients"
}

nproc_reload_httpd() {
  nobody_owns_dir
  as=(env ${as_nobody[@]+"${as_nobody[@]}"})
  httpd_config workers=2
  httpd_start 2 --config "$dir/httpd.conf"
  workers_of "$master"
  local old=("${workers[@]}")
  forbid_forks "$master"
  kill -HUP "$master"
  need 5 noticed 1 'could not be spawned'
  expect 'the old workers serve as long as there are no new ones' holds_for 2000 epoch_is 0
  local answered=$held
  count_alive "${old[@]}"
  expect 'none of the old workers was retired' test "$living" -eq 2
  allow_forks "$master"
  # It may have been given up, or be tried still: both are fine.
  if noticed 1 "$reload_failed"; then
    kill -HUP "$master"
  fi
  mark
  expect 'a reload works when forks work again' wait_until 10 epoch_is_above 0
  elapsed
  say "a reload without forks: $living of 2 workers left, clients are answered: $answered;" \
    "when it can fork again it is done: $held, after $ms ms"
  expect 'the old workers are retired then' wait_until 10 all_gone "${old[@]}"
}
