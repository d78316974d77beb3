//! A master that stays root and workers that do not: each drops to `nobody`, takes a processor of its
//! own, shows what it is, and serves a port that only root may bind.
//!
//! As an ordinary user it keeps the identity that it has, says so, and takes any port.

use core::net::{Ipv4Addr, SocketAddrV4};
use std::fs;

use forkmesh::machine::Config;
use forkmesh::run::{
    Event, Exit, Identity, Interest, Master, Notice, Poller, Ready, Service, Setup, SetupError,
    SetupStep, Title, Worker, Workers,
};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, accept_with, bind, getsockname, listen, socket_with,
};

/// A port below 1024, if nobody has it; else any.
const PRIVILEGED: u16 = 1018;
const ANY: u16 = 0;
const CONNECTION: u32 = 1;
/// What an answer shows of /proc/self/status.
const SHOWN: [&str; 6] = [
    "Uid",
    "Gid",
    "Groups",
    "CapEff",
    "NoNewPrivs",
    "Cpus_allowed_list",
];

struct Demo {
    /// Looked up in the master, before there are workers; `None` for who is not root.
    identity: Option<Identity>,
    title: Option<Title>,
    listener: OwnedFd,
}

impl Demo {
    /// nginx's order; what may fail and does not matter is forgotten by `let _`.
    fn set_up(&mut self, worker: &Worker) -> Result<(), SetupError> {
        let mut setup = Setup::begin(worker);
        let _ = setup.priority(1);
        setup.descriptors(256)?.core_bytes(0)?;
        let mut setup = match &self.identity {
            Some(identity) => setup.drop_to(identity)?,
            None => setup.keep_identity(),
        };
        let _ = setup.own_processor();
        setup.directory(c"/")?.no_new_privileges()?;
        // setup.priority(-1)?;   does not compile: the privileges are gone
        Ok(())
    }

    /// Who this worker is, for whoever connects.
    fn answer(&self, worker: &Worker) {
        let Ok(connection) = accept_with(&self.listener, SocketFlags::CLOEXEC) else {
            return; // a sibling was faster
        };
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mut answer = format!("worker {}\n", worker.number());
        for line in status.lines() {
            if SHOWN.iter().any(|name| line.starts_with(name)) {
                answer.push_str(line);
                answer.push('\n');
            }
        }
        let _ = rustix::io::write(connection, answer.as_bytes());
    }
}

impl Service for Demo {
    fn work(&mut self, worker: &mut Worker) -> Exit {
        if let Err(error) = self.set_up(worker) {
            return worker.fails(error);
        }
        if let Some(title) = &mut self.title {
            let _ = title.set(format_args!("demo: worker {}", worker.number()));
        }
        let Ok(mut poller) = Poller::new(worker) else {
            return Exit::FAILURE;
        };
        let watched = poller.add(&self.listener, CONNECTION, Interest::READ);
        if watched.is_err() {
            return Exit::FAILURE;
        }
        worker.ready();
        loop {
            while let Some(event) = worker.receive() {
                if let Event::Quit | Event::Terminate = event {
                    return Exit::SUCCESS;
                }
            }
            match poller.wait(worker, None) {
                Ok(ready) => ready.for_each(|_: Ready| self.answer(worker)),
                Err(_) => return Exit::FAILURE,
            }
        }
    }

    fn notice(&mut self, _: &mut Workers<'_>, notice: Notice) {
        match notice {
            Notice::Failed { stage, errno, .. } => match SetupStep::of_stage(stage) {
                Some(step) => println!("a worker cannot serve: {step}, error {errno}"),
                None => println!("a worker cannot serve: step {stage}, error {errno}"),
            },
            notice => println!("{notice:?}"),
        }
    }
}

/// A socket that listens at this port of this machine alone.
fn open(port: u16) -> Result<(OwnedFd, SocketAddrV4), Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
    listen(&socket, 128)?;
    let address = SocketAddrV4::try_from(getsockname(&socket)?)?;
    Ok((socket, address))
}

fn main() -> Result<(), Box<dyn core::error::Error>> {
    let is_root = rustix::process::geteuid().is_root();
    let identity = is_root.then(|| Identity::of_user("nobody")).transpose()?;
    if identity.is_none() {
        println!("not root: the workers stay who they are");
    }
    let opened = open(PRIVILEGED).or_else(|_| open(ANY));
    let (listener, address) = opened.map_err(|errno| format!("no listener: {errno}"))?;
    println!("ask at {address}");
    let mut title = Title::claim().ok();
    if let Some(title) = &mut title {
        title.set("demo: master")?;
    }
    let mut demo = Demo {
        identity,
        title,
        listener,
    };
    Ok(Master::new(Config::new().workers(2).mesh(false))?.run(&mut demo)?)
}
