//! The symbols of the objects that the program was started with, read from their own tables.
//!
//! `dlsym` would find them as well. But the library exports a `dlsym` itself, and libc's takes the dynamic linker's lock and
//! may call an allocator, which calls what we have replaced. Reading takes no lock: a walk along the list of objects ends
//! at libc, what stands before that was there at the start and is never unloaded.
//!
//! And libc's table is changed here, so that a look-up of one of our names in it finds ours ([`correct_libc`]).

use core::ffi::{CStr, c_char, c_int};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::{OsError, OsResult, process, raw};

#[cfg(target_pointer_width = "32")]
use libc::Elf32_Sym as Sym;
#[cfg(target_pointer_width = "64")]
use libc::Elf64_Sym as Sym;

/// The beginning of `struct r_debug` of link.h, glibc's and the System V ABI's.
#[repr(C)]
struct Debug {
    version: c_int,
    first: *const LinkMap,
}

/// The beginning of `struct link_map` of link.h.
#[repr(C)]
struct LinkMap {
    base: usize,
    name: *const c_char,
    dynamic: *const Dyn,
    next: *const LinkMap,
}

#[repr(C)]
struct Dyn {
    tag: isize,
    value: usize,
}

const DT_NULL: isize = 0;
const DT_STRTAB: isize = 5;
const DT_SYMTAB: isize = 6;
const DT_RELA: isize = 7;
const DT_RELASZ: isize = 8;
const DT_STRSZ: isize = 10;
const DT_GNU_HASH: isize = 0x6fff_fef5;
const DT_VERSYM: isize = 0x6fff_fff0;

const STT_OBJECT: u8 = 1;
const STT_FUNC: u8 = 2;
const STT_GNU_IFUNC: u8 = 10;

/// In the table of versions: not the version that a name without one means.
const HIDDEN: u16 = 0x8000;

unsafe extern "C" {
    /// The dynamic linker's list, for debuggers.
    static _r_debug: Debug;
    /// Our own dynamic section: which of the objects we are.
    static _DYNAMIC: [Dyn; 0];
}

/// An object that has a symbol table as the dynamic linker reads it.
#[derive(Clone, Copy)]
struct Object {
    base: usize,
    symbols: *mut Sym,
    names: *const c_char,
    /// Where the tables end that stand behind the symbols: up to there is no code.
    end: usize,
    hash: *const u32,
    versions: *const u16,
}

/// The objects in the order of the dynamic linker's search, up to the one with this file name.
fn objects(last: &'static CStr) -> impl Iterator<Item = &'static LinkMap> {
    // SAFETY: the dynamic linker's own list; its first part stays as it is.
    let mut at = unsafe { _r_debug.first.as_ref() };
    core::iter::from_fn(move || {
        let object = at?;
        // SAFETY: as above.
        let next = unsafe { object.next.as_ref() };
        at = next.filter(|_| !object.is_called(last));
        Some(object)
    })
}

impl LinkMap {
    fn is_called(&self, file: &CStr) -> bool {
        if self.name.is_null() {
            return false;
        }
        // SAFETY: the name that the dynamic linker gave it.
        let name = unsafe { CStr::from_ptr(self.name) }.to_bytes();
        name.rsplit(|byte| *byte == b'/').next() == Some(file.to_bytes())
    }

    fn is_ours(&self) -> bool {
        core::ptr::addr_eq(self.dynamic, &raw const _DYNAMIC)
    }

    fn object(&self) -> Option<Object> {
        let mut found = [0; 7];
        let mut at = self.dynamic;
        // SAFETY: a dynamic section, which ends with DT_NULL.
        while let Some(entry) = unsafe { at.as_ref() }.filter(|entry| entry.tag != DT_NULL) {
            let place = match entry.tag {
                DT_SYMTAB => 0,
                DT_STRTAB => 1,
                DT_GNU_HASH => 2,
                DT_VERSYM => 3,
                DT_STRSZ => 4,
                DT_RELA => 5,
                DT_RELASZ => 6,
                _ => usize::MAX,
            };
            if let Some(place) = found.get_mut(place) {
                *place = entry.value;
            }
            // SAFETY: not the last one.
            at = unsafe { at.add(1) };
        }
        // Where the section is read-only, the addresses in it are still the file's.
        let at = |value: usize| match value {
            1.. if value < self.base => value + self.base,
            _ => value,
        };
        let [symbols, names, hash, versions, names_len, rela, rela_len] = found;
        (symbols != 0 && names != 0 && hash != 0).then_some(Object {
            base: self.base,
            symbols: at(symbols) as *mut Sym,
            names: at(names) as *const c_char,
            end: (at(names) + names_len).max(at(rela) + rela_len),
            hash: at(hash) as *const u32,
            versions: at(versions) as *const u16,
        })
    }
}

impl Object {
    /// The definitions of this name: one for each of its versions.
    fn definitions(self, name: &CStr) -> impl Iterator<Item = *mut Sym> {
        let wanted = name.to_bytes().iter().fold(5381u32, |hash, byte| {
            hash.wrapping_mul(33).wrapping_add(u32::from(*byte))
        });
        // SAFETY: the GNU hash table: four numbers, a Bloom filter of words, a bucket for each remainder of the hash with
        // the first symbol of a chain, and for each symbol its hash, of which the lowest bit ends the chain.
        let (chains, mut at) = unsafe {
            let (buckets, offset) = (*self.hash, *self.hash.add(1));
            let words = *self.hash.add(2) as usize * (size_of::<usize>() / size_of::<u32>());
            let bucket = self.hash.add(4 + words);
            let first = *bucket.add((wanted % buckets.max(1)) as usize);
            let chains = bucket.add(buckets as usize).wrapping_sub(offset as usize);
            (chains, if first < offset { 0 } else { first as usize })
        };
        core::iter::from_fn(move || {
            while at != 0 {
                // SAFETY: a symbol of this chain.
                let (hash, symbol) = unsafe { (*chains.add(at), self.symbols.add(at)) };
                at = if hash & 1 == 0 { at + 1 } else { 0 };
                // SAFETY: as above, and its name.
                if hash | 1 == wanted | 1 && unsafe { self.defines(symbol, name) } {
                    return Some(symbol);
                }
            }
            None
        })
    }

    /// Whether this symbol is a function or a variable of that name.
    unsafe fn defines(self, symbol: *const Sym, name: &CStr) -> bool {
        // SAFETY: the caller's promise; a symbol's name stands in the table of names.
        let (symbol, found) = unsafe {
            let symbol = &*symbol;
            (
                symbol,
                CStr::from_ptr(self.names.add(symbol.st_name as usize)),
            )
        };
        let is_place = matches!(symbol.st_info & 15, STT_OBJECT | STT_FUNC | STT_GNU_IFUNC);
        found == name && symbol.st_shndx != 0 && is_place
    }

    /// What a reference without a version gets.
    fn default(self, name: &CStr) -> Option<Found> {
        // SAFETY: a version for each symbol, and symbols of the table.
        let is_default = |symbol: &*mut Sym| unsafe {
            self.versions.is_null()
                || *self.versions.offset(symbol.offset_from(self.symbols)) & HIDDEN == 0
        };
        let symbol = self.definitions(name).find(is_default)?;
        Some(Found {
            address: self.leads_to(symbol),
            is_chosen: is_chosen(symbol),
        })
    }

    fn leads_to(self, symbol: *mut Sym) -> usize {
        self.base.wrapping_add(value(symbol).load(Relaxed))
    }
}

/// Where a name leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found {
    /// The function or variable.
    pub address: usize,
    /// It is a function that chooses one, and answers with its address (`STT_GNU_IFUNC`).
    pub is_chosen: bool,
}

fn is_chosen(symbol: *mut Sym) -> bool {
    // SAFETY: a symbol of a table that stays mapped.
    unsafe { (*symbol).st_info & 15 == STT_GNU_IFUNC }
}

/// The field with a symbol's address, which another thread may be changing.
fn value(symbol: *mut Sym) -> &'static AtomicUsize {
    // SAFETY: an aligned word of a table that stays mapped.
    unsafe { AtomicUsize::from_ptr((&raw mut (*symbol).st_value).cast()) }
}

const LIBC: &CStr = c"libc.so.6";
/// Where glibc before 2.34 has `dlopen` and its like.
const LIBDL: &CStr = c"libdl.so.2";

/// This symbol in the first object that has it.
pub fn first(name: &CStr) -> Option<Found> {
    objects(LIBC).find_map(|found| found.object()?.default(name))
}

/// This symbol in the first object behind this library that has it.
pub fn behind_us(name: &CStr) -> Option<Found> {
    let search = |last| {
        let mut behind = objects(last).skip_while(|found| !found.is_ours()).skip(1);
        behind.find_map(|found| found.object()?.default(name))
    };
    // A library that was not preloaded stands behind libc.
    search(LIBC)
        .or_else(|| search(LIBDL))
        .or_else(|| in_object(|found| found.is_called(LIBC))?.default(name))
}

fn in_object(is_it: impl Fn(&LinkMap) -> bool) -> Option<Object> {
    objects(LIBC).find(|found| is_it(found))?.object()
}

/// Makes libc's table lead to our functions: for each of `names`, all versions of it. A name whose `real` function, as it
/// was found behind us, is not libc's own is left out: it belongs to another library that was preloaded, which finds
/// libc's there, and would call us for ever.
///
/// The pages are written to for a moment and read-only again afterwards; they are never made executable.
pub fn correct_libc<'a>(
    names: impl Iterator<Item = (&'a CStr, Option<usize>)> + Clone,
) -> OsResult<()> {
    let missing = OsError(libc::ENOENT);
    let theirs = in_object(|found| found.is_called(LIBC)).ok_or(missing)?;
    let ours = in_object(LinkMap::is_ours).ok_or(missing)?;
    let visit = |act: &mut dyn FnMut(*mut Sym, usize)| {
        for (name, real) in names.clone() {
            let is_libcs = |real| {
                theirs
                    .definitions(name)
                    .any(|symbol| theirs.leads_to(symbol) == real)
            };
            let Some(new) = ours.default(name).filter(|_| real.is_none_or(is_libcs)) else {
                continue;
            };
            // A caller of the dynamic linker would call ours to choose. glibc has none of our names so.
            for symbol in theirs
                .definitions(name)
                .filter(|symbol| !is_chosen(*symbol))
            {
                act(symbol, new.address);
            }
        }
    };
    let (mut low, mut high) = (usize::MAX, 0);
    visit(&mut |symbol, _| {
        low = low.min(symbol as usize);
        high = high.max(symbol as usize + size_of::<Sym>());
    });
    let page = process::page_size();
    if high == 0 {
        return Ok(());
    }
    let (low, high) = (low & !(page - 1), high.next_multiple_of(page));
    // Code may share a segment with the tables.
    if high > theirs.end {
        return Err(OsError(libc::EOPNOTSUPP));
    }
    let protect = |prot: c_int| {
        // SAFETY: pages of libc's tables alone, which are data, and can be read all the time.
        unsafe { raw::call(libc::SYS_mprotect, [low, high - low, prot as usize]) }
    };
    protect(libc::PROT_READ | libc::PROT_WRITE)?;
    visit(&mut |symbol, new| value(symbol).store(new.wrapping_sub(theirs.base), Relaxed));
    protect(libc::PROT_READ).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_dlsym(name: &CStr) -> Option<usize> {
        // SAFETY: a NUL-terminated name.
        let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
        (!found.is_null()).then_some(found as usize)
    }

    #[test]
    fn finds_what_the_dynamic_linker_finds() {
        // Some of them have several versions.
        for name in [
            c"shmget",
            c"realpath",
            c"fopen",
            c"dlsym",
            c"__libc_single_threaded",
            c"environ",
        ] {
            assert_eq!(
                first(name).map(|found| found.address),
                by_dlsym(name),
                "{name:?}"
            );
            assert!(
                first(name).is_some_and(|found| !found.is_chosen),
                "{name:?}"
            );
        }
        assert_eq!(first(c"no_such_name"), None);
    }

    #[test]
    fn a_function_behind_us_is_libcs() {
        assert_eq!(
            behind_us(c"shmget").map(|found| found.address),
            by_dlsym(c"shmget")
        );
        assert_eq!(behind_us(c"no_such_name"), None);
    }
}
