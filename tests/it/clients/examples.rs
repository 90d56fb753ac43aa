//! Programs of the documentation, word for word: each runs, and prints the output that the text describes.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use super::{driver::DEADLINE, faulty_link::FaultyLink, hub_that_pings_often, install, load::one_of_each, web};
use crate::support::TestHub;

fn page(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect(name)
}

/// Returns the section of docs/PROTOCOL.md whose heading ends with `title`.
pub fn section(title: &str) -> String {
    let page = page("docs/PROTOCOL.md");
    let heading = page
        .lines()
        .find(|line| line.starts_with("## ") && line.ends_with(title));
    let (_, section) = page
        .split_once(heading.expect("the section is there"))
        .expect("the heading is in the page");
    section.split("\n## ").next().unwrap_or_default().to_owned()
}

/// Returns the fenced blocks of a language.
pub fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    text.split(&fence)
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect()
}

/// Writes the only block of a language to a file beside the packages that it imports, and returns the path. Tests that
/// run at the same time write the same file, so the file appears whole.
pub fn program(folder: &Path, text: &str, language: &str, file: &str) -> PathBuf {
    let found = blocks(text, language);
    assert_eq!(found.len(), 1, "there is one program in {language}");
    let examples = folder.join("examples");
    fs::create_dir_all(&examples).expect("the build folder can be written");
    let path = examples.join(file);
    let mut whole = tempfile::NamedTempFile::new_in(&examples).expect("the build folder can be written");
    std::io::Write::write_all(&mut whole, found[0].as_bytes()).expect("the build folder can be written");
    whole.persist(&path).expect("the build folder can be written");
    path
}

/// Program that runs against a hub, behind a link that can be cut.
struct Running {
    hub: TestHub,
    link: FaultyLink,
    session: String,
    lines: Lines<BufReader<ChildStdout>>,
    printed: Vec<String>,
    _process: Child,
}

impl Running {
    /// Starts a program on a session with a node called `Root`, at `seq` 2.
    async fn start(command: &mut Command) -> Self {
        let hub = hub_that_pings_often().await;
        let session = hub.session().await;
        hub.create_node(&session, None, "Root").await;
        let link = FaultyLink::to(&hub.url).await;
        let command = command.arg(&session).env("HUB_URL", &link.url);
        let mut process = command
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts");
        let stdout = process.stdout.take().expect("piped");
        Self {
            hub,
            link,
            session,
            lines: BufReader::new(stdout).lines(),
            printed: Vec::new(),
            _process: process,
        }
    }

    async fn line(&mut self) -> String {
        let Ok(line) = timeout(DEADLINE, self.lines.next_line()).await else {
            unreachable!("the program prints no more after {:#?}", self.printed);
        };
        let line = line.expect("the program prints text");
        let line = line.unwrap_or_else(|| unreachable!("the program ended after {:#?}", self.printed));
        self.printed.push(line.clone());
        line
    }

    async fn rename(&self, node: &str, name: &str) {
        let data = json!({"node_id": node, "property_id": "name", "new_value": name});
        self.hub.execute(&self.session, "UpdateProperty", data).await.ok();
    }
}

/// Returns the outline of nodes, in the format of the documentation.
fn outline(nodes: &Value) -> String {
    let one = |node: &Value| {
        let (name, below) = (node["name"].as_str().expect("a name"), outline(&node["children"]));
        if below.is_empty() {
            name.to_owned()
        } else {
            format!("{name}({below})")
        }
    };
    nodes
        .as_array()
        .expect("a list")
        .iter()
        .map(one)
        .collect::<Vec<_>>()
        .join(", ")
}

/// Asserts that a program prints outlines of the first graph, of live events, of the events missed while its connection
/// was cut, and of every type of command.
async fn assert_prints_outlines(command: &mut Command) {
    let mut running = Running::start(command).await;
    assert_eq!(running.line().await, "2: Root");
    let root = running.hub.graph(&running.session).await["roots"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    running.hub.create_node(&running.session, Some(&root), "Child").await;
    assert_eq!(running.line().await, "4: Root(Child)");

    running.link.cut();
    running.rename(&root, "Phase").await;
    running.hub.create_node(&running.session, None, "Other").await;
    running.link.release();
    assert_eq!(running.line().await, "6: Phase(Child)", "missed changes come as events");
    assert_eq!(running.line().await, "8: Phase(Child), Other");

    one_of_each(&running.hub, &running.session).await;
    let read = running
        .hub
        .get(&format!("/sessions/{}/graph", running.session))
        .await
        .ok();
    let last = format!("{}: {}", read["seq"], outline(&read["graph"]["roots"]));
    while running.line().await != last {}
}

#[tokio::test]
async fn javascript_example_prints_outlines() {
    let path = program(install::node(), &section("Client examples"), "js", "outline.mjs");
    assert_prints_outlines(Command::new("node").arg(path)).await;
}

/// The TypeScript example passes the strict checks of the compiler, and prints outlines.
#[tokio::test]
async fn typescript_example_prints_outlines() {
    let folder = install::node();
    let path = program(folder, &section("Client examples"), "ts", "outline.ts");
    let compiler = folder.join("node_modules/typescript/bin/tsc");
    let options = ["--strict", "--target", "es2022", "--module", "nodenext"];
    let mut check = Command::new("node");
    // The compiler looks for the types of node from the working directory upwards.
    check
        .arg(compiler)
        .args(options)
        .arg(&path)
        .current_dir(folder.join("examples"));
    let checked = check.output().await.expect("node is installed");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    assert_prints_outlines(Command::new("node").arg(path.with_extension("js"))).await;
}

/// The quick start prints the tree with its own node at once, and again after commands of other clients.
#[tokio::test]
async fn quick_start_prints_outlines() {
    web::built().await;
    let path = program(install::web(), &page("docs/CLIENTS.md"), "js", "quick.mjs");
    let mut running = Running::start(Command::new("node").arg(path).stderr(Stdio::null())).await;
    assert_eq!(running.line().await, "Root");
    assert_eq!(running.line().await, "Root, Mine");
    // The program printed the outline before the hub had the node.
    let path = format!("/sessions/{}/graph?min_seq=4", running.session);
    running.hub.get(&path).await.ok();
    running.link.cut();
    running.hub.create_node(&running.session, None, "Theirs").await;
    running.link.release();
    while running.line().await != "Root, Mine, Theirs" {}
}

#[tokio::test]
async fn python_example_prints_outlines() {
    let folder = install::python();
    let path = program(folder, &section("Client examples"), "python", "outline.py");
    assert_prints_outlines(Command::new(folder.join(".venv/bin/python")).arg(path)).await;
}

/// The ten lines of the README print the graph, then each event, also the missed ones.
#[tokio::test]
async fn readme_example_prints_each_event() {
    let path = program(install::node(), &page("README.md"), "js", "watch.mjs");
    let mut running = Running::start(Command::new("node").arg(path)).await;
    let graph = running.hub.graph(&running.session).await;
    let line = running.line().await;
    let printed: Value = serde_json::from_str(line.strip_prefix("graph ").expect(&line)).expect(&line);
    assert_eq!(printed, graph);

    let node = running.hub.create_node(&running.session, None, "Seen").await;
    running.link.cut();
    running
        .hub
        .execute(&running.session, "DeleteNode", json!({"node_id": node}))
        .await
        .ok();
    running.link.release();
    let events = running
        .hub
        .get(&format!("/sessions/{}/events?after=2", running.session))
        .await
        .ok();
    let events = events["events"].as_array().expect("a list");
    assert_eq!(events.len(), 4);
    for event in events {
        let line = running.line().await;
        let (name, data) = line.split_once(' ').expect(&line);
        assert_eq!(name, event["event"]);
        assert_eq!(serde_json::from_str::<Value>(data).expect(data), event["data"]);
    }
}

/// The client of all other tests has the same lines as each listing of the documentation.
#[test]
fn documented_client_equals_the_tested_one() {
    let driver = page("tests/clients/driver.mjs");
    let mut shown = 0;
    for page in [page("README.md"), page("docs/PROTOCOL.md")] {
        for block in blocks(&page, "js")
            .into_iter()
            .filter(|block| block.lines().any(|line| line == "let pos = {};"))
        {
            let client = block
                .lines()
                .skip_while(|line| !line.starts_with("socket.on(\"session:sync\""));
            let client: Vec<&str> = client.take_while(|line| !line.contains("connect_error")).collect();
            assert_eq!(client.len(), 4, "{block}");
            for line in client {
                assert!(
                    driver.lines().any(|of_driver| of_driver.trim() == line.trim()),
                    "only in the text: {line}"
                );
            }
            shown += 1;
        }
    }
    assert!(shown > 0, "the ten lines are shown");
}
