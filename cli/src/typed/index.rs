//! The named types of a program, in one walk over its debug information.

use std::collections::HashMap;

use gimli::{DwTag, constants};

use super::units::{Entry, Place, Read, Units, flag};

/// What a name is the name of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `struct` or `class`.
    Struct,
    /// `union`.
    Union,
    /// `enum`.
    Enum,
    /// A name for another type.
    Alias,
    /// A type of the language.
    Base,
}

impl Kind {
    /// What an entry with this tag names, if it names a type.
    pub fn of(tag: DwTag) -> Option<Kind> {
        Some(match tag {
            constants::DW_TAG_structure_type | constants::DW_TAG_class_type => Kind::Struct,
            constants::DW_TAG_union_type => Kind::Union,
            constants::DW_TAG_enumeration_type => Kind::Enum,
            constants::DW_TAG_typedef | constants::DW_TAG_template_alias => Kind::Alias,
            constants::DW_TAG_base_type => Kind::Base,
            _ => return None,
        })
    }

    /// The word that C puts before the name.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Struct => "struct ",
            Kind::Union => "union ",
            Kind::Enum => "enum ",
            Kind::Alias | Kind::Base => "",
        }
    }
}

/// A type that has a name.
#[derive(Debug)]
pub struct Named {
    /// What it is.
    pub kind: Kind,
    /// Its name, with those of the namespaces and types around it: `ring::Slot`.
    pub name: String,
    /// Its entry.
    pub place: Place,
    /// Whether only its name is told here.
    pub is_declaration: bool,
}

/// The named types by their places, and the defined ones by their names.
pub struct Known<'n> {
    by_place: HashMap<Place, &'n Named>,
    defined: HashMap<&'n str, Place>,
}

impl<'n> Known<'n> {
    /// Looks at these.
    pub fn of(all: &'n [Named]) -> Known<'n> {
        let by_place = all.iter().map(|named| (named.place, named)).collect();
        let mut defined = HashMap::new();
        for named in all.iter().filter(|named| !named.is_declaration) {
            if named.kind != Kind::Alias {
                defined.entry(&*named.name).or_insert(named.place);
            }
        }
        Known { by_place, defined }
    }

    /// The name of the type at this place.
    pub fn name(&self, place: Place) -> Option<&'n str> {
        self.by_place.get(&place).map(|named| &*named.name)
    }

    /// The entry that defines the type that the entry at this place only declares.
    pub fn definition(&self, place: Place) -> Option<Place> {
        self.defined.get(self.name(place)?).copied()
    }
}

/// Every named type.
pub fn of(units: &Units) -> Read<Vec<Named>> {
    let mut all = Vec::new();
    for unit in 0..units.len() {
        // The names around the entry, each with its depth.
        let mut around: Vec<(isize, String)> = Vec::new();
        let mut depth = 0;
        let mut entries = units.unit(unit)?.entries();
        while let Some((delta, entry)) = entries.next_dfs()? {
            depth += delta;
            while around.last().is_some_and(|(above, _)| *above >= depth) {
                around.pop();
            }
            if let Some(named) = named(units, unit, entry, &around)? {
                all.push(named);
            }
            if is_scope(entry.tag()) {
                let name = units.text(unit, entry, constants::DW_AT_name)?;
                if let Some(name) = name.or_else(|| unnamed(entry.tag())) {
                    around.push((depth, name));
                }
            }
        }
    }
    Ok(all)
}

fn named(
    units: &Units,
    unit: usize,
    entry: &Entry<'_>,
    around: &[(isize, String)],
) -> Read<Option<Named>> {
    let Some(kind) = Kind::of(entry.tag()) else {
        return Ok(None);
    };
    let Some(own) = units.text(unit, entry, constants::DW_AT_name)? else {
        return Ok(None);
    };
    let mut name = String::new();
    for (_, scope) in around {
        name.push_str(scope);
        name.push_str("::");
    }
    name.push_str(&own);
    let offset = entry.offset();
    Ok(Some(Named {
        kind,
        name,
        place: Place { unit, offset },
        is_declaration: flag(entry, constants::DW_AT_declaration)?,
    }))
}

fn is_scope(tag: DwTag) -> bool {
    tag == constants::DW_TAG_namespace
        || tag == constants::DW_TAG_module
        || matches!(Kind::of(tag), Some(Kind::Struct | Kind::Union))
}

fn unnamed(tag: DwTag) -> Option<String> {
    (tag == constants::DW_TAG_namespace).then(|| "(anonymous namespace)".to_owned())
}
