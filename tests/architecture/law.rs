//! Which module may import which? The table of layers and its parser.

use std::collections::BTreeMap;

/// The table, written exactly as in ARCHITECTURE.md. Names in brackets after a module limit the
/// permission to those items. A module may always import from itself.
pub(crate) const TABLE: &str = "
| layer | module | may import |
|---|---|---|
| 0 | types, telemetry, files | nothing of ours |
| 1 | model, policy, limits | types, telemetry |
| 1 | geo | nothing of ours |
| 2 | crypto | types, model, telemetry, files |
| 2 | audit | types, model, telemetry, files |
| 2 | rules | types, model |
| 2 | control | types, model, files |
| 2 | tls | types, files |
| 3 | mail | types, files, tls |
| 3 | tokens | types, model, rules, crypto |
| 3 | store | types, model, rules, crypto, telemetry, files |
| 4 | service | store, rules, tokens, crypto, audit, mail, limits, geo, model, types, telemetry |
| 5 | guard | service (first_sight, liveness), tokens, policy, model, types, telemetry |
| 6 | proxy | guard (Permit, Identity, caching), tls, types, telemetry |
| 6 | api | service, guard, tokens (jwks, keys), limits (Exceeded), geo, model, types, telemetry |
| 6 | net | tls, types, telemetry |
| 7 | gateway | net, proxy, api, guard, service, store (StoreError), rules (password), limits, types, telemetry |
| 8 | config | settings of any module, types |
| 8 | process, fuzz | everything |
| 9 | cli | config, control, settings of any module, types, files |
| 9 | main | everything |
";

pub(crate) struct Law {
    pub(crate) rows: BTreeMap<String, Row>,
}

pub(crate) struct Row {
    pub(crate) layer: u32,
    pub(crate) text: String,
    pub(crate) may: May,
}

pub(crate) enum May {
    Everything,
    /// Modules with the permitted items of each; none means all.
    List {
        /// Also the `settings` of every module, and the values they consist of.
        settings: bool,
        modules: Vec<(String, Vec<String>)>,
    },
}

impl Law {
    pub(crate) fn parse(table: &str) -> Self {
        let mut rows = BTreeMap::new();
        for line in table
            .lines()
            .map(str::trim)
            .filter(|l| l.starts_with('|'))
            .skip(2)
        {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [layer, modules, may] = cells.as_slice() else {
                panic!("not three columns: {line}")
            };
            for module in modules.split(", ") {
                let row = Row {
                    layer: layer.parse().expect("a number"),
                    text: (*may).to_owned(),
                    may: May::parse(may),
                };
                assert!(
                    rows.insert(module.to_owned(), row).is_none(),
                    "{module} twice"
                );
            }
        }
        Self { rows }
    }
}

impl May {
    pub(crate) fn parse(text: &str) -> Self {
        if text == "everything" {
            return Self::Everything;
        }
        let mut settings = false;
        let mut modules = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest.find([',', '(']).unwrap_or(rest.len());
            let module = rest[..end].trim().to_owned();
            rest = &rest[end..];
            let mut items = Vec::new();
            if let Some(inner) = rest.strip_prefix('(') {
                let close = inner.find(')').expect("a closing bracket");
                items = inner[..close]
                    .split(',')
                    .map(|i| i.trim().to_owned())
                    .collect();
                rest = &inner[close + 1..];
            }
            rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
            match module.as_str() {
                "nothing of ours" => {}
                "settings of any module" => settings = true,
                _ => modules.push((module, items)),
            }
        }
        Self::List { settings, modules }
    }
}
