//! The rules of the house, held by reading the source: who may import whom, where unsafe may stand,
//! and how long a file and a function may be.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What each room may import, besides itself.
const ROOMS: [(&str, &[&str]); 9] = [
    ("table", &[]),
    ("sys", &[]),
    ("sync", &["sys", "table"]),
    ("slab", &["sync", "table"]),
    ("wire", &["table"]),
    ("machine", &["table", "wire"]),
    ("channel", &["sys", "table", "wire"]),
    ("shm", &["sys", "sync", "slab", "table"]),
    (
        "run",
        &[
            "table", "sys", "sync", "slab", "shm", "wire", "machine", "channel",
        ],
    ),
];

/// Where unsafe may stand; every other room forbids it itself.
const UNSAFE_ROOMS: [&str; 2] = ["sys", "shm"];

const MOST_LINES_A_FILE: usize = 500;
const MOST_LINES_A_FUNCTION: usize = 70;
const MOST_UNSAFE_BLOCKS: usize = 40;

/// Every source file: its room, its path and its text.
fn sources() -> Vec<(String, PathBuf, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    for room in fs::read_dir(&src)
        .expect("src")
        .map(|entry| entry.expect("an entry").path())
    {
        if !room.is_dir() {
            continue;
        }
        let name = room
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        for path in rust_files(&room) {
            let text = fs::read_to_string(&path).expect("a source file");
            sources.push((name.clone(), path, text));
        }
    }
    for name in ["lib.rs", "coming_from_nginx.rs"] {
        let path = src.join(name);
        let text = fs::read_to_string(&path).expect("a source file");
        sources.push(("run".to_owned(), path, text)); // what may name every room
    }
    assert!(sources.len() > 30, "the source is where it is looked for");
    sources
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
    {
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The code of a line, without its comment and without what stands in strings.
fn code(line: &str) -> String {
    let mut in_string = false;
    let mut code = String::new();
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' if in_string => drop(characters.next()),
            '"' => in_string = !in_string,
            '/' if !in_string && characters.peek() == Some(&'/') => break,
            _ if in_string => {}
            _ => code.push(character),
        }
    }
    code
}

/// The first names behind `crate::` in a line: `crate::{a::b, c}` and `crate::a` alike.
fn imported(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for part in code.split("crate::").skip(1) {
        let name = |text: &str| -> String {
            text.chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect()
        };
        match part.strip_prefix('{') {
            None => names.push(name(part)),
            Some(list) => names.extend(list.split(',').map(|item| name(item.trim()))),
        }
    }
    names
}

#[test]
fn rooms_import_only_what_they_may() {
    let allowed: BTreeMap<&str, &[&str]> = ROOMS.into_iter().collect();
    for (room, path, text) in sources() {
        let may = allowed.get(room.as_str());
        let may = may.unwrap_or_else(|| panic!("{room} is a room that nobody planned"));
        for (number, line) in text.lines().enumerate() {
            for name in imported(&code(line)) {
                let is_room = allowed.contains_key(name.as_str());
                assert!(
                    !is_room || name == room || may.contains(&name.as_str()),
                    "{}:{}: {room} may not import {name}",
                    path.display(),
                    number + 1
                );
            }
        }
    }
}

#[test]
fn sync_imports_nothing_of_sys_but_futex() {
    for (_, path, text) in sources().iter().filter(|(room, ..)| room == "sync") {
        for line in text
            .lines()
            .map(code)
            .filter(|line| line.contains("crate::sys"))
        {
            assert!(
                line.contains("crate::sys::futex"),
                "{}: {line}",
                path.display()
            );
        }
    }
}

#[test]
fn pure_rooms_touch_nothing() {
    for (room, path, text) in sources() {
        if !["table", "wire", "machine", "slab"].contains(&room.as_str()) {
            continue;
        }
        for line in text.lines().map(code) {
            for outside in ["rustix", "syscalls", "libc", "std"] {
                let used = line.contains(&format!("{outside}::"));
                assert!(
                    !used,
                    "{}: {room} is pure, and names {outside}: {line}",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn unsafe_stands_in_its_rooms_alone() {
    let mut blocks = 0;
    for (room, path, text) in sources() {
        let may = UNSAFE_ROOMS.contains(&room.as_str());
        let mut above = "";
        for (number, line) in text.lines().enumerate() {
            let code = code(line);
            let place = format!("{}:{}", path.display(), number + 1);
            if !code.contains("unsafe_code") && code.split_whitespace().any(|word| word == "unsafe")
            {
                assert!(may, "{place}: unsafe in {room}");
                blocks += usize::from(code.contains("unsafe {") || code.contains("unsafe impl"));
            }
            above = if line.trim().is_empty() { above } else { line };
        }
        let front = path.ends_with("mod.rs") && path.parent().is_some_and(|at| at.ends_with(&room));
        if front && !may {
            assert!(
                text.contains("#![forbid(unsafe_code)]"),
                "{room} does not forbid unsafe"
            );
        }
    }
    println!("{blocks} unsafe blocks");
    assert!(blocks <= MOST_UNSAFE_BLOCKS, "{blocks} unsafe blocks");
}

#[test]
fn only_sync_and_the_gates_know_of_loom() {
    for (room, path, text) in sources() {
        let knows = text
            .lines()
            .map(code)
            .any(|line| line.contains("cfg") && line.contains("loom"));
        let gates = path.ends_with("lib.rs");
        assert!(
            !knows || gates || room == "sync",
            "{}: cfg(loom)",
            path.display()
        );
    }
}

#[test]
fn every_file_says_what_it_is() {
    for (_, path, text) in sources() {
        assert!(
            text.starts_with("//! "),
            "{} does not say what it is",
            path.display()
        );
    }
}

#[test]
fn files_and_functions_are_short() {
    for (_, path, text) in sources() {
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines.len() <= MOST_LINES_A_FILE,
            "{}: {} lines",
            path.display(),
            lines.len()
        );
        for start in (0..lines.len()).filter(|at| begins_a_function(lines[*at])) {
            let length = function_length(&lines[start..]);
            let place = format!("{}:{}", path.display(), start + 1);
            assert!(
                length <= MOST_LINES_A_FUNCTION,
                "{place}: a function of {length} lines"
            );
        }
    }
}

fn begins_a_function(line: &str) -> bool {
    code(line).split_whitespace().any(|word| word == "fn")
}

/// rustfmt puts the closing brace of a function under its first letter; one without a body ends with
/// a semicolon before any brace.
fn function_length(lines: &[&str]) -> usize {
    let indent = lines[0].len() - lines[0].trim_start().len();
    let closing = format!("{}}}", " ".repeat(indent));
    let mut opened = false;
    let end = lines.iter().position(|line| {
        opened |= line.contains('{');
        *line == closing || (!opened && line.ends_with(';'))
    });
    let in_one_line = lines[0].ends_with('}');
    if in_one_line {
        1
    } else {
        end.expect("every function ends") + 1
    }
}

#[test]
fn nothing_is_left_to_do() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "examples", "benches", "tests"] {
        files.extend(rust_files(&top.join(folder)));
    }
    for path in files {
        let text = fs::read_to_string(&path).expect("a source file");
        for word in [
            concat!("TO", "DO"),
            concat!("FIX", "ME"),
            concat!("unimple", "mented!"),
        ] {
            assert!(!text.contains(word), "{}: {word}", path.display());
        }
    }
}

/// Every test that a page names as the holder of an invariant, between "(test" and ")".
fn named_tests(text: &str) -> Vec<String> {
    let prose: Vec<&str> = text
        .lines()
        .map(|line| line.trim_start().trim_start_matches("//!").trim())
        .collect();
    let prose = prose.join(" ");
    let groups = prose
        .split("(test")
        .skip(1)
        .chain(prose.split("(model").skip(1));
    let groups = groups.filter_map(|rest| rest.split_once(')'));
    let names = groups.flat_map(|(group, _)| group.split('`').skip(1).step_by(2));
    names.map(str::to_owned).collect()
}

#[test]
fn every_test_that_is_named_exists() {
    let tests = rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"));
    let stems: Vec<String> = tests
        .iter()
        .filter_map(|path| path.file_stem())
        .map(|stem| stem.to_string_lossy().into_owned())
        .collect();
    let all: String = tests
        .iter()
        .map(|path| fs::read_to_string(path).expect("a test"))
        .collect();
    let mut named = 0;
    for (_, path, text) in sources() {
        for name in named_tests(&text) {
            let exists = all.contains(&format!("fn {name}(")) || stems.contains(&name);
            assert!(exists, "{}: there is no test {name}", path.display());
            named += 1;
        }
    }
    assert!(named >= 20, "invariants are named: {named}");
    // The README names them in the second column of its table of guarantees.
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"));
    let readme = readme.expect("a README");
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| "));
    let columns = rows.filter_map(|row| row.split_once(" | "));
    let names = columns.flat_map(|(_, held_by)| held_by.split('`').skip(1).step_by(2));
    let is_name = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let names: Vec<&str> = names.filter(is_name).collect();
    assert!(names.len() >= 15, "guarantees have tests: {names:?}");
    for name in names {
        let exists = all.contains(&format!("fn {name}("));
        assert!(exists, "README.md: there is no test {name}");
    }
}
