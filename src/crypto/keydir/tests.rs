//! The key directory: files are made, loaded, rotated, deleted, and readable by their owner only.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::types::random::SeededRandom;

const MINUTE: Duration = Duration::from_secs(60);
const ED: Option<KeyKind> = Some(KeyKind::Ed25519);

fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(secs)
}

struct Place {
    directory: tempfile::TempDir,
    random: SeededRandom,
}

impl Place {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            random: SeededRandom::new(7),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("data/keys")
    }

    fn keys(&self) -> KeyDirectory {
        KeyDirectory::open(&self.path()).unwrap()
    }

    fn load(&self, now: Timestamp) -> Result<Loaded, KeyDirError> {
        self.keys().load(ED, now, &self.random)
    }

    fn kids(&self, now: Timestamp) -> Vec<String> {
        let loaded = self.load(now).unwrap();
        loaded.signing.into_iter().map(|key| key.kid).collect()
    }

    fn files(&self) -> Vec<String> {
        let list = std::fs::read_dir(self.path()).unwrap();
        let name = |e: std::io::Result<std::fs::DirEntry>| e.unwrap().file_name();
        let mut names: Vec<_> = list.map(|e| name(e).into_string().unwrap()).collect();
        names.sort();
        names
    }
}

#[test]
fn the_first_start_creates_keys_that_the_next_start_loads() {
    let place = Place::new();
    let first = place.kids(at(1));
    assert_eq!(first.len(), 1);
    assert_eq!(place.kids(at(2)), first);
    assert_eq!(place.files().len(), 3);
    let loaded = place.load(at(3)).unwrap();
    assert!(loaded.refresh_keys().is_ok());
    assert_eq!(loaded.warnings, []);
}

#[test]
fn s23_key_files_are_for_their_owner_and_others_give_a_warning() {
    let place = Place::new();
    place.load(at(1)).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&place.path()), 0o700);
    for name in place.files() {
        assert_eq!(mode(&place.path().join(name)), 0o600);
    }
    let open = place.path().join("refresh-1.key");
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o640)).unwrap();
    let warnings = place.load(at(2)).unwrap().warnings;
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].to_string().contains("mode 640"));
}

#[test]
fn s24_a_rotated_key_verifies_until_its_last_token_expires_and_is_then_deleted() {
    let place = Place::new();
    let old = place.kids(at(0));
    let keys = place.keys();
    let fresh = keys
        .rotate_signing(KeyKind::Ed25519, at(10), MINUTE, MINUTE, &place.random)
        .unwrap();
    let loaded = place.load(at(11)).unwrap();
    let [first, second] = loaded.signing.as_slice() else {
        panic!("two keys: {loaded:?}");
    };
    assert_eq!((&first.kid, &second.kid), (&old[0], &fresh));
    assert!(first.validity.may_sign(at(11)) && !second.validity.may_sign(at(11)));
    assert!(second.validity.may_sign(at(70)));
    assert_eq!(first.validity.retires_at, Some(at(130)));
    assert_eq!(place.kids(at(129)).len(), 2);
    assert_eq!(place.kids(at(130)), [fresh]);
    assert!(!place.files().contains(&format!("{}.pem", old[0])));
}

#[test]
fn refresh_keys_rotate_and_old_ones_verify_for_the_lifetime_of_a_session() {
    let place = Place::new();
    place.load(at(0)).unwrap();
    let number = place.keys().rotate_refresh(at(10), MINUTE, &place.random);
    assert_eq!(number.unwrap(), 2);
    assert_eq!(place.load(at(69)).unwrap().refresh.len(), 2);
    let later = place.load(at(70)).unwrap();
    assert_eq!(later.refresh.len(), 1);
    assert_eq!(later.current_refresh, 2);
}

#[test]
fn another_algorithm_gets_a_key_of_its_kind() {
    let place = Place::new();
    place.load(at(1)).unwrap();
    let both = place.keys().load(Some(KeyKind::P256), at(2), &place.random);
    let kinds: Vec<_> = both.unwrap().signing.iter().map(|k| k.kind).collect();
    assert_eq!(kinds, [KeyKind::Ed25519, KeyKind::P256]);
    let none = Place::new();
    let loaded = none.keys().load(None, at(1), &none.random).unwrap();
    assert!(loaded.signing.is_empty() && loaded.refresh_keys().is_ok());
}

#[test]
fn damage_is_an_error_and_never_creates_a_new_key() {
    type Damage = fn(&Place, &str);
    let table: [(&str, Damage); 7] = [
        ("index cut", |p, _| write(p, "keys.json", b"{")),
        ("index gone", |p, _| {
            std::fs::remove_file(p.path().join("keys.json")).unwrap();
        }),
        ("key gone", |p, kid| {
            std::fs::remove_file(p.path().join(kid)).unwrap();
        }),
        ("key cut", |p, kid| {
            write(p, kid, b"-----BEGIN PRIVATE KEY-----");
        }),
        ("key huge", |p, kid| write(p, kid, &vec![b'A'; 70_000])),
        ("refresh short", |p, _| write(p, "refresh-1.key", &[1; 31])),
        ("name that climbs", |p, _| {
            let text = std::fs::read_to_string(p.path().join("keys.json")).unwrap();
            let index: serde_json::Value = serde_json::from_str(&text).unwrap();
            let kid = index["signing"][0]["kid"].as_str().unwrap().to_owned();
            write(
                p,
                "keys.json",
                text.replace(&kid, "../../etc/passwd").as_bytes(),
            );
        }),
    ];
    for (name, damage) in table {
        let place = Place::new();
        let kid = format!("{}.pem", place.kids(at(1))[0]);
        damage(&place, &kid);
        assert!(place.load(at(2)).is_err(), "{name}");
    }
}

fn write(place: &Place, name: &str, bytes: &[u8]) {
    std::fs::write(place.path().join(name), bytes).unwrap();
}

#[test]
fn a_key_under_the_name_of_another_is_detected() {
    let (one, two) = (Place::new(), Place::new());
    let ours = one.kids(at(1));
    two.random.next();
    let theirs = two.kids(at(1));
    std::fs::copy(
        two.path().join(format!("{}.pem", theirs[0])),
        one.path().join(format!("{}.pem", ours[0])),
    )
    .unwrap();
    assert!(matches!(one.load(at(2)), Err(KeyDirError::Damaged(_))));
}

#[test]
fn e9_any_flipped_bit_in_any_key_file_is_detected() {
    for kind in [ED, Some(KeyKind::P256)] {
        let place = Place::new();
        place.keys().load(kind, at(1), &place.random).unwrap();
        for name in place.files() {
            let whole = std::fs::read(place.path().join(&name)).unwrap();
            for bit in 0..whole.len() * 8 {
                let mut bytes = whole.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                write(&place, &name, &bytes);
                let refused = place.keys().load(kind, at(2), &place.random);
                let words = refused.map(drop).unwrap_err().to_string();
                assert!(words.contains(&name), "{name}, bit {bit}: {words}");
                assert!(words.contains("--new-keys"), "{words}");
            }
            write(&place, &name, &whole);
        }
    }
}

#[test]
fn e9_keys_of_an_earlier_version_get_checksums_and_a_directory_that_cannot_be_written_works() {
    let place = Place::new();
    let before = place.kids(at(1));
    let text = std::fs::read_to_string(place.path().join("keys.json")).unwrap();
    let mut index: serde_json::Value = serde_json::from_str(&text).unwrap();
    index.as_object_mut().unwrap().remove("checksum").unwrap();
    for list in ["signing", "refresh"] {
        for entry in index[list].as_array_mut().unwrap() {
            entry.as_object_mut().unwrap().remove("checksum").unwrap();
        }
    }
    let old = serde_json::to_vec_pretty(&index).unwrap();
    write(&place, "keys.json", &old);
    // If the temporary file cannot be created, nothing can be written.
    std::fs::create_dir(place.path().join(".keys.json.tmp")).unwrap();
    assert_eq!(place.kids(at(2)), before);
    std::fs::remove_dir(place.path().join(".keys.json.tmp")).unwrap();
    assert_eq!(place.kids(at(2)), before);
    let sealed = std::fs::read_to_string(place.path().join("keys.json")).unwrap();
    assert_eq!(sealed, text);
    write(&place, "refresh-1.key", &[1; 32]);
    assert!(matches!(place.load(at(3)), Err(KeyDirError::Damaged(_))));
}

#[test]
fn a_crash_during_a_write_leaves_the_previous_state() {
    let place = Place::new();
    let before = place.kids(at(1));
    write(&place, ".keys.json.tmp", b"{\"sig");
    write(&place, ".refresh-2.key.tmp", b"half");
    // The key of a rotation whose index was never written.
    write(&place, "AAAAAAAAAAAAAAAA.pem", b"orphan");
    assert_eq!(place.kids(at(2)), before);
    assert_eq!(
        place
            .keys()
            .rotate_refresh(at(3), MINUTE, &place.random)
            .unwrap(),
        2
    );
}

#[test]
fn too_many_rotations_are_refused() {
    let place = Place::new();
    place.load(at(1)).unwrap();
    let rotate = || place.keys().rotate_refresh(at(1), MINUTE, &place.random);
    for _ in 1..MAX_KEYS {
        rotate().unwrap();
    }
    assert!(matches!(rotate(), Err(KeyDirError::TooMany)));
}

#[test]
fn stored_keys_are_pem_that_other_tools_read() {
    let pem = files::to_pem(&[1; 100]);
    assert!(pem.lines().all(|line| line.len() <= 64));
    assert_eq!(
        files::from_pem(pem.as_bytes()).unwrap().as_slice(),
        [1; 100]
    );
    for bad in [
        "",
        "-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----",
        "x",
    ] {
        assert!(files::from_pem(bad.as_bytes()).is_none(), "{bad}");
    }
}
