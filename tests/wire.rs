//! The wire: nginx's bytes, ours, and bytes that are neither.

use forkmesh::table::{Generation, Pid, SLOTS, SlotId, SlotIndex};
use forkmesh::wire::{
    Attached, Command, FRAME_SIZE, Frame, MOST_DESCRIPTORS, Malformed, Message, Resync, Short,
    Subject, frames,
};
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

/// What strace saw of an nginx: see its first lines.
const CAPTURE: &str = include_str!("data/nginx-channel.strace");

fn subject(index: usize, pid: i32) -> Subject {
    Subject {
        index: SlotIndex::new(index).expect("a slot"),
        generation: None,
        pid: Pid::new(pid),
    }
}

/// `ngx_channel_t` on a 64-bit little-endian Linux: command, pid, a hole, slot, fd, a hole.
#[cfg(target_endian = "little")]
const NGINX: [([u8; FRAME_SIZE], &str); 5] = [
    (
        *b"\x01\0\0\0\0\0\0\0\x67\x12\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x0c\0\0\0\0\0\0\0",
        "OPEN 4711 in slot 7, descriptor 12",
    ),
    (
        *b"\x02\0\0\0\0\0\0\0\x67\x12\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\xff\xff\xff\xff\0\0\0\0",
        "CLOSE 4711 in slot 7",
    ),
    (
        *b"\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xff\xff\xff\xff\0\0\0\0",
        "QUIT",
    ),
    (
        *b"\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xff\xff\xff\xff\0\0\0\0",
        "TERMINATE",
    ),
    (
        *b"\x05\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xff\xff\xff\xff\0\0\0\0",
        "REOPEN",
    ),
];

#[test]
#[cfg(target_endian = "little")]
fn golden_bytes() {
    let subject = subject(7, 4711);
    let version = 0;
    let meant = [
        Command::Open {
            subject,
            version,
            attached: Attached::Here,
        },
        Command::Close { subject, version },
        Command::Quit,
        Command::Terminate,
        Command::Reopen,
    ];
    for ((bytes, name), command) in NGINX.into_iter().zip(meant) {
        let frame = Frame::from_bytes(&bytes);
        assert_eq!(frame.command(), Ok(command), "{name}");
        assert_eq!(frame.sender(), None, "{name}");
        let mut ours = Frame::new(command, None).to_bytes();
        // nginx writes the number that the descriptor has at its own side, which means nothing at
        // the other; all that is read of it, there and here, is that there is one.
        if command.descriptors() > 0 {
            assert_eq!(ours[24..28], [0; 4]);
            ours[24] = bytes[24];
        }
        assert_eq!(ours, bytes, "{name}");
    }
}

/// A frame of the capture, and whether a descriptor was with it.
fn captured() -> Vec<([u8; FRAME_SIZE], bool)> {
    let frame = |line: &'static str| {
        let (_, rest) = line.split_once("iov_base=\"")?;
        let (text, rest) = rest.split_once('"')?;
        let bytes: Vec<u8> = text
            .split("\\x")
            .skip(1)
            .map(|byte| u8::from_str_radix(byte, 16).expect("two digits"))
            .collect();
        Some((
            bytes.try_into().expect("32 bytes"),
            rest.contains("SCM_RIGHTS"),
        ))
    };
    CAPTURE
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| frame(line).expect("each line has a frame"))
        .collect()
}

/// What a running nginx sent and received through a start, a reload, a reopening and an end.
#[test]
#[cfg(target_endian = "little")]
fn frames_of_a_running_nginx_are_read() {
    let captured = captured();
    assert_eq!(captured.len(), 33);
    let mut counts = [0; 6];
    for (bytes, descriptor) in &captured {
        let frame = Frame::from_bytes(bytes);
        assert_eq!(
            (&bytes[4..8], &bytes[12..16], &bytes[28..]),
            (&[0; 4][..], &[0; 4][..], &[0; 4][..])
        );
        assert_eq!(frame.sender(), None);
        let pid = i32::from_ne_bytes(*bytes[8..].first_chunk().expect("inside"));
        let slot = i64::from_ne_bytes(*bytes[16..].first_chunk().expect("inside"));
        let command = frame.command().expect("it means something");
        let about = match command {
            Command::Open { subject, .. } | Command::Close { subject, .. } => subject,
            _ => {
                assert_eq!((pid, slot), (0, 0), "an order is about nobody");
                subject(0, 0)
            }
        };
        assert_eq!(about.index.as_usize() as i64, slot);
        assert_eq!(about.pid.map_or(0, Pid::as_i32), pid);
        assert_eq!((about.generation, about.slot()), (None, None));
        let number = match command {
            Command::Open {
                version: 0,
                attached: Attached::Here,
                ..
            } => 1,
            Command::Close { version: 0, .. } => 2,
            Command::Quit => 3,
            Command::Terminate => 4,
            Command::Reopen => 5,
            other => panic!("nginx does not say {other:?}"),
        };
        assert_eq!(usize::from(bytes[0]), number);
        assert_eq!(command.descriptors() == 1, *descriptor);
        let mut ours = Frame::new(command, None).to_bytes();
        if *descriptor {
            ours[24..28].copy_from_slice(&bytes[24..28]);
        }
        assert_eq!(ours, *bytes, "written as nginx writes it");
        counts[number] += 1;
    }
    assert_eq!(counts, [0, 12, 9, 4, 4, 4], "each of the five was seen");
}

#[test]
fn each_field_lies_where_it_is_said_to() {
    let index = SlotIndex::new(0x2A5).expect("a slot");
    let generation = Generation::new(0x31_4159).expect("a generation");
    let open = Command::Open {
        subject: Subject::new(SlotId::new(index, generation), Pid::new(0x1234_5678)),
        version: 0x9ABC_DEF0,
        attached: Attached::Follows,
    };
    let bytes = Frame::new(open, Some(SlotId::MASTER)).to_bytes();
    assert_eq!(bytes[..8], (0x9ABC_DEF0_0000_0001_u64).to_ne_bytes());
    assert_eq!(bytes[8..12], 0x1234_5678_i32.to_ne_bytes());
    assert_eq!(bytes[12..16], 0x31_4159_u32.to_ne_bytes());
    assert_eq!(bytes[16..24], 0x2A5_i64.to_ne_bytes());
    assert_eq!(bytes[24..28], (-2_i32).to_ne_bytes());
    assert_eq!(bytes[28..], SlotId::MASTER.as_u32().to_ne_bytes());
    assert_eq!(size_of::<Frame>(), FRAME_SIZE);
}

/// The frame with these fields, and nothing elsewhere.
fn frame(number: u32, tag: u32, pid: i32, generation: u32, slot: i64, fd: i32) -> Frame {
    let command = u64::from(number) | u64::from(tag) << 32;
    let bytes = [
        &command.to_ne_bytes()[..],
        &pid.to_ne_bytes(),
        &generation.to_ne_bytes(),
        &slot.to_ne_bytes(),
        &fd.to_ne_bytes(),
        &[0; 4],
    ]
    .concat();
    Frame::read(&bytes).expect("32 bytes")
}

#[test]
fn every_field_that_has_no_meaning_is_named() {
    let slots = SLOTS as i64;
    let most = MOST_DESCRIPTORS as u32;
    let past = 1 << 22;
    let cases = [
        (frame(0, 0, 0, 0, 0, -1), Malformed::Number(0)),
        (frame(6, 0, 0, 0, 0, -1), Malformed::Number(6)),
        (frame(15, 0, 0, 0, 0, -1), Malformed::Number(15)),
        (frame(20, 0, 0, 0, 0, -1), Malformed::Number(20)),
        (frame(31, 0, 0, 0, 0, -1), Malformed::Number(31)),
        (frame(33, 0, 0, 0, 0, -1), Malformed::Number(33)),
        (frame(u32::MAX, 0, 0, 0, 0, -1), Malformed::Number(u32::MAX)),
        (frame(3, 1, 0, 0, 0, -1), Malformed::Tag(1)),
        (frame(4, u32::MAX, 0, 0, 0, -1), Malformed::Tag(u32::MAX)),
        (frame(5, 2, 0, 0, 0, -1), Malformed::Tag(2)),
        (frame(16, 3, 0, 0, 0, -1), Malformed::Tag(3)),
        (frame(19, 0, 0, 0, 0, 0), Malformed::Tag(0)),
        (frame(19, most + 1, 0, 0, 0, 0), Malformed::Tag(most + 1)),
        (frame(19, 256 + 1, 0, 0, 0, 0), Malformed::Tag(256 + 1)),
        (frame(1, 0, 1, 1, -1, 0), Malformed::Slot(-1)),
        (frame(1, 0, 1, 1, slots, 0), Malformed::Slot(slots)),
        (frame(2, 0, 1, 1, i64::MAX, 0), Malformed::Slot(i64::MAX)),
        (frame(2, 0, 1, 1, i64::MIN, 0), Malformed::Slot(i64::MIN)),
        (frame(2, 0, 1, 1, 1 << 32, 0), Malformed::Slot(1 << 32)),
        (frame(17, 0, 0, 0, 1, -1), Malformed::Slot(1)),
        (frame(17, 0, 0, 0, -2, -1), Malformed::Slot(-2)),
        (frame(1, 0, 1, past, 0, 0), Malformed::Generation(past)),
        (
            frame(2, 0, 1, u32::MAX, 0, 0),
            Malformed::Generation(u32::MAX),
        ),
        (frame(1, 0, -1, 1, 0, 0), Malformed::Pid(-1)),
        (frame(2, 0, i32::MIN, 1, 0, 0), Malformed::Pid(i32::MIN)),
        (frame(1, 0, 1, 1, 0, -3), Malformed::Fd(-3)),
        (frame(1, 0, 1, 1, 0, i32::MIN), Malformed::Fd(i32::MIN)),
        (frame(32, 0, 0, 0, 0, -2), Malformed::Fd(-2)),
        (frame(32, 0, 0, 0, 0, -3), Malformed::Fd(-3)),
    ];
    for (frame, malformed) in cases {
        assert_eq!(frame.command(), Err(malformed), "{frame:?}");
    }
}

#[test]
fn the_last_value_of_every_field_is_read() {
    let last = SlotId::new(
        SlotIndex::new(SLOTS - 1).expect("the last slot"),
        Generation::new((1 << 22) - 1).expect("the last generation"),
    );
    let close = frame(2, u32::MAX, i32::MAX, (1 << 22) - 1, SLOTS as i64 - 1, -1);
    let meant = Command::Close {
        subject: Subject::new(last, Pid::new(i32::MAX)),
        version: u32::MAX,
    };
    assert_eq!(close.command(), Ok(meant));
    let most = Command::Descriptors { count: 253 };
    assert_eq!(frame(19, 253, 0, 0, 0, 0).command(), Ok(most));
    assert_eq!(most.descriptors(), MOST_DESCRIPTORS);
    let user = frame(32, u32::MAX, i32::MIN, u32::MAX, i64::MIN, i32::MAX).command();
    assert!(matches!(user, Ok(Command::User(message)) if message.carries_descriptor()));
}

#[test]
fn a_word_that_is_no_id_names_no_sender() {
    for (word, sender) in [
        (0, None),
        (1_023, None),
        (1_024, SlotId::from_u32(1_024)),
        (u32::MAX, SlotId::from_u32(u32::MAX)),
    ] {
        let mut bytes = Frame::new(Command::Quit, None).to_bytes();
        bytes[28..].copy_from_slice(&word.to_ne_bytes());
        assert_eq!(Frame::from_bytes(&bytes).sender(), sender);
    }
}

#[test]
fn whole_frames_are_split_from_what_is_left_over() {
    let each: Vec<Frame> = (0..130)
        .map(|tag| Frame::new(Command::User(Message::new(tag, [7; 16])), None))
        .collect();
    let bytes: Vec<u8> = each.iter().flat_map(Frame::to_bytes).collect();
    for length in 0..=bytes.len() {
        let (whole, left) = frames(&bytes[..length]);
        assert_eq!(
            (whole.len(), left),
            (length / FRAME_SIZE, length % FRAME_SIZE)
        );
        assert!(whole.eq(each[..length / FRAME_SIZE].iter().copied()));
    }
    for bytes in 0..FRAME_SIZE {
        assert_eq!(Frame::read(&[0; FRAME_SIZE][..bytes]), Err(Short { bytes }));
    }
    assert!(Frame::read(&[0; FRAME_SIZE + 1]).is_ok());
}

fn any_slot() -> impl Strategy<Value = SlotId> {
    (0..SLOTS, 1..1_u32 << 22).prop_map(|(index, generation)| {
        SlotId::new(
            SlotIndex::new(index).expect("in range"),
            Generation::new(generation).expect("in range"),
        )
    })
}

fn any_subject() -> impl Strategy<Value = Subject> {
    (any_slot(), 0..=i32::MAX, any::<bool>()).prop_map(|(slot, pid, known)| Subject {
        generation: known.then_some(slot.generation()),
        ..Subject::new(slot, Pid::new(pid))
    })
}

/// A user's message; one that carries a descriptor is only ever read, never made by hand.
fn any_message() -> impl Strategy<Value = Message> {
    (any::<u32>(), any::<[u8; 16]>(), any::<bool>()).prop_map(|(tag, payload, carries)| {
        let plain = Message::new(tag, payload);
        let mut bytes = Frame::new(Command::User(plain), None).to_bytes();
        if carries {
            bytes[24..28].copy_from_slice(&7_i32.to_ne_bytes());
        }
        match Frame::from_bytes(&bytes).command() {
            Ok(Command::User(message)) => {
                assert_eq!(message.carries_descriptor(), carries);
                message
            }
            other => panic!("{other:?} is no message"),
        }
    })
}

fn any_command() -> impl Strategy<Value = Command> {
    let attached = prop_oneof![
        Just(Attached::Here),
        Just(Attached::Follows),
        Just(Attached::Held)
    ];
    prop_oneof![
        (any_subject(), any::<u32>(), attached).prop_map(|(subject, version, attached)| {
            Command::Open {
                subject,
                version,
                attached,
            }
        }),
        (any_subject(), any::<u32>())
            .prop_map(|(subject, version)| Command::Close { subject, version }),
        Just(Command::Quit),
        Just(Command::Terminate),
        Just(Command::Reopen),
        Just(Command::Ready),
        any::<u32>().prop_map(|version| Command::Resync(Resync::Table(version))),
        Just(Command::Resync(Resync::Mesh)),
        (any::<u32>(), any::<i32>()).prop_map(|(stage, errno)| Command::Failed { stage, errno }),
        (1..=253_u8).prop_map(|count| Command::Descriptors { count }),
        any_message().prop_map(Command::User),
    ]
}

/// A number at or beside one of the limits that fields have.
fn near_a_limit() -> impl Strategy<Value = i64> {
    let limits = prop_oneof![
        Just(0),
        Just(1),
        Just(5),
        Just(16),
        Just(19),
        Just(32),
        Just(253),
        Just(256),
        Just(1_022),
        Just(1_024),
        Just(1 << 22),
        Just(i64::from(i32::MAX)),
        Just(i64::from(i32::MIN)),
        Just(i64::from(u32::MAX)),
        Just(i64::MAX),
        Just(i64::MIN),
    ];
    (limits, -2..=2_i64).prop_map(|(limit, beside)| limit.wrapping_add(beside))
}

/// Reads the frame, and what it says is what it would say if it were written again.
fn is_read_again(frame: &Frame) -> Result<(), proptest::test_runner::TestCaseError> {
    match frame.command() {
        Ok(command) => {
            let again = Frame::new(command, frame.sender());
            prop_assert_eq!(again.command(), Ok(command));
            prop_assert_eq!(again.sender(), frame.sender());
            prop_assert_eq!(Frame::from_bytes(&again.to_bytes()), again);
            prop_assert!(command.descriptors() <= MOST_DESCRIPTORS);
        }
        Err(malformed) => prop_assert!(!malformed.to_string().is_empty()),
    }
    Ok(())
}

proptest! {
    #[test]
    fn every_command_survives_the_wire(
        command in any_command(),
        sender in proptest::option::of(any_slot()),
    ) {
        let bytes = Frame::new(command, sender).to_bytes();
        let frame = Frame::read(&bytes).expect("32 bytes");
        prop_assert_eq!(frame.to_bytes(), bytes);
        prop_assert_eq!(frame.command(), Ok(command));
        prop_assert_eq!(frame.sender(), sender);
    }

    #[test]
    fn no_bytes_panic(bytes in any::<[u8; FRAME_SIZE]>()) {
        let read = Frame::from_bytes(&bytes);
        prop_assert_eq!(read.to_bytes(), bytes);
        is_read_again(&read)?;
    }

    #[test]
    fn no_fields_panic(
        number in prop_oneof![0..40_u32, any::<u32>()],
        tag in near_a_limit(),
        pid in near_a_limit(),
        generation in near_a_limit(),
        slot in near_a_limit(),
        fd in near_a_limit(),
    ) {
        let read = frame(number, tag as u32, pid as i32, generation as u32, slot, fd as i32);
        is_read_again(&read)?;
    }

    #[test]
    fn no_number_of_bytes_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let (whole, left) = frames(&bytes);
        prop_assert_eq!(whole.len() * FRAME_SIZE + left, bytes.len());
        for frame in whole {
            is_read_again(&frame)?;
        }
    }
}
