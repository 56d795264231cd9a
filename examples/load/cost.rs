//! What a process and all that descend from it have used.

use std::{collections::HashMap, fs, io, time::Duration};

use nix::{
    time::{clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};

/// A process and its descendants.
#[derive(Debug)]
pub(crate) struct Family(Vec<u32>);

impl Family {
    /// As they are now.
    pub(crate) fn of(root: u32) -> io::Result<Self> {
        let mut children = HashMap::<u32, Vec<u32>>::new();
        for entry in fs::read_dir("/proc")? {
            let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // One that has ended since has no parent any more.
            if let Some(parent) = parent(pid) {
                children.entry(parent).or_default().push(pid);
            }
        }
        let mut family = vec![root];
        let mut next = 0;
        while let Some(parent) = family.get(next) {
            family.extend(children.get(parent).into_iter().flatten());
            next += 1;
        }
        Ok(Self(family))
    }

    /// CPU time of all threads, user and system, those that have ended included, in seconds. Exact: /proc counts in
    /// hundredths, which is too rough for a second of a proxy that has little to do.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let time = |pid: &u32| {
            let clock = clock_getcpuclockid(Pid::from_raw(pid.cast_signed())).ok()?;
            Some(Duration::from(clock_gettime(clock).ok()?).as_secs_f64())
        };
        self.0.iter().filter_map(time).sum()
    }

    /// Memory in KiB; what is shared counts in shares.
    pub(crate) fn memory_kib(&self) -> u64 {
        let memory = |pid: &u32| {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
            line.trim().trim_end_matches(" kB").parse::<u64>().ok()
        };
        self.0.iter().filter_map(memory).sum()
    }
}

fn parent(pid: u32) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything.
    text.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
