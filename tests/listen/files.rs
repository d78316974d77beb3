//! The files of unix sockets: whose they are, and who removes them.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixDatagram, UnixListener};

use forkmesh::run::ListenFault;
use rustix::io::Errno;

use crate::support::{Descriptor, in_child, open_count, open_in};
use crate::tools::{Few, Folder, sockets, unix_client};

pub(crate) fn a_stale_file_is_replaced() {
    let folder = Folder::new();
    let path = folder.path("s");
    for datagram in [false, true] {
        drop(UnixListener::bind(&path).expect("a free path"));
        let stale = folder.files();
        let mut few = Few::new();
        let listen = folder.unix("s").datagram(datagram);
        few.open(&[listen], 1, None).expect("nobody is there");
        assert_eq!(folder.files().len(), 1, "what was set aside is gone");
        assert_ne!(folder.files(), stale);
        if !datagram {
            unix_client(&path).expect("somebody listens");
        }
        drop(few);
        assert_eq!(folder.files().len(), 0);
    }
}

pub(crate) fn a_live_socket_is_in_use() {
    let folder = Folder::new();
    let path = folder.path("s");
    let listener = UnixListener::bind(&path).expect("a free path");
    listener.set_nonblocking(true).expect("a socket");
    let (files, open) = (folder.files(), open_count());
    let refused = |why: &str| {
        for datagram in [false, true] {
            let mut few = Few::new();
            let listen = folder.unix("s").datagram(datagram);
            let error = few.open(&[listen], 1, None).expect_err(why);
            assert!(error.is_in_use(), "{why}: {error}");
        }
    };
    refused("it listens");
    assert_eq!((folder.files(), open_count()), (files, open));
    let nobody = listener.accept().map(drop).expect_err("nobody came");
    assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock);
    drop(listener);
    fs::remove_file(&path).expect("it is there");
    let datagrams = UnixDatagram::bind(&path).expect("a free path");
    refused("it takes datagrams");
    drop(datagrams);
    fs::remove_file(&path).expect("it is there");
    // Bound, and about to listen.
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::STREAM,
        None,
    );
    let socket = socket.expect("a socket");
    let address = rustix::net::SocketAddrUnix::new(path.as_os_str().as_bytes()).expect("a path");
    rustix::net::bind(&socket, &address).expect("a free path");
    refused("it will listen");
    assert_eq!(folder.files().len(), 1);
}

pub(crate) fn a_file_that_is_no_socket_is_left_alone() {
    let folder = Folder::new();
    let elsewhere = folder.path("elsewhere");
    drop(UnixListener::bind(&elsewhere).expect("a free path"));
    let path = folder.path("s");
    type Make = fn(&std::path::Path, &std::path::Path);
    let makes: [Make; 3] = [
        |path, _| fs::write(path, "text").expect("a file"),
        |path, _| fs::create_dir(path).expect("a folder"),
        |path, to| std::os::unix::fs::symlink(to, path).expect("a link"),
    ];
    for make in makes {
        make(&path, &elsewhere);
        let files = folder.files();
        let mut few = Few::new();
        let error = few.open(&[folder.unix("s")], 1, None);
        assert_eq!(
            error.expect_err("it is no socket").fault,
            ListenFault::NoSocket
        );
        drop(few);
        assert_eq!(folder.files(), files);
        let removed = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
        removed.expect("it is there");
    }
}

pub(crate) fn whoever_is_last_removes_the_file() {
    let folder = Folder::new();
    let listen = folder.unix("s");
    let path = folder.path("s");
    let mut few = Few::new();
    few.open(&[listen], 1, None).expect("a free path");
    // A worker takes its copy, and another drops it without a look.
    in_child(|| drop(few.take(0, 0)));
    in_child(|| drop(core::mem::take(&mut few)));
    unix_client(&path).expect("somebody listens");
    // Whoever has the socket still is not the last.
    let successor = {
        let mut worker = core::mem::take(&mut few);
        worker.take(0, 0).pop().expect("one").socket
    };
    unix_client(&path).expect("somebody listens");
    drop(successor);
    assert_eq!(unix_client(&path).map(drop), Err(Errno::CONNREFUSED));
    // A master that drains has closed its own before.
    few.open(&[listen], 1, None).expect("nobody is there");
    few.close();
    in_child(|| drop(core::mem::take(&mut few)));
    assert_eq!(
        folder.files().len(),
        1,
        "nobody has it, and a child is no master"
    );
    drop(few);
    assert_eq!(folder.files().len(), 0);
    // A successor lives when the set is dropped.
    let before = sockets();
    let mut few = Few::new();
    few.open(&[listen], 1, None).expect("a free path");
    let held = open_in(std::process::id() as i32);
    let is_new = |open: &Descriptor| open.socket.is_some_and(|inode| !before.contains(&inode));
    let (number, _) = held.iter().find(|(_, open)| is_new(open)).expect("one");
    // SAFETY: the number is that of a descriptor of this process, which is copied and left.
    let borrowed = unsafe { rustix::fd::BorrowedFd::borrow_raw(*number) };
    let copy = rustix::io::fcntl_dupfd_cloexec(borrowed, 3).expect("a copy");
    drop(few);
    unix_client(&path).expect("the successor listens");
    drop(copy);
    assert_eq!(folder.files().len(), 1, "nobody is left who could");
}

pub(crate) fn another_ones_file_is_not_removed() {
    let folder = Folder::new();
    let path = folder.path("s");
    let mut few = Few::new();
    few.open(&[folder.unix("s")], 1, None).expect("a free path");
    fs::remove_file(&path).expect("it is there");
    let other = UnixListener::bind(&path).expect("a free path");
    let files = folder.files();
    few.prepare(1, &[], 1).expect("nothing is wanted");
    few.commit().expect("nothing is set");
    assert_eq!(folder.files(), files);
    few.open(&[folder.unix("t")], 1, None).expect("a free path");
    fs::remove_file(folder.path("t")).expect("it is there");
    drop(UnixListener::bind(folder.path("t")).expect("a free path")); // a stale one, even
    let files = folder.files();
    drop(few);
    assert_eq!(folder.files(), files);
    drop(other);
}
