//! The instructions that a turn costs in user space, counted by callgrind, the same in every run.

use std::process::Command;

use crate::contenders::{Contender, Ours, OursReading, Plain, Pthread, PthreadReading, page};

const TURNS: u32 = 1000;

#[rustfmt::skip]
const PATHS: &[(&str, fn())] = &[
    (Plain::NAME, turns::<Plain>),
    (Ours::NAME, turns::<Ours>),
    (Pthread::NAME, turns::<Pthread>),
    (PthreadReading::NAME, turns::<PthreadReading>),
    (OursReading::NAME, turns::<OursReading>),
];

/// Counts every path in a process of its own under callgrind, and prints what each costs a turn.
pub(crate) fn print() {
    println!("\ninstructions in user space, a turn without a rival (callgrind)");
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("  not counted: there is no valgrind on the path");
        return;
    }
    for (name, _) in PATHS {
        match count(name) {
            Ok(each) => println!("  {name:64} {each:>8.1}"),
            Err(why) => println!("  {name:64} not counted: {why}"),
        }
    }
}

/// In the process under callgrind: runs the path of this name.
pub(crate) fn run(name: &str) {
    let path = PATHS.iter().find(|path| path.0 == name);
    path.expect("a path of this name").1();
}

fn count(name: &str) -> Result<f64, String> {
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg("--toggle-collect=*counted_region*")
        .arg(this)
        .args(["--counted", name])
        .output()
        .map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said
        .lines()
        .find_map(|line| line.split_once("Collected : "));
    let total: Option<f64> = collected.and_then(|(_, total)| total.trim().parse().ok());
    match total {
        Some(total) if output.status.success() && total > 0.0 => Ok(total / f64::from(TURNS)),
        _ => Err(said.lines().last().unwrap_or("no output").to_owned()),
    }
}

#[inline(never)]
fn counted_region(work: impl FnOnce()) {
    work();
}

fn turns<C: Contender>() {
    let arena = page();
    C::prepare(&arena);
    let lock = C::join(&arena, 0);
    C::turn(&lock, || arena.work());
    counted_region(|| (0..TURNS).for_each(|_| C::turn(&lock, || arena.work())));
}
