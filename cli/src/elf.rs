//! What an ELF file says about how it is loaded: for which machine and C library, by which dynamic linker, with what.

use std::fs::File;
use std::io;
use std::path::Path;

use object::Endianness;
use object::elf::{DT_NEEDED, DT_STRSZ, DT_STRTAB, PT_LOAD};
use object::elf::{EM_386, EM_AARCH64, EM_ARM, EM_LOONGARCH, EM_RISCV, EM_X86_64};
use object::elf::{FileHeader32, FileHeader64};
use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use object::read::{ReadCache, ReadRef, StringTable};

/// Which C library a program stands on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Libc {
    /// glibc.
    Gnu,
    /// musl.
    Musl,
    /// Android's.
    Bionic,
    /// One that this command does not know.
    Unknown,
}

/// What a library and a program must have in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Abi {
    /// ELF's number of the machine.
    pub machine: u16,
    /// Whether addresses have 64 bits.
    pub is_64: bool,
    /// The C library.
    pub libc: Libc,
}

impl Abi {
    /// As people say it: `x86-64 glibc`.
    pub fn name(&self) -> String {
        let machine = match (self.machine, self.is_64) {
            (EM_X86_64, true) => "x86-64",
            (EM_X86_64, false) => "x32",
            (EM_386, _) => "32-bit x86",
            (EM_AARCH64, _) => "AArch64",
            (EM_ARM, _) => "ARM",
            (EM_RISCV, true) => "RISC-V 64",
            (EM_LOONGARCH, true) => "LoongArch 64",
            (other, _) => return format!("ELF machine {other}"),
        };
        let libc = match self.libc {
            Libc::Gnu => " glibc",
            Libc::Musl => " musl",
            Libc::Bionic => " Android",
            Libc::Unknown => "",
        };
        format!("{machine}{libc}")
    }
}

/// What was read of a file.
#[derive(Debug)]
pub struct Binary {
    /// For what it was built.
    pub abi: Abi,
    /// The dynamic linker that it asks for; a static program and a library ask for none.
    pub linker: Option<String>,
    /// The libraries that it asks for by itself.
    pub needed: Vec<String>,
    /// Whether Go's linker has made it: such a program may enter the kernel past every library.
    pub is_go: bool,
}

/// Reads a file. `Ok(None)`: it is no ELF file.
pub fn read(path: &Path) -> io::Result<Option<Binary>> {
    let cache = ReadCache::new(File::open(path)?);
    let data = &cache;
    let Ok(identity) = data.read_bytes_at(0, 5) else {
        return Ok(None);
    };
    let binary = match identity {
        [0x7f, b'E', b'L', b'F', 1] => parse::<FileHeader32<Endianness>, _>(data),
        [0x7f, b'E', b'L', b'F', 2] => parse::<FileHeader64<Endianness>, _>(data),
        _ => return Ok(None),
    };
    binary
        .map(Some)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
}

fn parse<'data, Elf, R>(data: R) -> object::read::Result<Binary>
where
    Elf: FileHeader<Endian = Endianness>,
    R: ReadRef<'data>,
{
    let header = Elf::parse(data)?;
    let endian = header.endian()?;
    let segments = header.program_headers(endian, data)?;
    let mut linker = None;
    let mut needed = Vec::new();
    let mut is_go = false;
    for segment in segments {
        if let Some(text) = segment.interpreter(endian, data)? {
            linker = Some(String::from_utf8_lossy(text).into_owned());
        }
        if let Some(entries) = segment.dynamic(endian, data)? {
            needed = needed_by::<Elf, R>(endian, data, segments, entries);
        }
        if let Ok(Some(mut notes)) = segment.notes(endian, data) {
            while let Ok(Some(note)) = notes.next() {
                is_go |= note.name() == b"Go";
            }
        }
    }
    let libc = match &linker {
        Some(path) => libc_of_linker(path),
        None => libc_of_libraries(&needed),
    };
    Ok(Binary {
        abi: Abi {
            machine: header.e_machine(endian),
            is_64: header.is_type_64(),
            libc,
        },
        linker,
        needed,
        is_go,
    })
}

/// The names behind DT_NEEDED.
fn needed_by<'data, Elf, R>(
    endian: Endianness,
    data: R,
    segments: &[Elf::ProgramHeader],
    entries: &[Elf::Dyn],
) -> Vec<String>
where
    Elf: FileHeader<Endian = Endianness>,
    R: ReadRef<'data>,
{
    let value_of = |tag| {
        let mut entries = entries.iter();
        let entry = entries.find(|entry| entry.tag32(endian) == Some(tag));
        entry.map_or(0, |entry| entry.d_val(endian).into())
    };
    let (address, len) = (value_of(DT_STRTAB), value_of(DT_STRSZ));
    let strings = segments
        .iter()
        .filter(|segment| segment.p_type(endian) == PT_LOAD)
        .find_map(|segment| {
            let (offset, file_len) = segment.file_range(endian);
            let inside = address.checked_sub(segment.p_vaddr(endian).into())?;
            let fits = inside.checked_add(len)? <= file_len;
            let start = offset.checked_add(inside)?;
            let bytes = data.read_bytes_at(start, len).ok();
            bytes.filter(|_| fits)
        });
    let strings = strings.map_or_else(StringTable::default, |bytes| {
        StringTable::new(bytes, 0, bytes.len() as u64)
    });
    entries
        .iter()
        .filter(|entry| entry.tag32(endian) == Some(DT_NEEDED))
        .filter_map(|entry| entry.string(endian, strings).ok())
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect()
}

fn libc_of_linker(path: &str) -> Libc {
    let name = path.rsplit('/').next().unwrap_or(path);
    if name.starts_with("ld-musl") {
        Libc::Musl
    } else if name.starts_with("linker") {
        Libc::Bionic
    } else if name.starts_with("ld-linux") || name.starts_with("ld64.so") || name == "ld.so.1" {
        Libc::Gnu
    } else {
        Libc::Unknown
    }
}

/// That of a library, which names no dynamic linker.
fn libc_of_libraries(needed: &[String]) -> Libc {
    let has = |wanted: fn(&str) -> bool| needed.iter().any(|name| wanted(name));
    if has(|name| name == "libc.so.6") {
        Libc::Gnu
    } else if has(|name| name.starts_with("libc.musl")) {
        Libc::Musl
    } else if has(|name| name == "libc.so") && cfg!(target_os = "android") {
        Libc::Bionic
    } else if has(|name| name == "libc.so") {
        Libc::Musl
    } else {
        Libc::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_a_program_asks_for() {
        let own = read(Path::new("/proc/self/exe")).unwrap().unwrap();
        assert!(own.linker.unwrap().starts_with('/'));
        assert_eq!(own.abi.is_64, cfg!(target_pointer_width = "64"));
        assert!(own.needed.iter().any(|name| name.starts_with("libc.")));
        assert!(!own.is_go);
    }

    #[test]
    fn takes_no_script_for_a_program() {
        assert!(read(Path::new(file!()).file_name().unwrap().as_ref()).is_err());
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/elf.rs");
        assert!(read(&here).unwrap().is_none());
    }

    #[test]
    fn knows_a_c_library_by_its_dynamic_linker() {
        for (path, libc) in [
            ("/lib64/ld-linux-x86-64.so.2", Libc::Gnu),
            ("/nix/store/x-glibc/lib/ld-linux-aarch64.so.1", Libc::Gnu),
            ("/lib/ld-musl-x86_64.so.1", Libc::Musl),
            ("/system/bin/linker64", Libc::Bionic),
            ("/lib/ld-uClibc.so.0", Libc::Unknown),
        ] {
            assert_eq!(libc_of_linker(path), libc, "{path}");
        }
    }
}
