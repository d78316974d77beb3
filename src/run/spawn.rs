//! Spawning: a slot becomes a process, with its ends in the right hands.
//!
//! ```text
//!   mesh pairs of every slot that is about to be spawned      so that each child inherits them all,
//!     │                                                       and a start needs no message a pair
//!   control pair of this slot
//!     │
//!   fork ──┬── parent: End0s and pidfd kept, End1s closed, watched by epoll
//!          └── child:  own End1s kept, siblings' mesh End0s kept as peers, everything else of the
//!                      master's closed, in runs
//! ```

use core::mem::ManuallyDrop;

use rustix::event::epoll::EventFlags;
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::io::Errno;

use crate::channel::{self, Child, Control, End0, End1, ForkError, Mesh, Pair, Parent, Process};
use crate::machine::{self, Event};
use crate::run::board::Board;
use crate::run::daemon::Detached;
use crate::run::ends::Ends;
use crate::run::master::{Master, MeshEnd};
use crate::run::pid_file::PidFile;
use crate::run::service::{Exit, Notice, Service};
use crate::run::token::Token;
use crate::run::worker::{Parts, Worker};
use crate::sys::descriptor::Sweep;
use crate::sys::process;
use crate::table::{Pid, Role, SlotId, SlotIndex, SlotSet};

/// What a child holds of its pairs, and what its parent does.
type Own = (Child<End1>, Option<Child<End1, Mesh>>);
type Theirs = (Parent<End0>, Option<Parent<End0, Mesh>>);

impl Master {
    /// Makes a process for a slot.
    pub(super) fn spawn(&mut self, service: &mut impl Service, slot: SlotId) -> Event {
        if let Some(slot) = self.core.table().slot(slot)
            && slot.role == Role::Worker
        {
            service.before_fork(slot.number);
        }
        let made = self.fork(service, slot);
        match made.and_then(|(ends, process)| self.adopt(slot, ends, process)) {
            Ok(spawned) => spawned,
            Err(why) => {
                self.mesh.take(slot.index());
                self.notify(service, Notice::SpawnRefused { slot, why });
                Event::SpawnFailed(slot)
            }
        }
    }

    /// Makes the mesh pair of this slot and of every slot that is to be spawned after it; nothing if
    /// this one has its pair. One that cannot be made now is tried again when its slot's turn comes; an
    /// error is why this slot's own could not be.
    fn pair_all(&mut self, slot: SlotId) -> Result<(), Errno> {
        if self.mesh.at(slot.index()).is_some() {
            return Ok(());
        }
        let mut unpaired = SlotSet::EMPTY;
        for slot in core::iter::once(slot).chain(self.core.spawning()) {
            if self.mesh.at(slot.index()).is_none() {
                unpaired.insert(slot.index());
            }
        }
        let count = unpaired.len() as i32;
        let mut least = None;
        for index in unpaired.iter() {
            let pair = match Pair::mesh(self.core.config().credentials) {
                Ok(pair) => pair,
                Err(_) if self.mesh.at(slot.index()).is_some() => return Ok(()),
                Err(errno) => return Err(errno),
            };
            // End1s side by side, above where the End0s will lie: each child closes all but its own.
            let least = *least.get_or_insert(pair.end0().as_raw_fd() + 2 * count);
            let pair = if count > 1 { pair.apart(least) } else { pair };
            self.mesh.put(index, MeshEnd::Pair(pair));
            self.unforked.insert(index);
            if let Some(slot) = self.core.table().id_at(index) {
                self.core.paired(slot);
            }
        }
        Ok(())
    }

    fn fork(
        &mut self,
        service: &mut impl Service,
        slot: SlotId,
    ) -> Result<(Theirs, Process), ForkError> {
        if self.core.config().mesh {
            self.pair_all(slot).map_err(ForkError::Refused)?;
        }
        let control = Pair::<Control>::new().map_err(ForkError::Refused)?;
        self.unforked.remove(slot.index());
        let mesh = match self.mesh.take(slot.index()) {
            Some(MeshEnd::Pair(pair)) => Some(pair),
            _ => None,
        };
        // The proof is lent to the fork, while the child works with the rest of the master.
        let mut alone = self.alone.lend();
        let forked = channel::fork(&mut alone, (control, mesh), |own| {
            self.become_worker(service, slot, own).0
        });
        forked.map_err(|unforked| unforked.why)
    }

    /// In the parent: the worker is ours.
    fn adopt(
        &mut self,
        slot: SlotId,
        (control, mesh): Theirs,
        process: Process,
    ) -> Result<Event, ForkError> {
        let pid = Pid::new(process.pid()).ok_or(ForkError::Refused(Errno::SRCH))?;
        let pidfd = process.into_pidfd();
        let poll = &self.waiting().poll;
        // Edge-triggered: a process that is being traced can be dead and not yet ours to reap. The
        // kernel says it again when it is.
        let death = EventFlags::IN | EventFlags::ET;
        let watched = poll
            .add(&pidfd, Token::Process(slot).to_u64(), death)
            .and_then(|()| poll.add(&control, Token::Control(slot).to_u64(), EventFlags::IN));
        if let Err(errno) = watched {
            // A worker that cannot be watched is killed, whatever it has begun: nobody would see its
            // end.
            process::end(pidfd.as_fd());
            return Err(ForkError::Refused(errno));
        }
        self.pidfds.put(slot.index(), pidfd);
        self.control.put(slot.index(), control);
        if let Some(mesh) = mesh {
            self.mesh.put(slot.index(), MeshEnd::Parent(mesh));
        }
        Ok(Event::Spawned(slot, pid))
    }

    /// In the child: from here on there is no master in this process, only what it left.
    fn become_worker(&mut self, service: &mut impl Service, slot: SlotId, own: Own) -> Exit {
        if !process::die_with_parent(self.made_in) {
            return Exit::FAILURE; // the master is dead already
        }
        let mut core = machine::Worker::new(slot, self.core.table());
        self.inbox.close_descriptors(); // of somebody else's message, which is the master's to read
        let mut sweep = Sweep::default();
        let peers = inherit_peers(&mut self.mesh, &mut core, &mut sweep);
        let master = self.give_up(&mut sweep);
        drop(sweep);
        let (control, mesh) = own;
        let (master, errors) = master;
        let whose = self.core.table().slot(slot);
        let (role, number, epoch) = whose.map_or_else(Default::default, |slot| {
            (slot.role, slot.number, slot.epoch)
        });
        let parts = Parts {
            credentials: self.core.config().credentials,
            core,
            mask: self.mask,
            role,
            number,
            epoch,
            pid: process::own_pid(),
            orphans: self.core.config().orphans,
            control: Some(control),
            mesh,
            peers,
            master,
            errors,
            observer: self.observer,
        };
        match Worker::new(parts) {
            // Its descriptors are closed by the exit that follows, all at once.
            Ok(worker) => match role {
                Role::Worker => service.work(&mut ManuallyDrop::new(worker)),
                Role::Helper => service.help(&mut ManuallyDrop::new(worker)),
            },
            Err(_) => Exit::FAILURE,
        }
    }

    /// Closes what only a master may have, and keeps its pidfd, and what takes the place of the terminal.
    fn give_up(&mut self, sweep: &mut Sweep) -> (Option<OwnedFd>, Option<OwnedFd>) {
        for (index, end) in self.control.drain() {
            end.renounce(sweep);
            if let Some(pidfd) = self.pidfds.take(index) {
                sweep.add(pidfd);
            }
        }
        let pid_file = self.pid_file.take().and_then(PidFile::renounce);
        let board = self.board.take().map(Board::renounce);
        for descriptor in pid_file.into_iter().chain(board) {
            sweep.add(descriptor);
        }
        // The other masters' sockets and pidfds are closed here.
        drop((
            self.successor.take(),
            self.predecessor.take(),
            self.relay.take(),
        ));
        let errors = self.detached.take().and_then(Detached::into_errors);
        let own = self.waiting.take().map(|waiting| {
            sweep.add(waiting.signals);
            sweep.add(waiting.poll.into_fd());
            waiting.own
        });
        (own, errors)
    }
}

/// The mesh ends of every sibling that is or will be, to send by.
fn inherit_peers(
    mesh: &mut Ends<MeshEnd>,
    core: &mut machine::Worker,
    sweep: &mut Sweep,
) -> Ends<channel::Peer<End0>> {
    let mut peers = Ends::new();
    for (index, end) in mesh.drain() {
        let peer = match end {
            MeshEnd::Pair(pair) => pair.into_peer(sweep),
            MeshEnd::Parent(end) => end.into_peer(),
        };
        keep(&mut peers, core, index, peer);
    }
    peers
}

fn keep(
    peers: &mut Ends<channel::Peer<End0>>,
    core: &mut machine::Worker,
    index: SlotIndex,
    peer: channel::Peer<End0>,
) {
    if let Some((sibling, _, _)) = core.roster().sibling(index) {
        core.roster_mut().inherited(sibling);
        peers.put(index, peer);
    }
}
