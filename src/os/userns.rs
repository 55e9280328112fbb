//! User namespaces: in one, uids have other names than outside of it, and root's rights end at its border.

use super::file::{self, parse};
use super::path::Path;

/// What the kernel calls a uid that has no name in the user namespace.
pub const UNMAPPED: u32 = 65534;

/// What the user namespace of this process makes of a uid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Uid {
    /// All uids have their own names: the machine's first user namespace, or one that hides nothing.
    Same,
    /// It is called so one level further out.
    Outer(u32),
    /// It has no name here.
    None,
}

/// What `uid` is called outside. Where `/proc` cannot be read nothing is known, and it counts as the same.
#[inline(never)]
pub fn outer(uid: u32) -> Uid {
    file::read_whole(c"/proc/self/uid_map").map_or(Uid::Same, |map| look_up(&map, uid))
}

/// Each line of a map has three numbers: first uid inside, first uid outside, how many.
fn look_up(map: &[u8], uid: u32) -> Uid {
    for line in map.split(|&byte| byte == b'\n') {
        let mut words = line
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty());
        let mut next = || words.next().and_then(parse::<u32>);
        let (Some(first), Some(outside), Some(count)) = (next(), next(), next()) else {
            continue;
        };
        let nth = uid.wrapping_sub(first);
        if (first, outside, count) == (0, 0, u32::MAX) {
            return Uid::Same;
        } else if nth < count {
            return Uid::Outer(outside.wrapping_add(nth));
        }
    }
    Uid::None
}

/// Whether the machine's root has a name here: `/proc` is root's. Where it is not mounted, the root directory is asked.
pub fn shows_root() -> bool {
    let owner = |path: &[u8]| {
        let path = Path::from_bytes(path).unwrap_or_default();
        file::status_of(&path).map(|status| status.uid)
    };
    owner(b"/proc").or(owner(b"/")) == Ok(0)
}

/// The number of the user namespace that this process is in.
pub fn number() -> Option<u64> {
    let status = file::status_following(c"/proc/self/ns/user");
    status.ok().map(|status| status.inode)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(map: &str, uid: u32) -> Uid {
        look_up(map.as_bytes(), uid)
    }

    #[test]
    fn a_map_says_what_a_uid_is_called_outside() {
        let full = "         0          0 4294967295\n";
        assert_eq!(read(full, 0), Uid::Same);
        assert_eq!(read(full, 1000), Uid::Same);
        let one = "         0      54001          1\n";
        assert_eq!(read(one, 0), Uid::Outer(54001));
        assert_eq!(read(one, 1), Uid::None);
        let container = "         0       1000          1\n         1     100000      65536\n";
        assert_eq!(read(container, 0), Uid::Outer(1000));
        assert_eq!(read(container, 1), Uid::Outer(100_000));
        assert_eq!(read(container, 65536), Uid::Outer(165_535));
        assert_eq!(read(container, 65537), Uid::None);
        assert_eq!(read("", 0), Uid::None);
    }
}
