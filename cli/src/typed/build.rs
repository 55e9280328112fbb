//! Makes a layout of an entry of the debug information and of those that it refers to.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use gimli::{AttributeValue, DwAte, constants};

use super::index::{Kind, Known};
use super::layout::{Enumeration, FloatFormat, Layout, Shape};
use super::members;
use super::units::{Entry, Place, Read, Units, flag, number};

/// How deep types may lie in each other: more is a circle in damaged information.
const DEPTH: u32 = 100;

/// Makes layouts, each once.
pub struct Builder<'a> {
    /// The information.
    pub units: &'a Units,
    known: &'a Known<'a>,
    made: RefCell<HashMap<Place, Rc<Layout>>>,
}

impl<'a> Builder<'a> {
    /// A builder that has made none yet.
    pub fn new(units: &'a Units, known: &'a Known<'a>) -> Builder<'a> {
        Builder {
            units,
            known,
            made: RefCell::default(),
        }
    }

    /// The layout of the type at this place.
    pub fn layout(&self, place: Place, depth: u32) -> Read<Rc<Layout>> {
        if let Some(made) = self.made.borrow().get(&place) {
            return Ok(made.clone());
        }
        let layout = Rc::new(self.made(place, depth)?);
        self.made.borrow_mut().insert(place, layout.clone());
        Ok(layout)
    }

    /// The layout of the type that an entry refers to; C's `void` where it refers to none.
    pub fn referred(&self, unit: usize, entry: &Entry<'_>, depth: u32) -> Read<Rc<Layout>> {
        match self.units.reference(unit, entry, constants::DW_AT_type)? {
            Some(place) => self.layout(place, depth + 1),
            None => Ok(Rc::new(Layout {
                name: "void".into(),
                size: 0,
                shape: Rc::new(Shape::Opaque("void")),
            })),
        }
    }

    fn made(&self, place: Place, depth: u32) -> Read<Layout> {
        if depth > DEPTH {
            return Err(gimli::Error::UnsupportedTypeOperation);
        }
        let entry = self.units.entry(place)?;
        let unit = place.unit;
        if let Some(meant) = self.signed(place, &entry)? {
            return self.made(meant, depth + 1);
        }
        if flag(&entry, constants::DW_AT_declaration)? {
            return self.declared(place, depth);
        }
        let size = number(&entry, constants::DW_AT_byte_size)?;
        let name: Rc<str> = self.name(place, 0)?.into();
        let layout = |size: u64, shape: Shape| Layout {
            name: name.clone(),
            size,
            shape: Rc::new(shape),
        };
        let pointer_size = u64::from(self.units.unit(unit)?.header.address_size());
        Ok(match entry.tag() {
            constants::DW_TAG_base_type => {
                let size = match size {
                    Some(size) => size,
                    None => number(&entry, constants::DW_AT_bit_size)?
                        .unwrap_or(0)
                        .div_ceil(8),
                };
                layout(size, base(&entry, size, &name)?)
            }
            constants::DW_TAG_pointer_type
            | constants::DW_TAG_reference_type
            | constants::DW_TAG_rvalue_reference_type => {
                layout(size.unwrap_or(pointer_size), Shape::Pointer)
            }
            constants::DW_TAG_unspecified_type if &*name == "decltype(nullptr)" => {
                layout(pointer_size, Shape::Pointer)
            }
            constants::DW_TAG_ptr_to_member_type => self.member_pointer(unit, &entry, &layout)?,
            constants::DW_TAG_enumeration_type => self.enumeration(unit, &entry, &layout, depth)?,
            constants::DW_TAG_array_type => members::array(self, place, &entry, depth)?,
            constants::DW_TAG_structure_type
            | constants::DW_TAG_class_type
            | constants::DW_TAG_union_type => {
                let record = members::record(self, place, depth)?;
                layout(size.unwrap_or(0), Shape::Record(record))
            }
            constants::DW_TAG_typedef
            | constants::DW_TAG_template_alias
            | constants::DW_TAG_const_type
            | constants::DW_TAG_volatile_type
            | constants::DW_TAG_restrict_type
            | constants::DW_TAG_atomic_type
            | constants::DW_TAG_packed_type
            | constants::DW_TAG_immutable_type
            | constants::DW_TAG_shared_type
            | constants::DW_TAG_subrange_type => {
                let meant = self.referred(unit, &entry, depth)?;
                Layout {
                    name,
                    size: size.unwrap_or(meant.size),
                    shape: meant.shape.clone(),
                }
            }
            _ => layout(
                size.unwrap_or(0),
                Shape::Opaque("a kind of type that is not known here"),
            ),
        })
    }

    /// The type in a unit of its own that an entry stands for.
    fn signed(&self, place: Place, entry: &Entry<'_>) -> Read<Option<Place>> {
        let meant = self
            .units
            .reference(place.unit, entry, constants::DW_AT_signature)?;
        Ok(meant.filter(|meant| *meant != place))
    }

    /// A type of which only the name is told here: the one that the name leads to.
    fn declared(&self, place: Place, depth: u32) -> Read<Layout> {
        let found = self.known.definition(place);
        match found.filter(|found| *found != place) {
            Some(found) => self.made(found, depth + 1),
            None => Ok(Layout {
                name: self.name(place, 0)?.into(),
                size: 0,
                shape: Rc::new(Shape::Opaque("declared, but not defined in this program")),
            }),
        }
    }

    /// A pointer to a member of a class: an offset, or for a function an address and what to add to `this`.
    fn member_pointer(
        &self,
        unit: usize,
        entry: &Entry<'_>,
        layout: &dyn Fn(u64, Shape) -> Layout,
    ) -> Read<Layout> {
        let meant = self.units.reference(unit, entry, constants::DW_AT_type)?;
        let is_function = match meant {
            Some(place) => self.units.entry(place)?.tag() == constants::DW_TAG_subroutine_type,
            None => false,
        };
        let size = u64::from(self.units.unit(unit)?.header.address_size());
        Ok(if is_function {
            layout(2 * size, Shape::Opaque("a pointer to a member function"))
        } else {
            layout(size, Shape::Integer { signed: true })
        })
    }

    fn enumeration(
        &self,
        unit: usize,
        entry: &Entry<'_>,
        layout: &dyn Fn(u64, Shape) -> Layout,
        depth: u32,
    ) -> Read<Layout> {
        let mut size = number(entry, constants::DW_AT_byte_size)?;
        let mut signed = false;
        if entry.attr(constants::DW_AT_type)?.is_some() {
            let under = self.referred(unit, entry, depth)?;
            size = size.or(Some(under.size));
            signed = matches!(
                *under.shape,
                Shape::Integer { signed: true } | Shape::Character { signed: true }
            );
        }
        let mut names = Vec::new();
        let mut tree = self.units.unit(unit)?.entries_tree(Some(entry.offset()))?;
        let mut children = tree.root()?.children();
        while let Some(child) = children.next()? {
            let child = child.entry();
            let value = child.attr(constants::DW_AT_const_value)?;
            let value = value.and_then(|value| constant(&value.raw_value(), signed));
            let name = self.units.text(unit, child, constants::DW_AT_name)?;
            if let (Some(value), Some(name)) = (value, name) {
                names.push((value, name));
            }
        }
        signed |= names.iter().any(|(value, _)| *value < 0);
        let shape = Shape::Enumeration(Enumeration { signed, names });
        Ok(layout(size.unwrap_or(4), shape))
    }

    /// The name of a type as its language writes it.
    pub fn name(&self, place: Place, depth: u32) -> Read<String> {
        let entry = self.units.entry(place)?;
        let unit = place.unit;
        if let Some(meant) = self.signed(place, &entry)?.filter(|_| depth < 20) {
            return self.name(meant, depth + 1);
        }
        let own = self.units.text(unit, &entry, constants::DW_AT_name)?;
        if let Some(own) = own {
            // C knows no names within names, and has a word before them.
            if self.units.is_c(unit) {
                let word = Kind::of(entry.tag()).map_or("", Kind::word);
                return Ok(format!("{word}{own}"));
            }
            return Ok(self.known.name(place).map_or(own, str::to_owned));
        }
        let target = || match self.units.reference(unit, &entry, constants::DW_AT_type)? {
            Some(target) if depth < 20 => self.name(target, depth + 1),
            Some(_) => Ok("...".to_owned()),
            None => Ok("void".to_owned()),
        };
        Ok(match entry.tag() {
            constants::DW_TAG_pointer_type => pointer(&target()?, "*"),
            constants::DW_TAG_reference_type => pointer(&target()?, "&"),
            constants::DW_TAG_rvalue_reference_type => pointer(&target()?, "&&"),
            constants::DW_TAG_const_type => format!("const {}", target()?),
            constants::DW_TAG_volatile_type => format!("volatile {}", target()?),
            constants::DW_TAG_atomic_type => format!("_Atomic {}", target()?),
            constants::DW_TAG_restrict_type => target()?,
            constants::DW_TAG_subroutine_type => format!("{} ()", target()?),
            constants::DW_TAG_array_type => format!("{} []", target()?),
            constants::DW_TAG_union_type => "union".to_owned(),
            constants::DW_TAG_enumeration_type => "enum".to_owned(),
            constants::DW_TAG_structure_type | constants::DW_TAG_class_type => "struct".to_owned(),
            tag => tag.to_string(),
        })
    }
}

fn pointer(target: &str, sign: &str) -> String {
    match target.strip_suffix(" ()") {
        Some(result) => format!("{result} ({sign})()"),
        None if target.ends_with(['*', '&']) => format!("{target}{sign}"),
        None => format!("{target} {sign}"),
    }
}

fn base(entry: &Entry<'_>, size: u64, name: &str) -> Read<Shape> {
    let encoding = match entry.attr_value(constants::DW_AT_encoding)? {
        Some(AttributeValue::Encoding(encoding)) => encoding,
        _ => DwAte(0),
    };
    Ok(match encoding {
        constants::DW_ATE_boolean => Shape::Bool,
        constants::DW_ATE_signed => Shape::Integer { signed: true },
        constants::DW_ATE_unsigned => Shape::Integer { signed: false },
        constants::DW_ATE_signed_char => Shape::Character { signed: true },
        constants::DW_ATE_unsigned_char | constants::DW_ATE_UTF | constants::DW_ATE_ASCII => {
            Shape::Character { signed: false }
        }
        constants::DW_ATE_address => Shape::Pointer,
        constants::DW_ATE_float => float(size, name).map_or(UNKNOWN, Shape::Float),
        constants::DW_ATE_complex_float => float(size / 2, name).map_or(UNKNOWN, Shape::Complex),
        _ => UNKNOWN,
    })
}

const UNKNOWN: Shape = Shape::Opaque("a number in a form that is not known here");

fn float(size: u64, name: &str) -> Option<FloatFormat> {
    Some(match size {
        2 if name.contains("bf16") || name.contains("bfloat") => FloatFormat::Brain,
        2 => FloatFormat::Half,
        4 => FloatFormat::Single,
        8 => FloatFormat::Double,
        16 if name.contains("128") => FloatFormat::Quad,
        // AArch64 has no x87: there the long double is the one of 128 bits.
        16 if cfg!(target_arch = "aarch64") => FloatFormat::Quad,
        10 | 12 | 16 => FloatFormat::Extended,
        _ => return None,
    })
}

/// The value of an enumerator. Forms of fixed size hold what is not negative, or fill all eight bytes.
pub fn constant<R: gimli::Reader>(value: &AttributeValue<R>, signed: bool) -> Option<i128> {
    match value {
        AttributeValue::Udata(value) => Some(i128::from(*value)),
        AttributeValue::Sdata(value) => Some(i128::from(*value)),
        AttributeValue::Data8(value) if signed => Some(i128::from(*value as i64)),
        _ => value.udata_value().map(i128::from),
    }
}
