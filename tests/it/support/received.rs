//! Which headers did the application receive?

use crate::support::answer::Answer;

/// The headers that the application received, by folded name.
pub(crate) fn seen(answer: &Answer) -> Vec<(String, String)> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let headers = answer.json()["headers"].clone();
    let headers: Vec<(String, String)> = serde_json::from_value(headers).unwrap();
    let fold = |name: &str| {
        name.replace(|c: char| !c.is_ascii_alphanumeric(), "_")
            .to_uppercase()
    };
    headers
        .into_iter()
        .map(|(name, value)| (fold(&name), value))
        .collect()
}

/// The only value of a header that the application received.
#[track_caller]
pub(crate) fn one<'a>(seen: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut values = seen
        .iter()
        .filter(|(known, _)| known == name)
        .map(|(_, value)| value);
    let first = values.next();
    assert_eq!(values.next(), None, "{name} twice");
    first.map(String::as_str)
}

/// The header of this name that the application received.
pub(crate) fn received(answer: &Answer, name: &str) -> Option<String> {
    let echo = answer.json();
    let headers = echo["headers"].as_array().expect("headers");
    let found = headers.iter().find(|pair| {
        pair[0]
            .as_str()
            .is_some_and(|n| n.eq_ignore_ascii_case(name))
    });
    found.map(|pair| pair[1].as_str().expect("a value").to_owned())
}
