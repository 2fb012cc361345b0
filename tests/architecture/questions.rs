//! Do the answers of ARCHITECTURE.md name files that exist, and at most two each?

use crate::scan::{read, root};

/// The words in backticks of a text.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn each_of_the_twenty_questions_is_answered_by_at_most_two_files() {
    let document = read("ARCHITECTURE.md");
    let section = document.split("## Which file decides?").nth(1);
    let section = section.and_then(|rest| rest.split("\n## ").next());
    let section = section.expect("the questions");
    let mut questions = 0;
    let mut wrong = Vec::new();
    for number in 1..=20 {
        let start = format!("\n{number}. *");
        let Some(rest) = section.split(&start).nth(1) else {
            wrong.push(format!("question {number} is missing"));
            continue;
        };
        questions += 1;
        let next = format!("\n{}. *", number + 1);
        let answer = rest.split(&next).next().unwrap_or_default();
        let answer = answer.split_once("?*").map_or("", |(_, answer)| answer);
        let files: Vec<&str> = quoted(answer)
            .into_iter()
            .filter(|word| word.contains('/') || *word == "config.toml")
            .filter(|word| word.rsplit('/').next().is_some_and(|n| n.contains('.')))
            .collect();
        if files.is_empty() || files.len() > 2 {
            wrong.push(format!("question {number} names {} files", files.len()));
        }
        for file in files {
            if !root().join(file).exists() {
                wrong.push(format!("question {number}: there is no {file}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(questions, 20);
}

#[test]
fn the_walks_name_files_that_exist() {
    let document = read("ARCHITECTURE.md");
    let walks = document.split("## Three walks").nth(1);
    let walks = walks.and_then(|rest| rest.split("\n## ").next());
    let mut named = 0;
    let mut wrong = Vec::new();
    for word in quoted(walks.expect("the walks")) {
        let is_path = word.contains('/')
            && !word.starts_with('/')
            && word
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "/_".contains(c));
        if !is_path {
            continue;
        }
        named += 1;
        let file = root().join(format!("src/{word}.rs"));
        let folder = root().join("src").join(word);
        if !file.exists() && !folder.exists() {
            wrong.push(word.to_owned());
        }
    }
    assert!(named > 15, "only {named} paths");
    assert!(wrong.is_empty(), "not in src: {}", wrong.join(", "));
}
