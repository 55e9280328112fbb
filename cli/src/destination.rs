//! Where a file goes under a name that the user gave. What stands there decides how: a file is replaced when the new one is
//! complete, a link stays and what it leads to is replaced, and a device or a FIFO is written to as it is.

use std::fs::{self, File};
use std::io::{self, IsTerminal};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Outcome};

/// An output that is being written.
#[derive(Debug)]
pub struct Destination {
    file: File,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// A file that is to appear under its name when it is complete.
    New(Part),
    /// A character device or a FIFO.
    Stream,
    /// A block device.
    Disk(PathBuf),
}

/// A file that is not complete; it goes with this.
#[derive(Debug)]
struct Part {
    path: PathBuf,
    /// The name that it is to have.
    target: PathBuf,
    is_complete: bool,
}

impl Part {
    fn complete(&mut self) -> io::Result<()> {
        fs::rename(&self.path, &self.target)?;
        self.is_complete = true;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.is_complete {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Destination {
    /// Opens what is to be written. A FIFO waits for its reader.
    pub fn open(path: &Path) -> Outcome<Destination> {
        let target = match fs::metadata(path) {
            Ok(there) => {
                let kind = there.file_type();
                if kind.is_dir() {
                    return Err(refused(path, "is a directory; name a file in it"));
                }
                if kind.is_socket() {
                    return Err(refused(
                        path,
                        "is a socket, which cannot be written as a file is; name another, or write to standard output by -",
                    ));
                }
                if !kind.is_file() {
                    return Destination::open_as_it_is(path, kind.is_block_device());
                }
                behind_links(path)?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if path.is_symlink() {
                    return Err(refused(
                        path,
                        "is a link to nothing; remove it, or name the file that it should lead to",
                    ));
                }
                path.to_owned()
            }
            Err(error) => return Err(not_written(path, &error)),
        };
        let mut part = target.clone().into_os_string();
        part.push(".part");
        let path = PathBuf::from(part);
        let file = create(&path)?;
        let kind = Kind::New(Part {
            path,
            target,
            is_complete: false,
        });
        Ok(Destination { file, kind })
    }

    fn open_as_it_is(path: &Path, is_disk: bool) -> Outcome<Destination> {
        let file = File::options()
            .write(true)
            .custom_flags(libc::O_NOCTTY)
            .open(path)
            .map_err(|error| not_written(path, &error))?;
        let kind = match is_disk {
            true => Kind::Disk(path.to_owned()),
            false => Kind::Stream,
        };
        Ok(Destination { file, kind })
    }

    /// What is written to.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Whether somebody would have to read it.
    pub fn is_terminal(&self) -> bool {
        self.file.is_terminal()
    }

    /// To be called when all is written. Without it a new file goes, and what it was to replace stays.
    pub fn finish(mut self) -> Outcome<()> {
        match &mut self.kind {
            Kind::New(part) => self
                .file
                .sync_all()
                .and_then(|()| part.complete())
                .map_err(|error| not_written(&part.target, &error)),
            Kind::Disk(path) => self
                .file
                .sync_all()
                .map_err(|error| not_written(path, &error)),
            Kind::Stream => Ok(()),
        }
    }
}

/// The file that a path leads to, so that a link to it stays one.
fn behind_links(path: &Path) -> Outcome<PathBuf> {
    match path.is_symlink() {
        true => fs::canonicalize(path).map_err(|error| not_written(path, &error)),
        false => Ok(path.to_owned()),
    }
}

/// Makes a file; what a killed command has left goes first.
fn create(path: &Path) -> Outcome<File> {
    match fs::symlink_metadata(path) {
        Ok(left) if left.is_file() => {
            fs::remove_file(path).map_err(|error| not_written(path, &error))?;
        }
        Ok(_) => {
            return Err(refused(
                path,
                "is in the way, and is no file that was left half written; move it, or choose another name",
            ));
        }
        Err(_) => {}
    }
    File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| not_written(path, &error))
}

fn refused(path: &Path, why: &str) -> Error {
    Error::refused(format!("{} {why}", path.display()))
}

fn not_written(path: &Path, error: &io::Error) -> Error {
    refused(path, &format!("cannot be written: {error}"))
}
