//! The part of [`super::validate`] that judges single values: kinds, formats, names of things, and variables in them.

use std::borrow::Cow;

use super::draft::Draft;
use super::limits::{EVENT_NAMES, is_event_name};
use super::names::listed;
use super::rules::{Format, Kinds, Rule};
use super::source::first_line;
use super::subst::{self, Piece};
use super::tree::{Core, Node, core};
use super::validate::{Mode, Slot, Walk, name_help};
use crate::base::text::nearest;
use crate::base::{Size, Span};
use crate::problem::Problem;

/// What a judged text is to become.
enum Picked {
    Text,
    Bool(bool),
    Int(i64),
    Float(f64),
    Core,
}

/// Why a text does not fit: code, end of the sentence that begins with the key's name, advice.
struct Complaint(&'static str, String, Option<String>);

impl Walk<'_> {
    /// A single value that one of `rules` must take.
    pub(super) fn scalar<'n>(
        &mut self,
        node: &Node,
        text: &'n str,
        plain: bool,
        rules: &[&Rule],
        slot: &Slot<'_>,
    ) -> Draft<'n> {
        let script = rules.iter().any(|rule| rule.format == Some(Format::Script));
        if script || !text.contains("${") {
            return self.finish(node, text.into(), plain, rules, slot, None);
        }
        let values = match self.mode {
            Mode::Names => {
                self.references(node, text, rules, slot);
                return Draft::Null;
            }
            _ if self.literal => return self.finish(node, text.into(), plain, rules, slot, None),
            Mode::Bind(values) | Mode::Lint(values) => values,
        };
        let replaced = subst::replace(text, |name| values.get(name));
        let named: Vec<&str> = names_in(text).collect();
        let open: Vec<&str> = named.iter().copied().filter(|name| values.get(name).is_none()).collect();
        let lint = matches!(self.mode, Mode::Lint(_));
        if let Some(name) = open.iter().find(|name| !values.is_pending(name)).filter(|_| !lint) {
            let range = self.reference(node, name, 0);
            self.push(Problem::error("HP030", format!("`{name}` has no value"), range).help(give(name)));
            return Draft::Null;
        }
        let unset = lint && named.iter().any(|name| values.get(name) == Some(""));
        if !open.is_empty() || unset {
            return match rules.iter().find(|rule| free(rule)) {
                Some(_) => Draft::Text(replaced),
                None => rules.first().map(|rule| stand_in(rule, replaced)).unwrap_or_default(),
            };
        }
        let plain = plain || !rules.iter().any(|rule| rule.kinds.takes(Kinds::STRING));
        let secret = named.iter().any(|name| values.is_secret(name));
        self.finish(node, replaced, plain, rules, slot, Some((&named, secret)))
    }

    /// Judges the final text. `from` names the variables in it, and says whether it is secret.
    fn finish<'n>(
        &mut self,
        node: &Node,
        text: Cow<'n, str>,
        plain: bool,
        rules: &[&Rule],
        slot: &Slot<'_>,
        from: Option<(&[&str], bool)>,
    ) -> Draft<'n> {
        let mut complaints = Vec::new();
        for rule in rules {
            // What stands in the file was judged when it was read; only what was put in is new.
            let known = from.is_none() && rules.len() == 1 && !matches!(self.mode, Mode::Names);
            match self.judge(rule, &text, plain, known) {
                Ok(_) if matches!(self.mode, Mode::Names) => return Draft::Null,
                Ok(Picked::Text) => return Draft::Text(text),
                Ok(Picked::Bool(value)) => return Draft::Bool(value),
                Ok(Picked::Int(value)) => return Draft::Int(value),
                Ok(Picked::Float(value)) => return Draft::Float(value),
                Ok(Picked::Core) => return by_core(text, plain),
                Err(complaint) => complaints.push(complaint),
            }
        }
        let several = complaints.len() > 1;
        let mut complaints = complaints.into_iter();
        let Some(Complaint(code, mut rest, mut help)) = complaints.next() else { return Draft::Null };
        if several {
            rest = format!("must be {}, but this is `{text}`", self.wanted_here(rules, slot));
            help = help.or_else(|| complaints.find_map(|complaint| complaint.2));
        }
        let mut range = node.range();
        if let Some((named, secret)) = from {
            let names = listed(named.iter().copied(), "and");
            match secret {
                false => rest = format!("{rest} (the value of {names} stands in it)"),
                true => {
                    rest = format!(
                        "must be {}, but the secret value of {names} is not",
                        self.wanted_here(rules, slot)
                    );
                    help = None;
                }
            }
            range = named.first().map_or(range, |name| self.reference(node, name, 0));
        }
        let mut problem =
            Problem::error(code, format!("{} {rest}", slot.word()), first_line(self.text, range));
        problem.help = help;
        self.push(problem);
        Draft::Null
    }

    fn judge(&self, rule: &Rule, text: &str, plain: bool, known: bool) -> Result<Picked, Complaint> {
        let kinds = rule.kinds;
        if kinds.any() && rule.choices.is_empty() && rule.format.is_none() && rule.pattern.is_none() {
            return Ok(Picked::Core);
        }
        let meaning = if plain { core(text) } else { Core::Text };
        match meaning {
            Core::Bool(value) if kinds.takes(Kinds::BOOLEAN) => return Ok(Picked::Bool(value)),
            Core::Int(value) if kinds.takes(Kinds::INTEGER) || kinds.takes(Kinds::NUMBER) => {
                return in_range(rule, value as f64, text).map(|()| Picked::Int(value));
            }
            Core::Float(value) if kinds.takes(Kinds::NUMBER) => {
                return in_range(rule, value, text).map(|()| Picked::Float(value));
            }
            _ => {}
        }
        if !kinds.takes(Kinds::STRING) {
            let found = match meaning {
                Core::Bool(_) | Core::Int(_) => format!("`{text}`"),
                _ if text.chars().count() <= 40 && !text.contains('\n') => format!("the text `{text}`"),
                _ => "a text".to_owned(),
            };
            let help = match core(text) {
                Core::Text if kinds.takes(Kinds::BOOLEAN) => Some("write `true` or `false`".to_owned()),
                Core::Bool(_) | Core::Int(_) | Core::Float(_) if !plain => {
                    Some("take the quotes away".to_owned())
                }
                _ => None,
            };
            return Err(Complaint(
                "HP012",
                format!("must be {}, but this is {found}", wanted(&[rule])),
                help,
            ));
        }
        if known {
            return Ok(Picked::Text);
        }
        self.judge_text(rule, text).map(|()| Picked::Text)
    }

    fn judge_text(&self, rule: &Rule, text: &str) -> Result<(), Complaint> {
        let fail = |rest: String, help: Option<String>| Err(Complaint("HP014", rest, help));
        if !rule.choices.is_empty() && !rule.choices.iter().any(|choice| choice == text) {
            let choices = || rule.choices.iter().map(String::as_str);
            let help = match nearest(text, choices()) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("write {}", listed(choices(), "or")),
            };
            return fail(format!("cannot be `{text}`"), Some(help));
        }
        let (least, most) = rule.length;
        if least == Some(1) && text.trim().is_empty() {
            return fail("is empty".to_owned(), None);
        }
        let length = || text.chars().count() as u64;
        if least.is_some_and(|least| length() < least) || most.is_some_and(|most| length() > most) {
            return fail(format!("has a wrong length: {} characters", length()), None);
        }
        if let Some(pattern) = rule.pattern.as_ref().filter(|pattern| !pattern.matches(text)) {
            return fail(format!("cannot be `{text}`"), Some(name_help(pattern.as_str())));
        }
        match rule.format {
            Some(Format::Size) => text.parse::<Size>().map(drop).or_else(|why| fail_with("a size", &why)),
            Some(Format::Duration) => {
                text.parse::<Span>().map(drop).or_else(|why| fail_with("a duration", &why))
            }
            Some(Format::Target | Format::Recorded | Format::Step | Format::StepFrom)
                if matches!(self.mode, Mode::Names) =>
            {
                self.judge_name(rule.format, text)
            }
            _ => Ok(()),
        }
    }

    /// Names of targets, manifests and steps.
    fn judge_name(&self, format: Option<Format>, text: &str) -> Result<(), Complaint> {
        let names = self.names;
        let unknown = |code, what: &str, known: Vec<&str>| {
            let help = match nearest(text, known.iter().copied()) {
                Some(name) => format!("did you mean `{name}`?"),
                None if known.is_empty() => format!("this runbook declares no {what}"),
                None => format!("there are {}", listed(known, "and")),
            };
            Err(Complaint(code, format!("names `{text}`, and no {what} is called that"), Some(help)))
        };
        let here = self.step.unwrap_or(0);
        match format {
            Some(Format::Target) if !names.has_target(text) => {
                unknown("HP025", "target", names.targets.iter().map(String::as_str).collect())
            }
            Some(Format::StepFrom) => match names.steps.get(text) {
                None => unknown("HP024", "step", sorted(names.steps.iter())),
                Some(at) if *at < here => {
                    Err(Complaint("HP024", format!("names `{text}`, which comes before this step"), None))
                }
                Some(_) => Ok(()),
            },
            Some(Format::Step) => match names.steps.get(text) {
                None => unknown("HP024", "step", sorted(names.steps.iter())),
                Some(at) if *at <= here => {
                    Err(Complaint("HP024", format!("names `{text}`, which is not a later step"), None))
                }
                Some(_) => Ok(()),
            },
            // Only a file of checks names a record outside of steps; which run has recorded it is said when it is measured.
            Some(Format::Recorded) if self.step.is_none() => Ok(()),
            Some(Format::Recorded) => match names.recorded.get(text) {
                None => unknown("HP026", "recorded manifest", sorted(names.recorded.iter())),
                Some(at) if *at >= here => {
                    let help = "record it in a step before this one".to_owned();
                    Err(Complaint(
                        "HP026",
                        format!("names `{text}`, which is not recorded by then"),
                        Some(help),
                    ))
                }
                Some(_) => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// Judges the variables that a text names.
    fn references(&mut self, node: &Node, text: &str, rules: &[&Rule], slot: &Slot<'_>) {
        let names = self.names;
        let format = rules.iter().find_map(|rule| rule.format);
        let mut before: Vec<&str> = Vec::new();
        for piece in subst::pieces(text) {
            let name = match piece {
                Piece::Text(_) => continue,
                Piece::Wrong(written) if format == Some(Format::Hook) && is_event_name(written) => continue,
                Piece::Wrong(written)
                    if format == Some(Format::Hook)
                        && written.starts_with("${event")
                        && written.ends_with('}') =>
                {
                    let range = subst::place(self.text, node.range(), written, 0);
                    let message = format!("an event has no `{}`", &written[2..written.len() - 1]);
                    let help = format!("there are {}", listed(EVENT_NAMES, "and"));
                    self.push(Problem::error("HP027", message, range).help(help));
                    continue;
                }
                Piece::Wrong(written) => {
                    let range = subst::place(self.text, node.range(), written, 0);
                    let message =
                        format!("`{}` is not a variable", written.lines().next().unwrap_or_default());
                    let help = "write `${name}` for a variable, or `$${` for the characters themselves";
                    self.push(Problem::error("HP028", message, range).help(help));
                    continue;
                }
                Piece::Name(name) => name,
            };
            let range = self.reference(node, name, before.iter().filter(|earlier| **earlier == name).count());
            before.push(name);
            // Names are compared as they are written: one that depends on a value could turn out to be another's.
            let names_something =
                matches!(slot.name, "id" | "as" | "capture") && rules.iter().any(|r| r.pattern.is_some());
            if self.literal
                || names_something
                || matches!(format, Some(Format::Target | Format::Recorded | Format::Step | Format::StepFrom))
            {
                let message = format!("{} cannot use a variable", slot.word());
                self.push(Problem::error("HP028", message, range).help("write the text itself"));
                continue;
            }
            let captured = names.captured.get(name);
            let here = self.step;
            if !names.has_var(name) && captured.is_none() {
                let known = names.vars.iter().chain(names.captured.keys()).map(String::as_str);
                let help = match nearest(name, known) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("declare `{name}` under `vars`"),
                };
                self.push(
                    Problem::error("HP027", format!("no variable is called `{name}`"), range).help(help),
                );
            } else if captured.is_some_and(|at| here.is_none_or(|here| *at >= here)) && !names.has_var(name) {
                let message = format!("`{name}` has no value here: it is captured by a later step");
                let message = if captured.copied() == here {
                    format!("`{name}` is captured by this very step")
                } else {
                    message
                };
                self.push(Problem::error("HP027", message, range).help("use it in the steps after that one"));
            } else if captured.is_some() && !rules.iter().any(|rule| free(rule)) {
                let message =
                    format!("{} must be {}, and a captured value is a text", slot.word(), wanted(rules));
                self.push(
                    Problem::error("HP028", message, range).help("write the value itself, or use a variable"),
                );
            } else if names.secrets.contains(name) && matches!(format, Some(Format::Argv | Format::Hook)) {
                let message = format!("the secret `{name}` would stand in the process list");
                let help =
                    format!("pass it in `env`, or use a script: there it is the environment variable {name}");
                self.push(Problem::error("HP029", message, range).help(help));
            } else if names.secrets.contains(name) && format == Some(Format::Confirmation) {
                let message = format!("the operator would have to type the secret `{name}`");
                self.push(Problem::error("HP029", message, range).help("name what goes without it"));
            }
        }
    }

    /// What is wanted, the alternatives that are no single values included.
    fn wanted_here(&self, rules: &[&Rule], slot: &Slot<'_>) -> String {
        let all: Vec<&Rule> = slot.leaves.iter().map(|at| self.rules.get(*at)).collect();
        if all.is_empty() { wanted(rules) } else { wanted(&all) }
    }

    /// Where a variable is named in a value.
    fn reference(&self, node: &Node, name: &str, nth: usize) -> std::ops::Range<usize> {
        subst::place(self.text, node.range(), &format!("${{{name}}}"), nth)
    }
}

/// The variables that a text names, in order.
pub(super) fn names_in(text: &str) -> impl Iterator<Item = &str> {
    subst::pieces(text).into_iter().filter_map(|piece| match piece {
        Piece::Name(name) => Some(name),
        _ => None,
    })
}

fn give(name: &str) -> String {
    format!("give it with --var {name}=…")
}

fn fail_with(what: &str, why: &str) -> Result<(), Complaint> {
    let (why, help) = why.split_once("; ").map_or((why, None), |(why, help)| (why, Some(help.to_owned())));
    Err(Complaint("HP014", format!("wants {what}: {why}"), help))
}

fn in_range(rule: &Rule, value: f64, text: &str) -> Result<(), Complaint> {
    let (least, most) = rule.range;
    let (above, below) = rule.between;
    if let (Some(only), true) = (least, least == most && least.is_some_and(|least| value != least)) {
        return Err(Complaint("HP014", format!("must be {only}, but this is {text}"), None));
    }
    let words = [
        least.filter(|least| value < *least).map(|least| format!("{least} or more")),
        most.filter(|most| value > *most).map(|most| format!("{most} or less")),
        above.filter(|above| value <= *above).map(|above| format!("more than {above}")),
        below.filter(|below| value >= *below).map(|below| format!("less than {below}")),
    ];
    match words.into_iter().flatten().next() {
        None => Ok(()),
        Some(must) => Err(Complaint("HP014", format!("must be {must}, but this is {text}"), None)),
    }
}

/// True when any text will do.
fn free(rule: &Rule) -> bool {
    rule.kinds.takes(Kinds::STRING)
        && rule.choices.is_empty()
        && rule.pattern.is_none()
        && !matches!(rule.format, Some(Format::Size | Format::Duration))
}

/// A value of the right kind where there is none yet.
fn stand_in<'n>(rule: &Rule, text: Cow<'n, str>) -> Draft<'n> {
    match rule.format {
        Some(Format::Size) => Draft::Text("1GiB".into()),
        Some(Format::Duration) => Draft::Text("1h".into()),
        _ if !rule.choices.is_empty() => {
            rule.choices.first().map_or(Draft::Null, |choice| Draft::Text(choice.clone().into()))
        }
        _ if rule.kinds.takes(Kinds::STRING) => Draft::Text(text),
        _ if rule.kinds.takes(Kinds::BOOLEAN) => Draft::Bool(false),
        _ => {
            let least = rule.range.0.or(rule.between.0.map(|above| above + 1.0)).unwrap_or(1.0);
            if rule.kinds.takes(Kinds::INTEGER) {
                Draft::Int(least.ceil() as i64)
            } else {
                Draft::Float(least)
            }
        }
    }
}

/// What rules take, in words: `a size such as 20GiB or a map`.
pub(super) fn wanted(rules: &[&Rule]) -> String {
    let mut words: Vec<Cow<'static, str>> = Vec::new();
    let mut add = |word: Cow<'static, str>| {
        if !words.contains(&word) {
            words.push(word);
        }
    };
    for rule in rules {
        let kinds = rule.kinds;
        match rule.format {
            Some(Format::Size) => add("a size such as 20GiB".into()),
            Some(Format::Duration) => add("a duration such as 30min".into()),
            Some(Format::Target) => add("the name of a target".into()),
            Some(Format::Recorded) => add("the name of a recorded manifest".into()),
            Some(Format::Step) => add("the id of a later step".into()),
            Some(Format::StepFrom) => add("the id of this step or a later one".into()),
            _ if !rule.choices.is_empty() => {
                add(listed(rule.choices.iter().map(String::as_str), "or").into())
            }
            _ if kinds.any() => add("a value".into()),
            _ => {
                if kinds.takes(Kinds::STRING) {
                    match rule.pattern.as_ref().map(|pattern| pattern.as_str()) {
                        Some(p) if p.contains('%') => add("a percentage such as 15%".into()),
                        Some("^/") => add("a path from the root".into()),
                        _ => add("a text".into()),
                    }
                }
                if kinds.takes(Kinds::INTEGER) {
                    add("a whole number".into());
                }
                if kinds.takes(Kinds::NUMBER) {
                    add("a number".into());
                }
                if kinds.takes(Kinds::BOOLEAN) {
                    add("true or false".into());
                }
            }
        }
        if !kinds.any() && kinds.takes(Kinds::ARRAY) {
            add("a list".into());
        }
        if !kinds.any() && kinds.takes(Kinds::OBJECT) {
            add("a map".into());
        }
    }
    match words.pop() {
        None => "a value".to_owned(),
        Some(only) if words.is_empty() => only.into_owned(),
        Some(last) => format!("{} or {last}", words.join(", ")),
    }
}

/// A value by the core rules of YAML 1.2.
pub(super) fn by_core(text: Cow<'_, str>, plain: bool) -> Draft<'_> {
    match core(&text) {
        _ if !plain => Draft::Text(text),
        Core::Null => Draft::Null,
        Core::Bool(value) => Draft::Bool(value),
        Core::Int(value) => Draft::Int(value),
        Core::Float(value) => Draft::Float(value),
        Core::Text => Draft::Text(text),
    }
}

fn sorted<'a>(names: impl Iterator<Item = (&'a String, &'a usize)>) -> Vec<&'a str> {
    let mut all: Vec<(&usize, &str)> = names.map(|(name, at)| (at, name.as_str())).collect();
    all.sort();
    all.into_iter().map(|(_, name)| name).collect()
}
