//! A namespace's place by its directory, which was found by a search: to look at it, as its owner would.

use super::base::Choice;
use super::place::{Place, Scope};
use crate::os::file;
use crate::os::path::Path;
use crate::storage::error::{StorageError, Stored};
use crate::storage::sentence;

impl Place {
    /// The place of the runtime directory at `directory`. Whether it can be trusted is asked on behalf of its owner.
    pub fn of_directory(directory: &Path) -> Stored<Place> {
        let status = file::status_of(directory)
            .map_err(|error| StorageError::system("stat", directory, error))?;
        if !status.is_dir() {
            return Err(StorageError::of(
                sentence::NOT_A_DIRECTORY,
                directory,
                &status,
            ));
        }
        let scope = scope_of_name(directory.name())
            .ok_or_else(|| StorageError::at(sentence::NO_NAMESPACE, directory))?;
        let mut base = *directory;
        base.pop();
        Ok(Place {
            base,
            directory: *directory,
            scope,
            euid: status.uid,
            choice: Choice::Default,
        })
    }
}

/// Whose namespace has a runtime directory of this name. `None`: it is not the name of one.
pub fn scope_of_name(name: &[u8]) -> Option<Scope> {
    let rest = name.strip_prefix(b".shmshim")?;
    let (scope, rest) = match rest.strip_prefix(b"-uid") {
        None => (Scope::System, rest),
        Some(rest) => {
            let rest = without_number(rest)?;
            let inside = [&b"-as"[..], b"-userns"];
            let numbered = inside
                .iter()
                .find_map(|word| without_number(rest.strip_prefix(*word)?));
            (Scope::User, numbered.unwrap_or(rest))
        }
    };
    let rest = match rest.strip_prefix(b"-session") {
        None => rest,
        Some(rest) => without_number(rest)?,
    };
    rest.is_empty().then_some(scope)
}

fn without_number(text: &[u8]) -> Option<&[u8]> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    text.get(digits..).filter(|_| digits > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_known_by_its_name() {
        for name in [&b".shmshim"[..], b".shmshim-session4711"] {
            assert_eq!(scope_of_name(name), Some(Scope::System));
        }
        for name in [
            &b".shmshim-uid1000"[..],
            b".shmshim-uid1000-as0",
            b".shmshim-uid0-userns4026531837-session9",
            b".shmshim-uid1000-session9",
        ] {
            assert_eq!(scope_of_name(name), Some(Scope::User));
        }
        for name in [
            &b"shmshim"[..],
            b".shmshim-",
            b".shmshim-uid",
            b".shmshim.0011aaff",
            b".shmshim-uid1000.0011aaff",
            b".shmshim-uid1000-dev0.25-ino5",
            b".shmshim-session",
            b".shmshim-uid1000x",
        ] {
            assert_eq!(scope_of_name(name), None);
        }
    }
}
