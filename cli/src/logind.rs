//! What systemd-logind removes when a user's last session ends.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where configuration lies, strongest first.
const PLACES: [&str; 4] = [
    "etc/systemd",
    "run/systemd",
    "usr/local/lib/systemd",
    "usr/lib/systemd",
];

/// What is configured, and by which file; without one it is systemd's default, yes.
#[derive(PartialEq, Eq, Debug)]
pub struct RemoveIpc {
    /// Whether it removes.
    pub is_on: bool,
    /// The file that says so.
    pub file: Option<PathBuf>,
}

/// Reads `RemoveIPC=` as logind does: the first logind.conf, then the files of logind.conf.d by their names, of which the
/// strongest place's counts. The last setting wins. `root` is `/`.
pub fn remove_ipc(root: &Path) -> RemoveIpc {
    let mut answer = RemoveIpc {
        is_on: true,
        file: None,
    };
    let main = PLACES
        .iter()
        .map(|place| root.join(place).join("logind.conf"));
    let mut files: Vec<PathBuf> = main.filter(|path| path.exists()).take(1).collect();
    let mut parts = BTreeMap::new();
    for place in PLACES {
        let directory = root.join(place).join("logind.conf.d");
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name.to_string_lossy().ends_with(".conf") {
                parts.entry(name).or_insert_with(|| entry.path());
            }
        }
    }
    files.extend(parts.into_values());
    for file in files {
        for line in std::fs::read_to_string(&file).unwrap_or_default().lines() {
            let Some((name, value)) = line.split_once('=') else {
                continue;
            };
            if name.trim() != "RemoveIPC" {
                continue;
            }
            match value.trim().to_ascii_lowercase().as_str() {
                "yes" | "true" | "on" | "1" | "y" | "t" => answer.is_on = true,
                "no" | "false" | "off" | "0" | "n" | "f" => answer.is_on = false,
                _ => continue,
            }
            answer.file = Some(file.clone());
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, file: &str, text: &str) {
        let path = root.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    #[test]
    fn reads_the_configuration_in_logind_s_order() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let is = |is_on, file: Option<&str>| RemoveIpc {
            is_on,
            file: file.map(|file| root.join(file)),
        };
        assert_eq!(remove_ipc(root), is(true, None));
        write(
            root,
            "usr/lib/systemd/logind.conf",
            "[Login]\nRemoveIPC=no\n",
        );
        assert_eq!(
            remove_ipc(root),
            is(false, Some("usr/lib/systemd/logind.conf"))
        );
        write(root, "etc/systemd/logind.conf", "[Login]\n#RemoveIPC=no\n");
        assert_eq!(remove_ipc(root), is(true, None));
        write(
            root,
            "usr/lib/systemd/logind.conf.d/50-a.conf",
            "[Login]\nRemoveIPC = off\n",
        );
        write(
            root,
            "etc/systemd/logind.conf.d/60-b.conf",
            "[Login]\nRemoveIPC=perhaps\n",
        );
        assert_eq!(
            remove_ipc(root),
            is(false, Some("usr/lib/systemd/logind.conf.d/50-a.conf"))
        );
        write(
            root,
            "run/systemd/logind.conf.d/50-a.conf",
            "[Login]\nRemoveIPC=yes\n",
        );
        assert_eq!(
            remove_ipc(root),
            is(true, Some("run/systemd/logind.conf.d/50-a.conf"))
        );
    }
}
