//! Which model checker it is.

#[cfg(all(feature = "loom", not(feature = "shuttle")))]
pub use loom::{
    hint::spin_loop,
    sync::{self, Arc, atomic},
    thread,
};
#[cfg(feature = "shuttle")]
pub use shuttle::{
    hint::spin_loop,
    sync::{self, Arc, atomic},
    thread,
};
