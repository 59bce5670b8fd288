//! Every code that a problem can carry, with one line each. Codes are stable: one that is no longer used is not reused.

/// Code and what it stands for.
pub const CODES: &[(&str, &str)] = &[
    ("HP000", "a defect in Holdpoint itself"),
    ("HP001", "the file is too large"),
    ("HP002", "the file is not UTF-8 text"),
    ("HP003", "a character that a reviewer cannot see"),
    ("HP004", "not valid YAML"),
    ("HP005", "a part of YAML that two readers may read in two ways"),
    ("HP006", "a key that is written twice"),
    ("HP007", "two YAML readers disagree"),
    ("HP010", "a key that does not exist"),
    ("HP011", "a key that is missing"),
    ("HP012", "a value of the wrong kind"),
    ("HP013", "a key that this version does not support"),
    ("HP014", "a value that its key does not take"),
    ("HP015", "a key without a value"),
    ("HP020", "a check that does not exist"),
    ("HP021", "a check that is not a map with one key"),
    ("HP022", "a step or rollback without exactly one kind of work, or steps beside checks"),
    ("HP023", "a name that is there twice"),
    ("HP024", "a step that does not exist or does not come later"),
    ("HP025", "a target that does not exist"),
    ("HP026", "a recorded manifest that does not exist by then"),
    ("HP027", "a variable that does not exist or has no value by then"),
    ("HP028", "a variable where none can be used"),
    ("HP029", "a secret that would be seen"),
    ("HP030", "a variable without a value"),
    ("HP031", "a variable with a value that cannot be used"),
    ("HP032", "a --var that fits no variable"),
    ("HP033", "an environment that does not exist"),
    ("HP034", "a variable name that means something to a shell"),
    ("HP035", "a target of no kind or of two"),
    ("HP036", "room that is neither taken nor given back, or both"),
    ("HP040", "a destructive step relies on a step that is not verified"),
    ("HP041", "an advisory check cannot guard destruction"),
    ("HP042", "a destructive step, or undoing, without a guard"),
    ("HP043", "nothing proves another copy of the data that goes"),
    ("HP044", "what goes cannot be measured"),
    ("HP045", "a destructive step cannot be repeated without asking"),
    ("HP046", "`until` has a meaning for postconditions only"),
    ("HP047", "`on_violation` and `every` have a meaning for invariants only"),
    ("HP048", "a soak that watches nothing"),
    ("HP049", "invariants that nothing would measure"),
    ("HP050", "a step that destroys what it creates"),
    ("HP051", "a key that has no effect in this step"),
    ("HP052", "a value that would become code"),
    ("HP053", "destruction that is not declared"),
    ("HP054", "a check whose parameters do not fit together"),
    ("HP055", "a comparison of something with itself"),
    ("HP056", "a space that is none to a shell"),
    ("HP057", "a number of rows that cannot be met, or not be counted"),
    ("HP060", "a changing step without a postcondition"),
    ("HP061", "a command without a time limit"),
    ("HP062", "a value that becomes part of an SQL text"),
    ("HP063", "what runs cannot be read, so it counts as destruction"),
    ("HP064", "a pipe in which a failure is not noticed"),
    ("HP065", "psql goes on after an error"),
    ("HP066", "pg_restore goes on after an error"),
    ("HP067", "sqlite3 goes on after an error"),
    ("HP068", "something is called harmless that is not there"),
    ("HP069", "something is called harmless that never is"),
    ("HP070", "a destructive step that no backup guards"),
    ("HP071", "a watch that measures less often than it lasts"),
    ("HP072", "a soak that is longer than anybody watches"),
    ("HP073", "a secret in plain text"),
    ("HP074", "a variable that is named like a secret and is none"),
    ("HP075", "a place that is still to be filled in"),
    ("HP076", "a postcondition that outlives what it measures"),
    ("HP077", "waiting where nothing is waited for, or for too short or too long a time"),
    ("HP080", "approvals or a change window that would have no effect"),
    ("HP081", "a change window that makes no sense, or never opens"),
    ("HP083", "a hook that may take too long"),
    ("HP085", "a rehearsal where nothing may be rehearsed"),
];

/// Codes of problems that are warnings: shown, and the run goes on. All others are errors, or either, as their pages say.
const WARNINGS: [&str; 11] =
    ["HP060", "HP061", "HP062", "HP064", "HP065", "HP066", "HP067", "HP070", "HP072", "HP074", "HP076"];

/// True when a code is never more than a warning.
pub fn is_warning(code: &str) -> bool {
    WARNINGS.contains(&code)
}

/// True when the place of a problem is a secret, which nobody may draw.
pub fn covers(code: &str) -> bool {
    code == "HP073"
}

/// What a code stands for.
pub fn meaning(code: &str) -> Option<&'static str> {
    CODES.iter().find(|(known, _)| *known == code).map(|(_, meaning)| *meaning)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::CODES;

    /// The codes that the sources use.
    fn used() -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let src = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut folders = vec![src];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.file_name().is_some_and(|name| name != "codes.rs") {
                    let text = std::fs::read_to_string(&path).unwrap();
                    let codes = text.match_indices("\"HP").filter_map(|(at, _)| text.get(at + 1..at + 7));
                    found.extend(codes.filter_map(|code| code.strip_suffix('"')).map(str::to_owned));
                }
            }
        }
        found
    }

    #[test]
    fn every_code_is_explained_and_every_explanation_used() {
        let known: BTreeSet<String> = CODES.iter().map(|(code, _)| (*code).to_owned()).collect();
        assert_eq!(known.len(), CODES.len(), "no code twice");
        assert_eq!(used(), known);
    }
}
