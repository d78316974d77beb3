//! forkmesh
#![no_std]

#[cfg(all(target_os = "linux", not(loom)))]
pub mod channel;
pub mod machine;
#[cfg(all(target_os = "linux", not(loom)))]
pub mod run;
#[cfg(all(target_os = "linux", not(loom)))]
mod sys;
pub mod table;
pub mod wire;
