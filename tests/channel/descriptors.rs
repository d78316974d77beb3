//! Descriptors: each arrives with its own frame or is counted, and none leaks.

use std::collections::BTreeMap;

use forkmesh::channel::{Faults, Inbox, Pair, ReceiveError};
use rustix::io::{FdFlags, dup, fcntl_getfd};
use rustix::process::getpid;

use crate::line::{Bearer, Kind, Line, nothing, on_each_line, on_line, plain};
use crate::support::{
    Inode, Kept, Limit, Marks, alone, inode, is_close_on_exec, lowest_free, open_count, opened_by,
    wait_readable,
};

/// One arrangement: plain frames, then the bearer, then plain frames; and how many descriptors the
/// receiver can still hold.
#[derive(Clone, Copy, Debug)]
struct Arrangement {
    before: u32,
    bearer: Bearer,
    behind: u32,
    free: Option<usize>,
}

/// What is set up once for all arrangements of a line.
struct Stage<'l> {
    line: &'l Line,
    marks: Marks,
    inodes: Vec<Inode>,
    limit: Limit,
    limits: BTreeMap<usize, u64>,
    inbox: Inbox,
}

impl<'l> Stage<'l> {
    fn new(line: &'l Line) -> Self {
        let marks = Marks::new(253);
        Self {
            line,
            inodes: marks.inodes(),
            marks,
            limit: Limit::keep(),
            limits: BTreeMap::new(),
            inbox: Inbox::new(),
        }
    }

    fn try_out(&mut self, arrangement: Arrangement) {
        let Arrangement {
            before,
            bearer,
            behind,
            free,
        } = arrangement;
        let named = bearer.count();
        let faults = self.inbox.faults();
        self.send_plain(0..before);
        self.line.send(&bearer.bytes(), &self.marks.fds()[..named]);
        self.send_plain(before..before + behind);
        if let Some(free) = free {
            let limit = self
                .limits
                .entry(free)
                .or_insert_with(|| Limit::with_free(free));
            self.limit.set(*limit);
        }
        let read = self.read_all();
        self.limit.restore();

        let came = free.map_or(named, |free| free.min(named));
        let bearers: Vec<_> = read.iter().filter(|seen| bearer.is(seen.0)).collect();
        assert_eq!(bearers.len(), 1, "{arrangement:?}");
        assert_eq!(bearers[0].1, self.inodes[..came], "{arrangement:?}");
        assert!(bearer.is(read[before as usize].0), "{arrangement:?}");
        assert_eq!(read.len() as u32, before + 1 + behind, "{arrangement:?}");
        let carried: usize = read.iter().map(|seen| seen.1.len()).sum();
        assert_eq!(carried, came, "{arrangement:?}: on other frames");
        let missing = faults.missing + (named - came) as u64;
        assert_eq!(
            self.inbox.faults(),
            Faults { missing, ..faults },
            "{arrangement:?}"
        );
    }

    /// In messages of several lengths, so that reads begin and end anywhere among them.
    fn send_plain(&self, tags: core::ops::Range<u32>) {
        let frames: Vec<u8> = tags.flat_map(plain).collect();
        let mut rest = frames.as_slice();
        for length in [1, 2, 127, 3, 128, 5].into_iter().cycle() {
            let (now, later) = rest.split_at(rest.len().min(length * 32));
            if now.is_empty() {
                break;
            }
            self.line.send(now, &[]);
            rest = later;
        }
    }

    /// Every frame that waits, with the inodes of what came with it.
    fn read_all(&mut self) -> Vec<(forkmesh::wire::Command, Vec<Inode>)> {
        let mut read = Vec::new();
        while self.line.receive(&mut self.inbox).is_ok() {
            while let Some(parcel) = self.inbox.take() {
                let parcel = parcel.expect("each frame has a meaning");
                let came: Vec<_> = core::iter::from_fn(|| self.inbox.descriptor()).collect();
                assert_eq!(came.len(), parcel.descriptors);
                if self.line.kind == Kind::Named {
                    let pid = parcel.pid.map(|pid| pid.as_i32());
                    assert_eq!(pid, Some(getpid().as_raw_nonzero().get()));
                }
                read.push((parcel.command, came.iter().map(inode).collect()));
            }
        }
        read
    }
}

/// Every position in the 128 frames of a read, and those around the end of the second read; every
/// kind of bearer; with room for all of its descriptors, for some, and for none.
pub(crate) fn descriptors_belong_to_the_last_frame_of_a_read() {
    on_each_line(|line| {
        let mut stage = Stage::new(line);
        let mut arrangements = 0;
        let bearers = [1, 2, 17, 253].map(Bearer::Descriptors);
        for bearer in [Bearer::User, Bearer::Open].into_iter().chain(bearers) {
            let open = open_count();
            let named = bearer.count();
            let mut frees = vec![0, 1, named / 2, named - 1];
            frees.sort_unstable();
            frees.dedup();
            frees.retain(|free| *free < named);
            for free in frees.into_iter().map(Some).chain([None]) {
                for before in (0..=130).chain(253..=258) {
                    stage.try_out(Arrangement {
                        before,
                        bearer,
                        behind: before % 3,
                        free,
                    });
                    arrangements += 1;
                }
            }
            assert_eq!(open_count(), open, "{bearer:?} leaks on {:?}", line.kind);
        }
        assert_eq!(arrangements, 137 * (3 * 2 + 3 + 5 + 5));
    });
}

pub(crate) fn unexpected_descriptors_are_closed() {
    on_each_line(|line| {
        let marks = Marks::new(253);
        let open = open_count();
        let mut inbox = Inbox::new();
        let mut unexpected = 0;
        let many: Vec<u8> = (0..128).flat_map(plain).collect();
        let mut unknown = plain(0);
        unknown[0] = 77;
        // The bytes, how many descriptors go with them, and how many of these are spoken of.
        let cases: [(&[u8], usize, usize); 8] = [
            (&plain(1), 3, 0),
            (&unknown, 253, 0),
            (&many, 5, 0),
            (&Bearer::User.bytes(), 6, 1),
            (&Bearer::Open.bytes(), 253, 1),
            (&Bearer::Descriptors(7).bytes(), 9, 7),
            (&plain(1)[..10], 4, 0),
            (&[&plain(1)[..], &[0; 9]].concat(), 2, 0),
        ];
        for (number, (bytes, sent, named)) in cases.into_iter().enumerate() {
            line.send(bytes, &marks.fds()[..sent]);
            line.receive(&mut inbox).expect("something was sent");
            let mut came = Vec::new();
            while inbox.take().is_some() {
                came.extend(core::iter::from_fn(|| inbox.descriptor()).map(inode));
            }
            assert_eq!(came, marks.inodes()[..named], "case {number}");
            unexpected += (sent - named) as u64;
            assert_eq!(inbox.faults().unexpected, unexpected, "case {number}");
            assert_eq!(open_count(), open, "case {number} on {:?}", line.kind);
        }
        assert_eq!(inbox.faults().missing, 0);
    });
}

pub(crate) fn descriptors_that_nobody_takes_are_closed() {
    on_each_line(|line| {
        let marks = Marks::new(20);
        let lowest = lowest_free();
        let mut inbox = Inbox::new();
        let bearer = Bearer::Descriptors(20).bytes();

        // By the next read, even one that brings nothing.
        line.send(&bearer, marks.fds());
        line.receive(&mut inbox).expect("it was sent");
        assert_ne!(lowest_free(), lowest);
        assert_eq!(line.receive(&mut inbox), Err(ReceiveError::Empty));
        assert_eq!(lowest_free(), lowest);
        assert!(inbox.descriptor().is_none());

        // When only some were taken.
        line.send(&bearer, marks.fds());
        line.receive(&mut inbox).expect("it was sent");
        assert!(inbox.take().is_some_and(|parcel| parcel.is_ok()));
        assert_eq!(inbox.descriptor().map(inode), Some(marks.inodes()[0]));
        line.send(&plain(0), &[]);
        line.receive(&mut inbox).expect("it was sent");
        assert_eq!(lowest_free(), lowest);
        assert!(inbox.take().is_some_and(|parcel| parcel.is_ok()));
        assert!(inbox.descriptor().is_none());

        // With the inbox.
        line.send(&bearer, marks.fds());
        line.receive(&mut inbox).expect("it was sent");
        drop(inbox);
        assert_eq!(lowest_free(), lowest);
    });
}

pub(crate) fn a_full_descriptor_table_costs_an_entry_and_not_the_channel() {
    on_each_line(|line| {
        let marks = Marks::new(253);
        let limit = Limit::keep();
        let none = Limit::with_free(0);
        let mut inbox = Inbox::new();
        let mut missing = 0;
        for bearer in [Bearer::Open, Bearer::User, Bearer::Descriptors(253)] {
            let named = bearer.count();
            for room in [false, true, false, true] {
                if !room {
                    limit.set(none);
                }
                // The sender's own limit counts what is in flight, and does not forbid this.
                line.send(&bearer.bytes(), &marks.fds()[..named]);
                line.send(&plain(5), &[]);
                line.receive(&mut inbox).expect("it was sent");
                let parcel = inbox.take().expect("a frame").expect("with a meaning");
                assert!(bearer.is(parcel.command));
                assert_eq!(parcel.descriptors, if room { named } else { 0 });
                missing += if room { 0 } else { named as u64 };
                let came: Vec<_> = core::iter::from_fn(|| inbox.descriptor()).collect();
                assert_eq!(came.len(), parcel.descriptors);
                assert_eq!(inbox.faults().missing, missing);
                drop(came);
                line.receive(&mut inbox).expect("the channel lives");
                let parcel = inbox.take().expect("a frame").expect("with a meaning");
                assert_eq!(parcel.descriptors, 0);
                limit.restore();
            }
        }
    });
}

pub(crate) fn every_descriptor_is_close_on_exec() {
    let (pairs, opened) = opened_by(|| (Pair::new(), Pair::mesh(true)));
    assert_eq!(opened.len(), 4);
    assert!(opened.values().all(|descriptor| descriptor.close_on_exec));
    drop(pairs);

    let (forked, opened) = opened_by(|| {
        let pair = Pair::new().expect("a pair");
        pair.fork(&mut alone(), |child| {
            let received = child.send_with(nothing(), kept_over_exec());
            u8::from(!is_close_on_exec(&child) || received.is_err())
        })
    });
    let (parent, process) = forked.expect("a child");
    assert_eq!(opened.len(), 2, "the end and the pidfd: {opened:?}");
    assert!(opened.values().all(|descriptor| descriptor.close_on_exec));
    assert!(is_close_on_exec(&process));
    let mut child = Kept::new(process);
    wait_readable(&parent, "a descriptor");
    let mut inbox = Inbox::new();
    parent.receive(&mut inbox).expect("it was sent");
    assert!(inbox.take().is_some_and(|parcel| parcel.is_ok()));
    assert!(inbox.descriptor().is_some_and(is_close_on_exec));
    child.ends_well();

    on_line(Kind::Named, |line| {
        assert!(is_close_on_exec(line.reader()));
        let kept: Vec<_> = (0..253).map(|_| kept_over_exec()).collect();
        line.send(&Bearer::Descriptors(253).bytes(), &kept);
        let mut inbox = Inbox::new();
        line.receive(&mut inbox).expect("it was sent");
        assert!(inbox.take().is_some_and(|parcel| parcel.is_ok()));
        let came: Vec<_> = core::iter::from_fn(|| inbox.descriptor()).collect();
        assert_eq!(came.len(), 253);
        assert!(came.iter().all(is_close_on_exec));
    });
}

/// A descriptor that exec would not close, as a sender may have it.
fn kept_over_exec() -> rustix::fd::OwnedFd {
    let mark = Marks::new(1);
    let copy = dup(&mark.fds()[0]).expect("a copy");
    assert_eq!(fcntl_getfd(&copy), Ok(FdFlags::empty()));
    copy
}
