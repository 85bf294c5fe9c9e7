//! The endpoint of the credential provider: a host name and a port, and the region that AWS puts in
//! the name.

use super::aws_endpoints;

/// Where the credential provider is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ProviderEndpoint {
    pub host: String,
    pub port: u16,
}

impl ProviderEndpoint {
    pub fn parse(text: &str) -> Result<Self, String> {
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => rest,
            Some((_, rest)) => {
                let https = "must be https: credentials go over it";
                // mqtts://… is what tools for MQTT show.
                let host = rest.split(['/', ':']).next().unwrap_or_default();
                return Err(match aws_endpoints::mistaken(&host.to_ascii_lowercase()) {
                    Some(what) => format!("{https}; and {what}"),
                    None => https.to_owned(),
                });
            }
            None => text,
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains('@') {
            return Err("must not hold a user name: the certificate is the only proof of identity"
                .to_owned());
        }
        if rest.contains(['/', '?', '#']) {
            return Err(
                "must be a host name alone: the path is made from the role alias".to_owned()
            );
        }
        if rest.starts_with('[') || rest.matches(':').count() > 1 {
            return Err(no_address());
        }
        let (host, port) = match rest.split_once(':') {
            Some((host, port)) => (host, parse_port(port)?),
            None => (rest, 443),
        };
        Ok(Self { host: parse_host(host)?, port })
    }

    /// The region in a name that AWS gives.
    pub fn region(&self) -> Option<&str> {
        aws_endpoints::region(&self.host)
    }
}

/// `[a-z0-9-]+`: it ends up unquoted in the environment file.
pub(super) fn is_region(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn parse_port(text: &str) -> Result<u16, String> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(port) if is_number && port > 0 => Ok(port),
        _ => Err("has no port from 1 to 65535 after the colon".to_owned()),
    }
}

fn parse_host(text: &str) -> Result<String, String> {
    let host = text.to_ascii_lowercase();
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if host.len() > 253 || !host.split('.').all(is_label) {
        return Err("is not a host name".to_owned());
    }
    // No top-level domain begins with a digit, every form of an IPv4 address does.
    if host.rsplit('.').next().is_some_and(|last| last.starts_with(|c: char| c.is_ascii_digit())) {
        return Err(no_address());
    }
    match aws_endpoints::mistaken(&host) {
        Some(what) => Err(what),
        None => Ok(host),
    }
}

fn no_address() -> String {
    "must be a name: AWS finds the account by the TLS server name, and an address has none"
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_name_and_port() {
        for (text, host, port) in [
            (
                "a1.credentials.iot.eu-west-1.amazonaws.com",
                "a1.credentials.iot.eu-west-1.amazonaws.com",
                443,
            ),
            (
                "https://a1.credentials.iot.eu-west-1.amazonaws.com/",
                "a1.credentials.iot.eu-west-1.amazonaws.com",
                443,
            ),
            ("HTTPS://Localhost:8443", "localhost", 8443),
            ("provider.test:1", "provider.test", 1),
        ] {
            assert_eq!(
                ProviderEndpoint::parse(text),
                Ok(ProviderEndpoint { host: host.to_owned(), port }),
                "{text}"
            );
        }
    }

    #[test]
    fn finds_the_region_only_in_a_name_that_aws_gives() {
        for (host, region) in [
            ("a1.credentials.iot.eu-west-1.amazonaws.com", Some("eu-west-1")),
            ("a1.credentials.iot.cn-north-1.amazonaws.com.cn", Some("cn-north-1")),
            ("a1.credentials.iot.eusc-de-east-1.amazonaws.eu", Some("eusc-de-east-1")),
            ("a1.credentials.iot.eu.west.amazonaws.com", None),
            ("a1.credentials.iot.eu-west-1.example.com", None),
            ("localhost", None),
        ] {
            let endpoint = ProviderEndpoint { host: host.to_owned(), port: 443 };
            assert_eq!(endpoint.region(), region, "{host}");
        }
    }
}
