//! What fails leaves nothing behind: no file, no descriptor, no lock.

use core::ffi::CStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use forkmesh::run::{PidFile, PidFileError, Step};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::support::{Limit, in_child, lowest_free};
use crate::world::{Folder, c_path, names, would_be_refused_to_another};

const NOBODY: u32 = 65534;

fn refused(path: &CStr) -> (Step, Errno) {
    let before = lowest_free();
    let why = PidFile::create(path).expect_err("it cannot be made");
    assert_eq!(lowest_free(), before, "a descriptor is left open");
    match why {
        PidFileError::Refused { step, errno } => (step, errno),
        why => panic!("{why:?}"),
    }
}

/// Gives up being root, for the rest of this process.
pub(crate) fn become_nobody() {
    if rustix::process::getuid().is_root() {
        // SAFETY: an empty list is not read.
        assert_eq!(unsafe { libc::setgroups(0, core::ptr::null()) }, 0);
        // SAFETY: the call reads no memory.
        assert_eq!(unsafe { libc::setresgid(NOBODY, NOBODY, NOBODY) }, 0);
        // SAFETY: the call reads no memory.
        assert_eq!(unsafe { libc::setresuid(NOBODY, NOBODY, NOBODY) }, 0);
    }
}

pub(crate) fn an_unwritable_folder() {
    let folder = Folder::new();
    fs::create_dir(folder.at("locked")).expect("a folder");
    fs::write(folder.at("locked/stale"), "1\n").expect("a file");
    let only_read = |name: &str, mode| {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(folder.at(name), mode).expect("the owner may");
    };
    only_read("locked/stale", 0o444);
    only_read("locked", 0o555);
    in_child(|| {
        become_nobody();
        let new = folder.path("locked/pid");
        assert_eq!(refused(&new), (Step::Create, Errno::ACCESS));
        let stale = folder.path("locked/stale");
        assert_eq!(refused(&stale), (Step::Open, Errno::ACCESS));
    });
    assert_eq!(names(&folder.at("locked")), ["stale"]);
    assert_eq!(folder.text("locked/stale"), "1\n");

    let nowhere = folder.path("none/pid");
    assert_eq!(refused(&nowhere), (Step::Create, Errno::NOENT));
    let below_a_file = folder.path("locked/stale/pid");
    assert_eq!(refused(&below_a_file), (Step::Look, Errno::NOTDIR));
    only_read("locked", 0o755);
}

/// Puts a file system of one page and three inodes here, for this process alone; `false` where even a
/// user namespace does not allow that.
fn mount_little(folder: &Path) -> bool {
    let unshared = [libc::CLONE_NEWNS, libc::CLONE_NEWNS | libc::CLONE_NEWUSER];
    let who = rustix::process::getuid().as_raw();
    let group = rustix::process::getgid();
    let unshared = unshared.into_iter().any(|what| {
        // SAFETY: the call reads no memory; this process has one thread, and mounts nothing else.
        unsafe { libc::unshare(what) == 0 }
    });
    if who != 0 {
        // In a user namespace: whose files are made there.
        let group = group.as_raw();
        let _ = fs::write("/proc/self/uid_map", format!("{who} {who} 1"));
        let _ = fs::write("/proc/self/setgroups", "deny");
        let _ = fs::write("/proc/self/gid_map", format!("{group} {group} 1"));
    }
    let (none, tmpfs) = (c"none".as_ptr(), c"tmpfs".as_ptr());
    let options = c"size=4096,nr_inodes=3".as_ptr().cast();
    let private = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: the strings end with NUL and live through the call; the last two are not read.
    let private = unshared
        && unsafe {
            libc::mount(
                none,
                c"/".as_ptr(),
                core::ptr::null(),
                private,
                core::ptr::null(),
            ) == 0
        };
    let folder = c_path(folder);
    // SAFETY: the strings end with NUL and live through the call.
    private && unsafe { libc::mount(none, folder.as_ptr(), tmpfs, 0, options) == 0 }
}

pub(crate) fn a_full_disk() {
    let folder = Folder::new();
    fs::create_dir(folder.at("little")).expect("a folder");
    in_child(|| {
        let little = folder.at("little");
        if !mount_little(&little) {
            println!("no file system can be mounted here");
            return;
        }
        let stale = c_path(&little.join("stale"));
        fs::write(little.join("stale"), "1\n").expect("the only page");
        // The folder itself, the file, and one inode more: of a file that gets no page.
        let new = c_path(&little.join("pid"));
        assert_eq!(refused(&new), (Step::Write, Errno::NOSPC));
        assert_eq!(refused(&stale), (Step::Write, Errno::NOSPC));
        assert_eq!(names(&little), ["stale"]);
        fs::write(little.join("third"), "").expect("the last inode");
        assert_eq!(refused(&new), (Step::Create, Errno::NOSPC));
        assert_eq!(refused(&stale), (Step::Create, Errno::NOSPC));
        assert_eq!(names(&little), ["stale", "third"]);
        assert_eq!(fs::read(little.join("stale")).expect("there"), b"1\n");

        fs::remove_file(little.join("third")).expect("there");
        fs::write(little.join("stale"), "").expect("room again");
        drop(PidFile::create(&*stale).expect("there is room"));
        assert_eq!(names(&little), [""; 0]);
    });
}

pub(crate) fn a_file_that_may_not_grow() {
    let folder = Folder::new();
    fs::write(folder.at("stale"), "1\n").expect("a file");
    in_child(|| {
        // SAFETY: no handler is set, so none can be wrong.
        unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
        let none = Rlimit {
            current: Some(0),
            maximum: Some(0),
        };
        setrlimit(Resource::Fsize, none).expect("lowering is allowed");
        assert_eq!(refused(&folder.path("pid")), (Step::Write, Errno::FBIG));
        assert_eq!(refused(&folder.path("stale")), (Step::Write, Errno::FBIG));
    });
    assert_eq!(folder.names(), ["stale"]);
    assert_eq!(folder.text("stale"), "1\n");
}

pub(crate) fn no_descriptor_left() {
    let folder = Folder::new();
    fs::write(folder.at("stale"), "1\n").expect("a file");
    let (new, stale) = (folder.path("pid"), folder.path("stale"));
    let expected: [(&CStr, usize, Option<Step>); 5] = [
        (&new, 0, Some(Step::Open)),
        (&new, 1, None),
        (&stale, 0, Some(Step::Look)),
        (&stale, 1, Some(Step::Create)),
        (&stale, 2, None),
    ];
    for (path, free, fails_at) in expected {
        let limits = Limit::keep();
        let before = lowest_free();
        limits.set(Limit::with_free(free));
        let made = PidFile::create(path);
        limits.restore();
        match fails_at {
            None => drop(made.expect("there are enough")),
            Some(step) => {
                let errno = Errno::MFILE;
                assert_eq!(made.err(), Some(PidFileError::Refused { step, errno }));
                assert_eq!(folder.names(), ["stale"]);
                assert!(folder.text("stale") == "1\n", "{path:?} with {free}");
            }
        }
        assert_eq!(lowest_free(), before);
    }
    assert_eq!(folder.names(), [""; 0]);
}

pub(crate) fn what_is_no_file() {
    let folder = Folder::new();
    fs::write(folder.at("target"), "1\n").expect("a file");
    symlink("target", folder.at("link")).expect("a link");
    fs::create_dir(folder.at("folder")).expect("a folder");
    let fifo = folder.path("fifo");
    // SAFETY: the path ends with NUL and lives through the call.
    assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o644) }, 0);
    let link = folder.path("link");
    assert_eq!(
        refused(&link),
        (Step::Open, Errno::LOOP),
        "a link is not followed"
    );
    assert_eq!(refused(&folder.path("folder")), (Step::Open, Errno::ISDIR));
    let before = lowest_free();
    assert_eq!(PidFile::create(&*fifo).err(), Some(PidFileError::NotAFile));
    let long = format!("/{}", "x/".repeat(2_100));
    let long = c_path(Path::new(&long));
    assert_eq!(PidFile::create(&*long).err(), Some(PidFileError::BadPath));
    assert_eq!(PidFile::create("a\0b").err(), Some(PidFileError::BadPath));
    let name = c_path(&folder.at(&"n".repeat(250)));
    assert_eq!(refused(&name), (Step::Create, Errno::NAMETOOLONG));
    assert_eq!(lowest_free(), before);
    assert_eq!(folder.names(), ["fifo", "folder", "link", "target"]);
    assert!(!would_be_refused_to_another(&folder, "target"));
}
