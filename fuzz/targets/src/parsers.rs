//! The parsers, each held against what it promises.

use crate::limits::Limit;
use crate::name::{self, File};
use shmshim_core::fuzzing;
use shmshim_core::os::path::CAPACITY;
use shmshim_core::storage::runtime_dir::{Place, Scope};
use shmshim_core::storage::segment_file::parse_name;
use shmshim_core::sysv::msg::MsgLimitName;
use shmshim_core::sysv::{LimitName, Limits};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Names of segments' files: one that is taken is written exactly as we write it.
pub fn names(data: &[u8]) {
    if let Some((key, id)) = parse_name(data) {
        assert!(id >= 0);
        assert_eq!(format!("SYSV{:08x}.{id}", key as u32).as_bytes(), data);
    }
}

/// The values of both variables, one behind the other with a NUL between them.
pub fn environment(data: &[u8]) {
    let mut values = data.splitn(2, |&byte| byte == 0);
    let mut set = |name: &str| match values.next() {
        Some(value) if !value.contains(&0) => {
            // SAFETY: targets run on one thread, and nothing else reads the environment meanwhile.
            unsafe { std::env::set_var(name, OsStr::from_bytes(value)) };
            Some(value)
        }
        // SAFETY: as above.
        _ => {
            unsafe { std::env::remove_var(name) };
            None
        }
    };
    let kept = std::env::var_os("SHMSHIM_DIR");
    let dir = set("SHMSHIM_DIR");
    let scope = set("SHMSHIM_SCOPE");
    let place = Place::choose();
    let allowed: [&[u8]; 6] = [
        b"user",
        b"",
        b"system",
        b"user,session",
        b",session",
        b"system,session",
    ];
    match place {
        Ok(place) => {
            let directory = place.directory.as_bytes();
            assert!(directory.starts_with(b"/") && directory.len() + 64 < CAPACITY);
            if let Some(dir) = dir.filter(|dir| dir.starts_with(b"/")) {
                assert_eq!(place.base.as_bytes(), dir);
            }
            let scope = scope.unwrap_or(b"user");
            assert!(allowed.contains(&scope));
            assert_eq!(place.scope == Scope::System, scope.starts_with(b"system"));
        }
        Err(error) => {
            let text = error.to_string();
            let fits = dir.is_none_or(|dir| dir.len() < 150);
            let known = scope.is_none_or(|scope| allowed.contains(&scope));
            assert!(!(fits && known), "refused without a reason: {text}");
        }
    }
    let text = scope.unwrap_or(b"");
    assert_eq!(fuzzing::scope(text).is_some(), allowed.contains(&text));
    match kept {
        // SAFETY: as above.
        Some(kept) => unsafe { std::env::set_var("SHMSHIM_DIR", kept) },
        None => unsafe { std::env::remove_var("SHMSHIM_DIR") },
    }
    // SAFETY: as above.
    unsafe { std::env::remove_var("SHMSHIM_SCOPE") };
}

/// What is written to a limit's file: which limit, and the text.
pub fn limit_texts(data: &[u8]) {
    let Some((&which, text)) = data.split_first() else {
        return;
    };
    let name = LimitName::ALL[usize::from(which) % LimitName::ALL.len()];
    let before = Limits {
        shmmax: 11,
        shmall: 12,
        shmmni: 13,
        shm_rmid_forced: true,
    };
    let mut after = before;
    let taken = after.parse_and_set(name, text).is_ok();
    assert!(after.shmmni <= 32768);
    if !taken || text.is_empty() {
        assert!(after == before, "a refused write has changed something");
        return;
    }
    // What is shown can be written, and is the same again.
    let mut shown = String::new();
    after.write_value(name, &mut shown).unwrap();
    let mut again = before;
    again.parse_and_set(name, shown.as_bytes()).unwrap();
    assert!(
        again == after,
        "{shown:?} is not what {:?} was",
        text.escape_ascii().to_string()
    );
    // A number that anybody can read means what it says.
    let plain = text.iter().all(u8::is_ascii_digit) && text[0] != b'0';
    if plain {
        assert_eq!(shown.trim_end().as_bytes(), text);
    }
}

/// Paths that the host opens.
pub fn proc_paths(data: &[u8]) {
    let files = || {
        let of_segments = LimitName::ALL.map(Limit::Shm).into_iter();
        let of_queues = MsgLimitName::ALL.map(Limit::Msg).into_iter();
        of_segments
            .chain(of_queues)
            .chain([Limit::Sem])
            .map(File::Limit)
            .chain([File::Segments, File::Sets, File::Queues])
    };
    match File::at(data) {
        Some(file) => {
            assert_eq!(file.path().to_bytes(), data);
            assert!(name::may_mean_one(data));
        }
        None => assert!(files().all(|file| file.path().to_bytes() != data)),
    }
    // What is not looked at further can be none of them, whatever its directory is.
    let last = data.rsplit(|byte| *byte == b'/').next().unwrap_or(data);
    let is_elsewhere = data.starts_with(b"/") && !data.starts_with(b"/proc/");
    let is_called_so = files().any(|file| file.path().to_bytes().ends_with(&[b"/", last].concat()));
    assert_eq!(name::may_mean_one(data), is_called_so && !is_elsewhere);
}

/// A line of mountinfo.
pub fn mounts(data: &[u8]) {
    if let Some((log2, point, _)) = fuzzing::mount(data) {
        assert!((10..64).contains(&log2));
        assert!(point.as_bytes().len() < CAPACITY && !point.as_bytes().contains(&0));
        let has = |word: &[u8]| data.windows(word.len()).any(|part| part == word);
        assert!(has(b"hugetlbfs") && has(b"pagesize="));
    }
}

/// A seccomp filter, its first bytes the call that it is asked about.
pub fn filters(data: &[u8]) {
    let Some((head, program)) = data.split_first_chunk::<8>() else {
        return;
    };
    let args = head.map(usize::from);
    let args = [
        args[2] << 30,
        args[3],
        args[4] << 8,
        args[5],
        args[6],
        args[7],
    ];
    let number = i64::from(u16::from_le_bytes([head[0], head[1]]));
    let answer = fuzzing::filter(program, number, &args);
    // It depends on nothing else, and a program that ends with its first instruction answers with that.
    assert_eq!(fuzzing::filter(program, number, &args), answer);
    if let Some(&[0x06, 0, _, _, k0, k1, k2, k3]) = program.first_chunk::<8>() {
        assert_eq!(answer, u32::from_ne_bytes([k0, k1, k2, k3]));
    }
}

/// What getdents64 has filled in.
pub fn directories(data: &[u8]) {
    let mut left = data.len() + 1;
    fuzzing::names(data, |name| {
        assert!(name != b"." && name != b".." && !name.contains(&0));
        left -= 1;
        left > 0
    });
    assert!(left > 0, "more names than bytes");
}
