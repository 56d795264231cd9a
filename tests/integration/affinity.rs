//! `runtime.cpu_affinity`: who serves stays on one core each, of those that the process may use.

use std::collections::BTreeMap;

use nix::sys::signal::Signal;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::support::{Config, Mode, Origin, Proxy, eventually, process};

/// The cores that this process may use, by their numbers.
fn cores() -> Vec<usize> {
    let set = sched_getaffinity(None).unwrap();
    (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect()
}

fn pinned(mode: Mode) -> Config {
    Config::new(mode).set("runtime.cpu_affinity", true)
}

/// By the index of each worker that is there, the cores it may use, as the kernel writes them.
fn by_worker(proxy: &Proxy) -> BTreeMap<usize, String> {
    let pids = proxy.serving().into_iter();
    pids.filter_map(|pid| {
        let line = process::command_line(pid);
        let (_, index) = line.rsplit_once("worker ")?;
        Some((index.parse().ok()?, process::allowed_cores(pid)))
    })
    .collect()
}

fn expected(workers: usize, cores: &[usize]) -> BTreeMap<usize, String> {
    (0..workers).map(|index| (index, cores[index % cores.len()].to_string())).collect()
}

#[test]
fn worker_i_is_on_core_i_and_there_may_be_more_workers_than_cores() {
    let cores = cores();
    let workers = cores.len() + 1;
    let proxy = pinned(Mode::MultiProcess).set("runtime.process_count", workers).start();
    let before = proxy.serving_all(workers);
    assert_eq!(by_worker(&proxy), expected(workers, &cores));
    let all = process::allowed_cores(std::process::id());
    assert_eq!(process::allowed_cores(proxy.pid()), all, "the launcher is free");
    for &worker in &before {
        let threads = process::threads(worker);
        assert!(threads.iter().all(|thread| thread.cores == process::allowed_cores(worker)), "{threads:?}");
    }
    process::signal(before[1], Signal::SIGKILL);
    eventually("another one is on the core of the one that was killed", || {
        let is_another = proxy.serving().iter().all(|pid| *pid != before[1]);
        (is_another && by_worker(&proxy) == expected(workers, &cores)).then_some(())
    });
    let origin = Origin::ok();
    for _ in 0..20 {
        proxy.exchange(origin.get("/", &[])).expect_ok("ok");
    }
}

#[test]
fn the_cores_are_those_that_the_process_may_use() {
    let last = *cores().last().unwrap();
    // Of this thread alone, which is the one that starts the instance.
    let mut only = CpuSet::new();
    only.set(last);
    sched_setaffinity(None, &only).unwrap();
    let proxy = pinned(Mode::MultiProcess).set("runtime.process_count", 2).start();
    proxy.serving_all(2);
    assert_eq!(by_worker(&proxy), expected(2, &[last]));
}

#[test]
fn each_thread_that_serves_has_a_core() {
    let cores = cores();
    let count = cores.len() + 1;
    let proxy = pinned(Mode::MultiThreaded).set("runtime.worker_threads", count).start();
    let all = process::allowed_cores(std::process::id());
    let threads = process::threads(proxy.pid());
    let serving =
        threads.iter().filter(|thread| thread.name == "worker" && (cores.len() == 1 || thread.cores != all));
    let mut found: Vec<_> = serving.map(|thread| thread.cores.clone()).collect();
    found.sort();
    let mut wanted: Vec<_> = expected(count, &cores).into_values().collect();
    wanted.sort();
    assert_eq!(found, wanted, "{threads:?}");
    proxy.exchange(Origin::ok().get("/", &[])).expect_ok("ok");
}

#[test]
fn one_thread_is_on_the_first_core() {
    let proxy = pinned(Mode::SingleThreaded).start();
    assert_eq!(process::allowed_cores(proxy.pid()), cores()[0].to_string());
    proxy.exchange(Origin::ok().get("/", &[])).expect_ok("ok");
}

#[test]
fn a_change_takes_new_workers_which_take_reloads_as_others_do() {
    let proxy = Config::new(Mode::MultiProcess)
        .set("runtime.cpu_affinity", false)
        .set("runtime.worker_threads", serde_json::Value::Null)
        .set("timeouts.connect", "9s")
        .start();
    let before = proxy.serving_all(2);
    let all = process::allowed_cores(std::process::id());
    assert!(before.iter().all(|pid| process::allowed_cores(*pid) == all));
    let text = proxy.folder().read("config.yml").replace("cpu_affinity: false", "cpu_affinity: true");
    proxy.folder().write("config.yml", &text);
    proxy.signal(Signal::SIGHUP);
    proxy.log_line("rolling restart finished");
    eventually("the old ones have gone", || {
        let now = proxy.serving();
        (now.len() == 2 && !now.iter().any(|pid| before.contains(pid))).then_some(())
    });
    assert_eq!(by_worker(&proxy), expected(2, &cores()));
    // What null means does not change with the core.
    proxy.folder().write("config.yml", text.replace("9s", "8s"));
    let reloaded = proxy.operate(&["reload"]);
    assert!(reloaded.output().contains("timeouts.connect"), "{reloaded:?}");
    assert!(proxy.log_lines("reload refused").is_empty(), "{}", proxy.log());
}

#[test]
fn who_serves_alone_is_not_moved_by_a_reload() {
    let proxy = Config::new(Mode::SingleThreaded).set("runtime.cpu_affinity", false).start();
    let text = proxy.folder().read("config.yml").replace("cpu_affinity: false", "cpu_affinity: true");
    proxy.folder().write("config.yml", text);
    proxy.signal(Signal::SIGHUP);
    assert!(proxy.log_line("reload refused").contains("runtime.cpu_affinity"), "{}", proxy.log());
}
