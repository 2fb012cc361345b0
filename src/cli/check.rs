//! How does `sidegate check` explain a configuration?

use crate::cli::args::Json;
use crate::cli::console::{Console, print_line};
use crate::cli::error::CommandError;
use crate::cli::load::Loader;
use crate::cli::show;
use crate::config::Config;
use crate::config::defaults as config_toml;
use crate::config::explain::Explanation;

/// Explains a valid configuration.
pub(super) fn run(
    config: &Config,
    loader: &Loader,
    json: Json,
    console: &mut Console<'_>,
) -> Result<(), CommandError> {
    let explanation = Explanation::of(config);
    let text = if json.json {
        show::json(&explanation)?
    } else {
        format!("{} is good.\n\n{explanation}", loader.described())
    };
    print_line(console.out, &text);
    Ok(())
}

/// Prints `config.toml`: every key with its meaning and its default.
pub(super) fn defaults(console: &mut Console<'_>) {
    print_line(console.out, config_toml().trim_end());
}
