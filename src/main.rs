//! The program `highwater`: hands its arguments to [`highwater::cli`] and its result to the shell.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    highwater::cli::main()
}
