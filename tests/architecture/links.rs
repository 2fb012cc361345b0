//! Does every relative link in the documents lead to a file and a heading that exist?

use std::fs;
use std::path::{Path, PathBuf};

use crate::scan::{root, walk};

#[test]
fn every_link_in_the_documents_leads_somewhere() {
    let mut documents: Vec<PathBuf> = Vec::new();
    for folder in ["docs", "examples"] {
        walk(&root().join(folder), &mut |path| {
            if path.extension().is_some_and(|e| e == "md") {
                documents.push(path.to_owned());
            }
        });
    }
    let top = ["README", "ARCHITECTURE", "CONTRIBUTING", "SECURITY"];
    documents.extend(top.map(|name| root().join(format!("{name}.md"))));
    let mut links = 0;
    let mut wrong = Vec::new();
    for document in &documents {
        let text = fs::read_to_string(document).expect("a readable document");
        for target in targets(&text) {
            links += 1;
            if !exists(document, &target) {
                wrong.push(format!("{}: {target}", document.display()));
            }
        }
    }
    assert!(links > 100, "saw only {links} links");
    assert!(wrong.is_empty(), "dead links:\n{}", wrong.join("\n"));
}

#[test]
fn a_heading_has_the_anchor_that_markdown_viewers_give_it() {
    assert_eq!(anchor("## The audit log"), "the-audit-log");
    assert_eq!(anchor("### `POST /auth/login`"), "post-authlogin");
    assert_eq!(anchor("## Files, and modes"), "files-and-modes");
    let text = "[a](x.md#y), [b](https://example.org/), [c](#z)";
    assert_eq!(targets(text), ["x.md#y", "#z"]);
}

/// The targets of relative links, outside code blocks.
fn targets(text: &str) -> Vec<String> {
    let mut in_code = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        let rest = line.split("](").skip(1);
        let targets = rest.filter_map(|rest| rest.split(')').next());
        let relative = targets.filter(|t| !t.contains("://") && !t.contains(' '));
        found.extend(relative.map(str::to_owned));
    }
    found
}

fn exists(document: &Path, target: &str) -> bool {
    let (file, heading) = target.split_once('#').unwrap_or((target, ""));
    let folder = document.parent().unwrap_or(Path::new(""));
    let path = if file.is_empty() {
        document.to_owned()
    } else {
        folder.join(file)
    };
    if heading.is_empty() {
        return path.exists();
    }
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter(|line| line.starts_with('#'))
        .any(|line| anchor(line) == heading)
}

/// The anchor of a heading: lower case, blanks as dashes, other punctuation removed.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}
