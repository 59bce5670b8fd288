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
        // Ctrl-C belongs to the command that is on the stage; the demo goes on.
        let _interrupts = self.interactive.then(prompt::Interrupts::new);
        self.tell(&format!(
            "The night of June 2021, small. Everything below really happens, in\n  {}\n\n\
             Alice moves the chat server's database ({} messages) to a new volume. The volume is too small, \
             and the copying tool hides that. The only backup is five months old.",
            self.place.display(),
            crate::base::text::thousands(seed::MESSAGES.into())
        ));
        if self.interactive {
            self.tell(
                "You play both: Alice tonight, Bob in the morning. Each question is answered with one letter and \
                 Enter. Nothing outside that folder can be harmed, and q always leaves. It takes about three minutes.",
            );
        }
        self.evening()?;
        if self.unfinished()? && self.state()?["offer"].is_null() {
            self.scene("Sunday, 00:30. Alice is tired, and signs off.", "");
            let note = "The copy said Success. The guide's next line is the clean-up.";
            let status = self.show("alice", &["handoff", "--note", note])?;
            self.expect(status, &[Exit::Done], "the run is offered")?;
        }
        if self.unfinished()? { self.morning() } else { self.curtain() }
    }

    fn evening(&self) -> Result<(), CliError> {
        let exe = std::env::current_exe().map_err(|e| CliError::new(Exit::Failed, e))?.display().to_string();
        let (place, exe) = (format!("place={}", self.place.display()), format!("holdpoint={exe}"));
        self.scene(
            "Saturday, 23:40. Alice starts the move.",
            "You are Alice. Type g to begin each step, and read what the copying tool says. When \
                 the step is refused nevertheless, type q: it is late.",
        );
        let status = self.show("alice", &["run", "runbook.yaml", "--var", &place, "--var", &exe])?;
        if !self.interactive {
            return self.expect(status, &[Exit::Failed], "the copy's postcondition fails");
        }
        // Without the copy there is no story; but nobody is kept.
        while self.unfinished()? && self.state()?["offer"].is_null() && !self.tried("copy")? {
            if !handover::again("The copy has not been tried yet. Go on as Alice?", &self.cmd.err_style) {
                break;
            }
            self.show("alice", &["resume"])?;
        }
        Ok(())
    }

    fn morning(&self) -> Result<Exit, CliError> {
        self.scene(
            "Sunday, 09:00. Bob takes over. He knows nothing of the night.",
            "You are Bob. Read what is handed over, and acknowledge each open point with ok. \
                 Then look at the copy; q goes on with the story.",
        );
        let accepted = if self.interactive { self.bob_accepts()? } else { self.bob_accepts_unattended()? };
        if !accepted {
            return self.curtain();
        }
        let doomed = "clean-up=the old database";
        if self.unfinished()? && self.place.join("old").exists() && !self.copied()? {
            self.scene("Sunday, 09:10. The guide's next line is the clean-up. Bob tries it.", "");
            let status = self.unattended("bob", &["resume", "--confirm", doomed])?;
            self.expect(status, &[Exit::Held], "the clean-up is refused")?;
            if !self.place.join("old/homeserver.db").exists() {
                return Err(CliError::new(
                    Exit::Failed,
                    "the old database is gone although the clean-up was refused",
                ));
            }
        }
        if self.unfinished()? && !self.copied()? {
            self.scene(
                "Sunday, 09:30. The volume is made larger.",
                "You are Bob. Type r to run the copy again, and say why. Then g for each step; at the end, what goes is shown, and the text to type.",
            );
            seed::grow(&self.place).map_err(|why| CliError::new(Exit::Failed, why))?;
        }
        self.repair(doomed)
    }

    /// False when the player does not want to.
    fn bob_accepts(&self) -> Result<bool, CliError> {
        loop {
            self.show("bob", &["accept"])?;
            if self.state()?["holder"]["by"].as_str().is_some_and(|by| by.starts_with("bob@")) {
                return Ok(true);
            }
            if !self.unfinished()?
                || !handover::again("Bob has not taken the run over. Try again?", &self.cmd.err_style)
            {
                return Ok(false);
            }
        }
    }

    fn bob_accepts_unattended(&self) -> Result<bool, CliError> {
        let status = self.show("bob", &["accept"])?;
        self.expect(status, &[Exit::Waiting], "each open point wants to be acknowledged")?;
        let mut words = vec!["accept".to_owned()];
        for point in self.open_points()? {
            words.extend(["--acknowledge".to_owned(), point]);
        }
        self.scene("Bob reads the open points, and acknowledges each.", "");
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let status = self.show("bob", &words)?;
        self.expect(status, &[Exit::Done], "the lease changes hands")?;
        Ok(true)
    }

    fn repair(&self, doomed: &str) -> Result<Exit, CliError> {
        if !self.interactive {
            let reason = "the volume was full; it has room now";
            let status = self.show("bob", &["resume", "--decide", "copy=again", "--reason", reason])?;
            self.expect(status, &[Exit::Waiting], "the clean-up waits for a person")?;
            self.scene("The copy is proved, and backed up. Now Bob confirms the clean-up.", "");
            let status = self.show("bob", &["resume", "--confirm", doomed])?;
            self.expect(status, &[Exit::Done], "the run completes")?;
            return self.curtain();
        }
        let mut rounds = 0;
        while self.unfinished()? && rounds < PATIENCE {
            let offer = &self.state()?["offer"];
            // Whoever the player offered it to takes it.
            match offer.is_null() {
                true => self.show("bob", &["resume"])?,
                false => self.show(offer["to"].as_str().unwrap_or("bob"), &["accept"])?,
            };
            rounds += 1;
            if self.unfinished()?
                && !handover::again("The run is not finished. Go on with it?", &self.cmd.err_style)
            {
                break;
            }
        }
        self.curtain()
    }

    fn curtain(&self) -> Result<Exit, CliError> {
        let finished = self.phase()? == "completed";
        let gone = !self.place.join("old").exists();
        let run = self.run_id()?;
        self.scene("Anybody can check the log of the night.", "");
        let status = self.show("bob", &["verify", &run])?;
        self.expect(status, &[Exit::Done], "the journal is whole")?;
        let store = self.place.join("store").display().to_string();
        self.tell(&format!(
            "\nLook around:\n  less {}\n  holdpoint log {run} --store {}\nWhen you have seen enough:\n  rm -r {}",
            commands::quoted(&self.place.join("runbook.yaml").display().to_string()),
            commands::quoted(&store),
            commands::quoted(&self.place.display().to_string())
        ));
        if finished != gone {
            return Err(CliError::new(Exit::Failed, "the old database and the run's end do not agree"));
        }
        if !finished {
            self.tell("The run was not completed, so the old database is still there. No message was lost.");
            return Ok(if self.interactive { Exit::Done } else { Exit::Failed });
        }
        self.tell("The old database is gone, and every message is in the new one. None was lost.");
        Ok(Exit::Done)
    }

    fn tell(&self, text: &str) {
        self.cmd.print(&format!("{}\n", handover::told(text, &self.cmd.style)));
    }

    fn scene(&self, text: &str, hint: &str) {
        let hint = if self.interactive && !hint.is_empty() { format!("{hint}\n\n") } else { String::new() };
        self.cmd.print(&handover::told(&format!("\n== {text}\n\n{hint}"), &self.cmd.style));
    }

    fn command(&self, operator: &str, words: &[&str], interactive: bool) -> Result<Command, CliError> {
        let exe = std::env::current_exe().map_err(|e| CliError::new(Exit::Failed, e))?;
        let mut command = Command::new(exe);
        command.args(words).args(["--operator", operator]);
        command.env("HOLDPOINT_STORE", self.place.join("store")).current_dir(&self.place);
        if !interactive {
            command.arg("--non-interactive").stdin(Stdio::null());
        }
        Ok(command)
    }

    /// Shows a command line, runs it for real, and gives its exit status.
    fn show(&self, operator: &str, words: &[&str]) -> Result<i32, CliError> {
        self.act(operator, words, self.interactive)
    }

    /// The same, and nobody is asked anything.
    fn unattended(&self, operator: &str, words: &[&str]) -> Result<i32, CliError> {
        self.act(operator, words, false)
    }

    fn act(&self, operator: &str, words: &[&str], interactive: bool) -> Result<i32, CliError> {
        let argv: Vec<String> = ["holdpoint"].iter().chain(words).map(|w| (*w).to_owned()).collect();
        let mark = format!("{operator}$ ");
        self.cmd.print(&handover::typed(&mark, &argv, &self.cmd.style));
        let status = self.command(operator, words, interactive)?.status();
        let status =
            status.map_err(|e| CliError::new(Exit::Failed, format!("cannot start holdpoint: {e}")))?;
        let code = status.code().unwrap_or(-1);
        self.cmd.print(&format!("[exit status {code}]\n"));
        Ok(code)
    }

    fn expect(&self, status: i32, wanted: &[Exit], what: &str) -> Result<(), CliError> {
        if wanted.iter().any(|exit| i32::from(exit.status()) == status) {
            return Ok(());
        }
        Err(CliError::new(
            Exit::Failed,
            format!("the demo did not go as it should: {what}, but the status was {status}"),
        )
        .hint("this is a defect; please report it"))
    }

    fn json(&self, words: &[&str]) -> Result<Value, CliError> {
        let mut command = self.command("bob", words, false)?;
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
        let name = names
            .find_map(|entry| entry.file_name().into_string().ok().filter(|n| n.starts_with("june-2021")));
        name.ok_or_else(|| CliError::new(Exit::Failed, "the demo has no run"))
    }

    fn phase(&self) -> Result<String, CliError> {
        Ok(self.state()?["phase"].as_str().unwrap_or_default().to_owned())
    }

    fn unfinished(&self) -> Result<bool, CliError> {
        Ok(!matches!(self.phase()?.as_str(), "completed" | "abandoned"))
    }

    fn step(&self, id: &str) -> Result<Value, CliError> {
        let state = self.state()?;
        let found = state["steps"].as_array().and_then(|steps| steps.iter().find(|step| step["id"] == id));
        Ok(found.cloned().unwrap_or_default())
    }

    fn tried(&self, id: &str) -> Result<bool, CliError> {
        Ok(self.step(id)?["attempts"].as_u64().is_some_and(|n| n > 0))
    }

    fn copied(&self) -> Result<bool, CliError> {
        Ok(self.step("copy")?["status"] == "done")
    }

    fn open_points(&self) -> Result<Vec<String>, CliError> {
        let answer = self.json(&["accept"])?;
        let points = answer["open_points"].as_array().cloned().unwrap_or_default();
        Ok(points.iter().filter_map(|p| p["id"].as_str().map(str::to_owned)).collect())
    }
}
