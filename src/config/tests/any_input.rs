//! Does every input give a configuration or a message?

use std::io;
use std::path::Path;

use proptest::prelude::*;

use super::{UPSTREAM, load_with};
use crate::config::key::{Declaration, Shape};
use crate::config::keys;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_file_and_any_variable_parse_without_a_panic(
        text in "(\\[{1,2}(server|rule|tokens|x)\\]{1,2}\n)?[a-z_\\.]{1,12} ?= ?\\PC{0,40}\n\\PC{0,40}",
        name in "SIDEGATE__(SERVER|RULE|HEADERS|\\PC{0,4})(__\\PC{0,8}){0,3}",
        value in "\\PC{0,40}",
    ) {
        let read = |_: &Path| Err(io::Error::from(io::ErrorKind::NotFound));
        if let Err(problems) = load_with(Some(&text), &[(&name, &value)], &read) {
            prop_assert!(!problems.0.is_empty());
            prop_assert!(!problems.to_string().is_empty());
        }
    }

    #[test]
    fn every_text_value_of_every_key_gets_an_answer(
        pick in 0usize..200,
        value in "\\PC{0,30}",
    ) {
        let texts = |key: &&Declaration| {
            matches!(key.shape, Shape::Text(_) | Shape::TextOrFlag(_) | Shape::Secret)
        };
        let keys = keys::all().filter(texts).filter(|key| !key.path.contains("[]"));
        let keys: Vec<&str> = keys.map(|key| key.path).collect();
        let key = keys[pick % keys.len()];
        let name = format!("SIDEGATE__{}", key.replace('.', "__"));
        let read = |_: &Path| Ok(value.clone().into_bytes());
        let outcome = load_with(Some(UPSTREAM), &[(&name, &value)], &read);
        if let Err(problems) = outcome {
            for problem in &problems.0 {
                prop_assert!(!problem.key.is_empty(), "{problem}");
            }
        }
    }
}
