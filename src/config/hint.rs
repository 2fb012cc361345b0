//! Which known word is nearest to a mistyped one?

/// The candidate nearest to `word`, if it is near enough. Case is ignored; two neighbouring
/// characters that are swapped count as one edit.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if word.len() > MAX_WORD {
        return None;
    }
    let word = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| {
            let distance = strsim::osa_distance(&word, &candidate.to_lowercase());
            (distance, candidate)
        })
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().div_ceil(3))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Longer words are not compared: they are not mistyped keys, and the comparison is quadratic.
const MAX_WORD: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_is_ignored_and_a_swap_is_one_edit() {
        let near = |word, known: &'static str| nearest(word, [known]);
        assert_eq!(near("abd", "abc"), Some("abc"), "one edit in three");
        assert_eq!(near("ABC", "abc"), Some("abc"));
        assert_eq!(near("acb", "abc"), Some("abc"));
        assert_eq!(near("bca", "abc"), None, "two edits in three");
        assert_eq!(near("", "abc"), None);
    }

    #[test]
    fn only_near_words_are_offered() {
        let keys = ["listen", "threads", "public_url"];
        assert_eq!(nearest("lisen", keys), Some("listen"));
        assert_eq!(nearest("publicurl", keys), Some("public_url"));
        assert_eq!(nearest("colour", keys), None);
        assert_eq!(nearest(&"l".repeat(10_000), keys), None);
    }
}
