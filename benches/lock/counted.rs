//! The instructions that a turn costs in user space, counted by callgrind, the same in every run.

use crate::callgrind::{self, counted_region};
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
    if !callgrind::is_there() {
        return;
    }
    for (name, _) in PATHS {
        match callgrind::count(name).map(|total| total / f64::from(TURNS)) {
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

fn turns<C: Contender>() {
    let arena = page();
    C::prepare(&arena);
    let lock = C::join(&arena, 0);
    C::turn(&lock, || arena.work());
    counted_region(|| (0..TURNS).for_each(|_| C::turn(&lock, || arena.work())));
}
