//! forkmesh
#![no_std]

pub mod machine;
pub mod table;
