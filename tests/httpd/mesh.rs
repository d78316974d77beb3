//! What `/mesh` shows and `/tell` does, against what this test reads from /proc itself.

use std::collections::{BTreeMap, BTreeSet};

use rustix::process::Signal;

use crate::server::{Server, kill, pid_in};
use crate::support;

/// The table of `/mesh`: the processes of its columns, and its rows: a name, and what each process
/// has of End0 and End1.
struct Table {
    processes: Vec<(String, i32)>,
    rows: Vec<(String, Vec<[Option<i32>; 2]>)>,
}

impl Table {
    /// Reads the page; `None` where something in it could not be seen by the worker.
    fn read(page: &str) -> Option<Self> {
        let table = page
            .split("\n\n")
            .nth(1)
            .expect("the table is behind the first empty line");
        let mut lines = table.lines();
        let head = lines.next().expect("the table has a head");
        let words: Vec<&str> = head.split_whitespace().collect();
        let process = |words: &[&str]| (words[0].to_owned(), pid_in(&words.join(" ")));
        let processes = words.chunks(3).map(process).collect();
        let row = |line: &str| {
            let (name, cells) = line.split_once('[').expect("a row has cells");
            let cells = cells.split('[').map(cell).collect::<Option<_>>()?;
            Some((name.trim().to_owned(), cells))
        };
        let rows = lines.map(row).collect::<Option<_>>()?;
        Some(Self { processes, rows })
    }

    /// Whether every process but the one that a mesh pair belongs to has its End0.
    fn is_meshed(&self) -> bool {
        let rows = self.rows.iter().filter(|(name, _)| name.ends_with("mesh"));
        let mut holders = rows.map(|(_, cells)| cells.iter().filter(|[end0, _]| end0.is_some()));
        holders.all(|holders| holders.count() + 1 == self.processes.len())
    }

    fn cells(&self, row: &str) -> &[[Option<i32>; 2]] {
        let found = self.rows.iter().find(|(name, _)| name == row);
        &found.unwrap_or_else(|| panic!("no row {row:?}")).1
    }
}

/// `3, -]`
fn cell(text: &str) -> Option<[Option<i32>; 2]> {
    let numbers = text.trim().strip_suffix(']').expect("a cell has an end");
    let (end0, end1) = numbers.split_once(", ").expect("a cell has two numbers");
    let number = |text: &str| match text {
        "?" => None,
        "-" => Some(None),
        number => Some(Some(number.parse().expect("a number"))),
    };
    Some([number(end0)?, number(end1)?])
}

pub(crate) fn the_table_is_what_proc_says() {
    let mut server = Server::start(3, &["--restart", "always"]);
    check_table(&server, &["0.1", "1.1", "2.1"]);

    // A successor came later: it inherited its siblings' ends, and they were sent its own.
    kill(server.workers()[1], Signal::KILL);
    server.notice("worker 1.2 ready");
    check_table(&server, &["0.1", "1.2", "2.1"]);
}

fn check_table(server: &Server, workers: &[&str]) {
    // The master has just said that the last worker is ready; its siblings hear it in their time.
    let table = support::in_time("a table without a gap", || {
        let table = Table::read(&server.ask("/mesh").content)?;
        let names = table.processes.iter().map(|(name, _)| name.as_str());
        let complete = names.skip(1).eq(workers.iter().copied());
        (complete && table.is_meshed()).then_some(table)
    });
    assert_eq!(table.processes[0], ("master".to_owned(), server.pid()));
    assert_eq!(table.rows.len(), 2 * workers.len());
    let sockets: Vec<BTreeMap<i32, u64>> = table
        .processes
        .iter()
        .map(|(_, pid)| {
            let open = support::open_in(*pid).into_iter();
            open.filter_map(|(number, open)| Some((number, open.socket?)))
                .collect()
        })
        .collect();

    let mut ends = BTreeSet::new();
    for (column, worker) in workers.iter().enumerate() {
        for (kind, shared) in [("control", false), ("mesh", true)] {
            let cells = table.cells(&format!("{worker} {kind}"));
            let own = column + 1;
            for end in [0, 1] {
                let holders = cells.iter().map(|cell| cell[end]).enumerate();
                let of = |process: usize| match (end, shared) {
                    (0, true) => process != own,
                    (0, false) => process == 0,
                    _ => process == own,
                };
                let mut inodes = BTreeSet::new();
                for (process, number) in holders {
                    assert_eq!(
                        number.is_some(),
                        of(process),
                        "{worker} {kind} End{end} in {process}"
                    );
                    inodes.extend(number.map(|number| sockets[process][&number]));
                }
                assert_eq!(inodes.len(), 1, "{worker} {kind} End{end} is one socket");
                let inode = inodes.pop_first().expect("there is one");
                assert!(ends.insert(inode), "no two ends are the same");
                for (process, sockets) in sockets.iter().enumerate() {
                    let holds = sockets.values().any(|socket| *socket == inode);
                    assert_eq!(holds, of(process), "{worker} {kind} End{end} in {process}");
                }
            }
        }
    }
}

pub(crate) fn a_text_reaches_the_sibling() {
    let server = Server::start(2, &[]);
    let pids = server.workers();
    let (mut one, mut other) = (server.connect_to(pids[0]), server.connect_to(pids[1]));
    let slot = |content: &str| {
        let (_, rest) = content.split_once("slot ").expect("a worker says its slot");
        rest.split(',').next().expect("a first part").to_owned()
    };
    let from = slot(&one.ask("/").content);
    let to = slot(&other.ask("/").content);
    assert!(other.ask("/mesh").content.contains("last message: none"));

    let index = to.split('.').next().expect("an id has an index");
    for (text, shown) in [
        ("hello%20there", "hello there"),
        ("sixteen-bytes%21%21%21", "sixteen-bytes!!!"),
    ] {
        let told = one.ask(&format!("/tell?slot={index}&text={text}"));
        assert_eq!(
            (told.status, told.content),
            (200, format!("sent to slot {to}\n"))
        );
        // The message was on its way before this request, and is read before it.
        let page = other.ask("/mesh").content;
        let line = format!(
            "last message: {shown:?} from slot {from}, pid {}, known\n",
            pids[0]
        );
        assert!(page.ends_with(&line), "{page}");
    }
    let page = one.ask("/mesh").content;
    assert!(
        page.contains("last message: none"),
        "it went to one worker alone"
    );
}

pub(crate) fn what_cannot_be_told_is_said() {
    let server = Server::start(2, &[]);
    let mut client = server.connect_to(server.workers()[0]);
    let content = client.ask("/").content;
    let own = if content.contains("slot 0.1") { 0 } else { 1 };
    let refused = [
        (409, format!("slot={own}&text=a"), "itself"),
        (404, "slot=7&text=a".to_owned(), "no worker has slot 7"),
        (
            404,
            "slot=1023&text=a".to_owned(),
            "no worker has slot 1023",
        ),
        (400, "slot=1024&text=a".to_owned(), "0 to 1023"),
        (400, "slot=x&text=a".to_owned(), "0 to 1023"),
        (400, "text=a".to_owned(), "which slot?"),
        (400, "slot=1".to_owned(), "which text?"),
        (400, "slot=1&text=seventeen-bytes-x".to_owned(), "16 bytes"),
        (400, "slot=1&text=a%2".to_owned(), "hexadecimal"),
        (400, "slot=1&text=a%zz".to_owned(), "hexadecimal"),
    ];
    for (status, query, why) in refused {
        let answer = client.ask(&format!("/tell?{query}"));
        assert_eq!(answer.status, status, "{query}");
        assert!(answer.content.contains(why), "{query}: {}", answer.content);
    }
    // A sibling that does not read: its channel fills up, and that is said, too.
    let other = server.workers()[1];
    kill(other, Signal::STOP);
    let path = format!("/tell?slot={}&text=a", 1 - own);
    let full = support::in_time("a full channel", || {
        Some(client.ask(&path)).filter(|answer| answer.status != 200)
    });
    kill(other, Signal::CONT);
    assert_eq!(full.status, 503);
    assert!(
        full.content.contains("the channel is full"),
        "{}",
        full.content
    );
    support::in_time("room in the channel", || {
        (client.ask(&path).status == 200).then_some(())
    });
}
