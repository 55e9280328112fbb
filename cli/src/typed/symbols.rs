//! The names of addresses, from a program's symbol tables.

use object::{Object, ObjectSymbol, SymbolKind};

/// The symbols of a program, by address.
#[derive(Debug, Default)]
pub struct Symbols {
    by_address: Vec<Symbol>,
    /// Whether the program is always loaded where its file says.
    pub is_fixed: bool,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Symbol {
    address: u64,
    size: u64,
    name: String,
}

impl Symbols {
    /// Adds what a file's tables have.
    pub fn add<'data>(&mut self, file: &impl Object<'data>) {
        for symbol in file.symbols().chain(file.dynamic_symbols()) {
            let is_named = matches!(symbol.kind(), SymbolKind::Text | SymbolKind::Data);
            if let (true, true, Ok(name)) = (is_named, symbol.is_definition(), symbol.name()) {
                self.by_address.push(Symbol {
                    address: symbol.address(),
                    size: symbol.size(),
                    name: name.to_owned(),
                });
            }
        }
        self.by_address.sort();
        self.by_address.dedup();
    }

    /// What lies at an address of the file: `name` or `name+offset`.
    pub fn name_of(&self, address: u64) -> Option<String> {
        let end = self
            .by_address
            .partition_point(|symbol| symbol.address <= address);
        let symbol = self.by_address.get(end.checked_sub(1)?)?;
        let inside = address - symbol.address;
        let name = demangled(&symbol.name);
        match inside {
            0 => Some(name),
            _ if inside < symbol.size => Some(format!("{name}+{inside}")),
            _ => None,
        }
    }
}

/// A symbol's name as the source has it.
fn demangled(name: &str) -> String {
    if let Ok(rust) = rustc_demangle::try_demangle(name) {
        return format!("{rust:#}");
    }
    cpp_demangle::Symbol::new(name)
        .ok()
        .and_then(|symbol| symbol.demangle(&Default::default()).ok())
        .unwrap_or_else(|| name.to_owned())
}
