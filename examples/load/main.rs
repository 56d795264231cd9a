//! The load of `scripts/bench.sh`: clients of a proxy, and the origin behind it, in one thread that never sleeps.
//!
//! It says on standard output, as one line of JSON, what was done in the measured time and what the proxy's processes paid for
//! it. It never sleeps because on a virtual machine it is the sender who pays for waking a sleeping peer: the proxy's figures
//! would hold the load generator's naps. Linux only. It must not know anything of the program under test.

#[cfg(target_os = "linux")]
mod clients;
#[cfg(target_os = "linux")]
mod cost;
#[cfg(target_os = "linux")]
mod measure;
#[cfg(target_os = "linux")]
mod origin;
#[cfg(target_os = "linux")]
mod poll;

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    match measure::Plan::parse(std::env::args().skip(1))
        .and_then(|plan| plan.run().map_err(|e| e.to_string()))
    {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("load: {error}\n\n{}", measure::USAGE);
            ExitCode::FAILURE
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("load: needs Linux: epoll and /proc");
    ExitCode::FAILURE
}
