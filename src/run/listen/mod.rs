//! Listeners: the sockets that clients come to.

mod listening;

pub use listening::{Listening, Sharing};
