//! Mappings: shared, guarded, sealed, gone.

use core::ptr::with_exposed_provenance_mut;
use std::env;
use std::fs;
use std::process::Command;

use forkmesh::channel::Pair;
use forkmesh::shm::{Backing, HugePages, MapConfig, Mapping, NotMapped};
use forkmesh::sync::{AtomicU32, AtomicU64, Ordering::Relaxed};
use rustix::fd::{AsRawFd, FromRawFd, OwnedFd};
use rustix::fs::{
    MemfdFlags, Mode, OFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create, open,
};
use rustix::io::{Errno, FdFlags, IoSlice, IoSliceMut, dup, fcntl_setfd};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use crate::support::{Ended, Kept, alone, in_child, opened_by};

const LENGTH: usize = 64 << 10;
const LAST: usize = LENGTH / 8 - 1;
const BACKINGS: [Backing; 4] = [
    Backing::Sealed,
    Backing::Anonymous,
    Backing::DevZero,
    Backing::SystemV,
];

fn map(config: MapConfig) -> Mapping {
    Mapping::create(c"a-test", LENGTH, config).unwrap()
}

fn words(mapping: &Mapping) -> &[AtomicU64] {
    mapping.slice(0, mapping.length() / 8).unwrap()
}

/// Writes in one process, reads in another, and the other way round.
fn answer(mapping: &Mapping) {
    let words = words(mapping);
    assert_eq!(words[0].load(Relaxed), 7);
    words[LAST].store(9, Relaxed);
}

pub(crate) fn every_backing_is_shared_over_fork() {
    for backing in BACKINGS {
        let mapping = map(MapConfig::new().backing(backing));
        assert_eq!(mapping.length(), LENGTH);
        assert!(words(&mapping).iter().all(|word| word.load(Relaxed) == 0));
        words(&mapping)[0].store(7, Relaxed);
        in_child(|| answer(&mapping));
        assert_eq!(words(&mapping)[LAST].load(Relaxed), 9, "{backing:?}");
        assert_eq!(mapping.descriptor().is_some(), backing == Backing::Sealed);
    }
}

const VARIABLE: &str = "FORKMESH_TEST_MEMORY";

/// What this program does when a test has executed it.
pub(crate) fn be_the_program_if_asked() {
    let Ok(number) = env::var(VARIABLE) else {
        return;
    };
    // SAFETY: the one who executed this has left the descriptor open, and nothing else here has it.
    let memory = unsafe { OwnedFd::from_raw_fd(number.parse().unwrap()) };
    answer(&Mapping::attach(memory).unwrap());
    std::process::exit(0);
}

pub(crate) fn sealed_memory_is_shared_over_exec() {
    let mapping = map(MapConfig::new());
    words(&mapping)[0].store(7, Relaxed);
    let descriptor = mapping.descriptor().unwrap();
    let number = descriptor.as_raw_fd();
    fcntl_setfd(descriptor, FdFlags::empty()).unwrap();
    let mut command = Command::new(env::current_exe().unwrap());
    let status = command.env(VARIABLE, number.to_string()).status().unwrap();
    assert!(status.success());
    assert_eq!(words(&mapping)[LAST].load(Relaxed), 9);
}

pub(crate) fn sealed_memory_is_shared_by_message() {
    let flags = SocketFlags::CLOEXEC;
    let (here, there) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
    let forked = Pair::new().unwrap().fork(&mut alone(), |_| {
        let mut space = [core::mem::MaybeUninit::uninit(); 64];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let mut parts = [IoSliceMut::new(&mut byte)];
        recvmsg(&there, &mut parts, &mut control, RecvFlags::empty()).unwrap();
        let received = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut rights) => rights.next(),
            _ => None,
        });
        answer(&Mapping::attach(received.unwrap()).unwrap());
        0
    });
    let (_end, process) = forked.unwrap();
    // Made after the fork: the message is the only way to it.
    let mapping = map(MapConfig::new());
    words(&mapping)[0].store(7, Relaxed);
    let rights = [mapping.descriptor().unwrap()];
    let mut space = [core::mem::MaybeUninit::uninit(); 64];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&rights)));
    let parts = [IoSlice::new(&[1])];
    sendmsg(&here, &parts, &mut control, SendFlags::empty()).unwrap();
    Kept::new(process).ends_well();
    assert_eq!(words(&mapping)[LAST].load(Relaxed), 9);
}

pub(crate) fn sealed_memory_keeps_its_length() {
    let mapping = map(MapConfig::new());
    let memory = mapping.descriptor().unwrap();
    for length in [0, LENGTH as u64 - 1, LENGTH as u64 * 2] {
        assert_eq!(ftruncate(memory, length), Err(Errno::PERM));
    }
    assert_eq!(fcntl_add_seals(memory, SealFlags::WRITE), Err(Errno::PERM));
    words(&mapping)[LAST].store(1, Relaxed);

    // What is not sealed is not taken.
    let loose = memfd_create(c"loose", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&loose, LENGTH as u64).unwrap();
    let refused = Mapping::attach(dup(&loose).unwrap()).map(drop);
    assert_eq!(refused, Err(NotMapped::NotSealed));
    fcntl_add_seals(&loose, SealFlags::SHRINK).unwrap();
    assert_eq!(Mapping::attach(loose).unwrap().length(), LENGTH);
}

/// How a child ends that reads this byte.
fn reading(address: usize) -> Ended {
    let forked = Pair::new().unwrap().fork(&mut alone(), |_| {
        let byte: *mut u8 = with_exposed_provenance_mut(address);
        // SAFETY: the byte is within a mapping, or the process ends here, which is what is tested.
        u8::from(unsafe { byte.read_volatile() } != 0)
    });
    let (_end, process) = forked.unwrap();
    Kept::new(process).end()
}

pub(crate) fn guards_stand_on_both_sides() {
    for backing in BACKINGS {
        let mapping = map(MapConfig::new().backing(backing));
        let start = words(&mapping).as_ptr().expose_provenance();
        let end = start + mapping.length();
        // They are ours, not just places where nothing happens to be.
        let is_guard = |edge: String| {
            let shown = maps();
            let mut lines = shown.lines().filter(|line| line.contains(&edge));
            lines.any(|line| line.contains(" ---p "))
        };
        assert!(is_guard(format!("-{start:x} ")), "{backing:?}");
        assert!(is_guard(format!("{end:x}-")), "{backing:?}");
        for inside in [start, end - 1] {
            assert_eq!(reading(inside), Ended::Code(0), "{backing:?}");
        }
        for outside in [start - 1, end, start - (60 << 10), end + (60 << 10)] {
            assert_eq!(
                reading(outside),
                Ended::Signal(libc::SIGSEGV),
                "{backing:?}"
            );
        }
    }
}

fn maps() -> String {
    fs::read_to_string("/proc/self/maps").unwrap()
}

pub(crate) fn a_dropped_mapping_is_gone() {
    for backing in BACKINGS {
        let mapping = map(MapConfig::new().backing(backing));
        let start = format!("{:x}-", words(&mapping).as_ptr().addr());
        let shown = maps();
        let line = shown.lines().find(|line| line.starts_with(&start));
        assert!(line.is_some_and(|line| line.contains("rw-s")), "{shown}");
        // A segment is removed as soon as it is attached: marked as such, and gone with us.
        let segments = fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
        let own = |text: &str| {
            let pid = std::process::id().to_string();
            let mut lines = text.lines().map(str::split_whitespace);
            lines.any(|mut fields| fields.nth(4) == Some(&pid))
        };
        assert_eq!(
            own(&segments),
            backing == Backing::SystemV && !segments.is_empty()
        );
        drop(mapping);
        assert!(!maps().lines().any(|line| line.starts_with(&start)));
        assert!(!own(
            &fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default()
        ));
    }
    let ((), left) = opened_by(|| {
        BACKINGS.into_iter().for_each(|backing| {
            drop(map(MapConfig::new().backing(backing)));
        })
    });
    assert!(left.is_empty(), "{left:?}");
}

/// How much of a mapping is there, in kibibytes, as /proc/self/smaps says.
fn resident(mapping: &Mapping) -> usize {
    let start = format!("{:x}-", words(mapping).as_ptr().addr());
    let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
    let mut lines = smaps.lines().skip_while(|line| !line.starts_with(&start));
    let line = lines.find(|line| line.starts_with("Rss:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

pub(crate) fn pages_are_there_beforehand() {
    for backing in BACKINGS {
        let config = MapConfig::new().backing(backing);
        assert_eq!(resident(&map(config)), 0);
        assert_eq!(resident(&map(config.prefault(true))), LENGTH >> 10);
    }
}

pub(crate) fn huge_pages_are_there_or_not() {
    let wanted = MapConfig::new().huge_pages(HugePages::Wanted);
    for backing in BACKINGS {
        words(&map(wanted.backing(backing)))[LAST].store(1, Relaxed);
    }
    let required = MapConfig::new().huge_pages(HugePages::Required);
    let free = fs::read_to_string("/proc/meminfo").unwrap();
    let free = free
        .lines()
        .find_map(|line| line.strip_prefix("HugePages_Free:"));
    let free: usize = free.map_or(0, |count| count.trim().parse().unwrap());
    match Mapping::create(c"huge", LENGTH, required.prefault(true)) {
        Ok(mapping) => {
            assert!(free > 0);
            assert_eq!(mapping.length(), 2 << 20);
            let memory = dup(mapping.descriptor().unwrap()).unwrap();
            words(&mapping)[LAST].store(5, Relaxed);
            assert_eq!(
                words(&Mapping::attach(memory).unwrap())[LAST].load(Relaxed),
                5
            );
        }
        Err(NotMapped::Memory(_)) => assert_eq!(free, 0),
        Err(other) => assert!(free == 0, "{other:?}"),
    }
    let refused = Mapping::create(c"huge", LENGTH, required.backing(Backing::Anonymous));
    assert_eq!(refused.map(drop), Err(NotMapped::NoHugePages));
}

/// A file of this test's own, which is gone when the test is over.
pub(crate) struct Scratch(std::path::PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let name = format!("forkmesh-{name}-{}", std::process::id());
        Self(env::temp_dir().join(name))
    }

    pub(crate) fn open(&self) -> OwnedFd {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
        open(self.0.to_str().unwrap(), flags, Mode::RUSR | Mode::WUSR).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

pub(crate) fn an_ordinary_file_is_memory() {
    let scratch = Scratch::new("file");
    let mapping = Mapping::of_file(scratch.open(), LENGTH - 1).unwrap();
    assert_eq!(mapping.length(), LENGTH);
    words(&mapping)[0].store(7, Relaxed);
    in_child(|| {
        // Another process of the service gets it by a descriptor; another service is kept out.
        let refused = Mapping::of_file(scratch.open(), LENGTH).map(drop);
        assert_eq!(refused, Err(NotMapped::InUse));
        let memory = dup(mapping.descriptor().unwrap()).unwrap();
        answer(&Mapping::attach_file(memory).unwrap());
        assert_eq!(
            Mapping::attach(scratch.open()).map(drop),
            Err(NotMapped::NotSealed)
        );
    });
    assert_eq!(words(&mapping)[LAST].load(Relaxed), 9);
    drop(mapping);
    // What was written is there the next time.
    let mapping = Mapping::of_file(scratch.open(), 1).unwrap();
    assert_eq!(words(&mapping)[LAST].load(Relaxed), 9);
}

pub(crate) fn memory_that_cannot_be() {
    for backing in BACKINGS {
        let config = MapConfig::new().backing(backing);
        let nothing = Mapping::create(c"none", 0, config).map(drop);
        assert_eq!(nothing, Err(NotMapped::Nothing));
        for length in [usize::MAX, usize::MAX / 2, 1 << 60] {
            let (refused, left) = opened_by(|| Mapping::create(c"large", length, config).map(drop));
            let refused = refused.unwrap_err();
            let is_refusal = matches!(refused, NotMapped::Memory(_) | NotMapped::Refused(_));
            assert!(is_refusal, "{backing:?}: {refused:?}");
            assert!(left.is_empty(), "{left:?}");
        }
    }
    let long = std::ffi::CString::new("x".repeat(300)).unwrap();
    let refused = Mapping::create(&long, LENGTH, MapConfig::new()).map(drop);
    assert_eq!(refused, Err(NotMapped::Refused(Errno::INVAL)));
    let empty = memfd_create(c"empty", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    fcntl_add_seals(&empty, SealFlags::SHRINK).unwrap();
    assert_eq!(Mapping::attach(empty).map(drop), Err(NotMapped::Nothing));
    let (pipe, _writer) = rustix::pipe::pipe().unwrap();
    assert_eq!(Mapping::attach(pipe).map(drop), Err(NotMapped::NotSealed));
}

pub(crate) fn no_reference_leads_out_of_a_mapping() {
    let mapping = map(MapConfig::new().backing(Backing::Anonymous));
    let start = words(&mapping).as_ptr().addr();
    let mut found = 0;
    let edges = [
        0,
        1,
        4,
        8,
        12,
        LENGTH - 9,
        LENGTH - 8,
        LENGTH - 4,
        LENGTH,
        LENGTH + 8,
    ];
    let huge = [
        usize::MAX,
        usize::MAX - 7,
        usize::MAX / 8,
        usize::MAX / 2 + 1,
    ];
    for offset in edges.into_iter().chain(huge) {
        for count in [0, 1, 2, LENGTH / 8, LENGTH / 4, usize::MAX, usize::MAX / 4] {
            if let Some(words) = mapping.slice::<AtomicU64>(offset, count) {
                let range = words.as_ptr_range();
                assert_eq!(range.start.addr(), start + offset);
                assert!(range.end.addr() <= start + LENGTH && offset % 8 == 0);
                found += 1;
            }
            if let Some(words) = mapping.slice::<AtomicU32>(offset, count) {
                let range = words.as_ptr_range();
                assert!(range.end.addr() <= start + LENGTH && offset % 4 == 0);
                found += 1;
            }
        }
    }
    assert!(found > 20, "{found}");
    assert_eq!(mapping.offset_of(&words(&mapping)[5]), Some(40));
    assert_eq!(mapping.offset_of(&AtomicU64::new(0)), None);
}
