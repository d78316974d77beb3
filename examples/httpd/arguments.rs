//! The command line: what may be asked, and a message that names the argument when it is wrong.

use core::fmt;
use core::time::Duration;
use std::ffi::OsString;
use std::path::PathBuf;

use forkmesh::machine::{Backoff, Config, Orphans, Upgrades};

use crate::control::Order;
use crate::settings::Said;

pub(crate) const HELP: &str = "\
A prefork HTTP/1.1 server.

  --bind-wait SECONDS  how long to try while another has that address (default: 3)
  --pid-file PATH    where the master writes its pid, for as long as it lives
  --restart HOW      a worker that died is replaced
                       backoff   at once, and more and more slowly if it keeps dying (the default)
                       always    at once, however often
  --name TEXT        what the pages call this program (default: the time and size of its file)
  --binary PATH      what an upgrade runs (default: the file that was run, by its path)
  --upgrade-ms N     how long that may take until it serves (default: 60000)
  --probation-ms N   how long it is watched from then on (default: 1000)
  --manual-upgrades  both serve after an upgrade, until one of them is told to go
  --relay            after an upgrade this process stays, passes signals on, and ends as the
                     last master does; so it does as PID 1, without being told
  --daemon           goes on without the terminal; returns when it serves, or cannot
  --single           one process that is worker and all, for a debugger
  --orphans HOW      workers whose master is dead
                       drain     finish what they began, and end (the default)
                       serve     serve on, until a signal ends them
  --config FILE      settings, a line each: KEY = VALUE; # begins a comment line
  -s WHAT            with --pid-file: asks the master that runs for something, and starts nothing
                       stop      end at once
                       quit      end gracefully
                       reload    begin anew with what the file says now; says what came of it
                       reopen    open the access logs anew
                       upgrade   have the program, as it is now, take over; says what came of it
                       status    says what every worker does
  --help             this

Settings: the command line's word counts, then the file's.

  --listen ADDR      where to listen: 127.0.0.1:8080 (the default), or :8080 for the
                     same, [::1]:8080, unix:PATH, unix:@NAME; port 0 takes any free one and
                     prints it. It can be said several times
  --reuseport        a socket for each worker, where the address has a port
  --workers N        how many worker processes: 0 to 1022 (default: one a CPU)
  --idle SECONDS     how long a connection may do nothing, at least 1 (default: 60)
  --drain-idle SECONDS  how long it may do nothing while its worker drains (default: 5)
  --text TEXT        a line that the page / shows
  --log PATH         the access log, a line a request
  --user NAME[:GROUP]  whose processes workers are, if the master is root's (default: the master's)
  --affinity CPUS    each worker runs on one processor: auto, or of these: 0,2,1
  --fail HOW         for tests: what workers do instead of serving
                       exit2     exit with code 2, which means: never again
                       die       abort
                       hang      nothing, and they hear nothing
In the file they are called workers, listen, reuseport (on, off), idle, drain_idle, text, log,
user, affinity and fail.

Signals to the master: QUIT ends it gracefully, TERM and INT at once; HUP is reload, USR1
reopen, USR2 upgrade.
Signals to a worker: QUIT has it drain and be replaced.
";

/// What the command line asks for.
pub(crate) enum Asked {
    Help,
    Serve(Box<Arguments>),
    /// Something of the master that has this pid file.
    Order(Order, PathBuf),
}

pub(crate) struct Arguments {
    pub(crate) bind_wait: Duration,
    pub(crate) pid_file: Option<PathBuf>,
    pub(crate) name: Option<String>,
    pub(crate) binary: Option<PathBuf>,
    pub(crate) relay: bool,
    pub(crate) daemon: bool,
    pub(crate) single: bool,
    /// How masters follow each other, and what becomes of workers without one.
    pub(crate) master: Config,
    pub(crate) config: Option<PathBuf>,
    pub(crate) said: Said,
    order: Option<Order>,
}

/// What is followed by a value.
const VALUED: [&str; 19] = [
    "-s",
    "--listen",
    "--bind-wait",
    "--pid-file",
    "--restart",
    "--name",
    "--binary",
    "--upgrade-ms",
    "--probation-ms",
    "--orphans",
    "--config",
    "--workers",
    "--idle",
    "--drain-idle",
    "--text",
    "--log",
    "--user",
    "--affinity",
    "--fail",
];

/// What is not.
const FLAGS: [&str; 5] = [
    "--relay",
    "--manual-upgrades",
    "--daemon",
    "--single",
    "--reuseport",
];

/// Which argument is wrong, and why.
pub(crate) struct Wrong {
    argument: String,
    why: &'static str,
}

pub(crate) fn parse(words: impl Iterator<Item = OsString>) -> Result<Asked, Wrong> {
    let mut arguments = Arguments::default();
    let mut words = words;
    while let Some(word) = words.next() {
        let word = word.to_str().ok_or_else(|| Wrong {
            argument: word.to_string_lossy().into_owned(),
            why: "not UTF-8",
        })?;
        let (name, attached) = match word.split_once('=') {
            Some((name, value)) => (name, Some(OsString::from(value))),
            None => (word, None),
        };
        let wrong = |argument: &str, why| Wrong {
            argument: argument.to_owned(),
            why,
        };
        match name {
            "--help" | "-h" => return Ok(Asked::Help),
            name if FLAGS.contains(&name) && attached.is_none() => arguments.set_flag(name),
            name if VALUED.contains(&name) => {
                let value = attached.or_else(|| words.next());
                let value = value.ok_or_else(|| wrong(name, "needs a value"))?;
                let shown = format!("{name} {}", value.to_string_lossy());
                let set = arguments.set(name, value);
                set.map_err(|why| wrong(&shown, why))?;
            }
            _ => return Err(wrong(word, "not an argument of this program")),
        }
    }
    match (arguments.order, &mut arguments.pid_file) {
        (None, _) => Ok(Asked::Serve(Box::new(arguments))),
        (Some(order), Some(path)) => Ok(Asked::Order(order, core::mem::take(path))),
        (Some(_), None) => Err(Wrong {
            argument: "-s".to_owned(),
            why: "needs a --pid-file",
        }),
    }
}

impl Arguments {
    fn set(&mut self, name: &str, value: OsString) -> Result<(), &'static str> {
        match name {
            "--pid-file" | "--binary" | "--config" if value.is_empty() => return Err("not a path"),
            "--pid-file" => self.pid_file = Some(value.into()),
            "--binary" => self.binary = Some(value.into()),
            "--config" => self.config = Some(value.into()),
            _ => return self.set_text(name, value.to_str().ok_or("not UTF-8")?),
        }
        Ok(())
    }

    fn set_flag(&mut self, name: &str) {
        match name {
            "--relay" => self.relay = true,
            "--daemon" => self.daemon = true,
            "--single" => self.single = true,
            "--reuseport" => drop(self.said.set("reuseport", "on")), // it knows the value
            _ => self.master = self.master.upgrades(Upgrades::Manual),
        }
    }

    fn set_text(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        match name {
            "--bind-wait" => {
                let seconds: Option<u32> = value.parse().ok();
                self.bind_wait = Duration::from_secs(seconds.ok_or("not a number")?.into());
            }
            "-s" => {
                self.order = Some(Order::from_name(value).ok_or("nothing that can be asked for")?)
            }
            "--name" => self.name = Some(value.to_owned()),
            "--restart" => {
                self.master = self.master.backoff(match value {
                    "always" => Backoff::new().eager(),
                    "backoff" => Backoff::new(),
                    _ => return Err("neither `always` nor `backoff`"),
                });
            }
            "--orphans" => {
                self.master = self.master.orphans(match value {
                    "drain" => Orphans::Drain,
                    "serve" => Orphans::Serve,
                    _ => return Err("neither `drain` nor `serve`"),
                });
            }
            "--upgrade-ms" => self.master = self.master.upgrade_ms(milliseconds(value)?),
            "--probation-ms" => self.master = self.master.probation_ms(milliseconds(value)?),
            setting => {
                let key = setting.trim_start_matches('-').replace('-', "_");
                return self.said.set(&key, value);
            }
        }
        Ok(())
    }
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            bind_wait: Duration::from_secs(3),
            pid_file: None,
            name: None,
            binary: None,
            relay: false,
            daemon: false,
            single: false,
            master: Config::new(),
            config: None,
            said: Said::default(),
            order: None,
        }
    }
}

/// A day at the most.
fn milliseconds(value: &str) -> Result<u64, &'static str> {
    let ms = value.parse().ok().filter(|ms| *ms <= 86_400_000);
    ms.ok_or("not a number from 0 to 86400000")
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.argument, self.why)
    }
}
