//! Who gets how many of the clients, by each strategy.

use core::net::SocketAddrV4;

use forkmesh::run::{Exclusive, Exit, Load, Own, Sharing, Worker};

use crate::clients::{Client, at, copy, listeners, serve};
use crate::mutexed::Shared;
use crate::world::World;

const WORKERS: usize = 4;
const ONE_BY_ONE: usize = 400;
const WAVES: usize = 25;
const WAVE: usize = 16;

/// How many each worker got: of clients that come one at a time; in waves of 16; and of 96 that stay,
/// where a worker has room for 32.
fn measure(
    label: &str,
    address: SocketAddrV4,
    work: impl FnMut(&mut Worker) -> Exit,
) -> [[usize; WORKERS]; 3] {
    let mut world = World::new(WORKERS, false, work);
    world.live(WORKERS);
    let mut counts = [[0; WORKERS]; 3];
    for _ in 0..ONE_BY_ONE {
        counts[0][usize::from(Client::new(address).served())] += 1;
    }
    for _ in 0..WAVES {
        let wave: Vec<Client> = (0..WAVE).map(|_| Client::new(address)).collect();
        wave.iter()
            .for_each(|client| counts[1][usize::from(client.served())] += 1);
    }
    let stay: Vec<Client> = (0..96).map(|_| Client::new(address)).collect();
    stay.iter()
        .for_each(|client| counts[2][usize::from(client.served())] += 1);
    drop(stay);
    world.quit();
    world.until_ended();
    println!(
        "{label:<14} one by one {:?}  in waves {:?}  staying {:?}",
        counts[0], counts[1], counts[2]
    );
    counts
}

pub(crate) fn the_spread() {
    const ROOM: u32 = 32;
    println!();
    for turn in [1, 16, u32::MAX] {
        let (listener, address) = listeners(1);
        let counts = measure(
            &format!("Exclusive/{turn}").replace("4294967295", "never"),
            address,
            |worker| {
                let load = Load::new(ROOM);
                let shared = copy(&listener[0], Sharing::Shared);
                serve(
                    worker,
                    at(&load, Exclusive::new().turn(turn), [shared]),
                    None,
                )
            },
        );
        if turn == 1 {
            for counts in &counts[..2] {
                let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
                // On a crowded machine a worker can be slow to come back into the line.
                let half = counts.iter().sum::<usize>() / 2;
                assert!(*least > 0 && *most <= half, "{counts:?}");
            }
        }
        let most = counts[2].iter().max().unwrap();
        assert!(*most <= ROOM as usize, "{counts:?}");
    }
    let (listener, address) = listeners(WORKERS);
    // Room for all: nobody else could have what comes to one's own socket.
    let counts = measure("Own", address, |worker| {
        let load = Load::new(96);
        let own = copy(&listener[usize::from(worker.number())], Sharing::Own);
        serve(worker, at(&load, Own, [own]), None)
    });
    assert!(
        counts[..2].iter().flatten().all(|count| *count > 0),
        "{counts:?}"
    );
    let (listener, address) = listeners(1);
    let memory = Shared::map();
    let counts = measure("Mutexed", address, |worker| {
        let load = Load::new(ROOM);
        let shared = copy(&listener[0], Sharing::Shared);
        let strategy = memory.strategy(worker.id()).delay_ms(20);
        serve(worker, at(&load, strategy, [shared]), None)
    });
    assert!(
        counts[2].iter().all(|count| *count <= ROOM as usize),
        "{counts:?}"
    );
}
