//! The configuration of an instance that will run, by key path, and the runs that end by themselves.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fmt::Write as _,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
};

use serde_json::Value;

use super::{Folder, Proxy};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    SingleThreaded,
    MultiThreaded,
    MultiProcess,
}

#[derive(Debug)]
pub(crate) struct Config {
    pub(super) mode: Mode,
    root: BTreeMap<String, Node>,
    text: Option<String>,
    env: Vec<(String, String)>,
    args: Vec<String>,
    wrapper: Vec<String>,
    binary: Option<PathBuf>,
    pub(super) folder: Folder,
}

/// What a run that ended by itself left.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

#[derive(Debug)]
enum Node {
    Section(BTreeMap<String, Self>),
    Value(Value),
}

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SingleThreaded => "single_threaded",
            Self::MultiThreaded => "multi_threaded",
            Self::MultiProcess => "multi_process",
        }
    }
}

impl Config {
    /// Any free port, two workers where there are several, the pseudonym `px`.
    pub(crate) fn new(mode: Mode) -> Self {
        Self::empty(mode)
            .set("listen_addr", "127.0.0.1:0")
            .set("runtime.mode", mode.name())
            .set("runtime.process_count", 2)
            .set("runtime.worker_threads", 2)
            .set("forwarding.via", "px")
            .set("admin.listen_addr", Value::Null)
    }

    /// The endpoint for browsers and monitoring, on any free port.
    pub(crate) fn with_admin(self) -> Self {
        self.set("admin.listen_addr", "127.0.0.1:0")
    }

    /// Sets nothing in this section.
    pub(crate) fn unset(mut self, section: &str) -> Self {
        self.root.remove(section);
        self
    }

    /// Nothing set, and no file until something is.
    pub(crate) fn empty(mode: Mode) -> Self {
        Self {
            mode,
            root: BTreeMap::new(),
            text: None,
            env: Vec::new(),
            args: Vec::new(),
            wrapper: Vec::new(),
            binary: None,
            folder: Folder::new(),
        }
    }

    /// Sets the key at `path`, its parts joined by dots.
    pub(crate) fn set(mut self, path: &str, value: impl Into<Value>) -> Self {
        let mut parts: Vec<_> = path.split('.').collect();
        let last = parts.pop().expect("a path has a part");
        let mut section = &mut self.root;
        for part in parts {
            let node = section.entry(part.to_owned()).or_insert_with(|| Node::Section(BTreeMap::new()));
            let Node::Section(inner) = node else { panic!("{path}: a value is in the way") };
            section = inner;
        }
        section.insert(last.to_owned(), Node::Value(value.into()));
        self
    }

    /// One process that serves, in every mode: for what one worker keeps to itself, such as its pool.
    pub(crate) fn one_worker(self) -> Self {
        self.set("runtime.process_count", 1)
    }

    /// A client on this host is treated as any other, but may reach loopback.
    pub(crate) fn without_bypass(self) -> Self {
        self.set("access.local_client_bypass", false).set("access.destinations.allow", vec!["127.0.0.0/8"])
    }

    /// This text is the file, whatever was set.
    pub(crate) fn text(mut self, text: &str) -> Self {
        self.text = Some(text.to_owned());
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn arg(mut self, argument: &str) -> Self {
        self.args.push(argument.to_owned());
        self
    }

    /// Another program that becomes the binary: the binary and its arguments are its last arguments.
    pub(crate) fn wrapped_in(mut self, program: &[&str]) -> Self {
        self.wrapper = program.iter().map(|part| (*part).to_owned()).collect();
        self
    }

    /// A copy of the binary in the folder runs, which can be replaced while it does.
    pub(crate) fn with_own_binary(mut self) -> Self {
        let path = self.folder.path().join("rust-forward-proxy");
        copy(Path::new(env!("CARGO_BIN_EXE_rust-forward-proxy")), &path);
        self.binary = Some(path);
        self
    }

    /// A further file beside `config.yml`.
    pub(crate) fn file(self, name: &str, text: &str) -> Self {
        self.folder.write(name, text);
        self
    }

    /// Where it will run.
    pub(crate) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Starts it and waits until it is ready.
    #[track_caller]
    pub(crate) fn start(self) -> Proxy {
        Proxy::start(self)
    }

    /// Runs it to its end, which must come by itself.
    #[track_caller]
    pub(crate) fn run(&self) -> Finished {
        let (status, stdout, stderr) = super::proxy::run_to_end(self.command());
        Finished { status, stdout, stderr }
    }

    /// The command in the folder, the file written, no variables but those that were set here.
    pub(super) fn command(&self) -> Command {
        if let Some(text) = self.yaml() {
            self.folder.write("config.yml", text);
        }
        let built = Path::new(env!("CARGO_BIN_EXE_rust-forward-proxy"));
        let binary = self.binary.as_deref().unwrap_or(built).as_os_str();
        let mut words = self.wrapper.iter().map(OsStr::new).chain([binary]);
        let mut command = Command::new(words.next().expect("there is the binary"));
        command
            .args(words)
            .args(&self.args)
            .current_dir(self.folder.path())
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn yaml(&self) -> Option<String> {
        if self.text.is_some() {
            return self.text.clone();
        }
        let mut text = String::new();
        write_section(&self.root, 0, &mut text);
        (!text.is_empty()).then_some(text)
    }
}

impl Finished {
    #[track_caller]
    pub(crate) fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("ended by a signal: {self:?}"))
    }

    /// Everything it said.
    pub(crate) fn output(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// Copies a program. By another process: a file that is open for writing cannot be executed, and a child that another thread
/// starts at the wrong moment would have our descriptor for a while.
#[track_caller]
pub(crate) fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg(from).arg(to).status().expect("there is cp");
    assert!(status.success(), "there is no room for a copy");
}

fn write_section(section: &BTreeMap<String, Node>, depth: usize, text: &mut String) {
    for (key, node) in section {
        let indent = "  ".repeat(depth);
        match node {
            // Scalars and lists of JSON are YAML too.
            Node::Value(value) => writeln!(text, "{indent}{key}: {value}").expect("a string grows"),
            Node::Section(inner) => {
                writeln!(text, "{indent}{key}:").expect("a string grows");
                write_section(inner, depth + 1, text);
            }
        }
    }
}
