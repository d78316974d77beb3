# shellcheck shell=bash disable=SC2034,SC2154 # one program with `run`, and what it sets
# nginx, as its package has it: a daemon with a pid file, and everything else in a directory of ours.

# Writes its configuration: how many workers, a text for its page, more lines for the top.
nginx_config() {
  local user=''
  if ((EUID == 0)); then
    user='user nobody nogroup;'
  fi
  cat >"$dir/nginx.conf" <<CONF
${user}
worker_processes $1;
pid $dir/nginx.pid;
error_log $dir/error.log ${nginx_level:-notice};
${3:-}
events { worker_connections ${nginx_connections:-64}; }
http {
  access_log off;
  keepalive_timeout 600;
  client_body_temp_path $dir/body;
  proxy_temp_path $dir/proxy;
  fastcgi_temp_path $dir/fastcgi;
  uwsgi_temp_path $dir/uwsgi;
  scgi_temp_path $dir/scgi;
  server {
    listen 127.0.0.1:$port;
    location = /status { stub_status; }
    location / { return 200 "text $2\\npid \$pid\\n"; }
  }
}
CONF
}

# Runs nginx, which goes into the background by itself; its words are in $dir/start.log.
nginx_run() {
  "$@" "$NGINX" -e "$dir/error.log" -p "$dir" -c "$dir/nginx.conf" \
    2>"$dir/start.log" {never}>&- </dev/null
}

# Starts it with so many workers, behind a command if need be; $master, $port.
nginx_start() {
  local count=$1
  shift
  free_port
  nginx_config "$count" first "${nginx_top:-}"
  if ! nginx_run "$@"; then
    cat "$dir/start.log" >&2
    exit 1
  fi
  need 10 nginx_has_pid
  if ((count > 0)); then
    need 10 has_workers "$master" "$count"
    need 10 ask /
  fi
}

nginx_has_pid() {
  [[ -s $dir/nginx.pid ]] && read -r master <"$dir/nginx.pid" && alive "$master"
}

# How many workers it has started so far.
nginx_starts() {
  count_lines 'start worker process [0-9]' "$dir"/error.log*
}

nginx_has_started() {
  nginx_starts
  ((lines >= $1))
}
