//! Accepting on the real kernel.
fn main() {}
