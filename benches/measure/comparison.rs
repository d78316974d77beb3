//! The comparison: which rows each table has, how much each round does, and what has to hold.

use super::forkmesh::{Descriptors, OverControl, OverMesh};
use super::plain::{self, Frames};
use super::rounds::{Row, Table, bar};
use super::stream::Std;
use super::{Contender, FRAME, Receives, Sends, one_way, round_trip};

/// The rows of others; empty where there are none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Peers {
    /// One frame a call.
    pub(crate) frames: &'static [Row],
    /// One descriptor a message.
    pub(crate) descriptors: &'static [Row],
    /// There and back, on two CPUs.
    pub(crate) trips: &'static [Row],
    /// There and back, on one CPU.
    pub(crate) trips_on_one_cpu: &'static [Row],
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Rounds a table.
    pub(crate) rounds: usize,
    /// Frames a contender and round.
    pub(crate) frames: usize,
}

impl Effort {
    /// For figures.
    pub(crate) const FULL: Self = Self {
        rounds: 60,
        frames: 20_000,
    };
    /// To see that it runs.
    pub(crate) const SMOKE: Self = Self {
        rounds: 1,
        frames: 320,
    };
}

/// A row of a table of frames one way.
pub(crate) const fn there<C: Contender>() -> Row {
    Row {
        name: C::NAME,
        run: one_way::<C>,
    }
}

/// A row of a table of frames there and back.
pub(crate) const fn back<C: Contender<Near: Receives, Far: Sends>>() -> Row {
    Row {
        name: C::NAME,
        run: |alone, trips| round_trip::<C>(alone, trips, 1),
    }
}

/// A row of a table of frames there and back, without another CPU to wake.
pub(crate) const fn back_on_one_cpu<C: Contender<Near: Receives, Far: Sends>>() -> Row {
    Row {
        name: C::NAME,
        run: |alone, trips| round_trip::<C>(alone, trips, 0),
    }
}

type Libc = Frames<1, FRAME>;

/// Measures and prints everything.
pub(crate) fn run(peers: Peers, effort: Effort) {
    let Effort { rounds, frames } = effort;
    let ours = [
        there::<Libc>(),
        there::<Frames<1, 4096>>(),
        there::<OverControl<1>>(),
        there::<OverMesh<1>>(),
        there::<Std>(),
    ];
    let one = "frames of 32 bytes, one a call, two processes on two CPUs";
    let rows = [&ours, peers.frames].concat();
    let single = Table::measure(one, "ns a frame", &rows, rounds, frames);
    single.print();

    let rows = [
        there::<OverControl<1>>(),
        there::<OverControl<16>>(),
        there::<OverMesh<16>>(),
        there::<Frames<16, 4096>>(),
    ];
    let title = "frames of 32 bytes, 16 a call";
    let batched = Table::measure(title, "ns a frame", &rows, rounds, 2 * frames);
    batched.print();

    let ours = [
        there::<plain::Descriptors<1>>(),
        there::<Descriptors<1>>(),
        there::<plain::Descriptors<32>>(),
        there::<Descriptors<32>>(),
    ];
    let title = "descriptors by sendmsg: sent, received, closed";
    let rows = [&ours, peers.descriptors].concat();
    let carried = Table::measure(title, "ns a descriptor", &rows, rounds, frames / 2);
    carried.print();

    let ours = [back::<Libc>(), back::<OverControl<1>>(), back::<Std>()];
    let title = "there and back, two CPUs, both asleep in between";
    let rows = [&ours, peers.trips].concat();
    Table::measure(title, "p50, ns", &rows, rounds / 3 + 1, frames / 40).print();

    let ours = [
        back_on_one_cpu::<Libc>(),
        back_on_one_cpu::<OverControl<1>>(),
        back_on_one_cpu::<Std>(),
    ];
    let title = "there and back, one CPU";
    let rows = [&ours, peers.trips_on_one_cpu].concat();
    Table::measure(title, "p50, ns", &rows, rounds / 2 + 1, frames / 20).print();

    if rounds > 1 {
        bars(peers, &single, &batched, &carried);
    }
}

fn bars(peers: Peers, single: &Table, batched: &Table, carried: &Table) {
    let control = OverControl::<1>::NAME;
    println!("\nbounds: ratios within one round, medians of all rounds");
    let libc = single.ratio(control, Libc::NAME);
    bar("control pair, one frame a call, to libc", libc, 1.05);
    let std = single.ratio(control, Std::NAME);
    bar("control pair, one frame a call, to std", std, 1.05);
    for peer in peers.frames {
        let name = format!("control pair, one frame a call, to {}", peer.name);
        bar(&name, single.ratio(control, peer.name), 1.0);
    }
    if peers.frames.is_empty() {
        bar("control pair, one frame a call, to other crates", None, 1.0);
    }
    let batch = batched.ratio(OverControl::<16>::NAME, control);
    bar(
        "control pair, 16 a call to one a call, a frame",
        batch,
        0.08,
    );
    let many = carried.ratio(Descriptors::<32>::NAME, Descriptors::<1>::NAME);
    bar("32 descriptors a message to one, a descriptor", many, 0.25);
}
