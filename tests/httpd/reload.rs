//! How a master that runs is asked for something else: by signals, and by `-s`.

use std::fs;

use rustix::process::Signal;

use crate::server::{Server, children, kill, pid_in, run};
use crate::settings::{Folder, lines, wait_for_lines};
use crate::support;

pub(crate) fn a_reload_puts_new_settings_in_force() {
    let folder = Folder::new("reload");
    let log = folder.file("log");
    let file = folder.write("config", "text = one");
    let mut server = Server::start(2, &["--config", &file]);
    let mut kept = server.connect();
    let home = kept.ask("/").content;
    assert!(
        home.contains("\nepoch 0\n") && home.ends_with("\none\n"),
        "{home}"
    );

    fs::write(&file, format!("text = two\nlog = {log}")).expect("a file can be written");
    server.signal(Signal::HUP);
    server.notice("epoch 1 serves");
    // Until the workers of the epoch before hear of their end, they serve, too.
    let home = support::in_time("an answer of epoch 1", || {
        let home = server.ask("/").content;
        home.contains("\nepoch 1\n").then_some(home)
    });
    assert!(home.ends_with("\ntwo\n"), "{home}");
    wait_for_lines(&log, 1);
    let last = support::in_time("the last answer of epoch 0", || {
        let answer = kept.ask("/");
        assert!(answer.content.contains("\nepoch 0\n"));
        answer.closes().then_some(answer)
    });
    assert!(last.content.ends_with("\none\n"));
    kept.is_over();
}

pub(crate) fn a_bad_file_changes_nothing() {
    let folder = Folder::new("refused");
    let file = folder.write("config", "text = one");
    let mut server = Server::start(1, &["--config", &file]);
    for wrong in ["text = two\nworker = 1", "text = two\nlog = /nowhere/log"] {
        fs::write(&file, wrong).expect("a file can be written");
        let mut kept = server.connect();
        assert_eq!(kept.ask("/").status, 200);
        server.signal(Signal::HUP);
        server.notice(" is refused: ");
        server.notice(" does not serve");
        for client in [&mut kept, &mut server.connect()] {
            let answer = client.ask("/");
            assert!(!answer.closes() && answer.content.ends_with("\none\n"));
            assert!(answer.content.contains("\nepoch 0\n"));
        }
    }
}

pub(crate) fn who_is_sent_home_and_called_back_at_once_serves() {
    let folder = Folder::new("rest");
    let pid = folder.file("pid");
    let mut server = Server::start(2, &["--pid-file", &pid]);
    let old = server.workers();
    // It finds both together, and not which was the first.
    for signal in [Signal::STOP, Signal::WINCH, Signal::HUP, Signal::CONT] {
        server.signal(signal);
    }
    server.notice("epoch 1 serves");
    let status = support::in_time("a status of epoch 1", || {
        let status = run(&["-s", "status", "--pid-file", &pid]).stdout;
        let status = String::from_utf8_lossy(&status).into_owned();
        status.contains("\nepoch 1\n").then_some(status)
    });
    let expected = format!("master {}, Running\n", server.pid());
    assert!(status.starts_with(&expected), "{status}");
    support::in_time("two new workers, and no old ones", || {
        let now = children(server.pid());
        (now.len() == 2 && !now.iter().any(|pid| old.contains(pid))).then_some(())
    });
    assert!(server.ask("/").content.contains("\nepoch 1\n"));
}

pub(crate) fn workers_that_fail_change_nothing() {
    let folder = Folder::new("fail");
    let file = folder.write("config", "text = one");
    let mut server = Server::start(2, &["--config", &file]);
    for (fail, why) in [
        ("exit2", ": a new worker ended with code 2"),
        ("die", ": a new worker was killed by signal 6"),
    ] {
        folder.write("config", &format!("text = two\nfail = {fail}"));
        server.signal(Signal::HUP);
        let notice = server.notice(" does not serve");
        assert!(notice.ends_with(why), "{notice}");
        assert!(server.ask("/").content.ends_with("\none\n"));
    }
}

pub(crate) fn all_logs_are_opened_anew() {
    let folder = Folder::new("logs");
    let (log, moved) = (folder.file("log"), folder.file("log.1"));
    let mut server = Server::start(2, &["--log", &log, "--restart", "always"]);
    let workers = server.workers();
    let mut clients: Vec<_> = workers.iter().map(|pid| server.connect_to(*pid)).collect();
    fs::rename(&log, &moved).expect("it is there");
    server.signal(Signal::USR1);
    server.notice("log files are opened again");
    support::in_time("a line of each worker in the new log", || {
        clients.iter_mut().for_each(|client| drop(client.ask("/")));
        let lines = lines(&log);
        let of = |pid: &i32| {
            lines
                .iter()
                .any(|line| line.contains(&format!(" pid {pid} ")))
        };
        workers.iter().all(of).then_some(())
    });

    // Who comes later begins with the new one.
    kill(workers[0], Signal::KILL);
    server.notice("exited");
    let notice = server.notice("ready");
    let successor = pid_in(&notice);
    drop(server.connect_to(successor));
    support::in_time("a line of the successor", || {
        let lines = lines(&log);
        let of = |line: &String| line.contains(&format!(" pid {successor} "));
        lines.iter().any(of).then_some(())
    });
}

pub(crate) fn a_master_is_asked_by_its_pid_file() {
    let folder = Folder::new("asked");
    let pid = folder.file("pid");
    let mut server = Server::start(2, &["--pid-file", &pid]);
    let ask = |what: &str| {
        let output = run(&["-s", what, "--pid-file", &pid]);
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    };
    let (code, said) = ask("status");
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.starts_with(&format!("master {}, Running\n", server.pid())),
        "{said}"
    );
    // What is said in a turn is written down at its end.
    support::in_time("a status with both workers", || {
        let (_, said) = ask("status");
        let live = |worker: &i32| said.contains(&format!(" live {worker:>13} "));
        server.workers().iter().all(live).then_some(())
    });

    let (code, said) = ask("reload");
    assert_eq!(
        (code, said),
        (Some(0), format!("master {} reloaded\n", server.pid()))
    );
    server.notice("epoch 1 serves");
    assert_eq!(ask("reopen").0, Some(0));
    server.notice("log files are opened again");
    assert_eq!(ask("quit").0, Some(0));
    assert_eq!(server.end().code(), Some(0));
    for what in ["stop", "quit", "reload", "status"] {
        let (code, said) = ask(what);
        assert_eq!(code, Some(1));
        assert!(said.contains(&pid), "{said}");
    }

    let wrong: [(&[&str], &str); 2] = [(&["-s", "foo"], "-s foo"), (&["-s", "quit"], "-s")];
    for (arguments, named) in wrong {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(named));
    }
}
