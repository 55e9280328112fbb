//! Stacks are large here.

/// Calls `body` where it is.
pub fn call<T>(body: impl FnOnce() -> T) -> T {
    body()
}
