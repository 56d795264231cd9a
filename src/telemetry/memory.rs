//! How much memory a process has.

/// Resident memory of the process `pid`, in bytes; 0 where it cannot be known.
#[must_use]
pub fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_is_more_than_nothing() {
        assert_eq!(resident(std::process::id()) > 1 << 16, cfg!(target_os = "linux"));
        assert_eq!(resident(u32::MAX), 0);
    }
}
