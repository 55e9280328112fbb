//! Where the debug information of a program is: in the program, or in a file of its own that the program names.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use gimli::{Dwarf, EndianRcSlice, LittleEndian, SectionId};
use object::{Object, ObjectKind, ObjectSection, ReadCache};

use super::symbols::Symbols;
use crate::error::{Error, Outcome};
use crate::output::escaped;

/// A section's bytes.
pub type Bytes = EndianRcSlice<LittleEndian>;

/// Where distributions install debug files.
const DEBUG_DIR: &str = "/usr/lib/debug";

/// The debug information of a program, and its symbols.
pub struct DebugFile {
    /// The information, with the file that it shares with others (`dwz`) where there is one.
    pub dwarf: Dwarf<Bytes>,
    /// The symbols.
    pub symbols: Symbols,
}

/// Finds and reads the debug information of the program at `path`.
pub fn open(path: &Path) -> Outcome<DebugFile> {
    let cache = ReadCache::new(opened(path)?);
    let file = parsed(path, &cache)?;
    if !file.is_little_endian() {
        return Err(Error::refused(format!(
            "{} is for a machine with the other byte order: name a program of this machine",
            escaped(&path)
        )));
    }
    if file.kind() == ObjectKind::Relocatable {
        return Err(Error::refused(format!(
            "{} is not linked yet: name the program or library that it becomes",
            escaped(&path)
        )));
    }
    let mut symbols = Symbols::default();
    symbols.is_fixed = file.kind() == ObjectKind::Executable;
    symbols.add(&file);
    if has_information(&file) {
        let dwarf = read(path, &file)?;
        return Ok(DebugFile { dwarf, symbols });
    }
    let places = places(path, &file);
    for place in &places {
        let Ok(separate) = File::open(&place.path) else {
            continue;
        };
        let cache = ReadCache::new(separate);
        let Ok(file) = object::File::parse(&cache) else {
            continue;
        };
        if has_information(&file) && place.is_of(&file) {
            symbols.add(&file);
            let dwarf = read(&place.path, &file)?;
            return Ok(DebugFile { dwarf, symbols });
        }
    }
    Err(nothing_found(path, &places))
}

fn nothing_found(path: &Path, places: &[Place]) -> Error {
    let looked = places.first().map_or(String::new(), |place| {
        format!(", nor has {}", escaped(&place.path))
    });
    Error::absent(format!(
        "{} has no debug information{looked}: compile it with -g, install its package of debug symbols, or name another \
         build of it with --from",
        escaped(&path)
    ))
}

fn opened(path: &Path) -> Outcome<File> {
    File::open(path).map_err(|error| {
        let sentence = format!("{} cannot be read: {error}", escaped(&path));
        match error.kind() {
            std::io::ErrorKind::NotFound => Error::absent(sentence),
            _ => Error::refused(sentence),
        }
    })
}

fn parsed<'a>(
    path: &Path,
    cache: &'a ReadCache<File>,
) -> Outcome<object::File<'a, &'a ReadCache<File>>> {
    object::File::parse(cache).map_err(|_| {
        Error::refused(format!(
            "{} is no ELF file: name with --from a compiled program or library (of a script, what its interpreter loads)",
            escaped(&path)
        ))
    })
}

fn has_information<'data>(file: &impl Object<'data>) -> bool {
    file.section_by_name(".debug_info")
        .is_some_and(|section| section.size() > 0)
        || file.section_by_name(".debug_types").is_some()
}

/// A file that may have the debug information.
struct Place {
    path: PathBuf,
    build_id: Option<Vec<u8>>,
    checksum: Option<u32>,
}

impl Place {
    /// Whether the file there belongs to the program: by its build id, else by the checksum that the program names.
    fn is_of<'data>(&self, file: &impl Object<'data>) -> bool {
        match (&self.build_id, file.build_id()) {
            (Some(wanted), Ok(Some(found))) => wanted == found,
            _ => match self.checksum {
                Some(checksum) => fs::read(&self.path).is_ok_and(|bytes| crc32(&bytes) == checksum),
                None => false,
            },
        }
    }
}

/// Where gdb looks, too: by the build id, then by the name that the program has for it.
fn places<'data>(path: &Path, file: &impl Object<'data>) -> Vec<Place> {
    let build_id = file.build_id().ok().flatten().map(<[u8]>::to_vec);
    let mut places = Vec::new();
    if let Some(path) = build_id.as_deref().and_then(path_of_build_id) {
        places.push(Place {
            path,
            build_id: build_id.clone(),
            checksum: None,
        });
    }
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if let (Ok(Some((name, checksum))), Some(dir)) = (file.gnu_debuglink(), real.parent()) {
        let name = PathBuf::from(String::from_utf8_lossy(name).into_owned());
        let below = dir.strip_prefix("/").unwrap_or(dir);
        let dirs = [
            dir.to_owned(),
            dir.join(".debug"),
            Path::new(DEBUG_DIR).join(below),
        ];
        places.extend(dirs.into_iter().map(|dir| Place {
            path: dir.join(&name),
            build_id: build_id.clone(),
            checksum: Some(checksum),
        }));
    }
    places.retain(|place| place.path != real);
    places
}

fn path_of_build_id(id: &[u8]) -> Option<PathBuf> {
    let (first, rest) = id.split_first()?;
    let rest: String = rest.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(PathBuf::from(format!(
        "{DEBUG_DIR}/.build-id/{first:02x}/{rest}.debug"
    )))
}

/// The checksum of a debug link.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg())
        })
    })
}

fn read<'data>(path: &Path, file: &impl Object<'data>) -> Outcome<Dwarf<Bytes>> {
    let mut dwarf = Dwarf::load(|id| section(path, file, id))?;
    if let Ok(Some((name, _))) = file.gnu_debugaltlink() {
        let name = PathBuf::from(String::from_utf8_lossy(name).into_owned());
        let shared = path.parent().unwrap_or(Path::new("/")).join(name);
        let cache = ReadCache::new(opened(&shared)?);
        let file = parsed(&shared, &cache)?;
        dwarf.load_sup(|id| section(&shared, &file, id))?;
    }
    Ok(dwarf)
}

fn section<'data>(path: &Path, file: &impl Object<'data>, id: SectionId) -> Outcome<Bytes> {
    let bytes = match file.section_by_name(id.name()) {
        None => Default::default(),
        Some(section) => section.uncompressed_data().map_err(|error| {
            Error::refused(format!(
                "section {} of {} cannot be read: {error}",
                id.name(),
                escaped(&path)
            ))
        })?,
    };
    Ok(EndianRcSlice::new(Rc::from(&*bytes), LittleEndian))
}
