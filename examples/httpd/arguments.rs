//! The command line: what may be asked, and a message that names the argument when it is wrong.

use core::fmt;
use core::net::{Ipv4Addr, SocketAddr};
use std::ffi::OsString;
use std::path::PathBuf;

use forkmesh::table::CHILDREN;

pub(crate) const HELP: &str = "\
A prefork HTTP/1.1 server.

  --listen ADDR      where to listen: 127.0.0.1:8080 (the default), or :8080 for the
                     same; port 0 takes any free one and prints it
  --workers N        how many worker processes: 0 to 1022 (default: one a CPU)
  --pid-file PATH    where the master writes its pid, for as long as it lives
  --restart HOW      a worker that died is replaced
                       backoff   at once, and more and more slowly if it keeps dying (the default)
                       always    at once, however often
  --idle SECONDS     how long a connection may do nothing, at least 1 (default: 60)
  --help             this

Signals to the master: QUIT ends it gracefully, TERM and INT at once.
";

/// What the command line asks for.
pub(crate) enum Asked {
    Help,
    Serve(Arguments),
}

pub(crate) struct Arguments {
    pub(crate) listen: SocketAddr,
    pub(crate) workers: usize,
    pub(crate) pid_file: Option<PathBuf>,
    pub(crate) restart: Restart,
    pub(crate) idle_s: u64,
}

#[derive(Clone, Copy)]
pub(crate) enum Restart {
    Always,
    Backoff,
}

/// Which argument is wrong, and why.
pub(crate) struct Wrong {
    argument: String,
    why: &'static str,
}

pub(crate) fn parse(words: impl Iterator<Item = OsString>) -> Result<Asked, Wrong> {
    let mut arguments = Arguments::default();
    let mut words = words;
    while let Some(word) = words.next() {
        let word = word.to_str().map(str::to_owned).ok_or_else(|| Wrong {
            argument: word.to_string_lossy().into_owned(),
            why: "not an argument of this program",
        })?;
        let (name, attached) = match word.split_once('=') {
            Some((name, value)) => (name, Some(OsString::from(value))),
            None => (word.as_str(), None),
        };
        match name {
            "--help" | "-h" => return Ok(Asked::Help),
            "--listen" | "--workers" | "--pid-file" | "--restart" | "--idle" => {
                let value = attached.or_else(|| words.next()).ok_or_else(|| Wrong {
                    argument: name.to_owned(),
                    why: "needs a value",
                })?;
                arguments.set(name, value)?;
            }
            _ => {
                return Err(Wrong {
                    argument: word,
                    why: "not an argument of this program",
                });
            }
        }
    }
    Ok(Asked::Serve(arguments))
}

impl Arguments {
    fn set(&mut self, name: &str, value: OsString) -> Result<(), Wrong> {
        let text = value.to_string_lossy().into_owned();
        let wrong = |why| Wrong {
            argument: format!("{name} {text}"),
            why,
        };
        match name {
            "--listen" => {
                self.listen = address(&text).ok_or(wrong("not an address and port"))?;
            }
            "--workers" => {
                let workers = text.parse().ok().filter(|workers| *workers <= CHILDREN);
                self.workers = workers.ok_or(wrong("not a number from 0 to 1022"))?;
            }
            "--pid-file" if text.is_empty() => return Err(wrong("not a path")),
            "--pid-file" => self.pid_file = Some(value.into()),
            "--restart" => {
                self.restart = match text.as_str() {
                    "always" => Restart::Always,
                    "backoff" => Restart::Backoff,
                    _ => return Err(wrong("neither `always` nor `backoff`")),
                };
            }
            _ => {
                let seconds = text
                    .parse()
                    .ok()
                    .filter(|seconds| (1..=86_400).contains(seconds));
                self.idle_s = seconds.ok_or(wrong("not a number from 1 to 86400"))?;
            }
        }
        Ok(())
    }
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            workers: std::thread::available_parallelism()
                .map_or(1, |cpus| cpus.get().min(CHILDREN)),
            pid_file: None,
            restart: Restart::Backoff,
            idle_s: 60,
        }
    }
}

/// `ADDRESS:PORT`, or `:PORT` of this machine alone.
fn address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix(':') {
        Some(port) => Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().ok()?))),
        None => text.parse().ok(),
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.argument, self.why)
    }
}
