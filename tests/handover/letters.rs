//! The bytes of letters: those that are written down, and those that nobody wrote.

use forkmesh::table::{Pid, SlotSet};
use forkmesh::wire::{
    Hello, LONGEST_LETTER, LONGEST_NAME, Letter, MOST_DESCRIPTORS, MOST_GROUPED, MOST_NAMED, Name,
    STAGE_EXEC, Unreadable,
};
use proptest::prelude::{Strategy, any, prop_assert_eq, prop_oneof};
use proptest::test_runner::{Config, TestRunner};

use crate::world::slots;

fn a_hello() -> Hello {
    Hello {
        pid: Pid::new(4711).expect("a pid"),
        mask: 0x4001,
        slots: slots(),
        descriptors: MOST_NAMED as u16,
        relayed: false,
    }
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

/// One of each kind.
fn letters() -> Vec<Letter> {
    vec![
        Letter::Hello(a_hello()),
        Letter::Descriptor(name("n")),
        Letter::Descriptor(name(&"n".repeat(LONGEST_NAME))),
        Letter::Descriptor(name("\u{fc}ber")),
        Letter::Group {
            name: name("n"),
            count: 1,
            more: 0,
        },
        Letter::Group {
            name: name(&"n".repeat(LONGEST_NAME)),
            count: MOST_DESCRIPTORS as u16,
            more: (MOST_GROUPED - MOST_DESCRIPTORS) as u16,
        },
        Letter::End,
        Letter::Ready,
        Letter::NoRoom { needed: 9, free: 2 },
        Letter::Failed {
            stage: STAGE_EXEC,
            errno: 2,
        },
        Letter::Failed {
            stage: u32::MAX,
            errno: -1,
        },
        Letter::Freed(slots()),
        Letter::Freed(SlotSet::EMPTY),
        Letter::Relays,
        Letter::Hello(Hello {
            relayed: true,
            ..a_hello()
        }),
        Letter::Launch {
            arguments: 2,
            variables: 0x1_0000,
        },
        Letter::Launched(Pid::new(4711).expect("a pid")),
        Letter::NotLaunched { errno: 16 },
        Letter::Ended { code: 0, signal: 9 },
    ]
}

pub(crate) fn letters_survive_the_wire() {
    for letter in letters() {
        let bytes = letter.to_bytes();
        assert!(bytes.as_bytes().len() <= LONGEST_LETTER);
        assert_eq!(Letter::read(bytes.as_bytes()), Ok(letter));
    }
}

pub(crate) fn golden_letters() {
    let mut hello = Vec::new();
    hello.extend_from_slice(b"\x01\0\0\0\x02\0\0\0FORKMESH\x67\x12\0\0\x40\0\0\0");
    hello.extend_from_slice(b"\x01\x40\0\0\0\0\0\0");
    let mut words = [0; 128];
    (words[0], words[56], words[127]) = (1, 0x10, 0x80);
    hello.extend_from_slice(&words);
    assert_eq!(Letter::Hello(a_hello()).to_bytes().as_bytes(), hello);
    let golden: [(Letter, &[u8]); 11] = [
        (Letter::Descriptor(name("http")), b"\x02\0\0\0http"),
        (
            Letter::Group {
                name: name("http"),
                count: 253,
                more: 769,
            },
            b"\x04\0\0\0\xfd\0\x01\x03http",
        ),
        (Letter::End, b"\x03\0\0\0"),
        (Letter::Ready, b"\x10\0\0\0"),
        (
            Letter::NoRoom { needed: 9, free: 2 },
            b"\x11\0\0\0\x09\0\0\0\x02\0\0\0",
        ),
        (
            Letter::Failed {
                stage: 3,
                errno: -1,
            },
            b"\x12\0\0\0\x03\0\0\0\xff\xff\xff\xff",
        ),
        (Letter::Relays, b"\x21\0\0\0"),
        (
            Letter::Launch {
                arguments: 2,
                variables: 0x1_0000,
            },
            b"\x30\0\0\0\x02\0\0\0\0\0\x01\0",
        ),
        (
            Letter::Launched(Pid::new(4711).expect("a pid")),
            b"\x31\0\0\0\x67\x12\0\0",
        ),
        (Letter::NotLaunched { errno: 16 }, b"\x32\0\0\0\x10\0\0\0"),
        (
            Letter::Ended { code: 0, signal: 9 },
            b"\x33\0\0\0\0\0\0\0\x09\0\0\0",
        ),
    ];
    for (letter, bytes) in golden {
        assert_eq!(letter.to_bytes().as_bytes(), bytes);
    }
    let freed = Letter::Freed(slots()).to_bytes();
    let (kind, rest) = freed.as_bytes().split_at(4);
    assert_eq!((kind, rest), (b"\x20\0\0\0".as_slice(), words.as_slice()));
}

/// Whatever is read is written as it was.
pub(crate) fn no_bytes_are_a_panic() {
    let kinds = letters();
    let kind = (0..kinds.len()).prop_map(move |at| kinds[at].to_bytes().as_bytes().to_vec());
    let changed = (kind, any::<(usize, u8)>(), any::<(usize, u8)>()).prop_map(
        |(mut bytes, first, second)| {
            let length = bytes.len();
            for (at, byte) in [first, second] {
                bytes[at % length] = byte;
            }
            bytes
        },
    );
    let bytes = prop_oneof![
        changed,
        proptest::collection::vec(any::<u8>(), 0..LONGEST_LETTER + 40),
    ];
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        ..Config::with_cases(20_000)
    });
    let ran = runner.run(&bytes, |bytes| {
        match Letter::read(&bytes) {
            Ok(letter) => {
                let again = letter.to_bytes();
                prop_assert_eq!(again.as_bytes(), &bytes[..]);
            }
            Err(why) => drop(why.to_string()),
        }
        Ok(())
    });
    ran.expect("no panic");
}

pub(crate) fn every_letter_has_one_length() {
    for letter in letters() {
        let whole = letter.to_bytes();
        let whole = whole.as_bytes();
        let before_name = match letter {
            Letter::Descriptor(_) => Some(4),
            Letter::Group { .. } => Some(8),
            _ => None,
        };
        for length in 0..whole.len() {
            let read = Letter::read(&whole[..length]);
            let shorter = before_name.is_some_and(|before| length > before);
            assert_eq!(read.is_ok() || read == Err(Unreadable::Name), shorter);
        }
        let longer = [whole, b"x"].concat();
        let read = Letter::read(&longer);
        let more = before_name.is_some_and(|before| whole.len() < before + LONGEST_NAME);
        assert_eq!(read.is_ok(), more);
        if !more {
            let bytes = longer.len();
            assert_eq!(read, Err(Unreadable::Length { bytes }));
        }
    }
    for (count, more, odd) in [(0, 1, 0), (254, 0, 254), (253, 770, 253), (1, u16::MAX, 1)] {
        let name = name("n");
        let group = Letter::Group { name, count, more };
        let read = Letter::read(group.to_bytes().as_bytes());
        assert_eq!(read, Err(Unreadable::Descriptors(odd)));
    }
    let mut hello = Letter::Hello(a_hello()).to_bytes().as_bytes().to_vec();
    hello[20] = MOST_NAMED as u8 + 1;
    let too_many = Unreadable::Descriptors(MOST_NAMED as u16 + 1);
    assert_eq!(Letter::read(&hello), Err(too_many));
    hello[20] = 0;
    hello[22] = 2;
    assert_eq!(Letter::read(&hello), Err(Unreadable::Relayed(2)));
    hello[16..24].fill(0);
    assert_eq!(Letter::read(&hello), Err(Unreadable::Pid(0)));
    hello[8] = b'f';
    assert_eq!(Letter::read(&hello), Err(Unreadable::Magic));
}
