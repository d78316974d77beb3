//! Bytes that are no frames, frames that mean nothing, a queue that is full and an end that is gone.

use forkmesh::channel::{
    Child, End1, FromMaster, FromWorker, Inbox, Pair, ReceiveError, SendFault, fork,
};
use forkmesh::table::SlotId;
use forkmesh::wire::{Command, Malformed, Message};
use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::line::{Line, nothing, on_each_line, plain};
use crate::support::{Kept, alone, wait_readable, wait_writable};

/// The next read is one frame with this tag.
fn reads_well(line: &Line, inbox: &mut Inbox, tag: u32) {
    line.send(&plain(tag), &[]);
    let filled = line.receive(inbox).expect("it was sent");
    assert_eq!((filled.frames, filled.odd), (1, false));
    let parcel = inbox.take().expect("a frame").expect("with a meaning");
    assert_eq!(parcel.command, Command::User(Message::new(tag, [0xA5; 16])));
    assert!(inbox.take().is_none());
}

pub(crate) fn a_truncated_or_odd_transfer_is_counted() {
    on_each_line(|line| {
        let mut inbox = Inbox::new();
        let mut odd = 0;
        for length in 1..=31 {
            // Short of a frame: nothing is made of it.
            line.send(&plain(1)[..length], &[]);
            let filled = line.receive(&mut inbox).expect("it was sent");
            odd += 1;
            assert_eq!((filled.frames, filled.odd), (0, true), "{length} bytes");
            assert_eq!(inbox.take(), None);
            assert_eq!(inbox.faults().odd, odd);
            reads_well(line, &mut inbox, 2);

            // A frame and a rest: the frame counts.
            line.send(&[&plain(3)[..], &plain(4)[..length]].concat(), &[]);
            let filled = line.receive(&mut inbox).expect("it was sent");
            odd += 1;
            assert_eq!(
                (filled.frames, filled.odd),
                (1, true),
                "32 + {length} bytes"
            );
            let parcel = inbox.take().expect("a frame").expect("with a meaning");
            assert_eq!(parcel.command, Command::User(Message::new(3, [0xA5; 16])));
            assert_eq!(inbox.take(), None);
            assert_eq!(inbox.faults().odd, odd);
            reads_well(line, &mut inbox, 5);
        }
        assert_eq!(inbox.faults().malformed, 0);
    });
}

pub(crate) fn a_message_longer_than_the_buffer_is_read_in_parts() {
    on_each_line(|line| {
        let mut inbox = Inbox::new();
        let bytes: Vec<u8> = (0..157).flat_map(plain).take(5_000).collect();
        line.send(&bytes, &[]);
        let filled = line.receive(&mut inbox).expect("it was sent");
        assert_eq!((filled.frames, filled.odd, filled.more), (128, false, true));
        assert_eq!(core::iter::from_fn(|| inbox.take()).count(), 128);
        let filled = line.receive(&mut inbox).expect("the rest of it");
        assert_eq!((filled.frames, filled.odd), (28, true));
        assert_eq!(core::iter::from_fn(|| inbox.take()).count(), 28);
        assert_eq!((inbox.faults().malformed, inbox.faults().odd), (0, 1));
        reads_well(line, &mut inbox, 6);
    });
}

pub(crate) fn a_frame_without_a_meaning_is_a_typed_error_and_the_channel_lives() {
    let cases: [(&[(usize, u8)], Malformed); 7] = [
        (&[(0, 0)], Malformed::Number(0)),
        (&[(0, 6)], Malformed::Number(6)),
        (&[(0, 33)], Malformed::Number(33)),
        (&[(0, 3), (4, 1)], Malformed::Tag(1)),
        (&[(0, 2), (17, 4)], Malformed::Slot(1_024)),
        (&[(0, 2), (15, 0x40)], Malformed::Generation(0x4000_0000)),
        (&[(0, 2), (11, 0x80)], Malformed::Pid(i32::MIN)),
    ];
    on_each_line(|line| {
        let mut inbox = Inbox::new();
        for (number, (bytes, malformed)) in cases.into_iter().enumerate() {
            let mut frame = [0; 32];
            for &(at, byte) in bytes {
                frame[at] = byte; // little-endian, as every kernel here is
            }
            // Between two good ones: both are read.
            line.send(&[plain(1), frame, plain(2)].concat(), &[]);
            line.receive(&mut inbox).expect("it was sent");
            assert!(inbox.take().is_some_and(|parcel| parcel.is_ok()));
            assert_eq!(inbox.take(), Some(Err(malformed)));
            assert_eq!(inbox.faults().malformed, number as u64 + 1);
            assert!(inbox.take().is_some_and(|parcel| parcel.is_ok()));
            assert_eq!(inbox.take(), None);
            reads_well(line, &mut inbox, 7);
        }
        // Who a frame claims to be from is handed on as a claim; a word that is no id claims nothing.
        for (word, claimed) in [
            (SlotId::MASTER.as_u32(), Some(SlotId::MASTER)),
            (1_023, None),
        ] {
            let mut frame = plain(8);
            frame[28..].copy_from_slice(&word.to_ne_bytes());
            line.send(&frame, &[]);
            line.receive(&mut inbox).expect("it was sent");
            let parcel = inbox.take().expect("a frame").expect("with a meaning");
            assert_eq!(parcel.claimed, claimed);
        }
    });
}

pub(crate) fn a_full_channel_gives_the_message_back() {
    let (go, start) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
    let forked = Pair::new().expect("a pair").fork(&mut alone(), |child| {
        wait_readable(&go, "the word to begin");
        let mut counts = [0; 4];
        rustix::io::read(&go, &mut counts).expect("how many there are");
        drain(&child, u32::from_ne_bytes(counts));
        child
            .send(FromWorker::Ready)
            .expect("nobody fills this way");
        drain(&child, 2);
        0
    });
    let (parent, process) = forked.expect("a child");
    let mut child = Kept::new(process);

    let (full, taken) = (0..)
        .find_map(|taken| Some((parent.send(user(taken)).err()?, taken)))
        .expect("it ends");
    assert!(taken > 100, "the kernel takes more than {taken} frames");
    assert_eq!((full.fault, full.value), (SendFault::Full, user(taken)));
    let refused = parent.send_with(nothing(), &child).expect_err("it is full");
    assert_eq!((refused.fault, refused.value), (SendFault::Full, nothing()));

    rustix::io::write(&start, &taken.to_ne_bytes()).expect("an empty pipe takes it");
    wait_readable(&parent, "the word that all was read");
    wait_writable(&parent, "room");
    parent.send(full.value).expect("there is room again");
    parent.send_with(nothing(), &child).expect("and for this");
    child.ends_well();
}

fn user(tag: u32) -> FromMaster {
    FromMaster::User(Message::new(tag, [3; 16]))
}

/// Reads so many frames.
fn drain(child: &Child<End1>, frames: u32) {
    let mut inbox = Inbox::new();
    let mut read = 0;
    while read < frames {
        wait_readable(child, "frames");
        child.receive(&mut inbox).expect("something waits");
        read += core::iter::from_fn(|| inbox.take()).count() as u32;
    }
    assert_eq!(read, frames);
    assert_eq!(inbox.faults().missing, 0);
}

pub(crate) fn a_batch_is_taken_whole_or_not_at_all() {
    let (go, start) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
    let pairs = (
        Pair::new().expect("a pair"),
        Pair::mesh(true).expect("a pair"),
    );
    let forked = fork(&mut alone(), pairs, |(control, mesh)| {
        wait_readable(&go, "the word to begin");
        let mut inbox = Inbox::new();
        let mut next = 0;
        while let Ok(filled) = mesh.receive(&mut inbox) {
            assert_eq!(filled.frames, 128, "a part of a batch");
            while let Some(parcel) = inbox.take() {
                let said = parcel.expect("with a meaning").command;
                assert_eq!(said, Command::User(Message::new(next % 128, [4; 16])));
                next += 1;
            }
        }
        let messages = (next / 128).to_ne_bytes();
        assert!(
            control.send(FromWorker::Failed(next / 128, 0)).is_ok(),
            "{messages:?}"
        );
        0
    });
    let ((control, mesh), process) = forked.expect("a child");
    let mut child = Kept::new(process);
    let peer = mesh.into_peer();
    let batch: Vec<_> = (0..128).map(|tag| Message::new(tag, [4; 16])).collect();
    let mut sent = 0;
    let full = loop {
        match peer.send_all(&batch, None) {
            Ok(()) => sent += 1,
            Err(full) => break full,
        }
    };
    assert_eq!(full.fault, SendFault::Full);
    assert_eq!(full.value, batch);
    let long = [&batch[..], &batch[..1]].concat();
    let refused = peer.send_all(&long, None).expect_err("129 are too many");
    assert_eq!(refused.fault, SendFault::Refused(Errno::MSGSIZE));
    assert_eq!(refused.value.len(), 129);
    rustix::io::write(&start, &[1]).expect("an empty pipe takes it");
    wait_readable(&control, "how many batches came");
    let mut inbox = Inbox::new();
    control.receive(&mut inbox).expect("it was sent");
    let said = inbox
        .take()
        .expect("a frame")
        .expect("with a meaning")
        .command;
    assert_eq!(
        said,
        Command::Failed {
            stage: sent,
            errno: 0
        }
    );
    child.ends_well();
}

pub(crate) fn both_ends_learn_that_the_other_is_gone() {
    // The child goes, with something unread in its queue and something on its way here.
    let pair = Pair::new().expect("a pair");
    let forked = pair.fork(&mut alone(), |child| {
        wait_readable(&child, "what is never read");
        u8::from(child.send(FromWorker::Ready).is_err())
    });
    let (parent, process) = forked.expect("a child");
    let mut child = Kept::new(process);
    parent
        .send(FromMaster::Quit)
        .expect("the child waits for it");
    child.ends_well();
    let gone = parent
        .send(FromMaster::Reopen)
        .expect_err("nobody is there");
    assert_eq!(
        (gone.fault, gone.value),
        (SendFault::Gone, FromMaster::Reopen)
    );
    let gone = parent
        .send_with(nothing(), parent.as_fd())
        .expect_err("nobody is there");
    assert_eq!(gone.fault, SendFault::Gone);
    let mut inbox = Inbox::new();
    let mut said = Vec::new();
    let ended = loop {
        match parent.receive(&mut inbox) {
            Ok(_) => said.extend(core::iter::from_fn(|| inbox.take())),
            Err(why) => break why,
        }
    };
    assert_eq!(ended, ReceiveError::Unread);
    assert_eq!(said.len(), 1, "what it said last is read");
    assert_eq!(parent.receive(&mut inbox), Err(ReceiveError::Gone));

    // The parent goes.
    let pair = Pair::new().expect("a pair");
    let forked = pair.fork(&mut alone(), |child| {
        let mut inbox = Inbox::new();
        assert_eq!(child.receive(&mut inbox), Err(ReceiveError::Empty));
        child.send(FromWorker::Ready).expect("somebody is there");
        wait_readable(&child, "the end of the parent's end");
        assert_eq!(child.receive(&mut inbox), Err(ReceiveError::Gone));
        let gone = child.send(FromWorker::Ready).expect_err("nobody is there");
        assert_eq!(gone.fault, SendFault::Gone);
        0
    });
    let (parent, process) = forked.expect("a child");
    let mut child = Kept::new(process);
    wait_readable(&parent, "the word that it has looked");
    parent.receive(&mut inbox).expect("it was sent");
    drop(parent);
    child.ends_well();
}
