//! The units of a program's debug information, their entries and the references between them.

use std::collections::HashMap;

use gimli::{
    AttributeValue, DebuggingInformationEntry, DwAt, DwLang, Dwarf, Operation, Unit, UnitHeader,
    UnitOffset, UnitSectionOffset, UnitType, constants,
};

use super::debug_file::Bytes;

/// An entry of a unit.
pub type Entry<'a> = DebuggingInformationEntry<'a, 'a, Bytes>;

/// What gimli answers.
pub type Read<T> = Result<T, gimli::Error>;

/// Where an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// The index of its unit.
    pub unit: usize,
    /// Its offset in it.
    pub offset: UnitOffset,
}

/// The information of a program, by units.
pub struct Units {
    dwarf: Dwarf<Bytes>,
    units: Vec<Unit<Bytes>>,
    /// For each unit whether it is in the file that several programs share, and where its section has it.
    starts: Vec<(bool, UnitSectionOffset)>,
    /// Types that other units refer to by a signature.
    signatures: HashMap<u64, Place>,
    /// Whether some of the information is in files of its own (`-gsplit-dwarf`).
    pub is_split: bool,
}

impl Units {
    /// Reads the headers of all units.
    pub fn of(dwarf: Dwarf<Bytes>) -> Read<Units> {
        let mut headers = headers(&dwarf, false)?;
        if let Some(shared) = dwarf.sup() {
            headers.extend(self::headers(shared, true)?);
        }
        let mut units = Units {
            units: Vec::new(),
            starts: Vec::new(),
            signatures: HashMap::new(),
            is_split: false,
            dwarf,
        };
        for (is_shared, header) in headers {
            units.add(is_shared, header)?;
        }
        Ok(units)
    }

    fn add(&mut self, is_shared: bool, header: UnitHeader<Bytes>) -> Read<()> {
        if let UnitType::Type {
            type_signature,
            type_offset,
        } = header.type_()
        {
            let place = Place {
                unit: self.units.len(),
                offset: type_offset,
            };
            self.signatures.insert(type_signature.0, place);
        }
        self.starts.push((is_shared, header.offset()));
        let unit = self.file(is_shared).unit(header)?;
        self.is_split |= unit.dwo_id.is_some();
        self.units.push(unit);
        Ok(())
    }

    /// The program's own information, or that which it shares with others.
    fn file(&self, is_shared: bool) -> &Dwarf<Bytes> {
        match self.dwarf.sup() {
            Some(shared) if is_shared => shared,
            _ => &self.dwarf,
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.units.len()
    }

    /// The unit with this index.
    pub fn unit(&self, index: usize) -> Read<&Unit<Bytes>> {
        self.units.get(index).ok_or(gimli::Error::MissingUnitDie)
    }

    /// The entry at this place.
    pub fn entry(&self, place: Place) -> Read<Entry<'_>> {
        self.unit(place.unit)?.entry(place.offset)
    }

    /// The source file of a unit.
    pub fn source_of(&self, unit: usize) -> String {
        let name = self.units.get(unit).and_then(|unit| unit.name.as_ref());
        name.map_or(String::new(), text)
    }

    /// Whether the unit's language puts `struct`, `union` and `enum` before names.
    pub fn is_c(&self, unit: usize) -> bool {
        let language = || {
            let unit = self.unit(unit).ok()?;
            let mut entries = unit.entries();
            let (_, root) = entries.next_dfs().ok()??;
            match root.attr_value(constants::DW_AT_language).ok()?? {
                AttributeValue::Language(language) => Some(language),
                _ => None,
            }
        };
        const C: [DwLang; 6] = [
            constants::DW_LANG_C,
            constants::DW_LANG_C89,
            constants::DW_LANG_C99,
            constants::DW_LANG_C11,
            constants::DW_LANG_C17,
            constants::DW_LANG_ObjC,
        ];
        language().is_some_and(|language| C.contains(&language))
    }

    /// What an attribute says as text.
    pub fn text(&self, unit: usize, entry: &Entry<'_>, name: DwAt) -> Read<Option<String>> {
        let Some(value) = entry.attr_value(name)? else {
            return Ok(None);
        };
        let is_shared = self.starts.get(unit).is_some_and(|(shared, _)| *shared);
        let found = self.file(is_shared).attr_string(self.unit(unit)?, value)?;
        Ok(Some(text(&found)))
    }

    /// The entry that an attribute refers to.
    pub fn reference(&self, unit: usize, entry: &Entry<'_>, name: DwAt) -> Read<Option<Place>> {
        let is_shared = self.starts.get(unit).is_some_and(|(shared, _)| *shared);
        Ok(match entry.attr_value(name)? {
            None => None,
            Some(AttributeValue::UnitRef(offset)) => Some(Place { unit, offset }),
            Some(AttributeValue::DebugInfoRef(offset)) => {
                self.at(is_shared, UnitSectionOffset::DebugInfoOffset(offset))
            }
            Some(AttributeValue::DebugInfoRefSup(offset)) => {
                self.at(true, UnitSectionOffset::DebugInfoOffset(offset))
            }
            Some(AttributeValue::DebugTypesRef(signature)) => {
                self.signatures.get(&signature.0).copied()
            }
            Some(_) => return Err(gimli::Error::UnsupportedAttributeForm),
        })
    }

    fn at(&self, is_shared: bool, offset: UnitSectionOffset) -> Option<Place> {
        let wanted = (is_shared, offset);
        // The sections of one file, and the files, stand one behind the other in the order of their units.
        let index = self
            .starts
            .iter()
            .rposition(|(shared, start)| *shared == is_shared && is_before(*start, wanted.1))?;
        let offset = offset.to_unit_offset(self.units.get(index)?)?;
        Some(Place {
            unit: index,
            offset,
        })
    }
}

/// The headers of all units of a file, and whether other programs share it.
fn headers(dwarf: &Dwarf<Bytes>, is_shared: bool) -> Read<Vec<(bool, UnitHeader<Bytes>)>> {
    let mut headers = Vec::new();
    let mut units = dwarf.units();
    while let Some(header) = units.next()? {
        headers.push((is_shared, header));
    }
    let mut units = dwarf.type_units();
    while let Some(header) = units.next()? {
        headers.push((is_shared, header));
    }
    Ok(headers)
}

fn is_before(start: UnitSectionOffset, offset: UnitSectionOffset) -> bool {
    match (start, offset) {
        (UnitSectionOffset::DebugInfoOffset(start), UnitSectionOffset::DebugInfoOffset(offset)) => {
            start.0 <= offset.0
        }
        _ => false,
    }
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes.bytes()).into_owned()
}

/// What an attribute says as a number.
pub fn number(entry: &Entry<'_>, name: DwAt) -> Read<Option<u64>> {
    Ok(entry
        .attr_value(name)?
        .and_then(|value| value.udata_value()))
}

/// Whether a flag is set.
pub fn flag(entry: &Entry<'_>, name: DwAt) -> Read<bool> {
    Ok(matches!(
        entry.attr_value(name)?,
        Some(AttributeValue::Flag(true))
    ))
}

/// Where a member begins. `None`: it takes an object to know.
pub fn location(entry: &Entry<'_>, unit: &Unit<Bytes>) -> Read<Option<u64>> {
    let expression = match entry.attr_value(constants::DW_AT_data_member_location)? {
        None => return Ok(Some(0)),
        Some(AttributeValue::Exprloc(expression)) => expression,
        Some(AttributeValue::Block(bytes)) => gimli::Expression(bytes),
        Some(value) => return Ok(value.udata_value()),
    };
    let mut operations = expression.operations(unit.encoding());
    let first = operations.next()?;
    let only = operations.next()?.is_none();
    Ok(match first {
        Some(Operation::PlusConstant { value } | Operation::UnsignedConstant { value }) if only => {
            Some(value)
        }
        _ => None,
    })
}
