//! The board's bytes: ours, and bytes that are not.

use std::collections::BTreeSet;

use forkmesh::machine::{ExitStatus, ReloadError, UpgradeError};
use forkmesh::run::Reason;
use forkmesh::table::{After, Pid, Role, SLOTS, SlotId, SlotIndex, State};
use forkmesh::wire::board::{
    BOARD_SIZE, Ended, Failure, HEADER_SIZE, Header, LAYOUT, Last, Outcome, Phase, ROW_SIZE,
    Reached, Row, Tally, Unread, Upgrade, row_offset,
};
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

fn any_pid() -> impl Strategy<Value = Pid> {
    (1..=i32::MAX).prop_filter_map("positive", Pid::new)
}

fn any_outcome() -> impl Strategy<Value = Outcome> {
    let failed = (any::<u8>(), any::<i32>());
    prop_oneof![
        Just(Outcome::Done),
        failed.prop_map(|(why, detail)| Outcome::Failed { why, detail }),
    ]
}

fn any_tally() -> impl Strategy<Value = Tally> {
    let outcome = proptest::option::of(any_outcome());
    let parts = (any::<u32>(), any::<u32>(), outcome);
    parts.prop_map(|(done, failed, last)| Tally { done, failed, last })
}

fn any_header() -> impl Strategy<Value = Header> {
    let phase = prop_oneof![
        Just(Phase::Running),
        Just(Phase::Draining),
        Just(Phase::Stopping),
        Just(Phase::Stopped),
    ];
    let upgrade = prop_oneof![
        Just(Upgrade::Idle),
        Just(Upgrade::Launched),
        Just(Upgrade::Probation),
        Just(Upgrade::Done),
        Just(Upgrade::Succeeding),
    ];
    let kinds = (phase, any::<bool>(), upgrade);
    let pids = (any_pid(), proptest::option::of(any_pid()));
    let tallies = (any_tally(), any_tally());
    let numbers = (any::<[u32; 3]>(), any::<[u64; 3]>());
    (kinds, pids, tallies, numbers).prop_map(
        |((phase, rests, upgrade), (pid, successor), (reloads, upgrades), (words, longs))| {
            let [serving, candidate, workers] = words;
            let [written_ms, spawns, ignored] = longs;
            Header {
                pid,
                phase,
                rests,
                upgrade,
                serving,
                candidate,
                workers,
                successor,
                written_ms,
                spawns,
                ignored,
                reloads,
                upgrades,
            }
        },
    )
}

fn any_state() -> impl Strategy<Value = State> {
    prop_oneof![
        Just(State::Vacant),
        Just(State::Starting(None)),
        any_pid().prop_map(|pid| State::Starting(Some(pid))),
        any_pid().prop_map(State::Live),
        any_pid().prop_map(State::Retiring),
        Just(State::Reclaiming(After::Cool)),
        Just(State::Reclaiming(After::Park)),
        Just(State::Reclaiming(After::Vacate)),
        Just(State::Cooling),
        Just(State::Parked),
    ]
}

fn any_last() -> impl Strategy<Value = Last> {
    let killed = (any::<u8>(), any::<bool>());
    let ended = prop_oneof![
        Just(Ended::Unmade),
        any::<u8>().prop_map(Ended::Code),
        killed.prop_map(|(signal, core)| Ended::Killed { signal, core }),
    ];
    let reached = prop_oneof![
        Just(Reached::Starting),
        Just(Reached::Ready),
        Just(Reached::Retiring),
    ];
    let failure = (any::<u32>(), any::<i32>()).prop_map(|(stage, errno)| Failure { stage, errno });
    let parts = (ended, reached, proptest::option::of(failure), any::<u64>());
    parts.prop_map(|(ended, reached, failure, lived_ms)| Last {
        ended,
        reached,
        failure,
        lived_ms,
    })
}

fn any_row() -> impl Strategy<Value = Row> {
    let id = any::<u32>().prop_filter_map("an id", SlotId::from_u32);
    let role = prop_oneof![Just(Role::Worker), Just(Role::Helper)];
    let numbers = (any::<[u32; 2]>(), role, any::<u16>(), any::<u64>());
    (id, any_state(), numbers, proptest::option::of(any_last())).prop_map(
        |(id, state, ([epoch, delay_ms], role, number, since_ms), last)| Row {
            id,
            state,
            epoch,
            role,
            number,
            since_ms,
            delay_ms,
            last,
        },
    )
}

fn any_bytes<const N: usize>() -> impl Strategy<Value = [u8; N]> {
    let bytes = proptest::collection::vec(any::<u8>(), N);
    bytes.prop_map(|bytes| bytes.try_into().expect("as many as asked for"))
}

proptest! {
    #[test]
    fn every_record_survives_the_board(
        header in any_header(),
        row in any_row(),
        sequence in 1..=u32::MAX,
    ) {
        prop_assert_eq!(Header::decode(&header.encode(sequence)), Ok(header));
        prop_assert_eq!(Row::decode(&row.encode(sequence)), Ok(Some(row)));
    }

    #[test]
    fn no_board_panics(
        header in any_bytes::<HEADER_SIZE>(),
        row in any_bytes::<ROW_SIZE>(),
        magic in any::<bool>(),
    ) {
        let mut header = header;
        let known = Header::new(Pid::new(1).expect("a pid")).encode(1);
        if magic {
            header[..16].copy_from_slice(&known[..16]);
        }
        // Both as they are, and whole: with the check that belongs to them.
        prop_assert!(Header::decode(&header).is_err());
        prop_assert!(Row::decode(&row).is_err());
        let _ = Header::decode(&sealed(header));
        let _ = Row::decode(&sealed(row));
    }

    #[test]
    fn a_mixed_record_is_torn(
        headers in (any_header(), any_header()),
        rows in (any_row(), any_row()),
        choice in any::<u32>(),
    ) {
        let (old, new) = (headers.0.encode(8), headers.1.encode(9));
        let mixed = mix(&old, &new, choice);
        if mixed != old && mixed != new {
            prop_assert_eq!(Header::decode(&mixed), Err(Unread::Torn));
        }
        let mixed = mix(&[0; HEADER_SIZE], &new, choice & !3);
        prop_assert_eq!(Header::decode(&mixed), Err(Unread::Torn), "not written to its end");
        let (old, new) = (rows.0.encode(8), rows.1.encode(9));
        for old in [old, [0; ROW_SIZE]] {
            let mixed = mix(&old, &new, choice);
            if mixed != old && mixed != new {
                prop_assert_eq!(Row::decode(&mixed), Err(Unread::Torn));
            }
        }
    }
}

/// Of each word of four bytes, the old one or the new one.
fn mix<const N: usize>(old: &[u8; N], new: &[u8; N], choice: u32) -> [u8; N] {
    core::array::from_fn(|at| {
        if choice >> (at / 4) & 1 == 0 {
            old[at]
        } else {
            new[at]
        }
    })
}

/// The check of the front page, written another way.
fn sealed<const N: usize>(mut bytes: [u8; N]) -> [u8; N] {
    let mut sum = 0x6d65_7368_u32;
    for word in bytes[..N - 4].chunks(4) {
        sum ^= u32::from_ne_bytes(word.try_into().expect("four"));
        sum = (u64::from(sum) * 0x9e37_79b1) as u32;
        sum ^= sum >> 15;
    }
    bytes[N - 4..].copy_from_slice(&sum.to_ne_bytes());
    bytes
}

/// Bytes where they are said to be.
fn placed<const N: usize>(parts: &[(usize, &[u8])]) -> [u8; N] {
    let mut bytes = [0; N];
    for (at, part) in parts {
        bytes[*at..at + part.len()].copy_from_slice(part);
    }
    sealed(bytes)
}

#[test]
fn every_failure_has_a_number_and_words() {
    let code = ExitStatus::Code(2);
    let (signal, core) = (9, false);
    let by_signal = ExitStatus::Killed { signal, core };
    let reloads = [
        ReloadError::Refused,
        ReloadError::SpawnFailed(SlotId::MASTER),
        ReloadError::Died(SlotId::MASTER, code),
        ReloadError::Deadline,
        ReloadError::Ended,
    ];
    let upgrades = [
        UpgradeError::Refused,
        UpgradeError::PidFile,
        UpgradeError::NotLaunched(11),
        UpgradeError::NotExecuted(11),
        UpgradeError::Died(code),
        UpgradeError::DiedReady(by_signal),
        UpgradeError::NoRoom,
        UpgradeError::Unready,
        UpgradeError::Deadline,
        UpgradeError::Standing,
        UpgradeError::Ended,
    ];
    let reloads = reloads.map(Reason::from);
    let upgrades = upgrades.map(Reason::from);
    for (number, reason) in (1..).zip(reloads) {
        assert_eq!(Reason::reload(number, reason.detail()), reason);
    }
    for (number, reason) in (1..).zip(upgrades) {
        assert_eq!(Reason::upgrade(number, reason.detail()), reason);
    }
    assert_eq!([reloads[2].detail(), upgrades[5].detail()], [2, -9]);
    for reasons in [&reloads[..], &upgrades[..]] {
        let words: BTreeSet<String> = reasons.iter().map(Reason::to_string).collect();
        assert_eq!(words.len(), reasons.len());
        assert!(words.iter().all(|words| !words.starts_with("reason ")));
    }
    for number in 0..=u8::MAX {
        for detail in [i32::MIN, -1, 0, 4095, 4096, i32::MAX] {
            assert!(!Reason::reload(number, detail).to_string().is_empty());
            assert!(!Reason::upgrade(number, detail).to_string().is_empty());
        }
    }
}

#[test]
fn golden_board() {
    let mut header = Header::new(Pid::new(4711).expect("a pid"));
    header.phase = Phase::Draining;
    header.rests = true;
    header.upgrade = Upgrade::Probation;
    (header.serving, header.candidate, header.workers) = (5, 6, 8);
    header.successor = Pid::new(4800);
    (header.written_ms, header.spawns, header.ignored) = (1 << 40, 99, 3);
    header.reloads.done = 5;
    header.reloads.last = Some(Outcome::Done);
    (header.upgrades.done, header.upgrades.failed) = (1, 2);
    header.upgrades.last = Some(Outcome::Failed { why: 7, detail: -2 });
    let long = |number: u64| number.to_ne_bytes();
    let word = |number: i32| number.to_ne_bytes();
    let bytes = placed::<HEADER_SIZE>(&[
        (0, b"forkmesh"),
        (8, &word(LAYOUT as i32)),
        (12, &word(1024)),
        (16, &word(77)),
        (20, &word(4711)),
        (24, &[1, 1, 2]),
        (28, &word(5)),
        (32, &word(6)),
        (36, &word(8)),
        (40, &word(4800)),
        (48, &long(1 << 40)),
        (56, &long(99)),
        (64, &long(3)),
        (72, &word(5)),
        (80, &[1]),
        (88, &word(1)),
        (92, &word(2)),
        (96, &[2, 7]),
        (100, &word(-2)),
    ]);
    assert_eq!(header.encode(77), bytes);

    let id = SlotId::from_u32(9 << 10 | 4).expect("4.9");
    let mut row = Row::new(id, State::Retiring(Pid::new(300).expect("a pid")));
    (row.epoch, row.number, row.since_ms, row.delay_ms) = (2, 3, 1 << 33, 640);
    row.role = Role::Helper;
    row.last = Some(Last {
        ended: Ended::Killed {
            signal: 11,
            core: true,
        },
        reached: Reached::Ready,
        failure: Some(Failure {
            stage: 6,
            errno: 98,
        }),
        lived_ms: 1 << 34,
    });
    let bytes = placed::<ROW_SIZE>(&[
        (0, &word(78)),
        (4, &word(9 << 10 | 4)),
        (8, &word(300)),
        (12, &word(2)),
        (16, &3_u16.to_ne_bytes()),
        (18, &[3, 4, 11, 1, 1, 1]),
        (24, &long(1 << 33)),
        (32, &long(1 << 34)),
        (40, &word(640)),
        (44, &word(6)),
        (48, &word(98)),
    ]);
    assert_eq!(row.encode(78), bytes);
    assert_eq!(BOARD_SIZE, 65_664);
    let last = SlotIndex::new(SLOTS - 1).expect("a place");
    assert_eq!(row_offset(last) + ROW_SIZE, BOARD_SIZE);
}

#[test]
fn what_has_no_meaning_is_said_so() {
    let header = Header::new(Pid::new(4711).expect("a pid")).encode(1);
    let row = Row::new(SlotId::MASTER, State::Vacant).encode(1);
    assert_eq!(Header::decode(&[0; HEADER_SIZE]), Err(Unread::Torn));
    assert_eq!(Row::decode(&[0; ROW_SIZE]), Ok(None));
    assert_eq!(Header::decode(&[1; HEADER_SIZE]), Err(Unread::Foreign));
    let with = |at: usize, byte| {
        let mut bytes = header;
        bytes[at] = byte;
        Header::decode(&sealed(bytes))
    };
    assert_eq!(
        with(8, 2),
        Err(Unread::Layout(if cfg!(target_endian = "little") {
            2
        } else {
            0x0200_0001
        }))
    );
    for (at, byte) in [(24, 4), (25, 2), (26, 5), (80, 3), (96, 3)] {
        assert_eq!(with(at, byte), Err(Unread::Malformed), "byte {at}");
    }
    let with = |at: usize, word: i32| {
        let mut bytes = header;
        bytes[at..at + 4].copy_from_slice(&word.to_ne_bytes());
        Header::decode(&sealed(bytes))
    };
    for (at, word) in [(20, 0), (20, -1), (40, -1)] {
        assert_eq!(with(at, word), Err(Unread::Malformed), "word {at}");
    }
    let with = |parts: &[(usize, u8)]| {
        let mut bytes = row;
        for (at, byte) in parts {
            bytes[*at] = *byte;
        }
        Row::decode(&sealed(bytes))
    };
    // A state without its process, or with one that it cannot have.
    for parts in [
        &[(18, 2)][..],
        &[(18, 3)],
        &[(18, 7), (9, 1)],
        &[(8, 1), (9, 1)],
    ] {
        assert_eq!(with(parts), Err(Unread::Malformed), "{parts:?}");
    }
    for parts in [
        &[(18, 9)][..],
        &[(23, 2)],
        &[(19, 5)],
        &[(19, 1), (21, 3)],
        &[(19, 1), (22, 2)],
    ] {
        assert_eq!(with(parts), Err(Unread::Malformed), "{parts:?}");
    }
    let nobody = [(4, 0), (5, 0), (6, 0), (7, 0)];
    assert_eq!(with(&nobody), Err(Unread::Malformed), "slot 0");
}
