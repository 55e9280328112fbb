//! The limits of a namespace: their names, and how they are set.

use shmshim_core::registry::{self, Error as Failure};
use shmshim_core::sysv::LimitName;
use shmshim_core::sysv::msg::{MsgLimitName, MsgLimits};
use shmshim_core::sysv::sem::{SEM_LIMITS_FILE, SemLimits};

/// The four numbers of the file `sem`, in their order there.
pub const SEM_NAMES: [&str; 4] = ["semmsl", "semmns", "semopm", "semmni"];

/// A limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// One of segments.
    Shm(LimitName),
    /// One of semaphores: its place in the file.
    Sem(usize),
    /// All four of semaphores, as the file has them.
    AllSem,
    /// One of message queues.
    Msg(MsgLimitName),
}

impl Name {
    /// What it is called.
    pub fn text(self) -> &'static str {
        match self {
            Name::Shm(name) => name.file_name(),
            Name::Sem(place) => SEM_NAMES.get(place).copied().unwrap_or_default(),
            Name::AllSem => SEM_LIMITS_FILE,
            Name::Msg(name) => name.file_name(),
        }
    }

    fn all() -> impl Iterator<Item = Name> {
        let shm = LimitName::ALL.into_iter().map(Name::Shm);
        let sem = (0..SEM_NAMES.len()).map(Name::Sem);
        let msg = MsgLimitName::ALL.into_iter().map(Name::Msg);
        shm.chain(sem).chain([Name::AllSem]).chain(msg)
    }
}

/// A limit, and what is to be written to it.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The limit.
    pub name: Name,
    /// What is to be written to it.
    pub value: String,
}

/// The four numbers of semaphores.
pub fn sem_values(limits: &SemLimits) -> [i32; 4] {
    [limits.semmsl, limits.semmns, limits.semopm, limits.semmni]
}

/// Those of message queues.
pub fn msg_value(limits: &MsgLimits, name: MsgLimitName) -> u32 {
    match name {
        MsgLimitName::Msgmax => limits.msgmax,
        MsgLimitName::Msgmnb => limits.msgmnb,
        MsgLimitName::Msgmni => limits.msgmni,
    }
}

/// Reads `NAME=VALUE`.
pub fn parse(text: &str) -> Result<Setting, String> {
    let names = || {
        let names: Vec<_> = Name::all().map(Name::text).collect();
        names.join(", ")
    };
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("write NAME=VALUE; the names are {}", names()))?;
    let name = Name::all()
        .find(|known| known.text() == name)
        .ok_or_else(|| format!("there is no limit {name:?}; the names are {}", names()))?;
    match value.trim() {
        // The kernel accepts a write of nothing and changes nothing.
        "" => Err(format!("{} has no value", name.text())),
        value => Ok(Setting {
            name,
            value: value.to_owned(),
        }),
    }
}

impl Setting {
    /// Whether the rules accept it.
    pub fn check(&self) -> Result<(), Failure> {
        let bytes = self.value.as_bytes();
        match self.name {
            Name::Shm(name) => {
                let mut tried = shmshim_core::sysv::Limits::KERNEL_DEFAULTS;
                tried.parse_and_set(name, bytes)?;
            }
            Name::Sem(_) | Name::AllSem => {
                self.sem(SemLimits::KERNEL_DEFAULTS)?;
            }
            Name::Msg(name) => MsgLimits::KERNEL_DEFAULTS
                .clone()
                .parse_and_set(name, bytes)?,
        }
        Ok(())
    }

    /// Sets it.
    pub fn set(&self) -> Result<(), Failure> {
        let bytes = self.value.as_bytes();
        match self.name {
            Name::Shm(name) => registry::set_limit(name, bytes),
            Name::Sem(_) | Name::AllSem => {
                let limits = self.sem(registry::sem::sem_limits()?)?;
                registry::sem::set_sem_limits(limits)
            }
            Name::Msg(name) => {
                let mut limits = registry::msg::msg_limits()?;
                limits.parse_and_set(name, bytes)?;
                registry::msg::set_msg_limits(limits)
            }
        }
    }

    /// The limits of semaphores with this one: as if the file had been written with the others as they are.
    fn sem(&self, mut limits: SemLimits) -> Result<SemLimits, Failure> {
        let text = match self.name {
            Name::Sem(place) => {
                let mut texts = sem_values(&limits).map(|value| value.to_string());
                if let Some(text) = texts.get_mut(place) {
                    // One that has spaces in it would be several.
                    text.clone_from(&self.value.replace(char::is_whitespace, "_"));
                }
                texts.join(" ")
            }
            _ => self.value.clone(),
        };
        limits.parse_and_set(text.as_bytes())?;
        Ok(limits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sem(text: &str) -> Option<[i32; 4]> {
        let setting = parse(text).ok()?;
        let limits = setting.sem(SemLimits::KERNEL_DEFAULTS).ok()?;
        Some(sem_values(&limits))
    }

    #[test]
    fn one_number_of_semaphores_leaves_the_others() {
        assert_eq!(sem("semopm=7"), Some([32000, 1_024_000_000, 7, 32000]));
        assert_eq!(sem("sem=1 2"), Some([1, 2, 500, 32000]));
        assert_eq!(sem("semmni=32769"), None);
        assert_eq!(sem("semmsl=1 2"), None);
        assert_eq!(sem("semmsl=x"), None);
    }
}
