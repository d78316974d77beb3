//! Users and groups by name, from files that a test writes.

use std::ffi::CString;
use std::fs;
use std::path::PathBuf;

use forkmesh::run::{AccountError, Accounts, Identity};
use rustix::io::Errno;

/// A folder with two files, gone at the end of the test.
struct Files(PathBuf);

impl Files {
    fn new(passwd: &str, group: &str) -> Self {
        let name = format!("forkmesh-accounts-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).expect("a folder");
        let files = Self(folder);
        fs::write(files.0.join("passwd"), passwd).expect("a file");
        fs::write(files.0.join("group"), group).expect("a file");
        files
    }

    fn look<T>(&self, look: impl FnOnce(Accounts<'_>) -> T) -> T {
        let path = |name| self.0.join(name).into_os_string().into_encoded_bytes();
        let [passwd, group] = ["passwd", "group"].map(|name| CString::new(path(name)).unwrap());
        look(Accounts::new(&passwd, &group))
    }

    fn user(&self, name: &str) -> Result<Identity, AccountError> {
        self.look(|accounts| accounts.user(name))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
                      www:x:33:34:,,,:/var/www:/bin/false\n\
                      other:x:5:5::/:/bin/false"; // no end of line
const GROUP: &str = "root:x:0:\nwww:x:34:\nssl:x:101:other,www\nlog:x:102:wwwx,xwww\nadm:x:4:www\n";

fn identity(uid: u32, gid: u32, groups: &[u32]) -> Identity {
    Identity::new(uid, gid).with_groups(groups).expect("few")
}

pub(crate) fn users_and_groups_by_name() {
    let files = Files::new(PASSWD, GROUP);
    assert_eq!(files.user("www"), Ok(identity(33, 34, &[34, 101, 4])));
    assert_eq!(files.user("other"), Ok(identity(5, 5, &[5, 101])));
    let both = files.look(|accounts| accounts.user_and_group("www", "ssl"));
    assert_eq!(both, Ok(identity(33, 101, &[101, 4])));
    assert_eq!(files.user("ww"), Err(AccountError::NoUser));
    assert_eq!(files.user(""), Err(AccountError::NoUser));
    let none = files.look(|accounts| accounts.user_and_group("www", "nogroup-here"));
    assert_eq!(none, Err(AccountError::NoGroup));
    // Of the system, which has the same format and a root.
    let root = Identity::of_user("root").expect("everywhere");
    assert_eq!((root.uid(), root.gid()), (0, 0));
}

pub(crate) fn accounts_that_cannot_be_read() {
    let bad = [
        ("www:x\n", GROUP, AccountError::Malformed),
        ("www:x:-1:34::/:\n", GROUP, AccountError::Malformed),
        ("www:x:4294967295:34::/:\n", GROUP, AccountError::Malformed),
        (
            "www:x:33:34::/:\n",
            "ssl:x:a:www\n",
            AccountError::Malformed,
        ),
    ];
    for (passwd, group, why) in bad {
        assert_eq!(Files::new(passwd, group).user("www"), Err(why), "{passwd}");
    }
    let members = |count| {
        let names: Vec<String> = (0..count)
            .map(|number| format!("user{number:04}"))
            .collect();
        format!("big:x:200:{},www\nlast:x:201:www\n", names.join(","))
    };
    let files = Files::new(PASSWD, &members(1_700));
    assert_eq!(
        files.user("www"),
        Ok(identity(33, 34, &[34, 200, 201])),
        "15 KiB"
    );
    let files = Files::new(PASSWD, &members(2_000));
    assert_eq!(files.user("www"), Err(AccountError::LineTooLong));
    let lines: String = (0..3_000).map(|gid| format!("g{gid}:x:{gid}:\n")).collect();
    let files = Files::new(PASSWD, &(lines + "late:x:9999:www\n"));
    assert_eq!(
        files.user("www"),
        Ok(identity(33, 34, &[34, 9999])),
        "read in parts"
    );
    let groups = |count| -> String {
        let line = |gid| format!("g{gid}:x:{gid}:www\n");
        (100..100 + count).map(line).collect()
    };
    let files = Files::new(PASSWD, &groups(63));
    assert_eq!(
        files.user("www").expect("64 with its own").groups().len(),
        64
    );
    let files = Files::new(PASSWD, &groups(64));
    assert_eq!(files.user("www"), Err(AccountError::TooManyGroups));
    fs::remove_file(files.0.join("group")).expect("it was there");
    let gone = AccountError::Unreadable(Errno::NOENT);
    assert_eq!(files.user("www"), Err(gone));
}
