//! How a refusal of the surroundings is said: its sentence, with the facts in place of their names.

use crate::os::path::CAPACITY;
use crate::os::userns::UNMAPPED;
use crate::os::{OsError, file, process};
use crate::storage::error::{Refused, StorageError};
use crate::storage::sentence;
use crate::storage::table::layout::FILE_BYTES;
use core::fmt::{self, Display};

/// What a base may have at most, so that the longest names fit below it.
const LONGEST_BASE: usize = CAPACITY - 1 - 64 - "/.shmshim-uid4294967295".len();

impl Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StorageError::System { doing, path, error } => {
                write!(f, "cannot {doing} {path}: {error}")?;
                Refused::default().write(sentence::advice(*error, true), f)
            }
            StorageError::Call { doing, error } => {
                write!(f, "cannot {doing}: {error}")?;
                Refused::default().write(sentence::advice(*error, false), f)
            }
            StorageError::Damaged { path, what } => write!(
                f,
                "{path} is damaged ({what}); end its users and remove this one file: the segments are found again by their files"
            ),
            StorageError::TableFull { what, holds } => {
                write!(f, "the table holds {holds} {what} and no more")
            }
            StorageError::Refused(refused) => refused.write(refused.sentence, f),
        }
    }
}

impl Refused {
    /// Writes `text` with the facts in place of their names.
    fn write(&self, mut text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        while let Some((before, rest)) = text.split_once('{') {
            let (name, behind) = rest.split_once('}').unwrap_or((rest, ""));
            f.write_str(before)?;
            self.write_fact(name, f)?;
            text = behind;
        }
        f.write_str(text)
    }

    fn write_fact(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match name {
            "path" => self.path.fmt(f),
            "kind" => f.write_str(file::kind_of(self.mode)),
            "error" => OsError(self.other as i32).fmt(f),
            "uid" => self.owner.fmt(f),
            "owner" => {
                write!(f, "uid {}", self.owner)?;
                f.write_str(match self.owner {
                    UNMAPPED => ", nobody or one whom this user namespace does not know",
                    _ => "",
                })
            }
            "mode" => write!(f, "{:04o}", self.mode & 0o7777),
            "number" => self.number.fmt(f),
            "octal" => write!(f, "{:04o}", self.number),
            "hex" => write!(f, "{:#x}", self.number),
            "other" => self.other.fmt(f),
            "registry" => self.write_registry(f),
            "again" => f.write_str(
                "what is attached stays; for new segments and attaches start this program anew",
            ),
            "longest" => LONGEST_BASE.fmt(f),
            "table" => FILE_BYTES.fmt(f),
            "descriptors" => process::limit(libc::RLIMIT_NOFILE as usize).fmt(f),
            "file size" => write_limit(libc::RLIMIT_FSIZE as usize, f),
            "address space" => write_limit(libc::RLIMIT_AS as usize, f),
            "data" => write_limit(libc::RLIMIT_DATA as usize, f),
            _ => f.write_str("?"),
        }
    }

    /// The table that a segment's file belongs to. From a file of huge pages it cannot be told.
    fn write_registry(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut directory = self.path;
        directory.pop();
        directory.pop();
        let is_huge_home = directory.name().windows(4).any(|part| part == b"-ino");
        match directory.join(b"registry") {
            Some(registry) if !is_huge_home => registry.fmt(f),
            _ => f.write_str("the namespace's file registry"),
        }
    }
}

/// A resource limit, as the kernel says it.
fn write_limit(which: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match process::limit(which) {
        u64::MAX => f.write_str("unlimited"),
        bytes => write!(f, "{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::path::Path;

    #[test]
    fn a_segment_that_differs_from_the_table_is_never_said_to_be_the_one_to_remove() {
        let path = Path::from_bytes(b"/dev/shm/.shmshim-uid1/segments/SYSV00000001.7").unwrap();
        let text = StorageError::numbers(sentence::OTHER_LENGTH, &path, 5, 4096).to_string();
        assert!(text.contains("truncate -s 4096 it"), "{text}");
        assert!(
            text.contains("remove /dev/shm/.shmshim-uid1/registry:"),
            "{text}"
        );
        let huge = b"/dev/hugepages/.shmshim-uid1-dev0.25-ino5/segments/SYSV00000001.7";
        let path = Path::from_bytes(huge).unwrap();
        let text = StorageError::at(sentence::OTHER_CREATOR, &path).to_string();
        assert!(
            text.contains("remove the namespace's file registry:"),
            "{text}"
        );
    }

    #[test]
    fn every_fact_that_a_sentence_names_is_known() {
        let refused = Refused::default();
        let sentences = include_str!("sentence.rs").lines().flat_map(|line| {
            let text = line.split('"').skip(1);
            text.flat_map(|part| part.split('{').skip(1))
        });
        let mut names = 0;
        for name in sentences.filter_map(|rest| rest.split('}').next()) {
            assert_ne!(Fact(&refused, name).to_string(), "?", "{name}");
            names += 1;
        }
        assert!(names > 50, "{names}");
    }

    struct Fact<'a>(&'a Refused, &'a str);

    impl Display for Fact<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.write_fact(self.1, f)
        }
    }
}
