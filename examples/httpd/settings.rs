//! `Settings`: what a reload may change, from the command line over a file over the defaults.
//!
//! ```text
//!   # a line for each setting; what stands behind the first = is the value
//!   workers = 4
//!   listen = 127.0.0.1:8080
//!   listen = unix:/run/httpd
//!   reuseport = on
//!   idle = 60
//!   drain_idle = 5
//!   text = hello # this is part of it
//!   log = /var/log/httpd.log
//!   user = www-data:www-data
//!   affinity = auto
//!   fail = hang
//! ```
//!
//! A file is taken as a whole or not at all: one wrong line, and the settings in force stay.

use core::time::Duration;
use std::fs;
use std::path::{Path, PathBuf};

use forkmesh::run::{Address, Listen};
use forkmesh::table::CHILDREN;

use crate::listener;

/// What a worker goes by.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) workers: usize,
    /// How long a connection may do nothing.
    pub(crate) idle: Duration,
    /// How long it may do nothing while its worker drains.
    pub(crate) drain_idle: Duration,
    /// A line of the page `/`.
    pub(crate) text: String,
    /// `None` for serving.
    pub(crate) fail: Option<Fail>,
    pub(crate) log: Option<PathBuf>,
    /// Whose processes workers are: a user, and a group behind a colon; `None` for the master's own.
    pub(crate) user: Option<String>,
    /// Where it listens, and how.
    pub(crate) listen: Vec<Listen>,
    /// `None` for wherever the kernel likes.
    pub(crate) affinity: Option<Affinity>,
}

/// Where workers run: each on one processor.
#[derive(Clone)]
pub(crate) enum Affinity {
    /// Of those that the master may use.
    Auto,
    /// Of these, in this order.
    Of(Vec<usize>),
}

/// What a worker does instead of serving: for tests of who starts it.
#[derive(Clone, Copy)]
pub(crate) enum Fail {
    /// It says that it can never succeed.
    Exit2,
    /// It is killed by a signal.
    Die,
    /// It is never ready, and hears nothing.
    Hang,
}

/// What one source says: the command line, or the file.
#[derive(Clone, Default)]
pub(crate) struct Said {
    workers: Option<usize>,
    idle_s: Option<u64>,
    drain_idle_s: Option<u64>,
    text: Option<String>,
    fail: Option<Fail>,
    log: Option<PathBuf>,
    user: Option<String>,
    affinity: Option<Affinity>,
    listen: Vec<Address>,
    reuseport: Option<bool>,
}

impl Settings {
    /// The settings of a start or a reload: the file is read anew, and why it is no good names it.
    pub(crate) fn read(line: &Said, file: Option<&Path>) -> Result<Self, String> {
        let Some(path) = file else {
            return Ok(Self::new(line, Said::default()));
        };
        let text = fs::read_to_string(path).map_err(|why| format!("{}: {why}", path.display()))?;
        let said = Said::parse(&text).map_err(|why| format!("{}, {why}", path.display()))?;
        Ok(Self::new(line, said))
    }

    fn new(line: &Said, file: Said) -> Self {
        let seconds = |line: Option<u64>, file, default| {
            Duration::from_secs(line.or(file).unwrap_or(default))
        };
        let workers = line.workers.or(file.workers);
        let text = line.text.clone().or(file.text);
        let reuseport = line.reuseport.or(file.reuseport).unwrap_or_default();
        let addresses = [line.listen.as_slice(), &file.listen, &[listener::DEFAULT]];
        let addresses = addresses.into_iter().find(|list| !list.is_empty());
        let listen = addresses.into_iter().flatten();
        Self {
            workers: workers.unwrap_or_else(cpus),
            idle: seconds(line.idle_s, file.idle_s, 60),
            drain_idle: seconds(line.drain_idle_s, file.drain_idle_s, 5),
            text: text.unwrap_or_default(),
            fail: line.fail.or(file.fail),
            log: line.log.clone().or(file.log),
            user: line.user.clone().or(file.user),
            affinity: line.affinity.clone().or(file.affinity),
            listen: listen
                .map(|address| listener::listen(*address, reuseport))
                .collect(),
        }
    }
}

impl Said {
    fn parse(text: &str) -> Result<Self, String> {
        let mut said = Self::default();
        let mut seen = Vec::new();
        for (line, number) in text.lines().map(str::trim).zip(1..) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (key, value) = line
                .split_once('=')
                .map(|(key, value)| (key.trim(), value.trim()))
                .ok_or_else(|| format!("line {number}: {line}: not KEY = VALUE"))?;
            let wrong = |why: &str| format!("line {number}: {key}: {why}");
            said.set(key, value).map_err(wrong)?;
            if seen.contains(&key) && key != "listen" {
                return Err(wrong("said before"));
            }
            seen.push(key);
        }
        Ok(said)
    }

    /// Takes one setting; or why not.
    pub(crate) fn set(&mut self, key: &str, value: &str) -> Result<(), &'static str> {
        match key {
            "workers" => {
                let workers = value.parse().ok().filter(|workers| *workers <= CHILDREN);
                self.workers = Some(workers.ok_or("not a number from 0 to 1022")?);
            }
            "idle" => {
                self.idle_s = Some(seconds(value, 1).ok_or("not a number from 1 to 86400")?);
            }
            "drain_idle" => {
                self.drain_idle_s = Some(seconds(value, 0).ok_or("not a number from 0 to 86400")?);
            }
            "text" => self.text = Some(value.to_owned()),
            "fail" => {
                self.fail = Some(match value {
                    "exit2" => Fail::Exit2,
                    "die" => Fail::Die,
                    "hang" => Fail::Hang,
                    _ => return Err("none of exit2, die, hang"),
                });
            }
            "listen" => {
                let address = listener::address(value);
                self.listen
                    .push(address.ok_or("neither an address and port, nor unix:PATH")?);
            }
            "reuseport" => {
                self.reuseport = Some(match value {
                    "on" => true,
                    "off" => false,
                    _ => return Err("neither on nor off"),
                });
            }
            "user" if value.is_empty() => return Err("nobody's name"),
            "user" => self.user = Some(value.to_owned()),
            "affinity" => {
                let affinity = affinity(value).ok_or("neither `auto` nor numbers, as 0,2,1")?;
                self.affinity = Some(affinity);
            }
            "log" if value.is_empty() => return Err("not a path"),
            "log" => self.log = Some(value.into()),
            _ => return Err("no such setting"),
        }
        Ok(())
    }
}

fn seconds(value: &str, least: u64) -> Option<u64> {
    let seconds = value.parse().ok();
    seconds.filter(|seconds| (least..=86_400).contains(seconds))
}

fn affinity(value: &str) -> Option<Affinity> {
    if value == "auto" {
        return Some(Affinity::Auto);
    }
    let numbers = value.split(',').map(|number| number.trim().parse().ok());
    numbers.collect::<Option<_>>().map(Affinity::Of)
}

fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, |cpus| cpus.get().min(CHILDREN))
}
