//! The files that hold the bytes of segments: how they are called, made, mapped and unlinked, whose they are, and whether
//! there is memory for them.

mod file;
mod free_space;
mod hugetlb;
mod name;
mod rights;

pub use file::Files;
pub use hugetlb::Homes;
pub use name::parse_name;
