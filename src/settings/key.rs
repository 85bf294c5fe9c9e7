//! The private key's settings, which hang together: file or token, and for a token the module and
//! the PIN.

use std::path::PathBuf;

use crate::{
    core::pkcs11_uri::Pkcs11Uri,
    settings::{
        check::Check,
        config::{Pin, PrivateKey, Route, Token},
        layers::Entry,
        table::{self, Setting},
        values,
    },
};

/// What only a key in a token needs.
static TOKEN_ONLY: [&Setting; 4] = [
    &table::PKCS11_MODULE,
    &table::PKCS11_PIN_FILE,
    &table::PKCS11_ROUTE,
    &table::MODULE_ENVIRONMENT,
];

pub(super) fn private_key(check: &mut Check<'_>) -> Option<PrivateKey> {
    let entry = check.entry(&table::PRIVATE_KEY)?;
    let module = check.optional(&table::PKCS11_MODULE, values::file);
    let pin_file = check.optional(&table::PKCS11_PIN_FILE, values::file);
    let route = check.optional(&table::PKCS11_ROUTE, values::route).unwrap_or(Route::Engine);
    let module_environment =
        check.optional(&table::MODULE_ENVIRONMENT, values::variables).unwrap_or_default();

    let text = entry.value.expose();
    if !Pkcs11Uri::is_meant(text) {
        for setting in TOKEN_ONLY {
            // What the set of units for an HSM brings is in nobody's way.
            if let Some(unused) = check.entry(setting).filter(|entry| !entry.place.is_of_hsm()) {
                check.warn(unused, format!("has no effect: {} is no pkcs11: URI", entry.key));
            }
        }
        return match values::file(text) {
            Ok(path) => Some(PrivateKey::File(path)),
            Err(_) => {
                check.bad(entry, "must be a pkcs11: URI or the absolute path of a PEM file");
                None
            }
        };
    }
    let uri = match Pkcs11Uri::parse(text).and_then(Pkcs11Uri::plain) {
        Ok(uri) => uri,
        Err(error) => {
            check.bad(entry, &format!("is not a usable pkcs11: URI: {error}"));
            return None;
        }
    };
    if uri.object_type().is_some_and(|kind| kind != "private") {
        check.bad(entry, "must name a private key: attribute type is another");
        return None;
    }
    if let Some(name) = uri.not_for_engine().filter(|_| route == Route::Engine) {
        let what = format!(
            "attribute {name} is one that OpenSSL's engine can't take: leave it out, and name the \
             token by token=, serial=, model= or manufacturer="
        );
        check.bad(entry, &what);
        return None;
    }
    let module = module_of(check, entry, &uri, module);
    let pin = pin_of(check, entry, &uri, pin_file);
    let token = Token { uri: uri.object(), module: module?, pin: pin?, route, module_environment };
    Some(PrivateKey::Token(token))
}

fn module_of(
    check: &mut Check<'_>,
    key: &Entry,
    uri: &Pkcs11Uri,
    setting: Option<PathBuf>,
) -> Option<PathBuf> {
    let in_uri = match uri.module_path().map(values::file) {
        None => None,
        Some(Ok(path)) => Some(path),
        Some(Err(what)) => {
            check.bad(key, &format!("attribute module-path {what}"));
            return None;
        }
    };
    match (in_uri, setting) {
        (Some(path), Some(other)) if path != other => {
            let name = table::PKCS11_MODULE.name;
            check.bad_pair(
                (Some(key), &format!("attribute module-path and {name} name different modules")),
                (
                    check.entry(&table::PKCS11_MODULE),
                    &format!("is another module than attribute module-path of {} has", key.key),
                ),
            );
            None
        }
        (Some(path), _) | (None, Some(path)) => Some(path),
        // A value that is there and wrong was complained of.
        (None, None) if check.entry(&table::PKCS11_MODULE).is_some() => None,
        (None, None) if uri.module_name().is_some() => {
            let name = table::PKCS11_MODULE.name;
            check.bad(
                key,
                &format!("attribute module-name does not say where the module is: set {name}"),
            );
            None
        }
        (None, None) => check.missing(&table::PKCS11_MODULE),
    }
}

fn pin_of(
    check: &mut Check<'_>,
    key: &Entry,
    uri: &Pkcs11Uri,
    setting: Option<PathBuf>,
) -> Option<Pin> {
    let name = table::PKCS11_PIN_FILE.name;
    let setting_is_there = check.entry(&table::PKCS11_PIN_FILE).is_some();
    let sources: Vec<&str> = [
        ("attribute pin-value", uri.pin_value().is_some()),
        ("attribute pin-source", uri.pin_source().is_some()),
        (name, setting_is_there),
    ]
    .into_iter()
    .filter_map(|(source, there)| there.then_some(source))
    .collect();
    if sources.len() > 1 {
        let what = format!("gets its PIN from {}: keep one of them", sources.join(" and "));
        let also = format!("is one more source of the PIN than {} has: keep one of them", key.key);
        check.bad_pair((Some(key), &what), (check.entry(&table::PKCS11_PIN_FILE), &also));
        return None;
    }
    if let Some(pin) = uri.pin_value() {
        return Some(Pin::Value(pin));
    }
    match uri.pin_source() {
        None if setting_is_there => setting.map(Pin::File),
        None => Some(Pin::None),
        Some(source) if source.starts_with('|') => {
            check.bad(key, "attribute pin-source must be a file: no command is run for a PIN");
            None
        }
        Some(source) => match values::file(path_of(source)) {
            Ok(path) => Some(Pin::File(path)),
            Err(what) => {
                check.bad(key, &format!("attribute pin-source {what}"));
                None
            }
        },
    }
}

/// A `file:` URI's path; RFC 7512 shows `file:/etc/token_pin`, RFC 8089 also has
/// `file:///etc/token_pin`.
fn path_of(source: &str) -> &str {
    let Some(rest) = source.strip_prefix("file:") else { return source };
    let rest = rest.strip_prefix("//localhost").unwrap_or(rest);
    match rest.strip_prefix("//") {
        Some(path) if path.starts_with('/') => path,
        _ => rest,
    }
}
