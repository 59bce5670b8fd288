//! What the program said, without a terminal and in one.

use std::process::Command;
use std::time::Duration;

use expectrl::{Expect, Regex, Session};

/// What a program said and how it ended.
pub struct Said {
    /// Exit status; `None` when a signal ended it.
    pub status: Option<i32>,
    /// The command as it would be typed, both outputs, and the exit status.
    pub text: String,
    /// Both outputs alone.
    pub output: String,
}

impl Said {
    /// Runs a command to its end. `typed` is what stands for it.
    pub fn by(command: &mut Command, typed: &str) -> Said {
        let ran = command.output().unwrap();
        let [out, err] = [&ran.stdout, &ran.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let output = format!("{out}{err}");
        let text = format!("$ {typed}\n{output}[{}]\n", ran.status);
        if std::env::var_os("HOLDPOINT_TEST_SHOW").is_some() {
            eprintln!("{text}");
        }
        Said { status: ran.status.code(), text, output }
    }

    /// Panics, showing all, unless it exited with `status`.
    #[track_caller]
    pub fn exits(self, status: i32) -> Said {
        assert_eq!(self.status, Some(status), "{}", self.text);
        self
    }

    /// The command as it would be typed, and both outputs.
    pub fn typed(&self) -> &str {
        self.text.rsplit_once("\n[").map_or(self.text.as_str(), |(text, _)| text)
    }

    /// White space may be anything: lines are wrapped.
    #[track_caller]
    pub fn says(self, wanted: &str) -> Said {
        assert!(self.flat().contains(wanted), "`{wanted}` is not in:\n{}", self.text);
        self
    }

    /// It says nothing of it.
    #[track_caller]
    pub fn says_nothing_of(self, unwanted: &str) -> Said {
        assert!(!self.flat().contains(unwanted), "`{unwanted}` is in:\n{}", self.text);
        self
    }

    fn flat(&self) -> String {
        self.text.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// A terminal with holdpoint in it.
pub struct Terminal {
    session: expectrl::session::OsSession,
}

impl Terminal {
    /// Starts a command in a terminal of its own.
    pub fn of(command: Command) -> Terminal {
        let mut session = Session::spawn(command).unwrap();
        session.set_expect_timeout(Some(Duration::from_secs(400)));
        Terminal { session }
    }

    /// Waits for a text and the prompt after it, and types.
    #[track_caller]
    pub fn answers(&mut self, after: &str, text: &str) {
        self.sees(after);
        self.types(text);
    }

    /// Types a line.
    pub fn types(&mut self, text: &str) {
        self.session.send_line(text).unwrap();
    }

    /// Waits for a text and the prompt after it.
    #[track_caller]
    pub fn sees(&mut self, after: &str) {
        let seen = self.session.expect(Regex(after)).and_then(|_| self.session.expect("\n> "));
        if let Err(error) = seen {
            let mut rest = Vec::new();
            let _ =
                self.session.expect(Regex("(?s).*")).map(|found| rest.extend_from_slice(found.as_bytes()));
            panic!("waiting for `{after}`: {error}; the screen:\n{}", String::from_utf8_lossy(&rest));
        }
    }

    /// Waits until the program has ended of itself.
    pub fn ends(mut self) {
        self.session.expect(expectrl::Eof).unwrap();
    }
}

/// The ids of the open points in what `accept --json` printed.
pub fn open_points(said: &str) -> Vec<String> {
    let start = said.find('{').expect("a JSON document");
    let document = serde_json::Deserializer::from_str(&said[start..]).into_iter::<serde_json::Value>().next();
    let document = document.unwrap().unwrap();
    let points = document["open_points"].as_array().expect("open points").clone();
    points.iter().map(|point| point["id"].as_str().unwrap().to_owned()).collect()
}
