//! What is HTTP: how connections are kept and ended, and what is refused.

use std::io::Write;

use crate::client::get;
use crate::server::Server;

pub(crate) fn keep_alive_and_pipelining() {
    let server = Server::start(2, &[]);
    let mut client = server.connect();
    let first = client.ask("/");
    assert_eq!(first.status, 200);
    assert!(!first.closes(), "{first:?}");
    for _ in 0..10 {
        // One connection is one worker.
        assert_eq!(client.ask("/").content, first.content);
    }

    client.send(&[get("/"), get("/nothing"), get("/")].concat());
    let statuses = [(); 3].map(|()| client.answer().status);
    assert_eq!(statuses, [200, 404, 200], "in the order of the requests");

    // The second request is cut anywhere by the end of the server's buffer.
    let many = 2_000;
    client.send(&get("/").repeat(many));
    for _ in 0..many {
        assert_eq!(client.answer().content, first.content);
    }
}

pub(crate) fn head_is_get_without_the_content() {
    let server = Server::start(1, &[]);
    let mut client = server.connect();
    let whole = client.ask("/");
    client.send("HEAD / HTTP/1.1\r\nHost: test\r\n\r\n");
    client.send(&get("/"));
    let head = client.head();
    assert_eq!(head.status, 200);
    assert_eq!(head.field("Content-Length"), whole.field("Content-Length"));
    assert!(
        head.field("Date")
            .is_some_and(|date| date.ends_with(" GMT"))
    );
    assert_eq!(
        client.answer().content,
        whole.content,
        "right behind the head"
    );
}

pub(crate) fn old_clients_are_understood() {
    let server = Server::start(1, &[]);
    let mut client = server.connect();
    client.send("GET / HTTP/1.0\r\n\r\n");
    let answer = client.answer();
    assert_eq!(answer.status, 200);
    assert!(answer.closes());
    client.is_over();

    let mut client = server.connect();
    for _ in 0..2 {
        client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(client.answer().field("Connection"), Some("keep-alive"));
    }

    // Bare line feeds, empty lines before a request, and a whole URI: old, and not wrong.
    client.send("\r\n\r\nGET http://127.0.0.1/ HTTP/1.1\nHost: test\n\n");
    assert_eq!(client.answer().status, 200);
}

pub(crate) fn close_is_honoured() {
    let server = Server::start(1, &[]);
    let mut client = server.connect();
    let last = "GET / HTTP/1.1\r\nHost: test\r\nConnection: Foo, Close\r\n\r\n";
    // What comes after it is not answered, and does not cost the client the answer.
    client.send(&[last, &get("/")].concat());
    let answer = client.answer();
    assert_eq!(answer.status, 200);
    assert!(answer.closes());
    client.is_over();
}

pub(crate) fn a_request_may_come_byte_by_byte() {
    let server = Server::start(1, &[]);
    let mut slow = server.connect();
    let body = "5\r\nhello\r\n0\r\nTrailer: 1\r\n\r\n";
    let chunked =
        format!("PUT / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    for (request, status) in [(get("/"), 200), (chunked, 405), (get("/"), 200)] {
        for byte in request.bytes() {
            assert!(!slow.has_more(), "an answer to half a request");
            slow.stream.write_all(&[byte]).expect("the server reads");
            // A slow client holds up nobody: it is one worker for both.
            assert_eq!(server.ask("/").status, 200);
        }
        assert_eq!(slow.answer().status, status);
    }
}

pub(crate) fn bodies_are_read_and_dropped() {
    let server = Server::start(1, &[]);
    let mut client = server.connect();
    let lengths = [0, 1, 8_191, 8_192, 8_193, 1 << 20];
    for length in lengths {
        client.send(&format!(
            "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n"
        ));
        client.send(&"x".repeat(length));
        client.send(&get("/"));
        let answer = client.answer();
        assert_eq!(answer.status, 405, "{length}");
        assert_eq!(answer.field("Allow"), Some("GET, HEAD"));
        assert_eq!(client.answer().status, 200, "{length}");
    }
    for length in lengths {
        client.send("GET / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
        // Chunks of 1000, the last one shorter; a megabyte would be too much with its framing.
        let mut left = length.min(1_000_000);
        while left > 0 {
            let chunk = left.min(1_000);
            client.send(&format!("{chunk:x};why=not\r\n{}\r\n", "x".repeat(chunk)));
            left -= chunk;
        }
        client.send("0\r\n\r\n");
        client.send(&get("/nothing"));
        assert_eq!(client.answer().status, 200, "{length} in chunks");
        assert_eq!(client.answer().status, 404, "{length} in chunks");
    }
}

pub(crate) fn leave_to_send_a_body_is_given() {
    let server = Server::start(1, &[]);
    let mut client = server.connect();
    let head = "GET / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    client.send(head);
    assert_eq!(client.head().status, 100);
    assert!(!client.has_more(), "an answer before the body");
    client.send("hello");
    assert_eq!(client.answer().status, 200);
    assert_eq!(client.ask("/").status, 200);
}

pub(crate) fn bad_requests_are_refused() {
    let server = Server::start(1, &[]);
    let post = "POST / HTTP/1.1\r\nHost: test\r\n";
    let refused = [
        (400, "\x16\x03\x01\x02\r\n\r\n".to_owned()),
        (400, "GET\r\n\r\n".to_owned()),
        (400, "GET / HTTP/1.1\r\n\r\n".to_owned()),
        (
            400,
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(),
        ),
        (
            400,
            "GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n".to_owned(),
        ),
        (400, "GET / HTTP/1.1\r\nHost : a\r\n\r\n".to_owned()),
        (400, format!("{post}Content-Length: 1x\r\n\r\n")),
        (400, format!("{post}Content-Length: +1\r\n\r\n")),
        (
            400,
            format!("{post}Content-Length: 1\r\nContent-Length: 2\r\n\r\n"),
        ),
        (
            400,
            format!("{post}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ),
        (
            400,
            "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
        ),
        (
            400,
            format!("{post}Transfer-Encoding: chunked\r\n\r\nxyz\r\n"),
        ),
        (
            400,
            format!("{post}Transfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n"),
        ),
        (
            501,
            format!("{post}Transfer-Encoding: gzip, chunked\r\n\r\n"),
        ),
        (505, "GET / HTTP/2.0\r\nHost: test\r\n\r\n".to_owned()),
    ];
    for (status, request) in refused {
        let mut client = server.connect();
        // What was asked well before it is answered, what comes after it is not.
        client.send(&[get("/"), request.clone(), get("/")].concat());
        assert_eq!(client.answer().status, 200, "{request:?}");
        let answer = client.answer();
        assert_eq!(answer.status, status, "{request:?}");
        assert!(answer.closes(), "{request:?}");
        client.is_over();
    }
    for path in ["/nothing", "/mesh/", "//", "*"] {
        assert_eq!(server.ask(path).status, 404, "{path}");
    }
}

pub(crate) fn heads_and_bodies_have_bounds() {
    let server = Server::start(1, &[]);
    let field = "x".repeat(9_000);
    let fields: String = (0..65).map(|field| format!("X-{field}: 1\r\n")).collect();
    let post = "POST / HTTP/1.1\r\nHost: test\r\n";
    let huge = format!("{}\r\n", "f".repeat(16));
    let refused = [
        (
            431,
            format!("GET / HTTP/1.1\r\nHost: test\r\nX: {field}\r\n\r\n"),
        ),
        (431, format!("GET / HTTP/1.1\r\nHost: test\r\n{fields}\r\n")),
        (414, get(&format!("/{field}"))),
        (413, format!("{post}Content-Length: 1048577\r\n\r\n{field}")),
        (
            413,
            format!("{post}Content-Length: 99999999999999999999999\r\n\r\n{field}"),
        ),
        (
            413,
            format!("{post}Transfer-Encoding: chunked\r\n\r\n{huge}{field}"),
        ),
        (
            400,
            format!("{post}Transfer-Encoding: chunked\r\n\r\n1;{field}\r\n"),
        ),
        (
            400,
            format!("{post}Transfer-Encoding: chunked\r\n\r\n0\r\nX: {field}\r\n"),
        ),
    ];
    for (status, request) in refused {
        let mut client = server.connect();
        client.send(&request);
        let answer = client.answer();
        assert_eq!(answer.status, status, "{:?}", &request[..60]);
        assert!(answer.closes());
        client.is_over();
    }
    // A head may be as long as it fits.
    let fitting = format!(
        "GET / HTTP/1.1\r\nHost: test\r\nX: {}\r\n\r\n",
        "x".repeat(8_100)
    );
    let mut client = server.connect();
    client.send(&fitting.repeat(3));
    let statuses = [(); 3].map(|()| client.answer().status);
    assert_eq!(statuses, [200; 3]);
}
