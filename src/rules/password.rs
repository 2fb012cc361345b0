//! Is a *new* password acceptable? Length and a list of the most common ones; no composition rules
//! (NIST SP 800-63B-4).

use crate::types::secret::Password;

/// Why a new password is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Weakness {
    /// Shorter than the configured minimum.
    #[error("the password needs at least {0} characters")]
    TooShort(usize),
    /// One of the passwords that are tried first.
    #[error("the password is one of the most common ones")]
    Common,
    /// It is the login name itself.
    #[error("the password must not be the login name")]
    SameAsLogin,
}

/// Checks a new password. `logins` are the names that it must not equal.
pub fn weakness<'a>(
    password: &Password,
    min_chars: usize,
    logins: impl IntoIterator<Item = &'a str>,
) -> Option<Weakness> {
    let text = password.expose();
    if password.chars() < min_chars {
        return Some(Weakness::TooShort(min_chars));
    }
    let lower = text.to_lowercase();
    if COMMON.contains(&lower.as_str()) || is_one_pattern(&lower) {
        return Some(Weakness::Common);
    }
    logins
        .into_iter()
        .any(|l| l.to_lowercase() == lower)
        .then_some(Weakness::SameAsLogin)
}

/// A single character repeated, or a run up or down the alphabet or the digits.
fn is_one_pattern(text: &str) -> bool {
    let codes: Vec<i64> = text.chars().map(|c| i64::from(u32::from(c))).collect();
    let mut steps = codes.iter().zip(codes.iter().skip(1)).map(|(a, b)| b - a);
    steps
        .next()
        .is_some_and(|first| (-1..=1).contains(&first) && steps.all(|step| step == first))
}

/// The most used passwords of eight characters and more, lower case. Shorter ones fail on length
/// under the default minimum.
const COMMON: &[&str] = &[
    "password",
    "password1",
    "password12",
    "password123",
    "password1234",
    "passw0rd",
    "p@ssw0rd",
    "p@ssword",
    "pa$$word",
    "passwort",
    "qwertyuiop",
    "qwerty123",
    "qwerty1234",
    "qwertyui",
    "qwerty12",
    "1q2w3e4r",
    "1q2w3e4r5t",
    "1qaz2wsx",
    "zaq12wsx",
    "q1w2e3r4",
    "q1w2e3r4t5",
    "asdfghjkl",
    "asdfghjk",
    "zxcvbnm1",
    "zxcvbnm123",
    "iloveyou",
    "iloveyou1",
    "iloveyou2",
    "sunshine",
    "sunshine1",
    "princess",
    "princess1",
    "football",
    "football1",
    "baseball",
    "baseball1",
    "superman",
    "superman1",
    "batman123",
    "trustno1",
    "welcome1",
    "welcome123",
    "welcome12",
    "letmein1",
    "letmein123",
    "changeme",
    "changeme1",
    "changeme123",
    "change123",
    "admin123",
    "admin1234",
    "admin12345",
    "administrator",
    "root1234",
    "rootroot",
    "adminadmin",
    "test1234",
    "testtest",
    "test12345",
    "testing123",
    "guest123",
    "user1234",
    "username",
    "default1",
    "starwars",
    "whatever",
    "computer",
    "internet",
    "jennifer",
    "michelle",
    "michael1",
    "jordan23",
    "charlie1",
    "monkey123",
    "dragon123",
    "shadow123",
    "master123",
    "mustang1",
    "corvette",
    "maverick",
    "midnight",
    "mercedes",
    "metallica",
    "samantha",
    "alexander",
    "victoria",
    "elizabeth",
    "benjamin",
    "butterfly",
    "chocolate",
    "liverpool",
    "arsenal1",
    "chelsea1",
    "barcelona",
    "manchester",
    "abcd1234",
    "abc12345",
    "abc123456",
    "a1b2c3d4",
    "aa123456",
    "a123456789",
    "123qweasd",
    "123456qwerty",
    "12345qwert",
    "qweasdzxc",
    "qazwsxedc",
    "11223344",
    "12341234",
    "12121212",
    "123123123",
    "123321123",
    "121212121",
    "13131313",
    "69696969",
    "87654321a",
    "asdf1234",
    "asd12345",
    "zxcv1234",
    "pass1234",
    "pass12345",
    "passpass",
    "secret123",
    "secretsecret",
    "summer2023",
    "summer2024",
    "summer2025",
    "winter2024",
    "winter2025",
    "spring2025",
    "autumn2025",
    "google123",
    "facebook",
    "linkedin",
    "linkedin1",
    "hello123",
    "helloworld",
    "hello1234",
    "nothing1",
    "blink182",
    "pokemon1",
    "pokemon123",
    "minecraft",
    "fortnite",
    "naruto123",
    "lovelove",
    "loveyou1",
    "babygirl",
    "babygirl1",
    "beautiful",
    "carolina",
    "caroline",
    "danielle",
    "jonathan",
    "patricia",
    "patrick1",
    "rockyou1",
    "scorpion",
    "snowball",
    "spiderman",
    "slipknot",
    "swordfish",
    "thunder1",
    "tinkerbell",
    "undertaker",
    "volleyball",
    "wrestling",
    "basketball",
    "qwerty!@#",
    "correcthorsebatterystaple",
    "00000000",
    "11111111",
    "88888888",
    "99999999",
    "1234567890",
    "12345678",
    "123456789",
    "987654321",
    "0987654321",
    "0123456789",
    "147258369",
    "159753456",
    "741852963",
    "789456123",
    "asdfasdf",
    "qwerqwer",
    "qweqwe123",
    "zxczxczxc",
    "temp1234",
    "temporary",
    "demo1234",
    "sample123",
    "login123",
    "access14",
    "access123",
    "service1",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(text: &str) -> Option<Weakness> {
        weakness(&Password::new(text.to_owned()).unwrap(), 8, ["ann.smith"])
    }

    #[test]
    fn length_counts_characters_not_bytes() {
        assert_eq!(judge("short"), Some(Weakness::TooShort(8)));
        assert_eq!(judge("äöüßäöü"), Some(Weakness::TooShort(8)));
        assert_eq!(judge("äöüßéàèç"), None);
    }

    #[test]
    fn common_passwords_are_refused_in_any_case() {
        for common in [
            "Password123",
            "12345678",
            "aaaaaaaa",
            "abcdefghij",
            "zyxwvuts",
        ] {
            assert_eq!(judge(common), Some(Weakness::Common), "{common}");
        }
        assert_eq!(judge("Ann.Smith"), Some(Weakness::SameAsLogin));
        assert_eq!(judge("blue kettle on fire"), None);
    }
}
