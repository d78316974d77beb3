//! What is asked for is what the kernel says; what cannot be had is refused by name.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use forkmesh::run::{Address, AddressError, Invalid, Listen, ListenFault, Listening, Sharing};
use libc::{
    IPPROTO_IPV6, IPPROTO_TCP, IPV6_V6ONLY, SO_ACCEPTCONN, SO_RCVBUF, SO_REUSEADDR, SO_REUSEPORT,
    SO_SNDBUF, SO_TYPE, SOCK_DGRAM, SOCK_STREAM, SOL_SOCKET, TCP_DEFER_ACCEPT, TCP_FASTOPEN,
    TCP_NODELAY,
};
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::process::umask;

use crate::support::{in_child, is_close_on_exec};
use crate::tools::{Few, Folder, at, local, option, queue};

/// Opens one, and takes it as worker 0 would.
fn opened(listen: Listen) -> Listening {
    let mut few = Few::new();
    few.open(&[listen], 1, None).expect("it can be had");
    let taken = few.take(0, 0).pop().expect("one");
    assert_eq!(few.count(), 0);
    assert!(is_close_on_exec(&taken.socket));
    let flags = fcntl_getfl(&taken.socket).expect("flags");
    assert!(flags.contains(OFlags::NONBLOCK));
    taken
}

pub(crate) fn every_option_is_the_kernels() {
    let plain = opened(local()).socket;
    let of = |socket, name| option(socket, SOL_SOCKET, name, 0);
    assert_eq!(of(&plain, SO_TYPE), SOCK_STREAM);
    assert_eq!(of(&plain, SO_ACCEPTCONN), 1);
    assert_eq!((of(&plain, SO_REUSEADDR), of(&plain, SO_REUSEPORT)), (1, 0));
    assert_eq!(queue(&plain), (0, 511));
    let tcp = |socket, name| option(socket, IPPROTO_TCP, name, 0);
    let three = [TCP_NODELAY, TCP_DEFER_ACCEPT, TCP_FASTOPEN];
    assert_eq!(three.map(|name| tcp(&plain, name)), [0; 3]);

    let listen = local().backlog(7).reuse_address(false).no_delay(true);
    let listen = listen.defer_accept(3).fast_open(9);
    let listen = listen.receive_buffer(40_000).send_buffer(50_000);
    let set = opened(listen).socket;
    assert_eq!(queue(&set), (0, 7));
    assert_eq!(of(&set, SO_REUSEADDR), 0);
    assert_eq!(
        (of(&set, SO_RCVBUF), of(&set, SO_SNDBUF)),
        (80_000, 100_000)
    );
    assert_eq!((tcp(&set, TCP_NODELAY), tcp(&set, TCP_FASTOPEN)), (1, 9));
    // In repetitions, and back: 1, 3, 7 seconds.
    assert_eq!(tcp(&set, TCP_DEFER_ACCEPT), 3);

    for only in [true, false] {
        let six = opened(at("[::]:0").v6_only(only)).socket;
        assert_eq!(option(&six, IPPROTO_IPV6, IPV6_V6ONLY, 0), only.into());
    }
    let own = opened(local().per_worker(true));
    assert_eq!(own.sharing, Sharing::Own);
    assert_eq!(of(&own.socket, SO_REUSEPORT), 1);
    let udp = opened(local().datagram(true)).socket;
    assert_eq!(of(&udp, SO_TYPE), SOCK_DGRAM);
    assert_eq!(of(&udp, SO_REUSEADDR), 0, "nobody can share the address");
    let name = format!("unix:@forkmesh-test-{}", std::process::id());
    let hidden = opened(at(&name));
    assert_eq!(of(&hidden.socket, SO_ACCEPTCONN), 1);
    assert_eq!(hidden.sharing, Sharing::Shared);
    a_file_has_its_mode();
}

/// Whatever the umask is, which is as it was afterwards.
fn a_file_has_its_mode() {
    let folder = Folder::new();
    in_child(|| {
        for (at, mask) in [0o077, 0o022, 0].into_iter().enumerate() {
            umask(rustix::fs::Mode::from_raw_mode(mask));
            for (mode, datagram) in [(0o666, false), (0o620, true), (0o600, false)] {
                let name = format!("{at}{mode:o}");
                let mut few = Few::new();
                let listen = folder.unix(&name).mode(mode).datagram(datagram);
                few.open(&[listen], 1, None).expect("a free path");
                let file = fs::metadata(folder.path(&name)).expect("a file");
                assert_eq!(file.permissions().mode() & 0o7777, u32::from(mode));
            }
            let now = umask(rustix::fs::Mode::empty());
            assert_eq!(now.as_raw_mode(), mask);
        }
    });
    let default = folder.unix("default");
    let mut few = Few::new();
    few.open(&[default], 1, None).expect("a free path");
    let file = fs::metadata(folder.path("default")).expect("a file");
    assert_eq!(file.permissions().mode() & 0o7777, 0o666);
}

pub(crate) fn what_cannot_be_asked_for() {
    let unix = at("unix:/nowhere/socket");
    let udp = local().datagram(true);
    let wrong = [
        (unix.per_worker(true), Invalid::PerWorker),
        (unix.defer_accept(1), Invalid::DeferAccept),
        (udp.defer_accept(1), Invalid::DeferAccept),
        (local().defer_accept(32_768), Invalid::DeferAccept),
        (udp.fast_open(1), Invalid::FastOpen),
        (unix.fast_open(1), Invalid::FastOpen),
        (local().fast_open(1 << 31), Invalid::FastOpen),
        (local().backlog(1 << 31), Invalid::Backlog),
        (local().receive_buffer(1 << 30), Invalid::Buffer),
        (local().send_buffer(u32::MAX), Invalid::Buffer),
        (unix.mode(0o1000), Invalid::Mode),
    ];
    for (listen, invalid) in wrong {
        assert_eq!(listen.check(), Err(invalid));
        let mut few = Few::new();
        let error = few.open(&[local(), listen], 1, None).expect_err("invalid");
        assert_eq!(error.fault, ListenFault::Invalid(invalid));
        assert_eq!(error.address, listen.address());
        assert!(error.to_string().contains(&listen.address().to_string()));
        assert_eq!(few.count(), 0);
    }
    for fine in [unix, udp.per_worker(true), local().defer_accept(32_767)] {
        assert_eq!(fine.check(), Ok(()));
    }
}

pub(crate) fn addresses_as_text() {
    let same = [
        "127.0.0.1:80",
        "[::1]:0",
        "[fe80::1%3]:443",
        "unix:/run/a socket",
        "unix:@name",
    ];
    for text in same {
        let address: Address = text.parse().expect(text);
        assert_eq!(address.to_string(), text);
    }
    let any: Address = ":80".parse().expect("a port");
    assert_eq!(any.to_string(), "0.0.0.0:80");
    for text in [
        "",
        "80",
        "localhost:80",
        "1.2.3.4",
        ":",
        ":65536",
        "/run/x",
        "::1",
    ] {
        assert_eq!(text.parse::<Address>(), Err(AddressError::Form), "{text}");
    }
    let path = |length: usize| format!("unix:/{}", "p".repeat(length - 1)).parse::<Address>();
    assert!(path(107).is_ok());
    assert_eq!(path(108), Err(AddressError::Length(108)));
    assert_eq!("unix:".parse::<Address>(), Err(AddressError::Length(0)));
    assert_eq!("unix:@".parse::<Address>(), Err(AddressError::Length(0)));
    let name = [0xff; 107];
    let hidden = Address::unix_abstract(&name).expect("any bytes");
    let Address::Unix(unix) = hidden else {
        panic!("it is one")
    };
    assert_eq!((unix.abstract_name(), unix.path()), (Some(&name[..]), None));
    assert_eq!(Address::unix(b"a\0b"), Err(AddressError::Zero));
    let odd = Address::unix(b"/\xff.").expect("any bytes but zero");
    assert_eq!(odd.to_string(), "unix:/\u{fffd}.");
}
