//! The instructions that a piece of work costs in user space, counted by callgrind: the same in every run.

use std::process::Command;

/// Whether there is a valgrind to count by; if not, that is said.
pub(crate) fn is_there() -> bool {
    let is_there = Command::new("valgrind").arg("--version").output().is_ok();
    if !is_there {
        println!("  not counted: there is no valgrind on the path");
    }
    is_there
}

/// Runs this program again, under callgrind, with `--counted` and a name; what it does there within
/// [`counted_region`], in instructions.
pub(crate) fn count(name: &str) -> Result<f64, String> {
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
        Some(total) if output.status.success() && total > 0.0 => Ok(total),
        _ => Err(said.lines().last().unwrap_or("no output").to_owned()),
    }
}

/// What is counted; callgrind knows it by its name.
#[inline(never)]
pub(crate) fn counted_region(work: impl FnOnce()) {
    work();
}
