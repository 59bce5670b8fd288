//! The order of the night. It starts this program again and again, as people would, and shows each command line.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::seed;
use crate::cli::error::CliError;
use crate::cli::global::Cmd;
use crate::engine::Exit;
use crate::report::commands;
use crate::ui::{handover, prompt};

/// Rounds that an interactive player gets before the demo ends by itself.
const PATIENCE: u32 = 20;

/// Where the night is played.
pub struct Stage<'a> {
    cmd: &'a Cmd,
    place: PathBuf,
    interactive: bool,
}

impl<'a> Stage<'a> {
    /// A stage in a folder that is set up.
    pub fn new(cmd: &'a Cmd, place: PathBuf) -> Self {
        Stage { interactive: prompt::present(cmd.global.non_interactive), cmd, place }
    }

    /// The whole night.
    pub fn night(&self) -> Result<Exit, CliError> {
        let place = self.place.display().to_string();
        let book = self.place.join("runbook.yaml").display().to_string();
        self.tell(&format!(
            "The night of June 2021, small. Everything below really happens, in\n{place}\n\n\
             Alice moves the chat server's database ({} messages) to a new volume. The\n\
             volume is too small, and the copying tool hides that. The only backup is five\n\
             months old.",
            crate::base::text::thousands(seed::MESSAGES.into())
        ));
        if self.interactive {
            self.tell("You are Alice first, and Bob in the morning. Try to delete the old database.");
        }
        let exe = std::env::current_exe().map_err(|e| CliError::new(Exit::Failed, e))?.display().to_string();
        let (place_var, exe_var) = (format!("place={place}"), format!("holdpoint={exe}"));
        self.scene("Saturday, 23:40. Alice starts the move.");
        let status = self.show("alice", &["run", &book, "--var", &place_var, "--var", &exe_var])?;
        if !self.interactive {
            self.expect(status, &[Exit::Failed], "the copy's postcondition fails")?;
        }
        if self.state()?["offer"].is_null() && self.unfinished()? {
            self.scene("Sunday, 00:30. Alice is tired, and signs off.");
            let note = "The copy said Success. The guide's next line is the clean-up.";
            let status = self.show("alice", &["handoff", "--note", note])?;
            self.expect(status, &[Exit::Done], "the run is offered")?;
        }
        self.morning()
    }

    fn morning(&self) -> Result<Exit, CliError> {
        self.scene("Sunday, 09:00. Bob takes over. He knows nothing of the night.");
        let doomed = "clean-up=the old database";
        if self.interactive {
            self.show("bob", &["accept"])?;
        } else {
            let status = self.show("bob", &["accept"])?;
            self.expect(status, &[Exit::Waiting], "each open point wants to be acknowledged")?;
            let points = self.open_points()?;
            let mut words = vec!["accept".to_owned()];
            for point in points {
                words.extend(["--acknowledge".to_owned(), point]);
            }
            self.scene("Bob reads the open points, and acknowledges each.");
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let status = self.show("bob", &words)?;
            self.expect(status, &[Exit::Done], "the lease changes hands")?;
            self.scene("Sunday, 09:10. The guide's next line is the clean-up. Bob tries it.");
            let status = self.show("bob", &["resume", "--confirm", doomed])?;
            self.expect(status, &[Exit::Held], "the clean-up is refused")?;
            if !self.place.join("old/homeserver.db").exists() {
                return Err(CliError::new(Exit::Failed, "the old database is gone although the clean-up was refused"));
            }
        }
        self.scene("Sunday, 09:30. The volume is made larger.");
        seed::grow(&self.place).map_err(|why| CliError::new(Exit::Failed, why))?;
        self.repair(doomed)
    }

    fn repair(&self, doomed: &str) -> Result<Exit, CliError> {
        if self.interactive {
            let mut rounds = 0;
            while self.unfinished()? && rounds < PATIENCE {
                let status = self.show("bob", &["resume"])?;
                rounds += 1;
                if status != i32::from(Exit::Done.status()) && !handover::again("Go on with the demo?", &self.cmd.err_style) {
                    break;
                }
            }
        } else {
            let reason = "the volume was full; it has room now";
            let status = self.show("bob", &["resume", "--decide", "copy=again", "--reason", reason])?;
            self.expect(status, &[Exit::Waiting], "the clean-up waits for a person")?;
            self.scene("The copy is proved, and backed up. Now Bob confirms the clean-up.");
            let status = self.show("bob", &["resume", "--confirm", doomed])?;
            self.expect(status, &[Exit::Done], "the run completes")?;
        }
        self.curtain()
    }

    fn curtain(&self) -> Result<Exit, CliError> {
        let finished = !self.unfinished()?;
        let gone = !self.place.join("old").exists();
        let run = self.run_id()?;
        self.scene("Anybody can check the log of the night.");
        let status = self.show("bob", &["verify", &run])?;
        self.expect(status, &[Exit::Done], "the journal is whole")?;
        let store = self.place.join("store").display().to_string();
        self.tell(&format!(
            "The runbook:  {}\nThe whole log: holdpoint log {run} --store {}",
            self.place.join("runbook.yaml").display(),
            commands::quoted(&store)
        ));
        if finished != gone {
            return Err(CliError::new(Exit::Failed, "the old database and the run's end do not agree"));
        }
        if !finished {
            self.tell("The run is not finished; the old database is still there.");
            return Ok(if self.interactive { Exit::Done } else { Exit::Failed });
        }
        self.tell("No message was lost.");
        Ok(Exit::Done)
    }

    fn tell(&self, text: &str) {
        self.cmd.print(&format!("{text}\n\n"));
    }

    fn scene(&self, text: &str) {
        self.cmd.print(&format!("\n== {text}\n\n"));
    }

    fn command(&self, operator: &str, words: &[&str]) -> Result<Command, CliError> {
        let exe = std::env::current_exe().map_err(|e| CliError::new(Exit::Failed, e))?;
        let mut command = Command::new(exe);
        command.args(words).args(["--operator", operator]).env("HOLDPOINT_STORE", self.place.join("store"));
        if !self.interactive {
            command.arg("--non-interactive").stdin(Stdio::null());
        }
        Ok(command)
    }

    /// Shows a command line, runs it for real, and gives its exit status.
    fn show(&self, operator: &str, words: &[&str]) -> Result<i32, CliError> {
        let argv: Vec<String> = ["holdpoint"].iter().chain(words).map(|w| (*w).to_owned()).collect();
        self.cmd.print(&format!("{operator}$ {}\n", commands::line(&argv)));
        let status = self.command(operator, words)?.status();
        let status = status.map_err(|e| CliError::new(Exit::Failed, format!("cannot start holdpoint: {e}")))?;
        let code = status.code().unwrap_or(-1);
        self.cmd.print(&format!("[exit status {code}]\n"));
        Ok(code)
    }

    fn expect(&self, status: i32, wanted: &[Exit], what: &str) -> Result<(), CliError> {
        if wanted.iter().any(|exit| i32::from(exit.status()) == status) {
            return Ok(());
        }
        Err(CliError::new(Exit::Failed, format!("the demo did not go as it should: {what}, but the status was {status}"))
            .hint("this is a defect; please report it"))
    }

    fn json(&self, words: &[&str]) -> Result<Value, CliError> {
        let mut command = self.command("bob", words)?;
        if self.interactive {
            command.arg("--non-interactive");
        }
        let output = command.arg("--json").stderr(Stdio::null()).output();
        let output = output.map_err(|e| CliError::new(Exit::Failed, e))?;
        serde_json::from_slice(&output.stdout)
            .map_err(|e| CliError::new(Exit::Failed, format!("{} gave no JSON: {e}", words.join(" "))))
    }

    fn state(&self) -> Result<Value, CliError> {
        let run = self.run_id()?;
        self.json(&["status", &run])
    }

    fn run_id(&self) -> Result<String, CliError> {
        let runs: &Path = &self.place.join("store/runs");
        let mut names = std::fs::read_dir(runs).map_err(|e| CliError::new(Exit::Failed, e))?.flatten();
        let name = names.find_map(|entry| entry.file_name().into_string().ok().filter(|n| n.starts_with("june-2021")));
        name.ok_or_else(|| CliError::new(Exit::Failed, "the demo has no run"))
    }

    fn unfinished(&self) -> Result<bool, CliError> {
        let phase = self.state()?["phase"].as_str().unwrap_or_default().to_owned();
        Ok(!matches!(phase.as_str(), "completed" | "abandoned"))
    }

    fn open_points(&self) -> Result<Vec<String>, CliError> {
        let answer = self.json(&["accept"])?;
        let points = answer["open_points"].as_array().cloned().unwrap_or_default();
        Ok(points.iter().filter_map(|p| p["id"].as_str().map(str::to_owned)).collect())
    }
}
