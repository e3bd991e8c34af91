//! The program `highwater`: hands its arguments to [`highwater::cli`] and its result to the shell.

#![forbid(unsafe_code)]

use std::process::ExitCode;

/// Of a million series in use and gone again, glibc's allocator keeps a third more, and another third between runs.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    highwater::cli::main()
}
