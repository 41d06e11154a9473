//! Seccomp: Docker's profile format, its default profile, and compiling profiles to programs for the kernel.
//!
//! `default.json` lists which system calls Docker's default profile permits, for the architectures that this engine
//! runs on. Installing a program is the shim's.

mod compile;
mod profile;

pub(crate) use compile::{compile, warm_up};
pub(crate) use profile::{default_profile, parse};
