//! Who sent it: the kernel's word on the mesh pair.

use forkmesh::channel::{Inbox, Pair};
use forkmesh::table::Pid;
use forkmesh::wire::{Command, Message};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::line::{Kind, nothing, on_line, plain, send_raw};
use crate::support::{Kept, alone, wait_readable};

/// The parent sends and the receiver itself, and a child of the receiver's: by the same end.
pub(crate) fn the_kernel_names_the_sender() {
    on_line(Kind::Named, |line| {
        let mut inbox = Inbox::new();
        let (parent, process) = Pair::new()
            .expect("a pair")
            .fork(&mut alone(), |_| {
                u8::from(send_raw(&line.sender, &plain(1), &[]).is_err())
            })
            .expect("a child");
        let mut child = Kept::new(process);
        child.ends_well();
        drop(parent);
        line.send(&plain(2), &[]);
        let senders = [(1, child.pid()), (2, std::process::id() as i32)];
        for (tag, pid) in senders {
            let more = line.receive(&mut inbox).expect("it was sent").more;
            assert!(more, "a read that may have stopped at a change of sender");
            assert_eq!(taken(&mut inbox, tag), Some(pid));
            assert!(
                inbox.take().is_none(),
                "a read stops where the sender changes"
            );
        }
    });

    let pair = Pair::mesh(true).expect("a pair");
    let own = std::process::id() as i32;
    let forked = pair.fork(&mut alone(), |child| {
        let mut inbox = Inbox::new();
        for descriptors in [0, 1, 0] {
            let parcel = loop {
                if let Some(parcel) = inbox.take() {
                    break parcel.expect("with a meaning");
                }
                wait_readable(&child, "a message");
                child.receive(&mut inbox).expect("it was sent");
            };
            assert_eq!(parcel.descriptors, descriptors);
            assert_eq!(parcel.pid.map(Pid::as_i32), Some(own));
        }
        0
    });
    let (parent, process) = forked.expect("a child");
    let mut child = Kept::new(process);
    let peer = parent.into_peer();
    peer.send(nothing(), None).expect("the first");
    peer.send_with(nothing(), &child, None).expect("the second");
    peer.send_all(&[nothing()], None).expect("the third");
    child.ends_well();
}

pub(crate) fn without_credentials_nobody_is_named() {
    for kind in [Kind::Mesh, Kind::Orders, Kind::Reports] {
        on_line(kind, |line| {
            let mut inbox = Inbox::new();
            line.send(&plain(1), &[]);
            let filled = line.receive(&mut inbox).expect("it was sent");
            assert!(!filled.more, "a read that was not full left nothing");
            let parcel = inbox.take().expect("a frame").expect("with a meaning");
            assert_eq!(parcel.pid, None);
        });
    }
}

/// One inbox serves many ends: what is known of one sender is not said of the next.
pub(crate) fn a_name_is_not_kept_for_the_next_read() {
    on_line(Kind::Named, |named| {
        on_line(Kind::Mesh, |unnamed| {
            let mut inbox = Inbox::new();
            for _ in 0..2 {
                named.send(&plain(1), &[]);
                unnamed.send(&plain(2), &[]);
                named.receive(&mut inbox).expect("it was sent");
                assert_eq!(taken(&mut inbox, 1), Some(std::process::id() as i32));
                unnamed.receive(&mut inbox).expect("it was sent");
                assert_eq!(taken(&mut inbox, 2), None);
            }
        });
    });
}

/// A receiver in a pid namespace of its own does not see who is outside: the kernel says 0, which
/// is nobody. Who is inside has a pid outside.
pub(crate) fn a_sender_that_cannot_be_seen_is_not_named() {
    on_line(Kind::Named, |line| {
        // SAFETY: it changes where the next child of this process is made, and nothing else.
        if unsafe { libc::unshare(libc::CLONE_NEWPID) } != 0 {
            let why = std::io::Error::last_os_error().raw_os_error();
            println!("no pid namespace can be made here: errno {why:?}");
            assert!(
                [libc::EPERM, libc::ENOSPC, libc::EINVAL]
                    .map(Some)
                    .contains(&why)
            );
            return;
        }
        let mut inbox = Inbox::new();
        line.send(&plain(1), &[]);
        let forked = Pair::new().expect("a pair").fork(&mut alone(), |_| {
            assert_eq!(std::process::id(), 1, "the first of its namespace");
            let mut inbox = Inbox::new();
            line.receive(&mut inbox).expect("it was sent");
            assert_eq!(taken(&mut inbox, 1), None);
            line.send(&plain(2), &[]);
            0
        });
        let (_parent, process) = forked.expect("a child");
        let mut child = Kept::new(process);
        child.ends_well();
        line.receive(&mut inbox).expect("it was sent");
        assert_eq!(taken(&mut inbox, 2), Some(child.pid()));
    });
}

/// The sender of the next message of the last read, which has this tag.
fn taken(inbox: &mut Inbox, tag: u32) -> Option<i32> {
    let parcel = inbox.take().expect("a frame").expect("with a meaning");
    assert_eq!(parcel.command, Command::User(Message::new(tag, [0xA5; 16])));
    parcel.pid.map(Pid::as_i32)
}

pub(crate) fn the_end_of_a_mesh_pair_that_reads_cannot_be_written_to() {
    for kind in [Kind::Mesh, Kind::Named] {
        on_line(kind, |line| {
            let sent = send(line.reader(), &plain(0), SendFlags::NOSIGNAL);
            assert_eq!(sent, Err(Errno::PIPE));
            assert_eq!(send_raw(line.reader(), &plain(0), &[]), Err(Errno::PIPE));
            // And whoever waits at the other end is told at once that nothing will come.
            let mut bytes = [0; 32];
            let (read, _) = recv(&line.sender, &mut bytes, RecvFlags::DONTWAIT).expect("an end");
            assert_eq!(read, 0);
            // The way in is open.
            line.send(&plain(3), &[]);
            assert!(line.receive(&mut Inbox::new()).is_ok());
        });
    }
}
