//! What the processes of an instance use, as the operating system tells. Nothing where it does not.

use std::fs;

use super::memory;

/// Sums over processes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Processes {
    /// CPU time, in user and kernel.
    pub cpu_seconds: f64,
    /// Resident memory. What processes share is counted for each.
    pub resident_bytes: u64,
    /// Virtual memory.
    pub virtual_bytes: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// How many file descriptors they may open.
    pub max_fds: u64,
    /// Threads.
    pub threads: u64,
    /// When the first of them began, in seconds since 1970.
    pub start_seconds: f64,
}

/// What is used of `/proc/<pid>/stat` (proc(5)); times in ticks.
struct Stat {
    cpu: u64,
    cpu_of_dead_children: u64,
    threads: u64,
    start: u64,
    virtual_bytes: u64,
}

impl Processes {
    /// Of the process `parent` and its `children`. The CPU time of children that are gone is in it, once the parent knows
    /// that they are.
    #[must_use]
    pub fn of(parent: u32, children: impl IntoIterator<Item = u32>) -> Self {
        let Some(stat) = Stat::of(parent) else { return Self::default() };
        let ticks = ticks_per_second();
        let first = Self {
            cpu_seconds: (stat.cpu + stat.cpu_of_dead_children) as f64 / ticks,
            start_seconds: booted().map_or(0.0, |booted| booted + stat.start as f64 / ticks),
            ..Self::alone(parent, &stat)
        };
        children.into_iter().fold(first, |sum, child| {
            let Some(stat) = Stat::of(child) else { return sum };
            let one = Self::alone(child, &stat);
            Self {
                cpu_seconds: sum.cpu_seconds + stat.cpu as f64 / ticks,
                resident_bytes: sum.resident_bytes + one.resident_bytes,
                virtual_bytes: sum.virtual_bytes + one.virtual_bytes,
                open_fds: sum.open_fds + one.open_fds,
                max_fds: sum.max_fds.saturating_add(one.max_fds),
                threads: sum.threads + one.threads,
                start_seconds: sum.start_seconds,
            }
        })
    }

    fn alone(pid: u32, stat: &Stat) -> Self {
        let directory = format!("/proc/{pid}/fd");
        // Newer kernels say how many there are without having them all listed, which takes its time with many of them.
        let told = fs::metadata(&directory).map_or(0, |directory| directory.len());
        let open_fds = match usize::try_from(told) {
            Ok(told @ 1..) => told,
            _ => fs::read_dir(directory).map_or(0, Iterator::count),
        };
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
        let soft = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
        Self {
            resident_bytes: memory::resident(pid),
            virtual_bytes: stat.virtual_bytes,
            open_fds: open_fds as u64,
            max_fds: soft.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0),
            threads: stat.threads,
            ..Self::default()
        }
    }
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is a name in brackets, which may hold anything.
        let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_whitespace().collect();
        // Fields are counted from 1, and the third is the first here.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu: field(14)? + field(15)?,
            cpu_of_dead_children: field(16)? + field(17)?,
            threads: field(20)?,
            start: field(22)?,
            virtual_bytes: field(23)?,
        })
    }
}

/// When the machine was started, in seconds since 1970.
fn booted() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(unix)]
fn ticks_per_second() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

#[cfg(not(unix))]
fn ticks_per_second() -> f64 {
    100.0
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn we_use_something() {
        let us = Processes::of(std::process::id(), []);
        assert!(us.resident_bytes > 1 << 16 && us.virtual_bytes > us.resident_bytes, "{us:?}");
        assert!(us.open_fds >= 3 && us.max_fds >= us.open_fds && us.threads >= 1, "{us:?}");
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!(us.start_seconds > now - 86_400.0 && us.start_seconds < now + 2.0, "{us:?} at {now}");
    }

    #[test]
    fn processes_are_summed_and_the_gone_are_left_out() {
        let pid = std::process::id();
        let (one, two) = (Processes::of(pid, []), Processes::of(pid, [pid, u32::MAX]));
        assert_eq!(two.max_fds, 2 * one.max_fds);
        assert!(two.resident_bytes > one.resident_bytes && two.threads > one.threads);
        assert_eq!(
            (two.start_seconds, Processes::of(u32::MAX, [])),
            (one.start_seconds, Processes::default())
        );
    }
}
