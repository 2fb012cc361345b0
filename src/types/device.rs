//! Which device, platform and browser does a User-Agent header name? Parsed at log-in and refresh only.

use serde::{Deserialize, Serialize};

/// The kind of device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// A desktop or laptop browser.
    Desktop,
    /// A phone.
    Mobile,
    /// A tablet.
    Tablet,
    /// A program: `curl`, an HTTP library.
    Api,
    /// A crawler.
    Bot,
    /// The User-Agent is missing or unknown.
    #[default]
    Unknown,
}

impl DeviceKind {
    /// The word in responses of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Desktop => "desktop",
            Self::Mobile => "mobile",
            Self::Tablet => "tablet",
            Self::Api => "api",
            Self::Bot => "bot",
            Self::Unknown => "unknown",
        }
    }
}

/// Facts from the User-Agent; each may be missing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Device {
    /// Kind of device.
    pub kind: DeviceKind,
    /// Browser or program, e.g. `Chrome`.
    pub browser: Option<String>,
    /// Its version, e.g. `130.0.0.0`.
    pub browser_version: Option<String>,
    /// Operating system, e.g. `macOS`.
    pub system: Option<String>,
}

/// The maximum length of a User-Agent that is parsed, in bytes. The rest is ignored.
pub const MAX_USER_AGENT: usize = 512;

/// HTTP libraries and command-line clients, by the product token their agent begins with.
const PROGRAMS: &[(&str, &str)] = &[
    ("curl/", "curl"),
    ("Wget/", "Wget"),
    ("HTTPie/", "HTTPie"),
    ("okhttp/", "okhttp"),
    ("python-requests/", "python-requests"),
    ("python-httpx/", "httpx"),
    ("Python-urllib/", "urllib"),
    ("aiohttp/", "aiohttp"),
    ("axios/", "axios"),
    ("node-fetch/", "node-fetch"),
    ("undici", "undici"),
    ("Go-http-client/", "Go-http-client"),
    ("Java/", "Java"),
    ("Apache-HttpClient/", "Apache-HttpClient"),
    ("PostmanRuntime/", "Postman"),
    ("Dart/", "Dart"),
    ("CFNetwork/", "CFNetwork"),
    ("reqwest/", "reqwest"),
    ("hyper/", "hyper"),
    ("GuzzleHttp/", "Guzzle"),
    ("Faraday ", "Faraday"),
];

impl Device {
    /// Parses a User-Agent in linear time. Reads at most [`MAX_USER_AGENT`] bytes and never fails.
    pub fn from_user_agent(agent: &str) -> Self {
        let mut end = agent.len().min(MAX_USER_AGENT);
        while !agent.is_char_boundary(end) {
            end -= 1;
        }
        let agent = agent.get(..end).unwrap_or_default().trim();
        if agent.is_empty() {
            return Self::default();
        }
        if let Some((token, name)) = PROGRAMS.iter().find(|(token, _)| agent.starts_with(token)) {
            let version = agent
                .get(token.len()..)
                .and_then(|rest| rest.split([' ', ';', '(']).next())
                .and_then(|v| known(v.trim_start_matches('/')));
            return Self {
                kind: DeviceKind::Api,
                browser: Some((*name).to_owned()),
                browser_version: version,
                system: None,
            };
        }
        let Some(seen) = woothee::parser::Parser::new().parse(agent) else {
            return Self::default();
        };
        let tablet = agent.contains("iPad")
            || (agent.contains("Android") && !agent.contains("Mobile"))
            || agent.contains("Tablet");
        let kind = match seen.category {
            "crawler" => DeviceKind::Bot,
            _ if tablet => DeviceKind::Tablet,
            "pc" => DeviceKind::Desktop,
            "smartphone" | "mobilephone" => DeviceKind::Mobile,
            _ => DeviceKind::Unknown,
        };
        let system = match seen.os {
            "Mac OSX" => Some("macOS".to_owned()),
            "iPhone" | "iPad" | "iPod" => Some("iOS".to_owned()),
            os if os.starts_with("Windows") => Some("Windows".to_owned()),
            os => known(os),
        };
        Self {
            kind,
            browser: known(seen.name),
            browser_version: known(seen.version),
            system,
        }
    }

    /// Whether it is a phone or a tablet.
    pub const fn is_mobile(&self) -> bool {
        matches!(self.kind, DeviceKind::Mobile | DeviceKind::Tablet)
    }

    /// `Chrome on macOS`, as far as it is known.
    pub fn label(&self) -> Option<String> {
        match (&self.browser, &self.system) {
            (Some(browser), Some(system)) => Some(format!("{browser} on {system}")),
            (Some(one), None) | (None, Some(one)) => Some(one.clone()),
            (None, None) => None,
        }
    }
}

/// The text, at most 64 bytes of it, unless it means "unknown".
fn known(text: &str) -> Option<String> {
    let text = text.trim();
    if text.is_empty() || text == "UNKNOWN" || text.len() > 64 || text.contains(char::is_control) {
        None
    } else {
        Some(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn described(agent: &str) -> String {
        let d = Device::from_user_agent(agent);
        format!("{} / {:?}", d.label().unwrap_or_default(), d.kind)
    }

    #[test]
    fn common_user_agents_are_recognised() {
        let chrome = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 \
                      (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36";
        let firefox =
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:132.0) Gecko/20100101 Firefox/132.0";
        let iphone = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 \
                      (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1";
        let ipad = "Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) AppleWebKit/605.1.15 \
                    (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1";
        let tablet = "Mozilla/5.0 (Linux; Android 13; SM-X200) AppleWebKit/537.36 \
                      (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36";
        assert_eq!(described(chrome), "Chrome on macOS / Desktop");
        assert_eq!(described(firefox), "Firefox on Windows / Desktop");
        assert_eq!(described(iphone), "Safari on iOS / Mobile");
        assert_eq!(described(ipad), "Safari on iOS / Tablet");
        assert_eq!(described(tablet), "Chrome on Android / Tablet");
        assert_eq!(described("curl/8.5.0"), "curl / Api");
        assert_eq!(described("okhttp/4.12.0"), "okhttp / Api");
        assert_eq!(described(""), " / Unknown");
        let bot = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
        assert_eq!(Device::from_user_agent(bot).kind, DeviceKind::Bot);
    }

    proptest! {
        #[test]
        fn any_user_agent_parses_without_a_panic(agent in "\\PC{0,700}") {
            let device = Device::from_user_agent(&agent);
            prop_assert!(device.browser.is_none_or(|b| b.len() <= 64));
        }
    }
}
