//! The master's part of the mesh: telling each worker who is there, and giving one a new mesh pair.

use rustix::event::epoll::EventFlags;
use rustix::fd::{AsFd, OwnedFd};

use crate::channel::{End0, Entry, Mesh, Pair, Parent, SendFault};
use crate::machine::{Announcement, AnnouncementKind, Event};
use crate::run::ends::Ends;
use crate::run::master::{Master, MeshEnd};
use crate::table::{SlotId, SlotIndex};
use crate::wire::Subject;

impl Master {
    /// Tells one worker what changed in the table since it was told last: one batch.
    pub(super) fn announce(&mut self, to: SlotId) -> Event {
        let room = self.room(to.index());
        let Some(control) = self.control.at(to.index()) else {
            return Event::Refused(to);
        };
        let mesh = &self.mesh;
        let changes = self
            .core
            .announcements(to)
            .map(|change| entry(mesh, change));
        match control.announce(changes, room) {
            Ok(None) => Event::Announced(to, self.core.version()),
            Ok(Some(told)) => {
                self.budget.sent(to.index(), told.descriptors);
                Event::Announced(to, told.through)
            }
            // It has closed its end: there is nobody to be told, now or later.
            Err(SendFault::Gone) => Event::Announced(to, self.core.version()),
            Err(fault) => self.failed(to, fault),
        }
    }

    /// Makes a worker a new mesh pair, and hands it its end. Its siblings are announced the other.
    pub(super) fn replace_mesh(&mut self, worker: SlotId) -> Event {
        let Ok(pair) = Pair::mesh(self.core.config().credentials) else {
            return Event::Refused(worker);
        };
        let (end0, end1): (Parent<End0, Mesh>, OwnedFd) = pair.hand_over();
        let Some(control) = self.control.at(worker.index()) else {
            return Event::Refused(worker);
        };
        let pid = self
            .table()
            .slot(worker)
            .and_then(|slot| slot.state().pid());
        let subject = Subject::new(worker, pid);
        match control.hand_mesh(subject, self.core.version(), end1.as_fd()) {
            Ok(()) => {
                self.mesh.put(worker.index(), MeshEnd::Parent(end0));
                Event::MeshReplaced(worker)
            }
            Err(SendFault::Gone) => Event::MeshReplaced(worker),
            Err(fault) => self.failed(worker, fault),
        }
    }

    /// How many descriptors may be sent to this recipient now.
    fn room(&mut self, to: SlotIndex) -> usize {
        if self.budget.is_used_up() {
            self.settle_budget();
        }
        match self.control.at(to) {
            Some(end) => self.budget.room(to, end),
            None => 0,
        }
    }

    /// Looks at everybody who has descriptors on their way, whether they have arrived.
    fn settle_budget(&mut self) {
        let mut recipients = crate::table::SlotSet::EMPTY;
        self.budget.recipients().for_each(|index| {
            recipients.insert(index);
        });
        for index in recipients.iter() {
            if let Some(end) = self.control.at(index) {
                self.budget.room(index, end);
            }
        }
    }

    fn failed(&self, to: SlotId, fault: SendFault) -> Event {
        // Where nothing would say that there is room again, it is tried again by deadline.
        let told = EventFlags::IN | EventFlags::OUT;
        if fault == SendFault::Full && self.watch_control(to, told) {
            Event::Blocked(to)
        } else {
            Event::Refused(to)
        }
    }
}

fn entry(mesh: &Ends<MeshEnd>, change: Announcement) -> Entry<'_> {
    match change.kind {
        AnnouncementKind::Open { slot, pid, held } => {
            let end = mesh.at(slot.index()).filter(|_| !held);
            let subject = Subject::new(slot, Some(pid));
            Entry::Open(subject, change.version, end.map(MeshEnd::end0))
        }
        AnnouncementKind::Close { slot } => Entry::Close(Subject::new(slot, None), change.version),
    }
}
