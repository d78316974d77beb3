# shellcheck shell=bash disable=SC2034,SC2154 # one program with `run`, and what it sets
# Scenarios: reloads and upgrades that fail, or that meet each other.

# ---- The workers of a reload cannot start, or its configuration is wrong.

failed_reload_nginx() {
  if ((EUID != 0)); then
    say 'n/a: its workers have no user of their own unless it runs as root'
    return
  fi
  mkdir "$dir/work"
  nginx_top="working_directory $dir/work;"
  nginx_start 2
  chmod 700 "$dir/work"
  kill -HUP "$master"
  wait_until 3 has_workers "$master" 0 || :
  nginx_is_left_with 'a reload whose workers exit with 2'
}

# A reload that must fail, after so many new workers at least: the old workers serve all the time, and
# it is said. A reload after it works.
reload_fails() {
  local what=$1 failed least=$2 starts
  shift 2
  httpd_starts
  starts=$lines
  ask / && said epoch
  local epoch=$value
  workers_of "$master"
  local old=("${workers[@]}")
  count_lines "$reload_failed" "$dir/notices.log"
  failed=$((lines + 1))
  httpd_config "$@"
  mark
  kill -HUP "$master"
  expect "$what: it is said that the reload failed" wait_until 10 noticed "$failed" "$reload_failed"
  elapsed
  local reported=$held
  httpd_starts
  expect "$what: that is what happened" test "$((lines - starts))" -ge "$least"
  expect "$what: the old configuration stays in force" holds_for 500 epoch_is "$epoch"
  local answered=$held
  count_alive "${old[@]}"
  expect "$what: the old workers stay" test "$living" -eq 2
  expect "$what: nothing is left of the new ones" wait_until 5 workers_are 2 "$master"
  say "$what: reported: $reported, after $ms ms; $living of 2 workers left, clients are answered: $answered"
  httpd_config workers=2 text=good
  kill -HUP "$master"
  expect "$what: the next reload works" wait_until 10 epoch_is_above "$epoch"
  expect "$what: the next reload retires the old workers" wait_until 10 all_gone "${old[@]}"
}
reload_failed='^epoch [0-9]+ does not serve'

failed_reload_httpd() {
  httpd_config workers=2 text=good
  httpd_start 2 --config "$dir/httpd.conf"
  reload_fails 'a reload with a bad configuration' 0 workers=many 'what is this'
  reload_fails 'a reload whose workers exit with 2' 1 workers=2 fail=exit2
  reload_fails 'a reload whose workers die' 1 workers=2 fail=die
}

# ---- A reload with a bad configuration and a reopening are asked for while the master is stopped.

paused_master_nginx() {
  nginx_start 1
  mv -- "$dir/error.log" "$dir/error.log.1"
  echo 'this is wrong' >>"$dir/nginx.conf"
  kill -STOP "$master"
  kill -HUP "$master"
  kill -USR1 "$master"
  kill -CONT "$master"
  need 5 has_lines 1 'emerg' "$dir/error.log.1" # the reload was refused
  local reopened='not opened anew in 2 s'
  if wait_until 2 test -e "$dir/error.log"; then
    reopened='opened anew'
  else
    kill -CHLD "$master" # any other signal
    wait_until 2 test -e "$dir/error.log" && reopened+=', but after another signal'
  fi
  say "a bad HUP and USR1 at once: the log was $reopened"
}

paused_master_httpd() {
  httpd_config workers=1
  httpd_start 1 --config "$dir/httpd.conf" --log "$dir/httpd.log"
  mv -- "$dir/httpd.log" "$dir/httpd.log.1"
  httpd_config workers=many
  kill -STOP "$master"
  kill -HUP "$master"
  kill -USR1 "$master"
  mark
  kill -CONT "$master"
  expect 'the log is opened anew' wait_until 2 test -e "$dir/httpd.log"
  elapsed
  local reopened=$held
  expect 'the reload is refused' wait_until 5 noticed 1 "$reload_failed"
  say "a bad HUP and USR1 at once: the log was opened anew: $reopened, after $ms ms; the reload was" \
    "refused: $held"
  expect 'it serves on' ask /
}

# ---- The pid file is removed; then an upgrade and a reload.

pid_file_removed_nginx() {
  nginx_start 1
  rm -- "$dir/nginx.pid"
  kill -USR2 "$master"
  need 5 has_lines 1 'rename\(\)|changing binary' "$dir/error.log"
  kill -HUP "$master"
  wait_until 2 has_workers "$master" 2 || :
  workers_of "$master"
  say "upgrade without a pid file, then a reload: ${#workers[@]} workers for worker_processes 1"
}

pid_file_removed_httpd() {
  httpd_config workers=1
  httpd_start 1 --config "$dir/httpd.conf"
  local first=$master end='was refused'
  rm -- "$dir/httpd.pid"
  kill -USR2 "$first"
  # It may be refused, or done: either is fine, if it is said.
  need 15 noticed 1 "$upgraded|$upgrade_failed"
  if ! noticed 1 "$upgrade_failed"; then
    end='was done'
    need 15 httpd_was_succeeded "$first"
    need 15 gone "$first"
    master=$named
  fi
  need 10 ask /
  said epoch
  kill -HUP "$master"
  expect 'a reload after it reloads' wait_until 10 epoch_is_above "$value"
  expect 'there is one worker' wait_until 10 workers_are 1 "$master"
  find_ours
  say "upgrade without a pid file $end; then a reload: $((${#ours[@]} - 1)) workers for --workers 1"
}
upgraded='^upgraded'
upgrade_failed='^not upgraded'

# ---- The workers are sent home, a reload, an upgrade, and the new master is ended.

rest_and_upgrade_nginx() {
  nginx_start 2
  local first=$master
  kill -WINCH "$first"
  need 5 has_workers "$first" 0
  kill -HUP "$first"
  need 5 has_workers "$first" 2
  kill -USR2 "$first"
  need 5 nginx_was_succeeded "$first"
  need 5 has_workers "$master" 2
  kill -TERM "$master"
  need 5 gone "$master"
  wait_until 2 has_workers "$first" 4 || :
  workers_of "$first"
  say "WINCH, HUP, USR2, TERM of the new master: ${#workers[@]} workers for worker_processes 2"
}

nginx_was_succeeded() {
  nginx_has_pid && [[ $master != "$1" ]]
}

rest_and_upgrade_httpd() {
  httpd_config workers=2
  httpd_start 2 --config "$dir/httpd.conf"
  local first=$master
  kill -WINCH "$first"
  expect 'WINCH sends the workers home' wait_until 10 has_workers "$first" 0
  kill -HUP "$first"
  expect 'HUP brings new ones' wait_until 10 epoch_is 1
  expect 'HUP brings as many as there shall be' wait_until 10 has_workers "$first" 2
  kill -USR2 "$first"
  need 15 httpd_was_succeeded "$first"
  # The probation of the new master has only begun.
  kill -TERM "$named"
  expect 'the new master ends' wait_until 10 gone "$named"
  expect 'the old one serves again, with one set of workers' wait_until 10 one_set_of 2
  expect 'the pid file names the old one again' test "$named" = "$first"
  find_ours
  say "WINCH, HUP, USR2, TERM of the new master: $((${#ours[@]} - 1)) workers for --workers 2"
}
