//! A running instance of the real binary, in a folder and a process group of its own.
//!
//! Dropping it kills the group and makes sure that nothing of it lives on. An instance that was waited for
//! must have left nothing behind by itself.

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use serde_json::Value;

use super::{Admin, Answer, Client, Config, Finished, Folder, Mode, PATIENCE, eventually, process, within};

#[derive(Debug)]
pub(crate) struct Proxy {
    mode: Mode,
    folder: Folder,
    child: Child,
    exited: Option<ExitStatus>,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
    addr: SocketAddr,
}

impl Proxy {
    /// With the defaults of [`Config::new`].
    #[track_caller]
    pub(crate) fn new(mode: Mode) -> Self {
        Config::new(mode).start()
    }

    #[track_caller]
    pub(super) fn start(config: Config) -> Self {
        let mut child = config.command().process_group(0).spawn().expect("the binary runs");
        let stdout = collect(child.stdout.take().expect("it was asked for"));
        let stderr = collect(child.stderr.take().expect("it was asked for"));
        let addr = SocketAddr::from(([0, 0, 0, 0], 0));
        let Config { mode, folder, .. } = config;
        let mut proxy = Self { mode, folder, child, exited: None, stdout, stderr, addr };
        proxy.addr = eventually("the proxy says `listening` and `ready`", || proxy.ready_addr());
        proxy
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where it listens for clients with TLS, where that was asked for.
    #[track_caller]
    pub(crate) fn tls_addr(&self) -> SocketAddr {
        let line = self.log_line("tls=true");
        field(&line, "addr")
            .and_then(|addr| addr.parse().ok())
            .unwrap_or_else(|| panic!("no address: {line}"))
    }

    /// Its endpoint for browsers and monitoring, where that was asked for.
    #[track_caller]
    pub(crate) fn admin(&self) -> Admin {
        let line = self.log_line("listening for operators");
        let addr = field(&line, "admin").and_then(|addr| addr.parse().ok());
        Admin::new(addr.unwrap_or_else(|| panic!("no address: {line}")))
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub(crate) fn folder(&self) -> &Folder {
        &self.folder
    }

    #[track_caller]
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.addr)
    }

    /// Sends one request on a connection of its own and reads the answer.
    #[track_caller]
    pub(crate) fn exchange(&self, request: impl AsRef<[u8]>) -> Answer {
        let mut client = self.client();
        client.send_unwanted(request);
        client.answer()
    }

    /// Runs curl through it; returns what it wrote to standard output. Panics when curl fails.
    #[track_caller]
    pub(crate) fn curl(&self, arguments: &[&str]) -> String {
        let output = self.try_curl(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "curl {arguments:?}: {} {stderr}", output.status);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub(crate) fn try_curl(&self, arguments: &[&str]) -> std::process::Output {
        Command::new("curl")
            .env_clear()
            .args(["-sS", "--max-time", "30", "--noproxy", "", "-x", &self.url()])
            .args(arguments)
            .output()
            .expect("curl is installed")
    }

    /// Runs the binary with these arguments in the folder of the instance, as its operator would.
    #[track_caller]
    pub(crate) fn operate(&self, arguments: &[&str]) -> Finished {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rust-forward-proxy"));
        command.args(arguments).current_dir(self.folder.path()).env_clear().stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let (status, stdout, stderr) = run_to_end(command);
        Finished { status, stdout, stderr }
    }

    /// The launcher, or the one process there is.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The processes that serve: the launcher's children, or the one process there is.
    pub(crate) fn serving(&self) -> Vec<u32> {
        match self.mode {
            Mode::MultiProcess => process::children(self.pid()),
            Mode::SingleThreaded | Mode::MultiThreaded => vec![self.pid()],
        }
    }

    /// The same, waited for until there are `count`.
    #[track_caller]
    pub(crate) fn serving_all(&self, count: usize) -> Vec<u32> {
        eventually("all workers are there", || Some(self.serving()).filter(|pids| pids.len() == count))
    }

    pub(crate) fn signal(&self, what: Signal) {
        process::signal(self.pid(), what);
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.exited.is_none() && self.child.try_wait().is_ok_and(|status| status.is_none())
    }

    /// Waits for its end, at most `deadline`; panics when it lives on.
    #[track_caller]
    pub(crate) fn wait_exit(&mut self, deadline: Duration) -> ExitStatus {
        let mut status = None;
        within(deadline, || {
            status = self.child.try_wait().expect("it is our child");
            status.is_some()
        });
        let Some(status) = status else { panic!("still running after {deadline:?}") };
        self.exited = Some(status);
        // Its last words are in the pipe still; the reader is through when it has let go. Workers that outlive their
        // launcher hold the pipe open, and are not waited for.
        within(Duration::from_secs(5), || {
            Arc::strong_count(&self.stderr) == 1 || !process::group(self.pid()).is_empty()
        });
        status
    }

    /// TERM, and the end with status 0.
    #[track_caller]
    pub(crate) fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
        assert_eq!(self.wait_exit(PATIENCE).code(), Some(0), "{}", self.log());
    }

    /// Everything it wrote to standard error so far.
    pub(crate) fn log(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Everything it wrote to standard output so far.
    pub(crate) fn stdout(&self) -> String {
        self.stdout.lock().unwrap().clone()
    }

    /// The lines that say `message`.
    pub(crate) fn log_lines(&self, message: &str) -> Vec<String> {
        self.log().lines().filter(|line| line.contains(message)).map(str::to_owned).collect()
    }

    /// The first line that says `message`, waited for.
    #[track_caller]
    pub(crate) fn log_line(&self, message: &str) -> String {
        eventually(&format!("the log says `{message}`"), || self.log_lines(message).into_iter().next())
    }

    /// The complete lines of the access log so far.
    #[track_caller]
    pub(crate) fn access_lines(&self) -> Vec<Value> {
        let text = self.folder.read("logs/access.log");
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect()
    }

    /// The first line of the access log for which this holds, waited for.
    #[track_caller]
    pub(crate) fn access_line(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually("the access log has the line", || {
            self.access_lines().into_iter().find(|line| wanted(line))
        })
    }

    /// All lines of the access log, waited for until there are at least `count`.
    #[track_caller]
    pub(crate) fn access_lines_at_least(&self, count: usize) -> Vec<Value> {
        eventually(&format!("the access log has {count} lines"), || {
            Some(self.access_lines()).filter(|lines| lines.len() >= count)
        })
    }

    /// Everything it wrote anywhere: standard error and both log files.
    pub(crate) fn all_logs(&self) -> String {
        [self.log(), self.folder.read("logs/proxy.log"), self.folder.read("logs/access.log")].concat()
    }

    /// Where it listens, once it is ready. Its end before that is a failure of the test.
    fn ready_addr(&mut self) -> Option<SocketAddr> {
        if let Some(status) = self.child.try_wait().expect("it is our child") {
            self.exited = Some(status);
            panic!("the proxy ended before it was ready, {status}: {}", self.log());
        }
        let log = self.log();
        // Each worker says it too; it counts when the launcher does, after the last of them.
        let own = self.pid().to_string();
        log.lines().find(|line| says(line, "ready") && field(line, "pid") == Some(&own))?;
        let line = log.lines().find(|line| says(line, "listening"))?;
        field(line, "addr")?.parse().ok()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let left = if self.exited.is_some() { process::group(self.pid()) } else { Vec::new() };
        let family = process::family(self.pid());
        let _ = signal::killpg(Pid::from_raw(self.pid().cast_signed()), Signal::SIGKILL);
        let _ = self.child.wait();
        for &pid in family.iter().skip(1) {
            process::signal(pid, Signal::SIGKILL);
        }
        let gone = within(PATIENCE, || !family.iter().any(|&pid| process::is_alive(pid)));
        if thread::panicking() {
            eprintln!(
                "--- {} said:\n{}--- access log:\n{}---",
                self.mode.name(),
                self.log(),
                self.folder.read("logs/access.log")
            );
            return;
        }
        assert!(left.is_empty(), "processes outlived the instance: {left:?}");
        assert!(gone, "processes of the instance cannot be killed: {family:?}");
    }
}

/// Runs a command to its end, which must come by itself: status, standard output, standard error.
#[track_caller]
pub(super) fn run_to_end(mut command: Command) -> (ExitStatus, String, String) {
    let mut child = command.process_group(0).spawn().expect("the binary runs");
    let stdout = collect(child.stdout.take().expect("it was asked for"));
    let stderr = collect(child.stderr.take().expect("it was asked for"));
    let mut status = None;
    within(PATIENCE, || {
        status = child.try_wait().expect("it is our child");
        status.is_some()
    });
    let left = process::group(child.id());
    let _ = signal::killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL);
    let _ = child.wait();
    // The readers end when the last process that holds the pipe is gone.
    within(PATIENCE, || Arc::strong_count(&stdout) == 1 && Arc::strong_count(&stderr) == 1);
    let (stdout, stderr) = (stdout.lock().unwrap().clone(), stderr.lock().unwrap().clone());
    let Some(status) = status else { panic!("it does not end: {stdout}{stderr}") };
    assert!(left.is_empty(), "processes outlived the instance: {left:?}");
    (status, stdout, stderr)
}

/// Reads a pipe to its end, on a thread.
fn collect(pipe: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let text = Arc::new(Mutex::new(String::new()));
    let shared = Arc::clone(&text);
    thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            shared.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    });
    text
}

/// Whether the message of a log line is exactly `message`: as a word of its own, or as the JSON value.
fn says(line: &str, message: &str) -> bool {
    line.contains(&format!("\"message\":\"{message}\""))
        || line.split_whitespace().any(|word| word == message)
}

/// The value of a field of a log line, in the text form (`addr=…`) or in JSON (`"addr":"…"`).
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let at = line.find(&format!("{name}=")).map(|at| at + name.len() + 1);
    let at = at.or_else(|| line.find(&format!("\"{name}\":")).map(|at| at + name.len() + 3))?;
    let rest = line[at..].trim_start_matches('"');
    Some(rest.split([' ', '"', ',', '}']).next().unwrap_or(rest))
}
