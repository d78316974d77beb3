//! What does a lock cost that survives the death of its owner?
//!
//! Measured: locking and unlocking without a rival, and by two processes on two CPUs that do nothing
//! else; reading by the reader/writer lock without a rival, and by two processes. Contenders: a plain
//! mutex of three states on a futex, written for this bench, which knows no owner; pthread's robust
//! mutex and pthread's reader/writer lock, shared by processes; forkmesh. In each round every contender
//! has its turn, and ratios are taken within the round. Last, the instructions in user space, where
//! valgrind is installed.
//!
//! Not said: what waiting costs while the owner works, or a recovery.
//!
//! ```text
//! cargo bench --bench mutex                        everything
//! cargo bench --bench mutex -- --instructions      the instructions alone
//! ```

#[path = "measure/callgrind.rs"]
mod callgrind;
#[path = "lock/contenders.rs"]
mod contenders;
#[path = "lock/counted.rs"]
mod counted;
#[path = "measure/process.rs"]
mod process;
#[path = "measure/rounds.rs"]
mod rounds;
#[path = "lock/together.rs"]
mod together;

use contenders::{Contender, Ours, OursReading, Plain, Pthread, PthreadReading};
use forkmesh::channel::Alone;
use process::{Page, now_ns};
use rounds::{Row, Table, bar};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |word: &str| arguments.iter().any(|argument| argument == word);
    match arguments.as_slice() {
        [word, name, ..] if word == "--counted" => return counted::run(name),
        _ if has("--instructions") => return counted::print(),
        _ if !has("--bench") => return compare(1, 100),
        _ => compare(60, 100_000),
    }
    counted::print();
}

fn compare(rounds: usize, turns: usize) {
    let rows = [alone::<Plain>(), alone::<Ours>(), alone::<Pthread>()];
    let title = "lock and unlock, no rival";
    let uncontended = Table::measure(title, "ns a turn", &rows, rounds, turns);
    uncontended.print();

    let rows = [two::<Plain>(), two::<Ours>(), two::<Pthread>()];
    let title = "lock and unlock, two processes on two CPUs";
    let contended = Table::measure(title, "ns a turn", &rows, rounds, turns);
    contended.print();

    let rows = [alone::<PthreadReading>(), alone::<OursReading>()];
    let title = "lock and unlock for reading, no rival";
    Table::measure(title, "ns a turn", &rows, rounds, turns).print();

    let rows = [two::<PthreadReading>(), two::<OursReading>()];
    let title = "lock and unlock for reading, two processes on two CPUs";
    Table::measure(title, "ns a turn", &rows, rounds, turns).print();

    if rounds > 1 {
        println!("\nbounds: ratios within one round, medians of all rounds");
        let to = |table: &Table, base| table.ratio(Ours::NAME, base);
        bar(
            "no rival, to a plain futex mutex",
            to(&uncontended, Plain::NAME),
            1.15,
        );
        bar(
            "no rival, to pthread's robust mutex",
            to(&uncontended, Pthread::NAME),
            0.9,
        );
        bar(
            "two processes, to a plain futex mutex",
            to(&contended, Plain::NAME),
            1.25,
        );
    }
}

const fn alone<C: Contender>() -> Row {
    Row {
        name: C::NAME,
        run: |_: &mut Alone, turns| {
            together::pin(0);
            let arena = Page::new();
            C::prepare(&arena);
            let lock = C::join(&arena, 0);
            let turn = || C::turn(&lock, || arena.work());
            (0..turns / 10).for_each(|_| turn());
            let start = now_ns();
            (0..turns).for_each(|_| turn());
            (now_ns() - start) as f64 / turns as f64
        },
    }
}

const fn two<C: Contender>() -> Row {
    Row {
        name: C::NAME,
        run: |_: &mut Alone, turns| {
            let arena = Page::new();
            C::prepare(&arena);
            together::measure(|slot| {
                let lock = C::join(&arena, slot);
                for _ in 0..turns {
                    C::turn(&lock, || arena.work());
                }
            }) / (2 * turns) as f64
        },
    }
}
