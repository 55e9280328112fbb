//! User namespaces: in one, uids have other names than outside of it, and root's rights end at its border.

use super::file;
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
    let Some(path) = Path::from_bytes(b"/proc/self/uid_map") else {
        return Uid::Same;
    };
    let Ok(fd) = file::open(&path, libc::O_RDONLY, 0) else {
        return Uid::Same;
    };
    let mut lines = Lines::new(uid);
    let mut text = [0u8; 256];
    loop {
        match file::read(&fd, &mut text) {
            Ok(0) => return lines.answer(),
            Ok(len) => text
                .get(..len)
                .unwrap_or(&[])
                .iter()
                .for_each(|&byte| lines.take(byte)),
            Err(_) => return Uid::Same,
        }
    }
}

/// The lines of a map, read byte by byte: first uid inside, first uid outside, how many.
struct Lines {
    uid: u32,
    numbers: [u32; 3],
    /// Which of the numbers it is.
    at: usize,
    /// It has begun.
    inside: bool,
    found: Uid,
}

impl Lines {
    fn new(uid: u32) -> Lines {
        Lines {
            uid,
            numbers: [0; 3],
            at: 0,
            inside: false,
            found: Uid::None,
        }
    }

    fn take(&mut self, byte: u8) {
        if byte.is_ascii_digit() {
            if let Some(number) = self.numbers.get_mut(self.at) {
                *number = number.wrapping_mul(10).wrapping_add(u32::from(byte - b'0'));
            }
            self.inside = true;
            return;
        }
        self.at += usize::from(self.inside);
        self.inside = false;
        if byte == b'\n' {
            let [first, outside, count] = self.numbers;
            if self.numbers == [0, 0, u32::MAX] {
                self.found = Uid::Same;
            } else if self.uid.wrapping_sub(first) < count {
                self.found = Uid::Outer(outside.wrapping_add(self.uid.wrapping_sub(first)));
            }
            (self.numbers, self.at) = ([0; 3], 0);
        }
    }

    fn answer(&self) -> Uid {
        self.found
    }
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
        let mut lines = Lines::new(uid);
        map.bytes().for_each(|byte| lines.take(byte));
        lines.answer()
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
