//! The members of records and the elements of arrays, from the entries below those of their types.

use std::rc::Rc;

use gimli::{AttributeValue, constants};

use super::build::{Builder, constant};
use super::layout::{Layout, Member, Record, Shape, Variants};
use super::units::{Entry, Place, Read, flag, location, number};

/// The members of the structure, union or class at this place.
pub fn record(builder: &Builder<'_>, place: Place, depth: u32) -> Read<Record> {
    let mut record = Record::default();
    let mut tree = builder
        .units
        .unit(place.unit)?
        .entries_tree(Some(place.offset))?;
    let mut children = tree.root()?.children();
    while let Some(child) = children.next()? {
        if child.entry().tag() == constants::DW_TAG_variant_part {
            let offset = child.entry().offset();
            let unit = place.unit;
            record.variants = Some(variants(builder, Place { unit, offset }, depth)?);
        } else if let Some(member) = member(builder, place.unit, child.entry(), depth)? {
            record.members.push(member);
        }
    }
    Ok(record)
}

/// The member that an entry describes; none for a static one, a function, a nested type.
fn member(
    builder: &Builder<'_>,
    unit: usize,
    entry: &Entry<'_>,
    depth: u32,
) -> Read<Option<Member>> {
    let is_base = entry.tag() == constants::DW_TAG_inheritance;
    let is_static =
        flag(entry, constants::DW_AT_external)? || flag(entry, constants::DW_AT_declaration)?;
    if !is_base && (entry.tag() != constants::DW_TAG_member || is_static) {
        return Ok(None);
    }
    let mut layout = builder.referred(unit, entry, depth)?;
    let name: Rc<str> = match builder.units.text(unit, entry, constants::DW_AT_name)? {
        _ if is_base => format!("<{}>", layout.name).into(),
        Some(name) => name.into(),
        None => "".into(),
    };
    let offset = location(entry, builder.units.unit(unit)?)?;
    if offset.is_none() {
        layout = Rc::new(Layout {
            name: layout.name.clone(),
            size: 0,
            shape: Rc::new(Shape::Opaque(
                "a virtual base: where it lies is told by the object",
            )),
        });
    }
    let offset = offset.unwrap_or(0);
    Ok(Some(Member {
        name,
        offset,
        bits: bits(entry, offset, &layout)?,
        layout,
    }))
}

/// The bits of a bit field. Before DWARF 4 they were counted from the most significant one of a unit of storage.
fn bits(entry: &Entry<'_>, offset: u64, layout: &Layout) -> Read<Option<(u64, u64)>> {
    let Some(count) = number(entry, constants::DW_AT_bit_size)? else {
        return Ok(None);
    };
    let from_the_top = match entry.attr_value(constants::DW_AT_bit_offset)? {
        Some(AttributeValue::Sdata(value)) => Some(value),
        Some(value) => value.udata_value().map(|value| value as i64),
        None => None,
    };
    let first = if let Some(first) = number(entry, constants::DW_AT_data_bit_offset)? {
        offset.wrapping_mul(8).wrapping_add(first)
    } else if let Some(from_the_top) = from_the_top {
        let storage = number(entry, constants::DW_AT_byte_size)?.unwrap_or(layout.size);
        let end = offset.wrapping_add(storage).wrapping_mul(8);
        end.wrapping_sub(count).wrapping_add_signed(-from_the_top)
    } else {
        offset.wrapping_mul(8)
    };
    Ok(Some((first, count)))
}

/// The members that are there for some values of a discriminant.
fn variants(builder: &Builder<'_>, place: Place, depth: u32) -> Read<Variants> {
    let unit = place.unit;
    let entry = builder.units.entry(place)?;
    let discriminant = match builder
        .units
        .reference(unit, &entry, constants::DW_AT_discr)?
    {
        Some(place) => {
            let entry = builder.units.entry(place)?;
            member(builder, place.unit, &entry, depth)?.map(Box::new)
        }
        None => None,
    };
    let mut arms = Vec::new();
    let mut tree = builder.units.unit(unit)?.entries_tree(Some(place.offset))?;
    let mut children = tree.root()?.children();
    while let Some(child) = children.next()? {
        if child.entry().tag() != constants::DW_TAG_variant {
            continue;
        }
        let value = child.entry().attr(constants::DW_AT_discr_value)?;
        let value = value.and_then(|value| constant(&value.raw_value(), false));
        let offset = child.entry().offset();
        let members = record(builder, Place { unit, offset }, depth)?.members;
        arms.push((value.map(|value| value as u64), members));
    }
    Ok(Variants { discriminant, arms })
}

/// The array at this place: of arrays, where it has several dimensions.
pub fn array(builder: &Builder<'_>, place: Place, entry: &Entry<'_>, depth: u32) -> Read<Layout> {
    let mut layout = builder.referred(place.unit, entry, depth)?;
    let own_name = builder
        .units
        .text(place.unit, entry, constants::DW_AT_name)?;
    let mut lengths = Vec::new();
    let mut tree = builder
        .units
        .unit(place.unit)?
        .entries_tree(Some(place.offset))?;
    let mut children = tree.root()?.children();
    while let Some(child) = children.next()? {
        let is_dimension = [
            constants::DW_TAG_subrange_type,
            constants::DW_TAG_enumeration_type,
        ];
        if is_dimension.contains(&child.entry().tag()) {
            lengths.push(length(child.entry())?);
        }
    }
    if lengths.is_empty() {
        lengths.push(None);
    }
    let element_name = layout.name.clone();
    let mut suffix = String::new();
    for count in lengths.into_iter().rev() {
        suffix = match count {
            Some(count) => format!("[{count}]{suffix}"),
            None => format!("[]{suffix}"),
        };
        layout = Rc::new(of(layout, count, format!("{element_name} {suffix}")));
    }
    let name = own_name.map_or(layout.name.clone(), Rc::from);
    Ok(Layout {
        name,
        size: layout.size,
        shape: layout.shape.clone(),
    })
}

/// An array of so many elements.
pub fn of(element: Rc<Layout>, count: Option<u64>, name: String) -> Layout {
    Layout {
        name: name.into(),
        size: element.size.saturating_mul(count.unwrap_or(0)),
        shape: Rc::new(Shape::Array { element, count }),
    }
}

/// How many elements a dimension has. GNU C's `[0]` is an array without a length, too.
fn length(entry: &Entry<'_>) -> Read<Option<u64>> {
    if let Some(count) = number(entry, constants::DW_AT_count)? {
        return Ok(Some(count).filter(|count| *count > 0));
    }
    let upper = match entry.attr_value(constants::DW_AT_upper_bound)? {
        // -1, in whatever form: no element.
        Some(AttributeValue::Sdata(value)) => u64::try_from(value).ok(),
        Some(value) => value
            .udata_value()
            .filter(|value| *value < u64::from(u32::MAX)),
        None => None,
    };
    let lower = number(entry, constants::DW_AT_lower_bound)?.unwrap_or(0);
    Ok(upper.map(|upper| upper.saturating_sub(lower).saturating_add(1)))
}
