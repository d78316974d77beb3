//! What does a frame cost between two processes?
//!
//! Measured: 32-byte frames one way (one a call, 16 a call), descriptors beside them (one and 32 a
//! message), and frames there and back, between two processes on two CPUs (and, there and back, on
//! one). Every figure is the median of many short rounds; in each round every contender has its turn,
//! with a child forked for it, and ratios are taken within the round. Last, the instructions a frame
//! costs in user space, where valgrind is installed.
//!
//! Contenders: libc's `send` and `recv`, forkmesh, std, and the crates of `benches/peers`, which is
//! built first: a package of its own, because its dependencies would switch features of ours. Where
//! it cannot be built, the reason is printed and the others are measured.
//!
//! Not said: what a frame costs when many processes send to one, when the machine is loaded, or on
//! another machine. Only ratios of one run mean anything.
//!
//! ```text
//! cargo bench --bench channel                        everything
//! cargo bench --bench channel -- --plain             without the crates of benches/peers
//! cargo bench --bench channel -- --instructions      the instructions alone
//! ```

#[path = "measure/callgrind.rs"]
mod callgrind;
#[path = "measure/instructions.rs"]
mod instructions;
mod measure;

use std::path::{Path, PathBuf};
use std::process::Command;

use measure::comparison::{self, Effort, Peers};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |word: &str| arguments.iter().any(|argument| argument == word);
    match arguments.as_slice() {
        [word, path, ..] if word == "--counted" => return instructions::run(path),
        _ if has("--instructions") => return instructions::print(),
        _ if !has("--bench") => return comparison::run(Peers::default(), Effort::SMOKE),
        _ if has("--plain") => comparison::run(Peers::default(), Effort::FULL),
        _ => with_peers(),
    }
    instructions::print();
}

fn with_peers() {
    let compared = build().and_then(|program| {
        let status = Command::new(&program).status();
        match status.map_err(|error| format!("{}: {error}", program.display()))? {
            status if status.success() => Ok(()),
            status => Err(format!("the comparison ended with {status}")),
        }
    });
    if let Err(why) = compared {
        println!("not measured: the crates of benches/peers: {why}");
        comparison::run(Peers::default(), Effort::FULL);
    }
}

/// Builds the package of the peers beside this build; the program.
fn build() -> Result<PathBuf, String> {
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let target = this.ancestors().nth(3).ok_or("no target directory")?;
    let target = target.join("peers");
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/Cargo.toml");
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--release", "--quiet", "--manifest-path"])
        .arg(manifest)
        .arg("--target-dir")
        .arg(&target)
        .status();
    match built {
        Ok(status) if status.success() => Ok(target.join("release/forkmesh-peers")),
        Ok(status) => Err(format!(
            "cargo build ended with {status}; its reason is above"
        )),
        Err(error) => Err(format!("cargo cannot be run: {error}")),
    }
}
