//! The binary: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    rust_forward_proxy::launch::run(std::env::args_os())
}
