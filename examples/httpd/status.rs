//! `-s status`: what a master wrote down of itself, as a page; it is not asked, and may hang.

use core::fmt::Write;

use forkmesh::run::{Instance, Reason, StatusError};
use forkmesh::table::State;
use forkmesh::wire::board::{Ended, Header, Last, Outcome, Row, Tally};

pub(crate) fn page(instance: &Instance) -> Result<String, StatusError> {
    let status = instance.status()?;
    let now_ms = now_ms();
    let mut page = String::new();
    write_header(&mut page, status.header(), now_ms);
    let columns = ["slot", "state", "pid", "epoch", "number", "age", "delay"];
    write_line(&mut page, &columns.map(str::to_owned), "last exit");
    for row in status.rows() {
        write_row(&mut page, &row?, now_ms);
    }
    Ok(page)
}

fn write_header(page: &mut String, header: &Header, now_ms: u64) {
    let rests = if header.rests { ", rests" } else { "" };
    let age = seconds(now_ms.saturating_sub(header.written_ms));
    // A String takes everything, here and below.
    let _ = writeln!(page, "master {}, {:?}{rests}", header.pid, header.phase);
    let _ = writeln!(page, "written {age} ago");
    let _ = writeln!(page, "workers {}", header.workers);
    let _ = write!(page, "epoch {}", header.serving);
    let _ = match header.candidate {
        0 => writeln!(page),
        candidate => writeln!(page, ", to be {candidate}"),
    };
    write_tally(page, "reloads", Reason::reload, &header.reloads);
    write_tally(page, "upgrades", Reason::upgrade, &header.upgrades);
    let _ = write!(page, "upgrade {:?}", header.upgrade);
    let _ = match header.successor {
        None => writeln!(page),
        Some(pid) => writeln!(page, ", successor {pid}"),
    };
    let (spawns, ignored) = (header.spawns, header.ignored);
    let _ = writeln!(page, "spawns {spawns}, events ignored {ignored}\n");
}

fn write_tally(page: &mut String, name: &str, reason: fn(u8, i32) -> Reason, tally: &Tally) {
    let _ = write!(page, "{name} {} done, {} failed", tally.done, tally.failed);
    let _ = match tally.last {
        Some(Outcome::Failed { why, detail }) => {
            writeln!(page, ", the last: {}", reason(why, detail))
        }
        _ => writeln!(page),
    };
}

fn write_row(page: &mut String, row: &Row, now_ms: u64) {
    let (state, pid) = match row.state {
        State::Vacant => ("vacant", None),
        State::Starting(pid) => ("starting", pid),
        State::Live(pid) => ("live", Some(pid)),
        State::Retiring(pid) => ("retiring", Some(pid)),
        State::Reclaiming(_) => ("reclaiming", None),
        State::Cooling => ("cooling", None),
        State::Parked => ("parked", None),
    };
    let dash = || "-".to_owned();
    let age = pid.map(|_| seconds(now_ms.saturating_sub(row.since_ms)));
    let cells = [
        row.id.to_string(),
        state.to_owned(),
        pid.map_or_else(dash, |pid| pid.to_string()),
        row.epoch.to_string(),
        row.number.to_string(),
        age.unwrap_or_else(dash),
        match row.delay_ms {
            0 => dash(),
            delay_ms => format!("{delay_ms} ms"),
        },
    ];
    write_line(page, &cells, &row.last.map_or_else(dash, last));
}

fn last(last: Last) -> String {
    let ended = match last.ended {
        Ended::Unmade => "no process could be made".to_owned(),
        Ended::Code(code) => format!("code {code}"),
        Ended::Killed {
            signal,
            core: false,
        } => format!("signal {signal}"),
        Ended::Killed { signal, core: true } => format!("signal {signal}, core dumped"),
    };
    let failure = last.failure.map(|failure| {
        let (stage, errno) = (failure.stage, failure.errno);
        format!(", could not serve: step {stage}, error {errno}")
    });
    let lived = seconds(last.lived_ms);
    format!("{ended} after {lived}{}", failure.unwrap_or_default())
}

fn write_line(page: &mut String, cells: &[String; 7], last: &str) {
    let [slot, state, pid, epoch, number, age, delay] = cells;
    let _ = writeln!(
        page,
        "{slot:<9} {state:<10} {pid:>7} {epoch:>5} {number:>6} {age:>9} {delay:>9}  {last}"
    );
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03} s", ms / 1_000, ms % 1_000)
}

/// The clock that a master writes down times by.
fn now_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000 + now.tv_nsec as u64 / 1_000_000
}
