//! Which worker accepts from which socket: clients are steered to the sockets of workers that live, and
//! a socket that nobody has is given to somebody.

use crate::run::listen::bind;
use crate::run::listen::set::{Entry, Listeners, Steering};
use crate::run::listen::taken::Listening;
use crate::run::master::now;
use crate::run::service::Workers;
use crate::sys::poll::is_readable;
use crate::table::{After, CHILDREN, Role, SlotId, State};

/// How long after a socket was sent to somebody what waits there means that it has to be sent again:
/// a client whose handshake took long can come when the one who drained it has closed it.
const SENT_AGAIN_MS: u64 = 2_000;

/// Who sits where: the workers by their numbers.
struct Crew {
    seats: [Seat; CHILDREN],
    /// One more than the highest number of a worker that is not told to go.
    most: u16,
    live: u16,
    is_starting: bool,
}

/// What becomes of a socket by the worker of its number.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seat {
    Nobody,
    /// It will serve, or say that it cannot.
    Starting,
    /// It is gone, and comes back by itself in a while.
    Cooling,
    /// It is gone, and a reload brings it back.
    Parked,
    Live(SlotId),
}

impl Crew {
    fn of(workers: &Workers<'_>) -> Self {
        let mut crew = Self {
            seats: [Seat::Nobody; CHILDREN],
            most: 0,
            live: 0,
            is_starting: false,
        };
        let mut epochs = [0; CHILDREN];
        // A helper has numbers of its own, and no listeners.
        let staying = workers.iter().filter(|(_, slot)| slot.state().stays());
        for (id, slot) in staying.filter(|(_, slot)| slot.role == Role::Worker) {
            let at = usize::from(slot.number);
            let Some((seat, epoch)) = crew.seats.get_mut(at).zip(epochs.get_mut(at)) else {
                continue;
            };
            let sits = match slot.state() {
                State::Live(_) => Seat::Live(id),
                State::Starting(_) => Seat::Starting,
                State::Cooling | State::Reclaiming(After::Cool) => Seat::Cooling,
                _ => Seat::Parked,
            };
            crew.is_starting |= sits == Seat::Starting;
            crew.most = crew.most.max(slot.number + 1);
            // Of two that live, the one of the newer epoch.
            let is_live = matches!(sits, Seat::Live(_));
            if is_live && (!matches!(*seat, Seat::Live(_)) || *epoch < slot.epoch) {
                (*seat, *epoch) = (sits, slot.epoch);
            } else if matches!(*seat, Seat::Nobody | Seat::Cooling | Seat::Parked) {
                *seat = sits;
            }
        }
        let live = crew
            .seats
            .iter()
            .filter(|seat| matches!(seat, Seat::Live(_)));
        crew.live = live.count() as u16;
        crew
    }

    fn seat(&self, number: u16) -> Seat {
        let seat = self.seats.get(usize::from(number));
        seat.copied().unwrap_or(Seat::Nobody)
    }

    fn is_live(&self, number: u16) -> bool {
        matches!(self.seat(number), Seat::Live(_))
    }

    /// Who takes the socket of a number that nobody has: one after the other.
    fn adopter(&self, number: u16) -> Option<SlotId> {
        let at = number.checked_rem(self.live)?;
        let mut live = self.seats.iter().filter_map(|seat| match seat {
            Seat::Live(id) => Some(*id),
            _ => None,
        });
        live.nth(at.into())
    }

    /// Among how many sockets of these clients are to be shared out: more as soon as the new ones' workers
    /// live, fewer when nobody is about to.
    fn steered(&self, steering: Steering, count: u16) -> Option<u16> {
        let wanted = self.most.min(count);
        match steering {
            Steering::Refused => None,
            Steering::Unknown => (!self.is_starting && wanted > 0).then_some(wanted),
            Steering::Among(now) if wanted < now => {
                (!self.is_starting && wanted > 0).then_some(wanted)
            }
            Steering::Among(now) => {
                let new = (now..wanted).take_while(|number| self.is_live(*number));
                let grown = now + new.count() as u16;
                (grown > now).then_some(grown)
            }
        }
    }
}

impl<const MOST: usize, const SOCKETS: usize> Listeners<MOST, SOCKETS> {
    /// Brings the groups in line with the workers that there are; to be called with every notice. It
    /// does nothing while a reload is prepared, and where everything is as it should be.
    ///
    /// Clients are steered to the sockets of the workers that live: to new ones when they are ready, and
    /// away from those whose workers go. A socket whose worker is gone is sent to another, in turn, that
    /// drains it; the master keeps it in its group, for a worker of that number to come. Cost where
    /// something has changed: one system call a group, and one for each socket that is sent.
    pub fn settle(&mut self, workers: &Workers<'_>) {
        if self.next.is_some() {
            return;
        }
        let mut groups = self.entries.iter();
        if !groups.any(|entry| entry.asked.per_worker && entry.count > 0) {
            return;
        }
        let crew = Crew::of(workers);
        for entry in 0..self.entries.len() {
            let group = &mut self.entries[entry];
            if !group.asked.per_worker || group.count == 0 {
                continue;
            }
            if crew.most == 0 {
                // All go: to a successor, perhaps, that steers. If they come back, nothing is known.
                if let Steering::Among(_) = group.steering {
                    group.steering = Steering::Unknown;
                }
                continue;
            }
            self.give_new(entry, workers, &crew);
            self.steer(entry, &crew);
            self.give_away(entry, workers, &crew);
        }
    }

    fn steer(&mut self, entry: usize, crew: &Crew) {
        let Entry { asked, count, .. } = self.entries[entry];
        let Some(among) = crew.steered(self.entries[entry].steering, count) else {
            return;
        };
        let first = &self.sockets[self.range(entry).start];
        self.entries[entry].steering = match bind::steer(first, &asked, among) {
            0 => Steering::Refused,
            among => Steering::Among(among),
        };
    }

    /// Workers that were forked without a socket of their own, because none could be made, get it now.
    fn give_new(&mut self, entry: usize, workers: &Workers<'_>, crew: &Crew) {
        loop {
            let Entry {
                asked,
                count,
                bound,
                place,
                ..
            } = self.entries[entry];
            let (Seat::Live(worker), Some(place)) = (crew.seat(count), place) else {
                return;
            };
            let Ok(socket) = bind::further(&asked, bound) else {
                return;
            };
            let message = Listening::message(place, true);
            if self.sockets.is_full() || workers.send_with(worker, message, &socket).is_err() {
                return; // nobody has come to it: it is not steered to
            }
            let _ = self.push_socket(entry, socket); // there is room
        }
    }

    /// Every socket that nobody accepts from goes to somebody, once.
    fn give_away(&mut self, entry: usize, workers: &Workers<'_>, crew: &Crew) {
        let Entry {
            asked,
            count,
            place,
            steering,
            told_at,
            ..
        } = self.entries[entry];
        let Some(place) = place else { return };
        let start = self.range(entry).start;
        let is_old = now().ms_since(told_at) > SENT_AGAIN_MS;
        for number in 0..count {
            let at = start + usize::from(number);
            let seat = crew.seat(number);
            if matches!(seat, Seat::Live(_) | Seat::Starting) {
                self.told[at] = None;
                continue;
            }
            let Some(adopter) = crew.adopter(number) else {
                return;
            };
            // Clients may come for good: nothing keeps them away, or they have sent nothing yet.
            let for_good = seat == Seat::Parked
                || matches!(steering, Steering::Refused)
                || asked.defer_accept_s > 0;
            let was_told = self.told[at] == Some(adopter);
            if was_told && (for_good || !is_old || !is_readable(&self.sockets[at])) {
                continue;
            }
            let message = Listening::message(place, for_good);
            if workers
                .send_with(adopter, message, &self.sockets[at])
                .is_ok()
            {
                self.told[at] = Some(adopter);
                self.entries[entry].told_at = now();
            }
        }
    }
}
