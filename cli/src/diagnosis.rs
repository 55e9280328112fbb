//! What `doctor` finds out: about the library, the namespace that would be used, and what surrounds both.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::unistd::{User, geteuid};
use procfs::Current;
use procfs::process::{MountInfo, Process};
use serde::Serialize;
use shmshim_core::registry::inspect;
use shmshim_core::registry::{Choice, Place, Scope};

use crate::library;
use crate::logind;
use crate::output::{escaped, size};

/// How good it is.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Something to know.
    Note,
    /// Something does not work.
    Problem,
}

/// One finding.
#[derive(Serialize, Debug)]
pub struct Finding {
    /// What it is about.
    pub topic: &'static str,
    /// How good it is.
    pub level: Level,
    /// What was found.
    pub text: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cure: Option<String>,
}

impl Finding {
    /// What is as it should be.
    pub fn ok(topic: &'static str, text: impl Into<String>) -> Finding {
        Finding {
            topic,
            level: Level::Ok,
            text: text.into(),
            cure: None,
        }
    }

    /// What is good to know.
    pub fn note(topic: &'static str, text: impl Into<String>, cure: Option<&str>) -> Finding {
        Finding {
            level: Level::Note,
            cure: cure.map(str::to_owned),
            ..Finding::ok(topic, text)
        }
    }

    /// What does not work.
    pub fn problem(topic: &'static str, text: impl Into<String>, cure: Option<&str>) -> Finding {
        Finding {
            level: Level::Problem,
            ..Finding::note(topic, text, cure)
        }
    }
}

/// Looks at everything that concerns all programs.
pub fn of_surroundings() -> Vec<Finding> {
    let mut findings = vec![of_command()];
    findings.extend(of_libraries());
    findings.extend(of_preload());
    let base = of_namespace(&mut findings);
    if let Some(base) = base {
        findings.extend(of_file_system(&base));
        findings.push(of_logout(&base));
    }
    findings.push(of_huge_pages());
    findings.push(of_kernel());
    findings.push(of_seccomp());
    findings
}

fn of_command() -> Finding {
    let text = format!("shmshim {}", env!("CARGO_PKG_VERSION"));
    Finding::ok("version", text)
}

fn of_libraries() -> Vec<Finding> {
    let found = library::look();
    let refused = found.chosen.iter().chain(&found.refused);
    let mut findings: Vec<Finding> = refused
        .map(|one| Finding::problem("library", one.why.clone(), Some(one.cure)))
        .collect();
    findings.extend(found.libraries.iter().map(|library| {
        let text = format!(
            "{} for {} programs",
            escaped(&library.path),
            library.abi.name()
        );
        Finding::ok("library", text)
    }));
    if findings.is_empty() {
        let text = format!("there is no {}", library::NAME);
        let cure = "install it, or name its path in SHMSHIM_LIB";
        findings.push(Finding::problem("library", text, Some(cure)));
    }
    findings.push(match library::supervisor() {
        Some(path) => Finding::ok(
            "static",
            format!("{} serves static programs", escaped(&path)),
        ),
        None => Finding::note(
            "static",
            "static programs are the kernel's",
            Some("install shmshim-static beside shmshim (x86-64)"),
        ),
    });
    findings
}

fn of_preload() -> Option<Finding> {
    let names_us = |text: &[u8]| {
        let name = library::NAME.as_bytes();
        text.windows(name.len()).any(|window| window == name)
    };
    if std::fs::read("/etc/ld.so.preload").is_ok_and(|text| names_us(&text)) {
        let text = "/etc/ld.so.preload loads the library into every program";
        return Some(Finding::note("preload", text, None));
    }
    let value = std::env::var_os("LD_PRELOAD")?;
    let text = format!("LD_PRELOAD={}", escaped(&value));
    Some(match names_us(value.as_bytes()) {
        true => Finding::ok("preload", text),
        false => Finding::note("preload", text, Some("shmshim run adds the library to it")),
    })
}

/// Says which namespace would be used and why; returns its base directory.
fn of_namespace(findings: &mut Vec<Finding>) -> Option<PathBuf> {
    let place = Place::choose().and_then(|mut place| {
        place.check_base()?;
        Ok(place)
    });
    let place = match place {
        Ok(place) => place,
        Err(error) => {
            findings.push(Finding::problem("namespace", error.to_string(), None));
            return None;
        }
    };
    let path = |path: &inspect::Path| PathBuf::from(std::ffi::OsStr::from_bytes(path.as_bytes()));
    let (directory, base) = (path(&place.directory), path(&place.base));
    let why = match place.choice {
        Choice::Setting => "SHMSHIM_DIR says so".to_owned(),
        _ if directory.exists() => "it is there already".to_owned(),
        _ => "the first of /run/shmshim, /dev/shm and /tmp that can be used".to_owned(),
    };
    let whose = match place.scope {
        Scope::User => "of this user",
        Scope::System => "of all users",
    };
    let text = format!("{} {whose}: {why}", escaped(&directory));
    findings.push(Finding::ok("namespace", text));
    match inspect::here() {
        Ok(None) => findings.push(Finding::ok(
            "segments",
            "the namespace will be made by the first call",
        )),
        Ok(Some(inspection)) => findings.push(of_segments(&inspection)),
        Err(failure) => {
            findings.push(Finding::problem("segments", failure.why.to_string(), None));
        }
    }
    Some(base)
}

fn of_segments(inspection: &inspect::Inspection) -> Finding {
    let (mut segments, mut bytes) = (0u64, 0u64);
    let counted = inspection.now().and_then(|now| {
        let living = now.processes().iter().filter(|process| process.is_alive);
        let living = living.count();
        now.each_segment(&mut |segment, _| {
            segments += 1;
            bytes += segment.stat.segsz;
        })?;
        Ok(living)
    });
    match counted {
        Ok(living) => {
            let noun = if living == 1 { "process" } else { "processes" };
            Finding::ok(
                "segments",
                format!("{segments} of {}, used by {living} {noun}", size(bytes)),
            )
        }
        Err(failure) => Finding::problem("segments", failure.why.to_string(), None),
    }
}

/// The mount that a path lies on.
fn mount_of(path: &Path) -> Option<MountInfo> {
    let mounts = Process::myself().ok()?.mountinfo().ok()?;
    // The last of those that are mounted over each other is the one that is seen.
    mounts
        .0
        .into_iter()
        .filter(|mount| path.starts_with(&mount.mount_point))
        .max_by_key(|mount| mount.mount_point.components().count())
}

fn of_file_system(base: &Path) -> Vec<Finding> {
    const SMALL: u64 = 64 << 20;
    const TOPIC: &str = "file system";
    let mut findings = Vec::new();
    let mount = mount_of(base);
    let kind = mount
        .as_ref()
        .map_or_else(|| "unknown".to_owned(), |mount| mount.fs_type.clone());
    match rustix::fs::statvfs(base) {
        Ok(status) => {
            let total = status.f_blocks.saturating_mul(status.f_frsize);
            let free = status.f_bavail.saturating_mul(status.f_frsize);
            let text = format!(
                "{kind} at {}: {} free of {}, {} files can be made",
                escaped(&base),
                size(free),
                size(total),
                status.f_favail
            );
            findings.push(
                if free < 1 << 20 || status.f_files > 0 && status.f_favail < 16 {
                    let cure = "make room there, or name another directory in SHMSHIM_DIR";
                    Finding::problem(TOPIC, text, Some(cure))
                } else if total <= SMALL {
                    let cure = "in a container: --shm-size, or SHMSHIM_DIR on a larger tmpfs";
                    Finding::note(TOPIC, text, Some(cure))
                } else {
                    Finding::ok(TOPIC, text)
                },
            );
        }
        Err(error) => {
            let text = format!("{}: {error}", escaped(&base));
            findings.push(Finding::problem(TOPIC, text, None));
        }
    }
    if kind != "tmpfs" && kind != "ramfs" && kind != "unknown" {
        let text = format!("{kind} is a disk's: segments are written to it");
        let cure = "name a directory on a tmpfs in SHMSHIM_DIR";
        findings.push(Finding::note(TOPIC, text, Some(cure)));
    }
    if mount.is_some_and(|mount| mount.mount_options.contains_key("noexec")) {
        let text = "mounted noexec: shmat with SHM_EXEC and mprotect(PROT_EXEC) fail";
        let cure = "only if a program needs them: SHMSHIM_DIR on another tmpfs";
        findings.push(Finding::note(TOPIC, text, Some(cure)));
    }
    findings
}

/// What becomes of the namespace when the user logs out.
fn of_logout(base: &Path) -> Finding {
    const TOPIC: &str = "logout";
    let uid = geteuid();
    let user = User::from_uid(uid).ok().flatten();
    let lingers = user.is_some_and(|user| {
        Path::new("/var/lib/systemd/linger")
            .join(user.name)
            .exists()
    });
    if !Path::new("/run/systemd/system").exists() {
        return Finding::ok(TOPIC, "no systemd runs here: nothing is removed");
    }
    if !base.starts_with("/dev/shm") {
        return Finding::ok(
            TOPIC,
            format!("logind removes nothing below {}", escaped(&base)),
        );
    }
    // systemd's own border between users of the system and people.
    if uid.as_raw() < 1000 {
        return Finding::ok(TOPIC, "logind removes nothing of a system user");
    }
    let setting = logind::remove_ipc(Path::new("/"));
    let said_by = setting.file.map_or_else(
        || "systemd's default".to_owned(),
        |file| escaped(&file).to_string(),
    );
    if !setting.is_on {
        Finding::ok(TOPIC, format!("RemoveIPC=no ({said_by})"))
    } else if lingers {
        Finding::ok(TOPIC, "this user lingers: logind removes nothing")
    } else {
        Finding::note(
            TOPIC,
            format!(
                "RemoveIPC=yes ({said_by}): logind removes the namespace when the user's last session ends"
            ),
            Some("root makes /run/shmshim (install -d -m 1777), or loginctl enable-linger"),
        )
    }
}

fn of_huge_pages() -> Finding {
    const TOPIC: &str = "huge pages";
    let mounts = Process::myself().and_then(|own| own.mountinfo());
    let mount = mounts.ok().and_then(|mounts| {
        mounts
            .0
            .into_iter()
            .find(|mount| mount.fs_type == "hugetlbfs")
    });
    let free = procfs::Meminfo::current()
        .ok()
        .and_then(|memory| memory.hugepages_free);
    match (mount, free) {
        (None, _) => Finding::note(
            TOPIC,
            "no hugetlbfs is mounted: shmget with SHM_HUGETLB fails",
            Some("only if a program needs it: shmshim(7) says how"),
        ),
        (Some(mount), free) => Finding::ok(
            TOPIC,
            format!(
                "{}: {} pages free",
                escaped(&mount.mount_point),
                free.unwrap_or(0)
            ),
        ),
    }
}

/// The kernel's own shared memory, which programs without the library use.
fn of_kernel() -> Finding {
    const TOPIC: &str = "kernel";
    let Ok(list) = std::fs::read_to_string("/proc/sysvipc/shm") else {
        let text = "it has no System V shared memory: a program without the library fails";
        return Finding::note(TOPIC, text, None);
    };
    let sizes = list
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().nth(3)?.parse::<u64>().ok());
    let (count, bytes) = sizes.fold((0u64, 0u64), |(count, bytes), one| {
        (count + 1, bytes.saturating_add(one))
    });
    let text = "it serves programs without the library";
    match count {
        0 => Finding::ok(TOPIC, format!("{text}, and holds no segment")),
        _ => Finding::note(
            TOPIC,
            format!("{text}, and holds {count} segments of {}", size(bytes)),
            Some("shmshim ls --kernel shows them, shmshim import copies them"),
        ),
    }
}

fn of_seccomp() -> Finding {
    const TOPIC: &str = "seccomp";
    let status = Process::myself().and_then(|own| own.status());
    match status.ok().and_then(|status| status.seccomp) {
        Some(2) => Finding::note(
            TOPIC,
            "a filter is in force here: what it forbids fails",
            Some("shmshim run --trace says which call was refused"),
        ),
        _ => Finding::ok(TOPIC, "no filter is in force"),
    }
}
