//! What /proc says about processes: parents, groups, command lines, memory, open files.

use std::{
    fs,
    sync::{Mutex, MutexGuard, PoisonError},
};

use nix::{
    sys::{
        resource::{Resource, getrlimit, setrlimit},
        signal::{self, Signal},
    },
    unistd::Pid,
};

/// The living children of `parent`, in the order of their numbers.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    living().into_iter().filter(|process| process.parent == parent).map(|process| process.pid).collect()
}

/// The living processes of a process group.
pub(crate) fn group(leader: u32) -> Vec<u32> {
    living().into_iter().filter(|process| process.group == leader).map(|process| process.pid).collect()
}

/// `root` and all that descend from it.
pub(crate) fn family(root: u32) -> Vec<u32> {
    let all = living();
    let mut family = vec![root];
    let mut next = 0;
    while let Some(&parent) = family.get(next) {
        family.extend(all.iter().filter(|process| process.parent == parent).map(|process| process.pid));
        next += 1;
    }
    family
}

/// Whether the process exists and is more than a zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    stat(pid).is_some()
}

/// Sends a signal; a process that is gone already is no error.
pub(crate) fn signal(pid: u32, what: Signal) {
    let _ = signal::kill(Pid::from_raw(pid.cast_signed()), what);
}

/// The arguments, joined by blanks, as `ps` shows them.
pub(crate) fn command_line(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let arguments: Vec<_> = bytes.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    arguments.join(" ").trim_end().to_owned()
}

/// Leave to open thousands of files, for one test at a time, up to this many in the whole process.
#[derive(Debug)]
pub(crate) struct ManyFiles {
    pub(crate) limit: u64,
    _turn: MutexGuard<'static, ()>,
}

/// Raises this process's soft limit of open files to the hard one and waits for its turn.
pub(crate) fn many_files() -> ManyFiles {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit can be asked");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("up to the hard limit is allowed");
    ManyFiles { limit: hard, _turn: turn }
}

/// Resident memory in bytes.
pub(crate) fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a living process has a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a process has memory");
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("VmRSS is a number of kB");
    kilobytes * 1024
}

/// The cores that the first thread of a process may use, as the kernel writes them: `0-1`.
pub(crate) fn allowed_cores(pid: u32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status_field(&status, "Cpus_allowed_list").to_owned()
}

/// A thread.
#[derive(Debug)]
pub(crate) struct Thread {
    pub(crate) name: String,
    /// As [`allowed_cores`].
    pub(crate) cores: String,
}

/// The threads of a process.
pub(crate) fn threads(pid: u32) -> Vec<Thread> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("a living process has threads");
    let statuses = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok());
    let thread = |status: String| Thread {
        name: status_field(&status, "Name").to_owned(),
        cores: status_field(&status, "Cpus_allowed_list").to_owned(),
    };
    statuses.map(thread).collect()
}

fn status_field<'a>(status: &'a str, name: &str) -> &'a str {
    let mut fields = status.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(known, _)| *known == name).map_or("", |(_, value)| value.trim())
}

/// The number of open file descriptors.
pub(crate) fn open_files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Those of them that are sockets: pipes are kept by a thread for the next bodies that need one.
pub(crate) fn open_sockets(pid: u32) -> usize {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    files
        .filter(|file| fs::read_link(file.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:")))
        .count()
}

struct Stat {
    pid: u32,
    parent: u32,
    group: u32,
}

fn living() -> Vec<Stat> {
    let mut all: Vec<Stat> = fs::read_dir("/proc")
        .expect("/proc is mounted")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(stat)
        .collect();
    all.sort_by_key(|process| process.pid);
    all
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, so the fields are counted from its end.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(Stat { pid, parent, group })
}
