//! The comparison of `benches/channel.rs`, with crates beside it that move bytes and descriptors
//! between processes. The measuring is that of `benches/measure`; here are only the contenders.

mod ipc;
#[path = "../../measure/mod.rs"]
mod measure;
mod nix;
mod sendfd;
mod uds;

use measure::comparison::{self, Effort, Peers, back, back_on_one_cpu, there};

fn main() {
    let peers = Peers {
        frames: &const {
            [
                there::<sendfd::Frames<0>>(),
                there::<uds::Frames<0>>(),
                there::<nix::Frames<0>>(),
                there::<ipc::Bytes>(),
            ]
        },
        descriptors: &const {
            [
                there::<sendfd::Frames<1>>(),
                there::<uds::Frames<1>>(),
                there::<nix::Frames<1>>(),
                there::<ipc::Senders>(),
            ]
        },
        trips: &const {
            [
                back::<sendfd::Frames<0>>(),
                back::<uds::Frames<0>>(),
                back::<nix::Frames<0>>(),
                back::<ipc::Bytes>(),
            ]
        },
        trips_on_one_cpu: &const {
            [
                back_on_one_cpu::<sendfd::Frames<0>>(),
                back_on_one_cpu::<uds::Frames<0>>(),
                back_on_one_cpu::<nix::Frames<0>>(),
                back_on_one_cpu::<ipc::Bytes>(),
            ]
        },
    };
    let effort = match std::env::args().nth(1).as_deref() {
        Some("--smoke") => Effort::SMOKE,
        _ => Effort::FULL,
    };
    comparison::run(peers, effort);
}
