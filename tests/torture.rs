//! Upgrades under load, every second of them sabotaged: nobody may notice, and nothing may be left.
//!
//! ```text
//!   round 1   sabotage 1        it fails: the same master, the same workers, the same descriptors
//!   round 2   none              it works: another master that holds what the one before it held
//!   round 3   sabotage 2        …
//!
//!   meanwhile: clients that keep their connection, that close it, and that send by halves;
//!   whatever is refused, reset, cut short or late is a failure
//! ```
//!
//! It takes minutes, so it is not among what `cargo test` runs:
//!
//! ```text
//!   cargo build --release --example httpd && ROUNDS=200 cargo test --release --test torture
//! ```
#![forbid(unsafe_code)]

#[path = "torture/load.rs"]
mod load;
#[path = "torture/process.rs"]
mod process;
#[path = "torture/sabotage.rs"]
mod sabotage;
#[path = "torture/server.rs"]
mod server;
mod support;

use std::time::Instant;

use rustix::process::Signal;

use crate::load::Load;
use crate::sabotage::{ALL, Sabotage};
use crate::server::{Look, Server, UPGRADE};

/// How many upgrades, unless the environment's `ROUNDS` says otherwise.
const ROUNDS: usize = 200;
/// How many requests are answered in a round at least.
const REQUESTS: u64 = 200;

fn main() {
    support::run(support::tests![upgrades_under_load]);
}

fn upgrades_under_load() {
    let rounds = match std::env::var("ROUNDS") {
        Ok(rounds) => rounds.parse().expect("ROUNDS is a number"),
        Err(_) => ROUNDS,
    };
    let server = Server::start();
    let load = Load::start(server.address);
    let begin = server.look();
    println!("the master holds {}", begin.master.holds);
    for round in 1..=rounds {
        let sabotage = match round % 2 {
            0 => None,
            _ => Some(ALL[round / 2 % ALL.len()]),
        };
        upgrade(&server, &load, round, sabotage, &begin);
    }
    let (asked, failures) = load.end();
    println!("{asked} requests, {} of them failed", failures.len());
    for failure in failures.iter().take(50) {
        println!("  {failure}");
    }
    assert!(asked > 0, "there was a load");
    assert!(failures.is_empty(), "clients noticed");
    server.end();
}

/// One upgrade, and a look at what it left.
fn upgrade(server: &Server, load: &Load, round: usize, sabotage: Option<Sabotage>, begin: &Look) {
    let name = sabotage.map_or_else(|| "none".to_owned(), |sabotage| format!("{sabotage:?}"));
    load.names_round(round, &name);
    let (start, asked) = (Instant::now(), load.asked());
    let before = server.look();
    server.prepare(sabotage);
    server.signal(before.master.pid, Signal::USR2);
    let after = match sabotage {
        None => server.is_succeeded(&before),
        Some(sabotage) => {
            if sabotage == Sabotage::DiesInProbation {
                server.kill_successor(&before);
            }
            server.fails_to_upgrade(&before, sabotage)
        }
    };
    let took = start.elapsed();
    if sabotage.is_some_and(Sabotage::is_slow) {
        assert!(took >= UPGRADE, "{name} was over after {took:?}");
    }
    process::until("clients to be served as before", || {
        (load.asked() >= asked + REQUESTS).then_some(())
    });
    let asked = load.asked() - asked;
    server.undo();

    // Connections are descriptors, too: they are counted without any.
    load.rest();
    server.holds_what_it_held(after, begin);
    println!(
        "round {round}, sabotage: {name}, {took:.2?}, {asked} requests, {} failures so far",
        load.failures()
    );
    load.go_on();
}
