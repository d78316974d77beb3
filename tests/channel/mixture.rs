//! Any order of messages, against a model of what must arrive.

use std::collections::VecDeque;

use forkmesh::channel::{Faults, Inbox};
use forkmesh::wire::Command;

use crate::line::{Bearer, Line, on_each_line, plain};
use crate::support::{Inode, Marks, inode, open_count};

/// How many mixtures are tried on each kind of line.
const MIXTURES: u64 = 60;

/// A stream of numbers that is the same every time (Steele and Vigna's splitmix64).
struct Numbers(u64);

impl Numbers {
    /// A number below `limit`.
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// A frame that must arrive: a plain one with its tag, or a bearer with its descriptors.
#[derive(Debug)]
enum Awaited {
    Plain(u32),
    Bearer(Bearer, Vec<Inode>),
}

/// Bearers one behind the other, batches of 128 in between, and reads at any time.
pub(crate) fn any_mixture_of_messages_is_read_as_it_was_sent() {
    on_each_line(|line| {
        let marks = Marks::new(253);
        let open = open_count();
        for seed in 0..MIXTURES {
            mix(line, &marks, Numbers(seed));
            assert_eq!(
                open_count(),
                open,
                "mixture {seed} leaks on {:?}",
                line.kind
            );
        }
    });
}

fn mix(line: &Line, marks: &Marks, mut numbers: Numbers) {
    let mut awaited = VecDeque::new();
    let mut inbox = Inbox::new();
    let mut tag = 0;
    for _ in 0..40 {
        if numbers.below(3) == 0 || awaited.len() > 150 {
            read_one(line, &mut inbox, &mut awaited);
        }
        let bearer = match numbers.below(8) {
            0 => Bearer::User,
            1 => Bearer::Open,
            2 => Bearer::Descriptors(numbers.below(253) as u8 + 1),
            sort => {
                let most = if sort == 3 { 128 } else { 4 };
                let tags = tag..tag + 1 + numbers.below(most) as u32;
                tag = tags.end;
                let bytes: Vec<u8> = tags.clone().flat_map(plain).collect();
                line.send(&bytes, &[]);
                awaited.extend(tags.map(Awaited::Plain));
                continue;
            }
        };
        let first = numbers.below(254 - bearer.count() as u64) as usize;
        let range = first..first + bearer.count();
        line.send(&bearer.bytes(), &marks.fds()[range.clone()]);
        awaited.push_back(Awaited::Bearer(bearer, marks.inodes()[range].to_vec()));
    }
    while !awaited.is_empty() {
        read_one(line, &mut inbox, &mut awaited);
    }
    assert!(line.receive(&mut inbox).is_err(), "nothing is left");
    assert_eq!(inbox.faults(), Faults::default());
}

/// One read, all of it as it must be.
fn read_one(line: &Line, inbox: &mut Inbox, awaited: &mut VecDeque<Awaited>) {
    let Ok(filled) = line.receive(inbox) else {
        assert!(awaited.is_empty(), "what was sent waits");
        return;
    };
    assert!(!filled.odd);
    for _ in 0..filled.frames {
        let parcel = inbox
            .take()
            .expect("as many as were said")
            .expect("with a meaning");
        let came: Vec<_> = core::iter::from_fn(|| inbox.descriptor())
            .map(inode)
            .collect();
        assert_eq!(came.len(), parcel.descriptors);
        match (awaited.pop_front(), parcel.command) {
            (Some(Awaited::Plain(tag)), Command::User(message)) => {
                assert_eq!((message.tag, came.len()), (tag, 0));
            }
            (Some(Awaited::Bearer(bearer, inodes)), command) => {
                assert!(bearer.is(command), "{bearer:?} is not {command:?}");
                assert_eq!(came, inodes);
            }
            (awaited, command) => panic!("{command:?} came for {awaited:?}"),
        }
    }
    assert!(inbox.take().is_none());
}
