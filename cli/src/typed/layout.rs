//! What a type is: where its parts lie and how each is read. Nothing here knows where the description came from.

use std::rc::Rc;

/// A type: its name, its size, and how its bytes are read.
#[derive(Debug, PartialEq)]
pub struct Layout {
    /// As the language writes it: `struct slot`, `char [16]`, `core::option::Option<u32>`.
    pub name: Rc<str>,
    /// Its size; for an array without a length that of no element.
    pub size: u64,
    /// How its bytes are read.
    pub shape: Rc<Shape>,
}

impl Layout {
    /// Whether it goes on to the end of what it lies in: an array without a length, or a record with one at its end.
    pub fn is_open(&self) -> bool {
        match &*self.shape {
            Shape::Array { count, .. } => count.is_none(),
            Shape::Record(record) => {
                let last = record.members.iter().map(|member| member.offset).max();
                let mut members = record.members.iter();
                members.any(|member| Some(member.offset) == last && member.layout.is_open())
            }
            _ => false,
        }
    }
}

/// How bytes are read.
#[derive(Debug, PartialEq)]
pub enum Shape {
    /// A whole number.
    Integer { signed: bool },
    /// A whole number that stands for a character.
    Character { signed: bool },
    /// True or false.
    Bool,
    /// A floating-point number.
    Float(FloatFormat),
    /// Two of them, the real and the imaginary part.
    Complex(FloatFormat),
    /// An address: a pointer, a reference.
    Pointer,
    /// A number with names for some of its values.
    Enumeration(Enumeration),
    /// Elements, one behind the other. No count: as many as there is room for.
    Array {
        element: Rc<Layout>,
        count: Option<u64>,
    },
    /// A structure, a union or a class.
    Record(Record),
    /// Something whose bytes are all that can be told, with the reason where there is one.
    Opaque(&'static str),
}

/// How a floating-point number lies in its bytes.
#[derive(Debug, PartialEq, Clone, Copy)]
pub enum FloatFormat {
    /// Sixteen bits, as IEEE 754 has them.
    Half,
    /// The upper half of a single.
    Brain,
    /// 32 bits.
    Single,
    /// 64 bits.
    Double,
    /// The 80 bits of the x87, in ten bytes or more.
    Extended,
    /// 128 bits, as IEEE 754 has them.
    Quad,
}

/// The named values of an enumeration.
#[derive(Debug, PartialEq)]
pub struct Enumeration {
    /// Whether the number can be negative.
    pub signed: bool,
    /// Each value and its name, as declared.
    pub names: Vec<(i128, String)>,
}

impl Enumeration {
    /// Whether the values are bits that can be combined, as gdb decides it: none is negative, the bits of each lie side by
    /// side, and no two have one in common.
    pub fn has_flags(&self) -> bool {
        let mut seen: i128 = 0;
        self.names.iter().all(|(value, _)| {
            let value = *value;
            let shifted = value.checked_shr(value.trailing_zeros()).unwrap_or(0);
            let is_flag = value >= 0 && value & seen == 0 && shifted & shifted.wrapping_add(1) == 0;
            seen |= value;
            is_flag
        })
    }
}

/// The members of a structure, a union or a class.
#[derive(Debug, PartialEq, Default)]
pub struct Record {
    /// Base classes first, then the members as declared.
    pub members: Vec<Member>,
    /// Members of which only some are there, as a value in the record tells (Rust's enumerations).
    pub variants: Option<Variants>,
}

/// A part of a record.
#[derive(Debug, PartialEq)]
pub struct Member {
    /// Its name; `<Base>` for a base class; empty for a structure or union without a name.
    pub name: Rc<str>,
    /// Where it begins, in bytes from the record's beginning.
    pub offset: u64,
    /// For a bit field its first bit, counted from the record's beginning, and how many there are.
    pub bits: Option<(u64, u64)>,
    /// Its type.
    pub layout: Rc<Layout>,
}

/// Members of which only some are there.
#[derive(Debug, PartialEq)]
pub struct Variants {
    /// What tells.
    pub discriminant: Option<Box<Member>>,
    /// For each value (`None`: any other) the members.
    pub arms: Vec<(Option<u64>, Vec<Member>)>,
}
