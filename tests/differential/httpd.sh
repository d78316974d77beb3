# shellcheck shell=bash disable=SC2034,SC2154 # one program with `run`, and what it sets
# The example httpd: in the foreground of a background job, one line on stderr for each notice.

# Writes its configuration: `key=value` each.
httpd_config() {
  printf '%s\n' "$@" >"$dir/httpd.conf.new"
  mv -- "$dir/httpd.conf.new" "$dir/httpd.conf"
}

# Starts it with so many workers and these arguments; $master, $port. An array `as` may name a
# command that it runs behind.
httpd_start() {
  free_port
  httpd_run "$@"
  need 10 httpd_is_ready "$1"
}

# bash lets background jobs ignore INT and QUIT; httpd is to have them as from a shell.
httpd_run() {
  local count=$1
  shift
  touch "$dir/notices.log"
  started_at=$(wc -l <"$dir/notices.log")
  "${as[@]}" env --default-signal=INT,QUIT,PIPE "$HTTPD" \
    --listen "127.0.0.1:$port" --workers "$count" --pid-file "$dir/httpd.pid" "$@" \
    >>"$dir/stdout.log" 2>>"$dir/notices.log" {never}>&- </dev/null &
  master=$!
}
as=(env)

httpd_is_ready() {
  local ready
  if gone "$master"; then
    echo 'httpd did not start:' >&2
    cat "$dir/notices.log" >&2
    exit 1
  fi
  [[ -s $dir/httpd.pid ]] || return 1
  ready=$(tail -n +"$((started_at + 1))" "$dir/notices.log" | grep -c ' ready' || :)
  ((ready >= $1))
}

# Whether so many notices match.
noticed() {
  has_lines "$1" "$2" "$dir/notices.log"
}

# How many workers it has started so far, in $lines.
httpd_starts() {
  count_lines 'worker .* spawned' "$dir/notices.log"
}

# The pid file names a master that lives; in $named.
httpd_has_pid() {
  named=''
  { read -r named <"$dir/httpd.pid"; } 2>/dev/null || return 1
  alive "$named"
}

# It names another than this one.
httpd_was_succeeded() {
  httpd_has_pid && [[ $named != "$1" ]]
}

# There are this many processes of ours that are not among these masters.
workers_are() {
  local count=$1 one master
  shift
  find_ours
  for one in ${ours[@]+"${ours[@]}"}; do
    for master in "$@"; do
      [[ $one != "$master" ]] || count=$((count + 1))
    done
  done
  ((${#ours[@]} == count))
}

# So many workers serve, of one master: the one that the pid file names.
one_set_of() {
  httpd_has_pid && workers_are "$1" "$named" && ask /
}
