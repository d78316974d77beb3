//! Titles, as /proc/PID/cmdline shows them. Each test is a child, whose arguments are its own.

use std::fs;

use forkmesh::run::{Title, TitleError};

use crate::support::in_child;
use crate::world::World;

/// What `ps` shows: the command line without the zeros behind it.
fn shown(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).expect("it runs");
    let text = String::from_utf8(bytes).expect("as it was written");
    text.trim_end_matches('\0').to_owned()
}

fn own() -> u32 {
    std::process::id()
}

pub(crate) fn a_title_is_shown() {
    in_child(|| {
        let before = fs::read("/proc/self/cmdline").expect("it runs");
        let mut title = Title::claim().expect("arguments");
        assert_eq!(title.most(), before.len() - 1);
        for text in ["first: longer than the other", "second", ""] {
            title.set(text).expect("alone");
            let most = text.len().min(title.most());
            assert_eq!(
                shown(own()),
                text[..most],
                "nothing is left of the one before"
            );
        }
        Title::set_name("worker number three").expect("a name");
        let name = fs::read_to_string("/proc/self/comm").expect("it runs");
        assert_eq!(name, "worker number t\n", "15 bytes");
    });
}

pub(crate) fn a_title_leaves_the_environment_alone() {
    in_child(|| {
        let environment = fs::read("/proc/self/environ").expect("it runs");
        assert!(environment.contains(&b'='), "there is some");
        let variables: Vec<_> = std::env::vars_os().collect();
        let mut title = Title::claim().expect("arguments");
        title.set("x".repeat(100_000)).expect("alone");
        let after = fs::read("/proc/self/environ").expect("it runs");
        assert!(environment == after, "as the kernel made it");
        assert!(variables == std::env::vars_os().collect::<Vec<_>>());
    });
}

pub(crate) fn a_long_title_is_cut() {
    in_child(|| {
        let mut title = Title::claim().expect("arguments");
        title.set("x".repeat(100_000)).expect("alone");
        assert_eq!(shown(own()), "x".repeat(title.most()));
    });
}

pub(crate) fn a_title_may_take_the_environment() {
    in_child(|| {
        let arguments = Title::claim().expect("arguments").most();
        let environment = fs::read("/proc/self/environ").expect("it runs").len();
        let mut title = Title::claim_with_environment().expect("arguments");
        let most = (arguments + environment).min(1023);
        assert_eq!(title.most(), most);
        assert!(most > arguments, "there is an environment");
        title.set("y".repeat(most)).expect("alone");
        assert_eq!(shown(own()), "y".repeat(most));
        title.set("y".repeat(2 * most)).expect("alone");
        assert_eq!(shown(own()), "y".repeat(most), "cut");
        title.set("short").expect("alone");
        assert_eq!(shown(own()), "short");
        assert!(std::env::vars_os().next().is_none(), "that was the price");
    });
}

pub(crate) fn a_thread_keeps_the_title() {
    in_child(|| {
        let mut title = Title::claim().expect("arguments");
        title.set("one").expect("alone");
        let (end, wait) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || wait.recv());
        let refused = title.set("two");
        assert!(
            matches!(refused, Err(TitleError::NotAlone(_))),
            "{refused:?}"
        );
        assert_eq!(shown(own()), "one");
        drop(end);
        let _ = other.join().expect("it only waits");
    });
}

/// A master claims it; each worker writes in a copy.
pub(crate) fn a_worker_has_a_title_of_its_own() {
    in_child(|| {
        let mut title = Title::claim().expect("arguments");
        title.set("m").expect("alone");
        let mut world = World::new(2, move |worker| {
            let number = worker.number();
            title.set(format_args!("w{number}")).expect("alone");
            Title::set_name(format_args!("w{number}")).expect("a name");
            Ok(())
        });
        for (number, pid) in world.live(2) {
            assert_eq!(shown(pid as u32), format!("w{number}"));
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).expect("it runs");
            assert_eq!(name, format!("w{number}\n"));
        }
        assert_eq!(shown(own()), "m");
        world.end();
    });
}
