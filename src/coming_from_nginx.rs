//! Coming from nginx.
