//! argv to [`Invocation`]. No I/O.

use std::{ffi::OsString, net::IpAddr, num::NonZeroUsize, path::PathBuf};

use clap::{Parser, Subcommand};

use crate::{
    admin::{self, LevelWish},
    config::settings::MAX_PROCESSES,
};

/// An HTTP forward proxy.
#[derive(Debug, Parser)]
#[command(name = "rust-forward-proxy", version, about, disable_help_subcommand = true)]
struct Arguments {
    /// The configuration file [default: config.yml, if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where clients connect, such as 127.0.0.1:8080
    #[arg(long, global = true, value_name = "ADDR")]
    listen: Option<String>,
    /// single_threaded, multi_threaded or multi_process
    #[arg(long, global = true, value_name = "MODE")]
    mode: Option<String>,
    /// error, warn, info, debug, trace or a tracing filter
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
    #[command(subcommand)]
    command: Option<Subcommands>,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Start in the configured mode and stay in the foreground (the default)
    Run,
    /// Report every problem of the configuration, or say that it is ok
    Check {
        /// Print the configuration in force, each value with where it comes from
        #[arg(long)]
        print: bool,
        /// Whether this program can take over from one of this version
        #[arg(long, hide = true, value_name = "VERSION")]
        handover: Option<String>,
    },
    /// Say what would become of a request, and by which rule, without sending anything
    Explain(Explanation),
    /// Show how the running instance and its workers are
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
        /// Again every second
        #[arg(long)]
        watch: bool,
    },
    /// Have the running instance read its configuration again (as HUP does), and wait for the outcome
    Reload,
    /// Replace all workers one after the other (as USR2 does), and wait for the outcome
    Restart,
    /// Have this many workers (as TTIN and TTOU do), and wait for the outcome
    Scale {
        /// How many
        #[arg(value_name = "N", value_parser = number_of_workers)]
        workers: NonZeroUsize,
    },
    /// Finish what is in flight and end the running instance (as TERM does), and wait for its end
    Stop,
    /// Have the running instance open its log files again (as USR1 does)
    ReopenLogs,
    /// Have the running instance log at another level until its next start, or say at which it does
    LogLevel {
        /// A level, a filter such as info,rust_forward_proxy::net=debug, or default: what the configuration says
        level: Option<String>,
    },
    /// An authority of one's own, for hosts that are intercepted
    Ca {
        #[command(subcommand)]
        command: AuthorityCommands,
    },
    /// Read a password, from the terminal without showing it or from a pipe, and print a line for the users file
    HashPassword {
        /// Whose it is
        #[arg(value_name = "USER")]
        user: String,
    },
}

#[derive(Debug, Subcommand)]
enum AuthorityCommands {
    /// Write a new certificate and its key. Nothing that exists is overwritten
    Create(AuthorityFiles),
}

/// An authority that is to be made.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct AuthorityFiles {
    /// The file for the certificate, which clients are to trust
    #[arg(long, value_name = "FILE", default_value = "ca.pem")]
    pub cert: PathBuf,
    /// The file for the key, which its owner alone can read
    #[arg(long, value_name = "FILE", default_value = "ca-key.pem")]
    pub key: PathBuf,
    /// What the authority is called
    #[arg(long, value_name = "NAME", default_value = "rust-forward-proxy", value_parser = authority_name)]
    pub name: String,
}

/// A request that is to be explained.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct Explanation {
    /// What is fetched, such as `http://example.com/`; `https://` is a tunnel
    #[arg(value_name = "URL", required_unless_present = "connect")]
    pub url: Option<String>,
    /// A tunnel instead
    #[arg(long, value_name = "HOST:PORT", conflicts_with_all = ["url", "method"])]
    pub connect: Option<String>,
    /// How it is fetched
    #[arg(long, value_name = "METHOD", default_value = "GET")]
    pub method: String,
    /// Whom it comes from [default: this host]
    #[arg(long, value_name = "ADDRESS")]
    pub client: Option<IpAddr>,
    /// Who has logged in
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
}

fn authority_name(text: &str) -> Result<String, String> {
    let is_name =
        (1..=64).contains(&text.len()) && text.trim() == text && !text.chars().any(char::is_control);
    if is_name {
        Ok(text.to_owned())
    } else {
        Err("1 to 64 bytes without control characters are accepted".into())
    }
}

fn number_of_workers(text: &str) -> Result<NonZeroUsize, String> {
    let number = text.parse().ok().filter(|number: &NonZeroUsize| number.get() <= MAX_PROCESSES);
    number.ok_or_else(|| format!("a whole number from 1 to {MAX_PROCESSES} is accepted"))
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Have the running instance do this.
    Ask(admin::Command),
    /// Serve.
    Run,
    /// Show how the running instance is.
    Status {
        /// As JSON.
        json: bool,
        /// Again every second.
        watch: bool,
    },
    /// Look at the configuration only.
    Check {
        /// Print it.
        print: bool,
        /// The version of the hand-over that a launcher asks for who wants to be succeeded.
        handover: Option<String>,
    },
    /// Make an authority.
    CreateAuthority(AuthorityFiles),
    /// Print a line for the users file.
    HashPassword {
        /// Whose password it is.
        user: String,
    },
    /// Say what would become of a request.
    Explain(Explanation),
}

/// What the command line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// What is to be done.
    pub command: Command,
    /// The file that was named.
    pub config: Option<PathBuf>,
    /// Values for keys: key, flag, value.
    pub flags: Vec<(&'static str, &'static str, String)>,
}

/// Understands a command line, the program's name in front.
///
/// # Errors
///
/// What is wrong with it; also a wish for `--help` or `--version`, which is not an error to its reader.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, clap::Error> {
    let arguments = Arguments::try_parse_from(arguments)?;
    let command = match arguments.command {
        None | Some(Subcommands::Run) => Command::Run,
        Some(Subcommands::Check { print, handover }) => Command::Check { print, handover },
        Some(Subcommands::Explain(explanation)) => Command::Explain(explanation),
        Some(Subcommands::Status { json, watch }) => Command::Status { json, watch },
        Some(Subcommands::Reload) => Command::Ask(admin::Command::Reload),
        Some(Subcommands::Restart) => Command::Ask(admin::Command::Restart),
        Some(Subcommands::Scale { workers }) => Command::Ask(admin::Command::Scale(workers)),
        Some(Subcommands::Stop) => Command::Ask(admin::Command::Stop),
        Some(Subcommands::ReopenLogs) => Command::Ask(admin::Command::ReopenLogs),
        Some(Subcommands::LogLevel { level }) => Command::Ask(admin::Command::LogLevel(match level {
            None => LevelWish::Tell,
            Some(level) if level == "default" => LevelWish::Configured,
            Some(level) => LevelWish::Set(level),
        })),
        Some(Subcommands::Ca { command: AuthorityCommands::Create(files) }) => {
            Command::CreateAuthority(files)
        }
        Some(Subcommands::HashPassword { user }) => Command::HashPassword { user },
    };
    let flags = [
        ("listen_addr", "--listen", arguments.listen),
        ("runtime.mode", "--mode", arguments.mode),
        ("log_level", "--log-level", arguments.log_level),
    ];
    let flags = flags.into_iter().filter_map(|(key, flag, value)| Some((key, flag, value?))).collect();
    Ok(Invocation { command, config: arguments.config, flags })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Invocation, clap::Error> {
        parse(line.split(' ').map(Into::into))
    }

    #[test]
    fn commands_and_flags_in_any_order() {
        let before = parsed("p --config a.yml --listen [::1]:1 check --print").unwrap();
        let after = parsed("p check --print --listen [::1]:1 --config a.yml").unwrap();
        assert_eq!(before, after);
        assert_eq!(before.command, Command::Check { print: true, handover: None });
        assert_eq!(before.flags, [("listen_addr", "--listen", "[::1]:1".to_owned())]);
        assert_eq!(parsed("p").unwrap().command, Command::Run);
        assert_eq!(parsed("p run").unwrap().command, Command::Run);
    }

    #[test]
    fn commands_for_the_running_instance() {
        let three = NonZeroUsize::new(3).unwrap();
        assert_eq!(parsed("p scale 3").unwrap().command, Command::Ask(admin::Command::Scale(three)));
        assert_eq!(parsed("p reopen-logs").unwrap().command, Command::Ask(admin::Command::ReopenLogs));
        assert_eq!(parsed("p status --json").unwrap().command, Command::Status { json: true, watch: false });
        for line in ["p scale", "p scale 0", "p scale 257", "p scale -1", "p scale many", "p reload now"] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }

    #[test]
    fn commands_that_ask_for_something() {
        assert_eq!(
            parsed("p hash-password ann").unwrap().command,
            Command::HashPassword { user: "ann".into() }
        );
        let explained = parsed("p explain http://a/ --client 10.0.0.1 --user ann --method POST").unwrap();
        let explanation = Explanation {
            url: Some("http://a/".into()),
            connect: None,
            method: "POST".into(),
            client: Some([10, 0, 0, 1].into()),
            user: Some("ann".into()),
        };
        assert_eq!(explained.command, Command::Explain(explanation));
        assert!(parsed("p explain --connect a:443").is_ok());
        for line in [
            "p hash-password",
            "p explain",
            "p explain http://a/ --connect a:443",
            "p explain http://a/ --client a",
            "p fly",
            "p --mode",
            "p check extra",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
