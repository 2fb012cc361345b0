//! `sidegate check`: says what a configuration means before anybody relies on it.

use crate::cli::args::Json;
use crate::cli::load::Loader;
use crate::cli::{Surroundings, Trouble, show, tell};
use crate::config::Config;
use crate::config::explain::Explanation;

/// Explains a configuration that has no mistakes.
pub(super) fn run(
    config: &Config,
    loader: &Loader,
    json: Json,
    surroundings: &mut Surroundings<'_>,
) -> Result<(), Trouble> {
    let explanation = Explanation::of(config);
    let text = if json.json {
        show::json(&explanation)?
    } else {
        format!("{} is good.\n\n{explanation}", loader.described())
    };
    tell(surroundings.out, &text);
    Ok(())
}
