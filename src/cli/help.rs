//! Which examples does each command show with `--help`?

pub(super) const TOP: &str = "\
Examples:
  sidegate demo                            see it work, nothing to set up
  sidegate check                           explain ./config.toml
  sidegate users add ann --role admin      asks for a password
  sidegate serve --config /etc/sidegate/config.toml

Every key of the configuration can be set by the environment: SIDEGATE__UPSTREAM__URL.
Exit codes: 0 success, 1 failure, 2 wrong usage or wrong configuration.";

pub(super) const SERVE: &str = "\
Examples:
  sidegate serve
  sidegate serve --config /etc/sidegate/config.toml
  SIDEGATE__UPSTREAM__URL=http://127.0.0.1:3000 sidegate serve
  sidegate serve --new-store               once, after the store was lost: creates an empty one";

pub(super) const DEMO: &str = "\
Example:
  sidegate demo        prints two users with passwords and lines to paste";

pub(super) const CHECK: &str = "\
Examples:
  sidegate check
  sidegate check --config staging.toml --json
  sidegate check --defaults > config.toml

Exits 2 and prints file, line, key and a hint for each problem.";

pub(super) const USERS: &str = "\
A user is named by id, username, e-mail address or mobile number.

Examples:
  sidegate users add ann --email ann@example.org --role admin
  sidegate users list --json
  sidegate users unlock ann";

pub(super) const USERS_ADD: &str = "\
Examples:
  sidegate users add ann --role user                    asks for the password
  sidegate users add ann --generate                     prints the password
  sidegate users add ann --email ann@example.org < password.txt";

pub(super) const USERS_IMPORT: &str = "\
Hashes: argon2id, argon2i, bcrypt, PBKDF2 and scrypt of Django, scrypt of passlib, apr1 and {SHA}.
The first log-in of an account replaces its hash. An account that exists is skipped and never changed,
so an import that was interrupted can be repeated. Refused lines are printed with their numbers.

CSV columns and JSON members: username, email, mobile, name, roles, password_hash.

Examples:
  sidegate users import --dry-run .htpasswd
  sidegate users import .htpasswd --role user
  sidegate users import users.csv --json
  sidegate users import dump.txt --format jsonl

Exits 0 when every account is imported or exists, 1 when a line was refused, 2 when the file cannot be used.";

pub(super) const USERS_LIST: &str = "\
Examples:
  sidegate users list
  sidegate users list --limit 100 --json";

pub(super) const USERS_SHOW: &str = "\
Examples:
  sidegate users show ann
  sidegate users show ann@example.org --json";

pub(super) const USERS_SET_PASSWORD: &str = "\
Examples:
  sidegate users set-password ann                       asks for the password
  sidegate users set-password ann --generate
  sidegate users set-password ann < password.txt";

pub(super) const USERS_SET_ROLES: &str = "\
Examples:
  sidegate users set-roles ann admin user
  sidegate users set-roles ann                          removes all roles";

pub(super) const SESSIONS: &str = "\
Examples:
  sidegate sessions list --user ann
  sidegate sessions end --user ann";

pub(super) const SESSIONS_LIST: &str = "\
Examples:
  sidegate sessions list
  sidegate sessions list --user ann --json
  sidegate sessions list --limit 1000000 --json > sessions.json";

pub(super) const SESSIONS_END: &str = "\
Examples:
  sidegate sessions end --id 0193b0a0-5c1e-7d3a-9b1f-2f6c1a7e4d10
  sidegate sessions end --user ann@example.org
  sidegate sessions end --all

With --all every session is ended at once. The command then waits until the records are removed, and
shows the progress. It can be interrupted and run again.";

pub(super) const KEYS: &str = "\
Examples:
  sidegate keys list
  sidegate keys rotate";

pub(super) const AUDIT: &str = "\
Examples:
  sidegate audit list
  sidegate audit list --user ann --limit 20 --json
  sidegate audit list --type login --since 7d
  sidegate audit verify";

pub(super) const AUDIT_VERIFY: &str = "\
Examples:
  sidegate audit verify
  sidegate audit verify --json";

pub(super) const BACKUP: &str = "\
Examples:
  sidegate backup /var/backups/sidegate/                creates sidegate-<time>.backup there
  sidegate backup today.backup
  sidegate backup today.backup --with-keys              asks for a passphrase
  sidegate backup today.backup --with-keys --passphrase-file /etc/sidegate/passphrase

The file contains the store as it was at one moment. Requests are served meanwhile. It contains password
hashes: protect it like the store. An existing file is replaced when the new one is complete. Without
--with-keys it contains no private keys: keep a copy of tokens.keys_dir beside the backup.";

pub(super) const RESTORE: &str = "\
Examples:
  sidegate restore today.backup                         when no store exists
  sidegate restore today.backup --replace               an existing store is moved aside
  sidegate restore today.backup --keep-sessions

The whole file is checked before anything is changed. Existing keys are kept. All sessions of the backup
end, because some may have ended after it was made. With --keep-sessions all of them stay valid.";

pub(super) const STORE: &str = "\
Examples:
  sidegate store verify
  sidegate store salvage ./data-salvaged";

pub(super) const STORE_VERIFY: &str = "\
Examples:
  sidegate store verify
  sidegate store verify --json

The server must be stopped. Exits 0 when the store is intact and 1 when it is damaged.";

pub(super) const STORE_SALVAGE: &str = "\
Examples:
  sidegate store salvage ./data-salvaged
  sidegate store salvage ./data-salvaged --json

The damaged store is not changed.";

pub(super) const HEALTHCHECK: &str = "\
Example, for an image without a shell:
  HEALTHCHECK CMD [\"/sidegate\", \"healthcheck\"]";

pub(super) const DRAIN: &str = "\
Example:
  sidegate drain        /readyz fails, connections close after their response; then send SIGTERM";

pub(super) const RELOAD: &str = "\
Example:
  sidegate reload       a wrong configuration is refused; the old one stays active";
