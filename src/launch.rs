//! Loads the configuration, decides the role of this process, and maps what fails to an exit code. The only file that
//! sees both halves: those who supervise and those who serve.

use std::{
    env,
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
};

use clap::error::ErrorKind;

#[cfg(not(unix))]
use crate::control::notify::Notifier;
use crate::{
    admin::Doors,
    cli::{self, Command, Invocation},
    config::{self, Loaded, Problems, Sources, settings::Mode, show},
    net::listen::{ListenError, listen},
    telemetry::diagnostics,
    worker::{self, WorkerError},
};
#[cfg(unix)]
use crate::{control::privileges::PrivilegesError, supervisor::handover};

mod authority;
mod explain;
#[cfg(unix)]
mod ground;
mod hash_password;
mod network;
#[cfg(unix)]
mod operate;

/// What another launcher has left to this process.
#[cfg(unix)]
type Inherited = Option<handover::Estate>;
#[cfg(not(unix))]
type Inherited = Option<()>;

/// Exit codes (CONTRACT section 4).
mod code {
    pub(super) const OK: u8 = 0;
    pub(super) const FAILURE: u8 = 1;
    #[cfg(unix)]
    pub(super) const NO_WORKERS: u8 = 3;
    pub(super) const COMMAND_LINE: u8 = 64;
    pub(super) const ADDRESS: u8 = 69;
    pub(super) const INTERNAL: u8 = 70;
    pub(super) const NOT_PERMITTED: u8 = 77;
    pub(super) const CONFIGURATION: u8 = 78;
}

/// Why the program ends otherwise than as asked.
struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    fn new(code: u8, error: impl std::fmt::Display) -> Self {
        Self { code, text: error.to_string() }
    }
}

impl From<ListenError> for Failure {
    fn from(error: ListenError) -> Self {
        Self::new(if error.is_forbidden() { code::NOT_PERMITTED } else { code::ADDRESS }, error)
    }
}

impl From<worker::AffinityError> for Failure {
    fn from(error: worker::AffinityError) -> Self {
        Self::new(code::FAILURE, error)
    }
}

impl From<WorkerError> for Failure {
    fn from(error: WorkerError) -> Self {
        Self::new(
            if matches!(error, WorkerError::Assemble(_)) { code::CONFIGURATION } else { code::FAILURE },
            error,
        )
    }
}

/// Runs the program with these arguments, its name in front.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    die_of_panics();
    #[cfg(unix)]
    if let Some((index, channel)) = assigned::channel() {
        return conclude(assigned::run(index, channel));
    }
    match cli::parse(arguments) {
        Ok(invocation) => conclude(obey(&invocation)),
        Err(error) => {
            let is_wish = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            // Nobody is left to be told when the terminal is gone.
            let _ = error.print();
            ExitCode::from(if is_wish { code::OK } else { code::COMMAND_LINE })
        }
    }
}

fn conclude(result: Result<u8, Failure>) -> ExitCode {
    match result {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            tracing::error!("{}", failure.text);
            if !tracing::event_enabled!(tracing::Level::ERROR) {
                let _ = writeln!(io::stderr(), "rust-forward-proxy: {}", failure.text);
            }
            ExitCode::from(failure.code)
        }
    }
}

fn obey(invocation: &Invocation) -> Result<u8, Failure> {
    let command = match &invocation.command {
        Command::HashPassword { user } => return hash_password::run(user),
        Command::CreateAuthority(files) => return authority::create(files),
        #[cfg(not(unix))]
        Command::Ask(_) | Command::Status { .. } => {
            let text = "this system has no unix sockets, over which an instance is spoken to";
            return Err(Failure::new(code::COMMAND_LINE, text));
        }
        command => command,
    };
    let sources = Sources {
        file: invocation.config.clone(),
        text: None,
        files: None,
        environment: environment(),
        flags: invocation.flags.clone(),
    };
    #[cfg(unix)]
    match command {
        Command::Ask(command) => return operate::command(command, &sources),
        Command::Status { json, watch } => return operate::status(*json, *watch, &sources),
        _ => {}
    }
    #[cfg(unix)]
    let inherited = handover::receive(&sources.environment).map_err(|error| {
        Failure::new(code::INTERNAL, format!("what the last launcher has left cannot be taken over: {error}"))
    })?;
    #[cfg(not(unix))]
    let inherited = None::<()>;
    let mut loaded =
        config::load(&sources).map_err(|problems| Failure::new(code::CONFIGURATION, problems))?;
    if let Command::Explain(explanation) = command {
        let memory = explain::memory(&loaded.settings);
        return explain::run(explanation, &loaded, memory);
    }
    if let Command::Check { print, handover } = command {
        #[cfg(unix)]
        if let Some(version) = handover
            && *version != handover::version()
        {
            let text = format!(
                "cannot take over: the hand-over is of version {version}, this program's of {}",
                handover::version()
            );
            return Err(Failure::new(code::FAILURE, text));
        }
        #[cfg(not(unix))]
        let _ = handover;
        config::examine(&loaded).map_err(|problems| Failure::new(code::CONFIGURATION, problems))?;
        loaded.notices.extend(config::outlook(&loaded).1);
        #[cfg(unix)]
        match ground::identity(&loaded.settings) {
            // Whether it may be assumed is for the one to find out who starts the instance.
            Ok(_) | Err(PrivilegesError::NotRoot(_)) => {}
            Err(error) => return Err(error.into()),
        }
        let text = if *print { show::show(&loaded) } else { "configuration ok\n".into() };
        let notices: String = loaded.notices.iter().map(|notice| format!("note: {notice}\n")).collect();
        let _ = io::stderr().write_all(notices.as_bytes());
        return io::stdout()
            .write_all(text.as_bytes())
            .map(|()| code::OK)
            .map_err(|error| Failure::new(code::FAILURE, error));
    }
    // A service that begins with a certificate that has expired is of more use than none.
    let (problems, notices) = config::outlook(&loaded);
    loaded.notices.extend(problems.0.iter().map(ToString::to_string).chain(notices));
    start(loaded, &sources, inherited)
}

/// The environment, as text. A name that is no text is nothing that we know; a value that is none is refused by the configuration.
fn environment() -> Vec<(String, String)> {
    env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
        .collect()
}

fn start(loaded: Loaded, sources: &Sources, inherited: Inherited) -> Result<u8, Failure> {
    #[cfg(not(unix))]
    let _ = inherited;
    let settings = &loaded.settings;
    #[cfg(unix)]
    let ground = ground::Ground::lay(settings, &sources.environment)?;
    #[cfg(unix)]
    if settings.runtime.mode == Mode::MultiProcess {
        // The threads that begin here, the log's writer first, inherit it and never take a signal. Only the thread that
        // supervises does, once it listens: what it holds back while it is succeeded is then delivered nowhere else.
        crate::control::signals::hold().map_err(|error| Failure::new(code::FAILURE, error))?;
    }
    if settings.runtime.mode == Mode::SingleThreaded && settings.runtime.cpu_affinity {
        worker::pin(0)?;
    }
    let diagnostics = diagnostics::init(&settings.logging, &settings.log_level, None)
        .map_err(|error| Failure::new(code::CONFIGURATION, error))?;
    for notice in &loaded.notices {
        tracing::warn!("{notice}");
    }
    #[cfg(unix)]
    ground.notices(settings);
    raise_file_limit(settings.limits.max_connections);
    if settings.runtime.mode == Mode::MultiProcess {
        #[cfg(unix)]
        return supervise(loaded, diagnostics, sources, ground, inherited);
        #[cfg(not(unix))]
        tracing::warn!(
            threads = settings.runtime.process_count,
            "this system cannot hand sockets to worker processes: one process with as many threads serves instead"
        );
    }
    #[cfg(unix)]
    let mut listeners = ground.inherited;
    #[cfg(unix)]
    let own = listeners.is_empty();
    #[cfg(not(unix))]
    let own = true;
    #[cfg(not(unix))]
    let mut listeners = Vec::new();
    if own {
        let backlog = settings.listen.backlog.get();
        for address in settings.listen_addr.iter().chain(&settings.tls.listen_addr) {
            listeners.append(&mut listen(*address, 1, backlog)?);
        }
    }
    let addresses = listeners.iter().map(std::net::TcpListener::local_addr).collect::<io::Result<Vec<_>>>();
    let addresses = addresses.map_err(|error| Failure::new(code::FAILURE, error))?;
    let tls = if own {
        addresses[settings.listen_addr.len()..].to_vec()
    } else {
        addresses.into_iter().filter(|address| settings.tls.listen_addr.contains(address)).collect()
    };
    let doors = Doors {
        network: network::network(&loaded)?,
        #[cfg(unix)]
        socket: ground::socket(settings)?,
    };
    #[cfg(unix)]
    ground::settle(ground.identity.as_ref())?;
    let alone = worker::Alone {
        loaded,
        listeners,
        tls,
        diagnostics,
        doors,
        #[cfg(unix)]
        notifier: ground.notifier,
        #[cfg(not(unix))]
        notifier: Notifier,
    };
    worker::run_alone(alone, || reload(sources))?;
    Ok(code::OK)
}

/// Loads the configuration again. What could not be written to is noticed before anything is changed.
fn reload(sources: &Sources) -> Result<Loaded, Problems> {
    let mut loaded = config::load(sources)?;
    config::examine(&loaded)?;
    loaded.notices.extend(config::outlook(&loaded).1);
    Ok(loaded)
}

#[cfg(unix)]
fn supervise(
    loaded: Loaded,
    diagnostics: diagnostics::Diagnostics,
    sources: &Sources,
    ground: ground::Ground,
    inherited: Inherited,
) -> Result<u8, Failure> {
    use crate::supervisor::{self, Ending, Instance, Sockets, Start};
    let slots = loaded.settings.runtime.process_count.get();
    let start = match inherited {
        Some(estate) => Start::Inherited(Box::new(estate)),
        None => {
            let sockets = if ground.inherited.is_empty() {
                Sockets::bind(&loaded.settings, slots)?
            } else {
                Sockets::adopt(&loaded.settings, ground.inherited)
                    .map_err(|error| Failure::new(code::ADDRESS, error))?
            };
            let network = network::network(&loaded)?;
            Start::Anew { sockets, doors: Doors { network, socket: ground::socket(&loaded.settings)? } }
        }
    };
    let notifier = ground.notifier;
    let flags = sources.flags.iter().map(|(key, _, value)| ((*key).to_owned(), value.clone())).collect();
    let identity = ground.identity;
    let load = || {
        let loaded = reload(sources)?;
        if let Some(identity) = &identity {
            ground::give_logs(identity, &loaded.settings)?;
        }
        Ok(loaded)
    };
    let arguments = env::args_os().collect();
    let check = checking(sources);
    let instance = Instance { loaded, flags, start, diagnostics, notifier, load, arguments, check };
    match supervisor::run(instance) {
        Ok(Ending::Stopped) => Ok(code::OK),
        Ok(Ending::FirstStartFailed(status)) => Ok(status
            .and_then(|status| u8::try_from(status).ok())
            .filter(|status| *status != 0)
            .unwrap_or(code::FAILURE)),
        Ok(Ending::NoWorkers) => Ok(code::NO_WORKERS),
        Err(error) => Err(Failure::new(code::FAILURE, error)),
    }
}

/// The arguments that have another program check whether it can succeed this launcher.
#[cfg(unix)]
fn checking(sources: &Sources) -> Vec<OsString> {
    let mut arguments = Vec::new();
    if let Some(file) = &sources.file {
        arguments.extend(["--config".into(), file.clone().into_os_string()]);
    }
    for (_, flag, value) in &sources.flags {
        arguments.extend([OsString::from(flag), value.into()]);
    }
    arguments.extend(["check".into(), "--handover".into(), handover::version().into()]);
    arguments
}

/// A worker, which gets everything from its launcher.
#[cfg(unix)]
mod assigned {
    use std::{fs::File, net::TcpListener};

    use super::{Failure, Loaded, Problems, Sources, code, config, diagnostics, environment, ground, worker};
    use crate::{
        control::{Configuration, Order, channel::Channel},
        shared_memory::Segment,
    };

    /// The channel to the launcher and the slot's index, in a process that is a worker.
    pub(super) fn channel() -> Option<(usize, Channel)> {
        let index = std::env::var("PROXY_PROCESS_INDEX").ok()?.parse().ok()?;
        Some((index, Channel::of_this_process().ok()?))
    }

    pub(super) fn run(index: usize, mut channel: Channel) -> Result<u8, Failure> {
        let broken = |error: &dyn std::fmt::Display| {
            Failure::new(code::INTERNAL, format!("the launcher's order cannot be understood: {error}"))
        };
        let order = channel.receive().map_err(|error| broken(&error))?;
        let Order::Assign(assignment) = order else { return Err(broken(&"it is no assignment")) };
        let loaded = load(&assignment.configuration)
            .map_err(|problems| Failure::new(code::CONFIGURATION, problems))?;
        let settings = &loaded.settings;
        ground::settle(ground::identity(settings)?.as_ref())?;
        if settings.runtime.cpu_affinity {
            worker::pin(index)?;
        }
        let diagnostics = diagnostics::init(&settings.logging, &settings.log_level, Some(index))
            .map_err(|error| Failure::new(code::CONFIGURATION, error))?;
        if let Some(level) = &assignment.log_level {
            diagnostics.wish_level(Some(level)).map_err(|error| broken(&error))?;
        }
        let memory = channel.descriptors(1).pop().map(File::from);
        let memory = memory.ok_or_else(|| broken(&"there is no memory with it"))?;
        let segment = Segment::open(&memory).map_err(|error| broken(&error))?;
        let seat = segment.seat(assignment.seat).ok_or_else(|| broken(&"there is no such seat"))?;
        let listeners: Vec<_> =
            channel.descriptors(assignment.sockets).into_iter().map(TcpListener::from).collect();
        if listeners.len() != assignment.sockets {
            return Err(broken(&"there are fewer sockets with it than it says"));
        }
        let (addresses, tls) = (assignment.listeners, assignment.tls);
        let assigned = worker::Assigned { index, loaded, addresses, tls, listeners, seat, channel };
        worker::run_assigned(assigned, diagnostics, load)?;
        Ok(code::OK)
    }

    /// Understands a configuration as the launcher did: the same text, flags and environment.
    fn load(configuration: &Configuration) -> Result<Loaded, Problems> {
        let flags = configuration.flags.iter().filter_map(|(key, value)| {
            let flags =
                [("listen_addr", "--listen"), ("runtime.mode", "--mode"), ("log_level", "--log-level")];
            let (key, flag) = flags.into_iter().find(|(known, _)| known == key)?;
            Some((key, flag, value.clone()))
        });
        config::load(&Sources {
            file: None,
            text: Some(configuration.file.clone().unwrap_or_default()),
            files: Some(configuration.files.clone()),
            environment: environment(),
            flags: flags.collect(),
        })
    }
}

/// Every connection needs a descriptor, and one more for its origin.
#[cfg(unix)]
fn raise_file_limit(max_connections: u32) {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let limit = if setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft };
    let needed = u64::from(max_connections) * 2;
    if limit < needed {
        tracing::warn!(
            limit,
            needed,
            "the limit of open files of a process is too low for limits.max_connections: raise it (ulimit -n, LimitNOFILE)"
        );
    }
}

#[cfg(not(unix))]
fn raise_file_limit(_: u32) {}

/// A panic is a defect: it is logged and ends the process, so that it is seen and a launcher can replace it. What a panic
/// left half done is not served on. One in the task of a connection ends that connection only: nobody may take others down by
/// what he sends.
fn die_of_panics() {
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(%panic, "internal error");
        if crate::server::is_contained() {
            return;
        }
        let _ = writeln!(io::stderr(), "rust-forward-proxy: internal error: {panic}");
        #[expect(
            clippy::exit,
            clippy::disallowed_methods,
            reason = "the end of the process is what is wanted"
        )]
        std::process::exit(i32::from(code::INTERNAL));
    }));
}
