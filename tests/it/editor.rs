//! What an editor shows: the schema explains every key, and the YAML language server completes, explains and marks with it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use holdpoint::lint;
use holdpoint::runbook::schema;
use serde_json::{Value, json};

use crate::harness::{Need, Registry, Sandbox, npm};

pub fn register(r: &mut Registry) {
    r.add("editor::everything_in_the_schema_is_explained", &[], explained);
    r.add("editor::the_language_server_knows_runbooks", &[Need::YamlLs], server);
}

/// Every property has words of its own or of its type, every check too, and every word of a list.
fn explained() {
    let schema = schema::schema(&lint::catalogue());
    let mut wrong = Vec::new();
    let mut seen = 0;
    look(&schema, "", &schema, &mut wrong, &mut seen);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 500, "{seen} properties");
    for (name, check) in schema["$defs"]["Check"]["properties"].as_object().unwrap() {
        let at = resolved(&schema, check);
        assert!(words(at) > 20, "the check {name} is not explained");
    }
    // Values that people have to write in a certain way come with examples.
    for name in ["Duration", "Size"] {
        let def = &schema["$defs"][name];
        assert!(
            def["examples"].as_array().is_some_and(|all| !all.is_empty()),
            "{name} has no examples: {def}"
        );
    }
    // Defaults that are values are in the schema.
    let defaults = [("Step", "rerun", json!("ask")), ("Variable", "secret", json!(false))];
    for (def, key, value) in defaults {
        assert_eq!(schema["$defs"][def]["properties"][key]["default"], value, "{def}.{key}");
    }
}

fn words(schema: &Value) -> usize {
    schema["description"].as_str().map_or(0, str::len)
}

fn resolved<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str().and_then(|to| to.strip_prefix("#/$defs/")) {
        Some(name) => &root["$defs"][name],
        None => schema,
    }
}

fn look(root: &Value, path: &str, schema: &Value, wrong: &mut Vec<String>, seen: &mut usize) {
    match schema {
        Value::Object(map) => {
            for (key, value) in map {
                let path = format!("{path}/{key}");
                if let (true, Value::Object(all)) = (key == "properties", value) {
                    for (name, property) in all {
                        *seen += 1;
                        if words(property) == 0 && words(resolved(root, property)) == 0 {
                            wrong.push(format!("{path}/{name} has no description"));
                        }
                    }
                }
                if let (true, Value::Array(choices)) = (key == "enum", value) {
                    let told = map.get("description").is_some();
                    let plain = *value == json!(["true", "false"]);
                    if choices.len() > 1 && !told && !plain {
                        wrong.push(format!("{path}: {value} is not explained"));
                    }
                }
                if let (true, Value::Array(choices)) = (key == "oneOf", value) {
                    for choice in choices.iter().filter(|choice| choice.get("const").is_some()) {
                        if words(choice) == 0 {
                            wrong.push(format!("{path}: {} is not explained", choice["const"]));
                        }
                    }
                }
                look(root, &path, value, wrong, seen);
            }
        }
        Value::Array(items) => {
            for (nth, item) in items.iter().enumerate() {
                look(root, &format!("{path}/{nth}"), item, wrong, seen);
            }
        }
        _ => {}
    }
}

/// The language server, spoken to over its standard input and output.
struct Server {
    child: Child,
    input: ChildStdin,
    messages: Receiver<Value>,
    next: u64,
    diagnostics: Vec<(String, Value)>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const LIMIT: Duration = Duration::from_secs(600);

impl Server {
    fn start(root: &Path) -> Server {
        let program = npm().join("node_modules/yaml-language-server/bin/yaml-language-server");
        let mut child = Command::new("node")
            .arg(program)
            .arg("--stdio")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            let mut output = BufReader::new(output);
            loop {
                let (mut length, mut line) = (0, String::new());
                loop {
                    line.clear();
                    if output.read_line(&mut line).unwrap_or(0) == 0 {
                        return;
                    }
                    if line.trim().is_empty() {
                        break;
                    }
                    if let Some(value) = line.strip_prefix("Content-Length:") {
                        length = value.trim().parse().unwrap();
                    }
                }
                let mut body = vec![0; length];
                if output.read_exact(&mut body).is_err()
                    || sender.send(serde_json::from_slice(&body).unwrap()).is_err()
                {
                    return;
                }
            }
        });
        let mut server = Server { child, input, messages, next: 0, diagnostics: Vec::new() };
        let uri = format!("file://{}", root.display());
        server.ask(
            "initialize",
            json!({ "processId": null, "rootUri": uri, "workspaceFolders": [{ "uri": uri, "name": "books" }],
                    "capabilities": { "textDocument": { "hover": { "contentFormat": ["markdown"] },
                        "completion": { "completionItem": { "documentationFormat": ["markdown"] } } } } }),
        );
        server.tell("initialized", json!({}));
        server.tell("workspace/didChangeConfiguration", json!({ "settings": { "yaml": SETTINGS.clone() } }));
        server
    }

    fn send(&mut self, message: &Value) {
        let body = message.to_string();
        write!(self.input, "Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        self.input.flush().unwrap();
    }

    fn tell(&mut self, method: &str, params: Value) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let id = self.next;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        self.until(|message| {
            (message["id"] == id && message.get("method").is_none()).then(|| message["result"].clone())
        })
    }

    /// Reads until a message is what is waited for; answers what the server asks meanwhile.
    fn until(&mut self, wanted: impl Fn(&Value) -> Option<Value>) -> Value {
        let end = Instant::now() + LIMIT;
        loop {
            let message = self
                .messages
                .recv_timeout(end.saturating_duration_since(Instant::now()))
                .expect("the language server answers");
            if message["method"] == "textDocument/publishDiagnostics" {
                let params = &message["params"];
                self.diagnostics
                    .push((params["uri"].as_str().unwrap().to_owned(), params["diagnostics"].clone()));
            }
            if message.get("method").is_some() && message.get("id").is_some() {
                let result = match message["method"].as_str() {
                    Some("workspace/configuration") => {
                        let items = message["params"]["items"].as_array().unwrap();
                        let settings = items.iter().map(|item| match item["section"].as_str() {
                            Some("yaml") => SETTINGS.clone(),
                            _ => json!({}),
                        });
                        Value::Array(settings.collect())
                    }
                    _ => Value::Null,
                };
                self.send(&json!({ "jsonrpc": "2.0", "id": message["id"], "result": result }));
            }
            if let Some(found) = wanted(&message) {
                return found;
            }
        }
    }

    /// Opens a document and waits for what is wrong with it.
    fn open(&mut self, name: &str, text: &str) -> (String, Value) {
        let uri = format!("file:///books/{name}");
        let document = json!({ "uri": uri, "languageId": "yaml", "version": 1, "text": text });
        self.diagnostics.clear();
        self.tell("textDocument/didOpen", json!({ "textDocument": document }));
        let own = uri.clone();
        let found = self.until(move |message| {
            let params = &message["params"];
            let here =
                message["method"] == "textDocument/publishDiagnostics" && params["uri"] == own.as_str();
            here.then(|| params["diagnostics"].clone())
        });
        (uri, found)
    }

    fn at(&mut self, method: &str, uri: &str, text: &str, mark: &str, into: usize) -> Value {
        let offset = text.find(mark).unwrap_or_else(|| panic!("{mark}")) + into;
        let line = text[..offset].matches('\n').count();
        let column = offset - text[..offset].rfind('\n').map_or(0, |at| at + 1);
        self.ask(
            method,
            json!({ "textDocument": { "uri": uri }, "position": { "line": line, "character": column } }),
        )
    }

    /// What is offered in a place.
    fn offered(&mut self, uri: &str, text: &str, mark: &str, into: usize) -> Vec<(String, String)> {
        let found = self.at("textDocument/completion", uri, text, mark, into);
        let items = found.get("items").unwrap_or(&found).as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().or(value["value"].as_str()).unwrap_or_default().to_owned();
        items.iter().map(|item| (text(&item["label"]), text(&item["documentation"]))).collect()
    }
}

/// The schema is found by the line in the file itself, as docs/editors.md says.
static SETTINGS: std::sync::LazyLock<Value> = std::sync::LazyLock::new(|| {
    json!({ "validate": true, "hover": true, "completion": true, "schemaStore": { "enable": false },
            "schemas": {}, "format": { "enable": false } })
});

fn server() {
    let sandbox = Sandbox::new();
    let schema = sandbox.run(&["schema"]).exits(0).stdout;
    let schema = sandbox.write("holdpoint.schema.json", &schema);
    let head = format!("# yaml-language-server: $schema=file://{}\n", schema.display());
    let mut server = Server::start(sandbox.path());

    // Nothing is wrong with what ships.
    let books = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("runbooks");
    let mut seen = 0;
    for entry in std::fs::read_dir(books).unwrap() {
        let path = entry.unwrap().path();
        let text = format!("{head}{}", std::fs::read_to_string(&path).unwrap());
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let (_, found) = server.open(&name, &text);
        assert_eq!(found, json!([]), "{name}");
        seen += 1;
    }
    assert!(seen >= 3);
    for template in &holdpoint::cli::draft::TEMPLATES {
        let (_, found) = server.open(template.name, &format!("{head}{}", template.text));
        assert_eq!(found, json!([]), "{}", template.name);
    }
    // Values that the program takes: a variable for a number, a number for a text.
    let text = format!(
        "{head}holdpoint: 1\nname: x\nvars: {{ port: {{ default: 5432 }}, yes: {{ default: true }} }}\nsteps:\n  - id: a\n    \
         run: [sleep, 5]\n    env: {{ PORT: 5432 }}\n    changes: ${{yes}}\n    postconditions:\n      - command: {{ run: [a], \
         stdout: {{ at_least: \"${{port}}\" }} }}\n"
    );
    sandbox.write("loose.yaml", &text);
    sandbox.run(&["lint", "loose.yaml"]).exits(0);
    let (_, found) = server.open("loose.yaml", &text);
    assert_eq!(found, json!([]), "what lint takes, the editor takes");

    // A wrong key, a value that its key does not take, a check that does not exist.
    let text = format!(
        "{head}holdpoint: 1\nname: x\nsteps:\n  - id: a\n    precondition: []\n    run: [\"true\"]\n    rerun: often\n    \
         postconditions:\n      - disk_fre: {{ path: / }}\n"
    );
    let (_, found) = server.open("wrong.yaml", &text);
    let lines: Vec<u64> =
        found.as_array().unwrap().iter().map(|one| one["range"]["start"]["line"].as_u64().unwrap()).collect();
    for line in [5, 7, 9] {
        assert!(lines.contains(&line), "line {line} is marked: {found}");
    }

    // What a key means.
    let text = format!(
        "{head}holdpoint: 1\nname: x\nsteps:\n  - id: a\n    destroys: {{ what: x, paths: [/x] }}\n    timeout: 1h\n    preconditions:\n      \
         - disk_free: {{ path: /, at_least: 15% }}\n      - \n    run: [\"true\"]\n    \n"
    );
    let (uri, _) = server.open("right.yaml", &text);
    for (mark, into, says) in [
        ("destroys:", 2, "destructive"),
        ("timeout:", 2, "longest the work may take"),
        ("disk_free:", 2, "has room"),
        ("at_least:", 2, "available"),
        ("preconditions:", 2, "before the step begins"),
    ] {
        let hover = server.at("textDocument/hover", &uri, &text, mark, into);
        let shown = hover["contents"]["value"].as_str().or(hover["contents"].as_str()).unwrap_or_default();
        assert!(shown.contains(says), "{mark} {hover}");
    }

    // What can stand in a place: keys of a step, names of checks, words of a key.
    let end = text.len() - 1;
    let keys = server.offered(&uri, &text, &text[end - 4..], 4);
    for key in ["postconditions", "rollback", "guide", "capture"] {
        let found = keys.iter().find(|(label, _)| label == key).unwrap_or_else(|| panic!("{key}: {keys:?}"));
        assert!(found.1.len() > 10, "{key} is explained: {keys:?}");
    }
    assert!(!keys.iter().any(|(label, _)| label == "ssh"), "{keys:?}");
    let checks = server.offered(&uri, &text, "      - \n", 8);
    for check in ["data_matches", "backup_fresh", "pg_query"] {
        assert!(checks.iter().any(|(label, _)| label == check), "{check}: {checks:?}");
    }
    assert!(checks.len() >= holdpoint::check::registry::all().count(), "{} checks", checks.len());
}
