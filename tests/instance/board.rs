//! The board, as others see it: while its master runs, hangs, or is gone.

use forkmesh::run::{Board, FindError, Instance, PidFile, Status, StatusError};
use forkmesh::table::{Pid, SLOTS, SlotId, SlotIndex, State};
use forkmesh::wire::board::{BOARD_SIZE, Ended, Header, Last, Phase, Reached, Row, row_offset};
use rustix::fd::AsFd;
use rustix::fs::{OFlags, SealFlags, fcntl_get_seals, ftruncate};
use rustix::io::{Errno, pread, pwrite};
use rustix::process::{Signal, WaitId, WaitIdOptions, waitid};

use crate::faults::become_nobody;
use crate::support::{in_child, in_time, is_close_on_exec, opened_by};
use crate::world::{Folder, Other};

fn pid(number: i32) -> Pid {
    Pid::new(number).expect("a pid")
}

fn own() -> Pid {
    pid(std::process::id() as i32)
}

fn find(folder: &Folder) -> Instance {
    Instance::find(folder.path("pid").as_c_str()).expect("it runs")
}

/// Some rows, the first and the last among them.
fn rows() -> Vec<(SlotIndex, Row)> {
    let places = [0, 1, 61, 62, 63, 64, 700, SLOTS - 1];
    let row = |place: usize| {
        let index = SlotIndex::new(place).expect("a place");
        let generation = forkmesh::table::Generation::new(1 + place as u32).expect("few");
        let id = SlotId::new(index, generation);
        let row = Row {
            epoch: 3,
            number: place as u16,
            since_ms: 1_000_000 + place as u64,
            last: (place % 2 == 1).then_some(Last {
                ended: Ended::Killed {
                    signal: 11,
                    core: true,
                },
                reached: Reached::Ready,
                failure: None,
                lived_ms: place as u64,
            }),
            ..Row::new(id, State::Live(pid(4_000 + place as i32)))
        };
        (index, row)
    };
    places.map(row).to_vec()
}

/// A process with a pid file and a board with these rows.
fn master(folder: &Folder) -> Other {
    let path = folder.path("pid");
    let other = Other::start(|line| {
        let _file = PidFile::create(path.as_c_str()).expect("nobody's");
        let mut board = Board::new(&Header::new(own())).expect("memory");
        for (index, row) in rows() {
            board.write_row(index, &row).expect("written");
        }
        line.say(b'!');
        line.hear();
    });
    assert_eq!(other.said(), Some(b'!'));
    other
}

fn check(status: &Status<'_>, master: &Other) {
    assert_eq!(*status.header(), Header::new(pid(master.pid())));
    let read: Vec<Row> = status.rows().map(|row| row.expect("a row")).collect();
    let written: Vec<Row> = rows().into_iter().map(|(_, row)| row).collect();
    assert_eq!(read, written);
}

pub(crate) fn the_status_of_a_stopped_process() {
    let folder = Folder::new();
    let master = master(&folder);
    master.kept.signal(Signal::STOP);
    let id = WaitId::PidFd(master.kept.as_fd());
    let stopped = waitid(id, WaitIdOptions::STOPPED).expect("ours");
    assert!(stopped.is_some_and(|status| status.stopped()));
    let instance = find(&folder);
    check(&instance.status().expect("a board"), &master);
    master.kept.signal(Signal::CONT);
    check(&instance.status().expect("a board"), &master);
    master.finish();
}

pub(crate) fn a_board_outlives_its_master() {
    let folder = Folder::new();
    let mut master = master(&folder);
    let (looked, not_looked) = (find(&folder), find(&folder));
    let (status, opened) = opened_by(|| looked.status().expect("a board"));
    check(&status, &master);
    assert_eq!(opened.len(), 1, "the board: {opened:?}");
    assert!(opened.values().all(|one| one.close_on_exec));
    let (_, opened) = opened_by(|| looked.status().expect("a board"));
    assert_eq!(opened.len(), 0, "it is opened once");
    master.kill();
    check(&looked.status().expect("it was opened"), &master);
    assert_eq!(not_looked.status().err(), Some(StatusError::Gone));
    let found = Instance::find(folder.path("pid").as_c_str());
    let pid = pid(master.pid());
    assert_eq!(found.err(), Some(FindError::NotRunning { pid }));
}

pub(crate) fn a_process_without_a_board() {
    let folder = Folder::new();
    let other = Other::with_pid_file(&folder, "pid");
    let instance = find(&folder);
    let (status, opened) = opened_by(|| instance.status().map(drop));
    assert_eq!(status, Err(StatusError::NoBoard));
    assert_eq!(opened.len(), 0, "{opened:?}");
    other.finish();

    // One that it has inherited is another's.
    let anothers = Board::new(&Header::new(own())).expect("memory");
    let other = Other::with_pid_file(&folder, "pid");
    let (status, opened) = opened_by(|| find(&folder).status().map(drop));
    assert_eq!(status, Err(StatusError::NoBoard));
    assert_eq!(opened.len(), 0, "{opened:?}");
    drop(anothers);
    other.finish();
}

pub(crate) fn anothers_board_is_refused() {
    let folder = Folder::new();
    let master = master(&folder);
    in_child(|| {
        let is_root = rustix::process::getuid().is_root();
        become_nobody();
        let instance = find(&folder);
        let refused = instance.status().err();
        let expected = is_root.then_some(StatusError::Refused(Errno::ACCESS));
        assert_eq!(refused, expected);
    });
    master.finish();
}

pub(crate) fn a_board_cannot_change_its_size() {
    let board = Board::new(&Header::new(own())).expect("memory");
    let descriptor = board.renounce();
    assert!(is_close_on_exec(&descriptor));
    let stat = rustix::fs::fstat(&descriptor).expect("open");
    assert_eq!(stat.st_size as usize, BOARD_SIZE);
    assert_eq!(ftruncate(&descriptor, 0), Err(Errno::PERM));
    assert_eq!(ftruncate(&descriptor, 1 << 20), Err(Errno::PERM));
    let seals = fcntl_get_seals(&descriptor).expect("a memfd");
    assert!(seals.contains(SealFlags::SEAL), "no seal can be added");
    let flags = rustix::fs::fcntl_getfl(&descriptor).expect("open");
    assert!(flags.contains(OFlags::RDWR));
}

pub(crate) fn every_write_has_a_number_of_its_own() {
    let mut board = Board::new(&Header::new(own())).expect("memory");
    let places = [0, 1].map(|place| SlotIndex::new(place).expect("a place"));
    for place in places {
        board.write_row(place, &row_number(1)).expect("written");
    }
    board.write_row(places[0], &row_number(1)).expect("written");
    let memory = board.renounce();
    let number = |offset: usize| {
        let mut bytes = [0; 4];
        assert_eq!(pread(&memory, &mut bytes, offset as u64), Ok(4));
        u32::from_ne_bytes(bytes)
    };
    assert_eq!(number(16), 1, "the header");
    assert_eq!(places.map(|place| number(row_offset(place))), [4, 3]);
}

/// What belongs together in a header and a row that were written as the `n`th.
fn header_number(n: u64, writer: Pid) -> Header {
    Header {
        phase: [Phase::Running, Phase::Draining][n as usize % 2],
        serving: n as u32,
        candidate: n as u32,
        workers: n as u32,
        successor: Pid::new(1 + n as i32),
        written_ms: n,
        spawns: n,
        ignored: n,
        ..Header::new(writer)
    }
}

fn row_number(n: u64) -> Row {
    Row {
        epoch: n as u32,
        number: n as u16,
        since_ms: n,
        delay_ms: n as u32,
        last: Some(Last {
            ended: Ended::Code(n as u8),
            reached: Reached::Starting,
            failure: None,
            lived_ms: n,
        }),
        ..Row::new(SlotId::MASTER, State::Live(pid(1 + n as i32)))
    }
}

/// How many of the writer's records are to be seen, each between two looks at others.
const CHANGES: u32 = 300;

/// Writes a record as no master does, so that it is torn for half of the time.
fn in_halves(memory: impl AsFd, record: &[u8], offset: usize) {
    let (first, second) = record.split_at(record.len() / 2);
    for (half, offset) in [(first, offset), (second, offset + first.len())] {
        assert_eq!(pwrite(&memory, half, offset as u64), Ok(half.len()));
    }
}

pub(crate) fn no_torn_record_is_ever_read() {
    let folder = Folder::new();
    let path = folder.path("pid");
    let mut other = Other::start(|line| {
        let _file = PidFile::create(path.as_c_str()).expect("nobody's");
        let board = Board::new(&header_number(0, own())).expect("memory");
        let memory = board.renounce();
        line.say(b'!');
        for (n, sequence) in (0..).zip(2..) {
            let row = row_offset(SlotIndex::new(5).expect("a place"));
            in_halves(&memory, &header_number(n, own()).encode(sequence), 0);
            in_halves(&memory, &row_number(n).encode(sequence), row);
        }
    });
    assert_eq!(other.said(), Some(b'!'));
    let instance = find(&folder);
    let writer = pid(other.pid());
    let (mut last, mut changes) = (0, 0);
    in_time("a writer that writes", || {
        let status = instance.status().expect("a whole header");
        let n = status.header().written_ms;
        assert_eq!(*status.header(), header_number(n, writer));
        assert!(last <= n, "time does not go back");
        changes += u32::from(last != n);
        last = n;
        for row in status.rows() {
            let row = row.expect("a whole row");
            assert_eq!(row, row_number(row.since_ms));
        }
        (changes == CHANGES).then_some(())
    });
    other.kill();
}
