//! The command line as types. Help texts are these doc comments.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::approve::Approval;
use super::signing::Signing;
use super::waive::Waiving;

/// Guides you through risky maintenance, measures what must be true before and after every step, and refuses to
/// destroy anything until all of it holds, now, on the right machine.
#[derive(Debug, Parser)]
#[command(name = "holdpoint", version, max_term_width = 80, disable_help_subcommand = true, after_help = EXITS)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Options that every command takes.
    #[command(flatten)]
    pub global: Global,
}

const EXITS: &str = "Exit status: 0 done, 1 a step or a check failed, 2 wrong usage or an invalid runbook, \
3 a hold point refuses, 4 waiting for a person, 5 somebody else holds the run, 6 the journal is damaged or cannot \
be written, 130 interrupted (the run can be resumed).";

/// Options that every command takes.
#[derive(Debug, Args, Clone, Default)]
pub struct Global {
    /// Folder that holds the runs [default: /var/lib/holdpoint if writable, else your state directory].
    #[arg(long, global = true, env = "HOLDPOINT_STORE", value_name = "DIR", help_heading = "Everywhere")]
    pub store: Option<String>,
    /// Your name on record; claimed, not proved [default: the user behind sudo, else the login user].
    #[arg(long, global = true, value_name = "NAME", help_heading = "Everywhere")]
    pub operator: Option<String>,
    /// Never ask anything: print what would be asked, and exit with status 4.
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub non_interactive: bool,
    /// Print state for programs.
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub json: bool,
}

/// A runbook with its values.
#[derive(Debug, Args, Clone)]
pub struct Book {
    /// The runbook.
    pub file: PathBuf,
    /// The environment, as named in the runbook.
    #[arg(long, value_name = "NAME")]
    pub env: Option<String>,
    /// A variable's value; may be given many times.
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = pair)]
    pub vars: Vec<(String, String)>,
}

/// What a person may give instead of answering a prompt.
#[derive(Debug, Args, Clone, Default)]
pub struct Answers {
    /// Answers a typed confirmation without a terminal: confirms, never waives.
    #[arg(long, value_name = "STEP=TEXT", value_parser = pair)]
    pub confirm: Vec<(String, String)>,
    /// Decides about a step that failed or is in doubt: `again` or `done`. Needs --reason.
    #[arg(long, value_name = "STEP=again|done", value_parser = pair, requires = "reason")]
    pub decide: Vec<(String, String)>,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// Commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a run and be guided through it.
    Run {
        /// The runbook.
        #[command(flatten)]
        book: Book,
        /// Answers.
        #[command(flatten)]
        answers: Answers,
        /// What was rehearsed.
        #[command(flatten)]
        rehearsed: ReceiptOptions,
        /// Keys.
        #[command(flatten)]
        signing: Signing,
    },
    /// Go on with your own run after a crash, a Ctrl-C or a dropped connection.
    Resume {
        /// The run, or the beginning of its name [default: the only unfinished one].
        run: Option<String>,
        /// Values of secret variables; they are never stored.
        #[arg(long = "var", value_name = "NAME=VALUE", value_parser = pair)]
        vars: Vec<(String, String)>,
        /// Answers.
        #[command(flatten)]
        answers: Answers,
        /// Keys.
        #[command(flatten)]
        signing: Signing,
    },
    /// Offer the run to the next operator; a running command goes on.
    Handoff {
        /// The run [default: the only unfinished one].
        run: Option<String>,
        /// What the next operator should know.
        #[arg(long)]
        note: String,
        /// To whom.
        #[arg(long, value_name = "NAME")]
        to: Option<String>,
        /// Keys.
        #[command(flatten)]
        signing: Signing,
    },
    /// Take a run over: briefing, walk-down, every open point acknowledged; then it is yours.
    Accept {
        /// The run [default: the only unfinished one].
        run: Option<String>,
        /// Acknowledges an open point without a terminal, by its id; may be given many times.
        #[arg(long, value_name = "ID")]
        acknowledge: Vec<String>,
        /// The holder is gone and has not offered the run. Needs --reason; their death is proved first.
        #[arg(long, requires = "reason")]
        take_over: bool,
        /// Values of secret variables; they are never stored.
        #[arg(long = "var", value_name = "NAME=VALUE", value_parser = pair)]
        vars: Vec<(String, String)>,
        /// Answers.
        #[command(flatten)]
        answers: Answers,
        /// Keys.
        #[command(flatten)]
        signing: Signing,
    },
    /// Where a run stands: done, running, held and by what, who holds it, what can still be undone.
    Status {
        /// The run [default: the only unfinished one].
        run: Option<String>,
        /// Keys.
        #[command(flatten)]
        signing: Signing,
    },
    /// All runs.
    Runs,
    /// Follow a run as it goes, without taking part.
    Watch {
        /// The run [default: the only unfinished one].
        run: Option<String>,
    },
    /// Put something on record.
    Note {
        /// The run.
        run: String,
        /// What.
        text: String,
    },
    /// Approve what a step would destroy, as somebody who does not drive the run: shows exactly what, and asks for its name.
    Approve {
        /// The run.
        run: String,
        /// The step.
        step: String,
        /// What is said.
        #[command(flatten)]
        said: Approval,
        /// Keys.
        #[command(flatten)]
        signing: Signing,
    },
    /// Let a run go on without one check, for a while; it is measured and shown all the same.
    Waive {
        /// The run.
        run: String,
        /// The check, by its id.
        check: String,
        /// What is decided.
        #[command(flatten)]
        how: Waiving,
        /// Keys.
        #[command(flatten)]
        signing: Signing,
    },
    /// Measure checks now: those of a runbook, or of a file of checks alone; changes nothing, and sends nothing unless
    /// told to.
    Check {
        /// The runbook, or a file with `checks` instead of `steps`.
        #[command(flatten)]
        book: Book,
        /// Only this step's checks.
        step: Option<String>,
        /// How.
        #[command(flatten)]
        options: CheckOptions,
    },
    /// Acknowledge a test page: say the code that it carried.
    Ack {
        /// Six digits.
        code: String,
    },
    /// What would happen, which checks guard which destruction, how far one can go back, and whether the disks have room.
    Plan {
        /// The runbook.
        #[command(flatten)]
        book: Book,
    },
    /// Run the whole runbook against staging, unattended: for CI. Passing gives a receipt.
    Rehearse {
        /// The runbook; --env names the environment to rehearse in.
        #[command(flatten)]
        book: Book,
        /// What is left of it.
        #[command(flatten)]
        options: RehearseOptions,
    },
    /// Find what is wrong with runbooks.
    Lint {
        /// The runbooks.
        #[arg(required_unless_present = "explain")]
        files: Vec<PathBuf>,
        /// How to print.
        #[arg(long, value_enum, default_value_t = LintFormat::Text)]
        format: LintFormat,
        /// Explain a code, with a wrong example and a right one.
        #[arg(long, value_name = "CODE", conflicts_with = "files")]
        explain: Option<String>,
    },
    /// Undo, newest first, by the steps' own rollback.
    Rollback {
        /// The run.
        run: String,
        /// The last step to be undone [default: all].
        #[arg(long, value_name = "STEP")]
        to: Option<String>,
        /// Answers the typed confirmation of an undoing that destroys without a terminal: confirms, never waives.
        #[arg(long, value_name = "STEP=TEXT", value_parser = pair)]
        confirm: Vec<(String, String)>,
        /// Decides that an undoing that did not hold, or whose end nobody saw, is run again. Needs --reason.
        #[arg(long, value_name = "STEP=again", value_parser = pair, requires = "reason")]
        decide: Vec<(String, String)>,
        /// Why.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Values of secret variables; they are never stored.
        #[arg(long = "var", value_name = "NAME=VALUE", value_parser = pair)]
        vars: Vec<(String, String)>,
        /// Keys.
        #[command(flatten)]
        signing: Signing,
    },
    /// End a run that will not be finished.
    Abandon {
        /// The run.
        run: String,
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// The handoff log.
    Log {
        /// The run [default: the only unfinished one].
        run: Option<String>,
        /// How to print.
        #[arg(long, value_enum, default_value_t = LogFormat::Text)]
        format: LogFormat,
    },
    /// Prove that a journal, or the receipt of a rehearsal, is whole.
    Verify {
        /// A run, a journal file, or a receipt.
        what: String,
        /// The head that a handoff printed: finds a cut tail or an older copy, too.
        #[arg(long, value_name = "DIGEST")]
        head: Option<String>,
        /// Keys.
        #[command(flatten)]
        signing: Signing,
    },
    /// The checks that there are; with a name, all about one.
    Checks {
        /// The check.
        name: Option<String>,
    },
    /// The JSON Schema of runbooks, for editors.
    Schema,
    /// A runbook to start from: a template, or a Markdown guide whose code blocks become steps.
    New {
        /// The template [default: minimal].
        #[arg(long, value_name = "NAME")]
        template: Option<String>,
        /// The guide: what destroys is given guards to fill in, and what only you can know is left as TODO.
        #[arg(long, value_name = "GUIDE.md", conflicts_with = "template")]
        from: Option<PathBuf>,
        /// The file to write, which must not be there yet [default: standard output].
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
        /// List the templates.
        #[arg(long, conflicts_with_all = ["template", "from", "output"])]
        list: bool,
    },
    /// Live through the night of June 2021 in a temporary folder; needs nothing but this program.
    Demo {
        /// Where to play [default: a new temporary folder, kept so that you can look around].
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// The manual page.
    Man,
    /// A rehearsal that meets a fault: a repetition of `rehearse --faults`.
    #[command(hide = true, name = "__fault")]
    Fault {
        /// What is rehearsed, and where.
        #[command(flatten)]
        book: Book,
        /// The fault, as JSON.
        #[arg(long)]
        fault: String,
        /// Afterwards: goes on undisturbed.
        #[arg(long)]
        go_on: bool,
    },
    /// A helper of the demo's own runbook.
    #[command(hide = true, name = "__demo")]
    DemoHelper {
        /// What it does.
        args: Vec<String>,
    },
}

impl Command {
    /// The keys that it was given.
    pub fn signing(&self) -> Signing {
        match self {
            Command::Run { signing, .. }
            | Command::Resume { signing, .. }
            | Command::Handoff { signing, .. }
            | Command::Accept { signing, .. }
            | Command::Status { signing, .. }
            | Command::Approve { signing, .. }
            | Command::Waive { signing, .. }
            | Command::Rollback { signing, .. }
            | Command::Verify { signing, .. } => signing.clone(),
            _ => Signing::default(),
        }
    }
}

/// The receipt of a rehearsal, where an environment asks for one.
#[derive(Debug, Args, Clone, Default)]
pub struct ReceiptOptions {
    /// The receipt of the rehearsal that this environment asks for [default: the newest that fits, in STORE/receipts].
    #[arg(long, value_name = "FILE")]
    pub receipt: Option<PathBuf>,
}

/// What a rehearsal leaves.
#[derive(Debug, Args, Clone, Default)]
pub struct RehearseOptions {
    /// Write JUnit XML here: a suite for each step, a case for each check.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write the receipt here; it is kept in the store as well.
    #[arg(long, value_name = "FILE")]
    pub receipt: Option<PathBuf>,
    /// Write a summary in Markdown here.
    #[arg(long, value_name = "FILE")]
    pub summary: Option<PathBuf>,
    /// Make each guard of a destructive step fail, in a way that is undone: a guard that cannot fail guards nothing.
    #[arg(long)]
    pub falsify: bool,
    /// Afterwards, repeat the rehearsal with one fault each: the engine killed at each record, each command failing or
    /// killed, each check unknown. Needs `reset` in the environment.
    #[arg(long)]
    pub faults: bool,
    /// Only faults of this kind; may be given several times [default: all].
    #[arg(long, value_enum, value_name = "KIND", requires = "faults")]
    pub faults_of: Vec<FaultKind>,
    /// Try at most so many faults, evenly chosen [default: 200].
    #[arg(long, value_name = "N", requires = "faults")]
    pub faults_limit: Option<usize>,
    /// Begin no more faults after this time, as in 30min.
    #[arg(long, value_name = "TIME", requires = "faults")]
    pub faults_within: Option<crate::base::Span>,
    /// Sign the receipt with this SSH key: a private key, or a .pub file whose key the agent holds.
    #[arg(long, value_name = "KEY", env = "HOLDPOINT_SIGN_KEY")]
    pub sign: Option<PathBuf>,
    /// How to print; github adds annotations and groups, and the summary where GITHUB_STEP_SUMMARY says.
    #[arg(long, value_enum, default_value_t = RehearseFormat::Text)]
    pub format: RehearseFormat,
}

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum FaultKind {
    /// The engine is killed.
    Killed,
    /// A command fails, or is killed.
    Command,
    /// A check is unknown.
    Unknown,
}

/// How `rehearse` prints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum RehearseFormat {
    /// For people and logs.
    #[default]
    Text,
    /// For GitHub Actions.
    Github,
}

/// How `check` measures and prints.
#[derive(Debug, Args, Clone)]
pub struct CheckOptions {
    /// How to print; nagios also sets the exit status of a plugin: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.
    #[arg(long, value_enum, default_value_t = CheckFormat::Text)]
    pub format: CheckFormat,
    /// Write to this file instead of standard output, all at once, so that a reader never sees half of it.
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Folder for samples that outlive this call: rates (time to full) need some. Nothing else is kept there.
    #[arg(long, value_name = "DIR")]
    pub samples: Option<PathBuf>,
    /// Let checks send what they ask for: a test page, a message. Without it nothing is sent.
    #[arg(long)]
    pub page: bool,
    /// Compare with what this run has recorded.
    #[arg(long, value_name = "RUN")]
    pub run: Option<String>,
}

/// How `check` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum CheckFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// JUnit XML, for CI.
    Junit,
    /// As a Nagios or Icinga plugin.
    Nagios,
    /// Prometheus text, for the node exporter's textfile collector.
    Prometheus,
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LintFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// Workflow commands, which GitHub shows at their lines.
    Github,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
}

/// How the log is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For a change ticket.
    Markdown,
    /// The journal itself.
    Jsonl,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}
