//! In which order do the files of `net`, `gateway` and `process` build on each other?

use std::collections::BTreeMap;

use crate::circles::{Graph, graph, module_path};
use crate::scan::{is_test_file, read, source_files, test_only_files};

/// The files of each room, lowest first, written exactly as in ARCHITECTURE.md. A line is a label and the files
/// of one layer; it may continue on lines that are indented further. A file may need only files of earlier
/// lines, so the files of one line do not need each other.
const ROOMS: &str = "
net/
  plain values:           lifecycle peer settings tasks stream body proxy_protocol
                          connection/deadlines connection/response_watch connection/h2_tunnel
  one limit each:         slots connection_limiter connection/command connection/head_end
                          connection/handshake_queue connection/frame_progress connection/body_rate
                          connection/request_age
  sockets, upgrades:      accept listener upgrade
  inherited sockets:      inherited
  of a connection:        connection/h2_streams connection/transport
  its state:              connection/state
  all open ones:          connections
  seen from a request:    connection/handle
  trait Handler:          handler
  shared by a worker:     served
  TLS handshake:          connection/tls
  its bytes, watched:     connection/active connection/idle connection/watched_io
  how it begins:          connection/setup
  over HTTP/1.1:          connection/http1
  over HTTP/2:            connection/h2_response
  all its streams:        connection/http2
  one connection:         connection/mod
  one worker:             worker
  the room:               mod

gateway/
  plain values:           route original/gateways tunnel/frames bad_request context request_body
                          log_line
  answers and hosts:      answer/mod caller host access_log tunnel/direction
  checks of a session:    session_watch
  phases and records:     admit guard record answer/grpc via session_bound tunnel/flow
  bodies:                 original/mod answer/respond body
  more phases:            original/fuzz check tunnel/mod
  phases return it:       reply
  to the upstream:        forward
  the last phases:        upgrade api_call
  one request:            pipeline
  the room:               mod

process/
  plain values:           settings signals start/surroundings start/error start/descriptors file_modes
  parts:                  start/access_log start/pipelines start/shared admin/health redirect/target
                          reload/restart reload/upstream_certificates
  assembled:              start/sockets start/workers
  listeners, checks:      admin/mod admin/metrics redirect/mod service_manager supervisor/city_database
                          supervisor/clock
                          supervisor/store_check
  reload:                 reload/parts
  on demand:              reload/mod
  by the clock:           reload/watch
  replies to an operator: control/outcome control/view
  accounts, backups:      control/users control/imports control/backups
  sessions, records:      control/sessions control/audit
  each command:           control/operator
  the control socket:     control/mod
  without a server:       maintenance/backup maintenance/restore maintenance/stores maintenance/offline
                          maintenance/mod
  the end:                drain
  all tasks:              supervisor/mod
  for its owner:          running
  the start:              start/mod
  commands:               serve demo
  the room:               mod
";

/// One room: its files below `src`, without `.rs`, each with the line it is on.
type Room = BTreeMap<String, usize>;

/// The rooms by name. A file that occurs twice is a fault.
fn parse(text: &str) -> (BTreeMap<String, Room>, Vec<String>) {
    let mut rooms: BTreeMap<String, Room> = BTreeMap::new();
    let mut faults = Vec::new();
    let (mut room, mut line) = (String::new(), 0);
    for row in text.lines() {
        if let Some(name) = row.strip_suffix('/') {
            name.clone_into(&mut room);
            line = 0;
            continue;
        }
        let files = match row.split_once(':') {
            Some((_, files)) => {
                line += 1;
                files
            }
            None => row,
        };
        for file in files.split_whitespace() {
            let path = format!("{room}/{file}");
            let files = rooms.entry(room.clone()).or_default();
            if files.insert(path.clone(), line).is_some() {
                faults.push(format!("{path} occurs twice"));
            }
        }
    }
    (rooms, faults)
}

/// Everything in which the files differ from the picture. `files` are paths below `src`.
fn faults(text: &str, files: &[String], graph: &Graph) -> Vec<String> {
    let (rooms, mut faults) = parse(text);
    for (name, room) in &rooms {
        let prefix = format!("{name}/");
        let stems = files.iter().filter(|path| path.starts_with(&prefix));
        let stems: Vec<&str> = stems.map(|path| path.trim_end_matches(".rs")).collect();
        for stem in &stems {
            if !room.contains_key(*stem) {
                faults.push(format!("{stem} is on no line of {name}"));
            }
        }
        for stem in room.keys() {
            if !stems.contains(&stem.as_str()) {
                faults.push(format!(
                    "{stem} is on a line of {name}, but there is no such file"
                ));
            }
        }
        faults.extend(upward(room, graph));
    }
    faults
}

/// The files of a room that need a file of the same or a later line.
fn upward(room: &Room, graph: &Graph) -> Vec<String> {
    let by_module: BTreeMap<String, (&String, usize)> = room
        .iter()
        .map(|(stem, line)| (module_path(&format!("{stem}.rs")), (stem, *line)))
        .collect();
    let mut found = Vec::new();
    for (module, (stem, line)) in &by_module {
        for needed in graph.get(module).into_iter().flatten() {
            if let Some((other, below)) = by_module.get(needed)
                && below >= line
            {
                found.push(format!("{stem} (line {line}) needs {other} (line {below})"));
            }
        }
    }
    found
}

#[test]
fn a_file_of_a_room_needs_only_files_of_earlier_lines() {
    let files = source_files();
    let test_only = test_only_files(&files);
    let product: Vec<(String, String)> = files
        .into_iter()
        .filter(|(path, _)| !is_test_file(path, &test_only))
        .collect();
    let paths: Vec<String> = product.iter().map(|(path, _)| path.clone()).collect();
    let found = faults(ROOMS, &paths, &graph(&product));
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_picture_in_the_architecture_document_is_this_one() {
    let document = read("ARCHITECTURE.md");
    let section = document.split("## Inside the rooms").nth(1);
    let picture = section.and_then(|text| text.split("```").nth(1));
    let picture = picture.expect("a picture below \"## Inside the rooms\"");
    assert_eq!(picture.trim_start_matches("text").trim(), ROOMS.trim());
}

#[test]
fn planted_faults_of_a_room_are_found() {
    let files = [
        ("a/mod.rs", "mod x;\nmod y;\nmod z;"),
        ("a/x.rs", "use crate::a::y::Y;\npub struct X;"),
        (
            "a/y.rs",
            "use crate::a::z::Z;\nuse crate::b::Other;\npub struct Y;",
        ),
        ("a/z.rs", "pub struct Z;"),
        ("b.rs", "pub struct Other;"),
    ];
    let files = files.map(|(path, source)| (path.to_owned(), source.to_owned()));
    let paths = files.each_ref().map(|(path, _)| path.clone());
    let graph = graph(&files);
    let found = |text| faults(text, &paths, &graph);
    let sound = "a/\n  low: z\n  next: y\n  high: x\n    mod";
    assert_eq!(found(sound), [""; 0]);
    let upward = found("a/\n  low: y\n  high: x z mod");
    assert_eq!(upward, ["a/y (line 1) needs a/z (line 2)"]);
    let level = found("a/\n  low: z y\n  high: x mod");
    assert_eq!(level, ["a/y (line 1) needs a/z (line 1)"]);
    let missing = found("a/\n  low: z y2\n  high: y x\n  top: mod y");
    assert_eq!(
        missing,
        [
            "a/y occurs twice",
            "a/y2 is on a line of a, but there is no such file",
            "a/x (line 2) needs a/y (line 3)",
        ]
    );
    assert_eq!(
        found("a/\n  low: z y x"),
        [
            "a/mod is on no line of a",
            "a/x (line 1) needs a/y (line 1)",
            "a/y (line 1) needs a/z (line 1)"
        ]
    );
}
