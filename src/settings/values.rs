//! The values of single settings, each from its text; an error says what is wrong, the caller adds
//! where.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    path::PathBuf,
};

use log::LevelFilter;

use crate::{
    core::secret::Secret,
    settings::{
        config::{Delivery, ModuleVariable, Route},
        endpoint, words,
    },
};

pub(super) fn role_alias(text: &str) -> Result<String, String> {
    let is_usual = |c: char| c.is_ascii_alphanumeric() || "_=,@-".contains(c);
    if (1..=128).contains(&text.len()) && text.chars().all(is_usual) {
        return Ok(text.to_owned());
    }
    Err("must be 1 to 128 of A-Z a-z 0-9 _ = , @ - (the alias's name, not its ARN)".to_owned())
}

/// The alphabet is AWS's; it also keeps quoting out of the environment file.
pub(super) fn thing_name(text: &str) -> Result<String, String> {
    let is_usual = |c: char| c.is_ascii_alphanumeric() || ":_-".contains(c);
    if (1..=128).contains(&text.len()) && text.chars().all(is_usual) {
        return Ok(text.to_owned());
    }
    Err("must be 1 to 128 of A-Z a-z 0-9 : _ -".to_owned())
}

/// `http://HOST:PORT`; none for `none`, which takes away a weaker layer's.
pub(super) fn proxy(text: &str) -> Result<Option<String>, String> {
    if text == "none" {
        return Ok(None);
    }
    let form = || "must be http://HOST:PORT, https://HOST:PORT or none".to_owned();
    let (scheme, rest) = text.split_once("://").ok_or_else(form)?;
    let scheme = scheme.to_ascii_lowercase();
    if scheme.starts_with("socks") {
        return Err("is a SOCKS proxy; http and https proxies are known".to_owned());
    }
    if scheme != "http" && scheme != "https" {
        return Err(form());
    }
    if rest.contains('@') {
        return Err("must not hold a user and a password: write them into the file that \
             EDGEROTATE_PROXY_USER_FILE names"
            .to_owned());
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = rest.rsplit_once(':').ok_or_else(|| "names no port".to_owned())?;
    let is_of_host = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
    let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
    if host.is_empty() || !host.chars().all(is_of_host) || !is_port {
        return Err(form());
    }
    Ok(Some(format!("{scheme}://{host}:{port}")))
}

pub(super) fn region(text: &str) -> Result<String, String> {
    if endpoint::is_region(text) {
        return Ok(text.to_owned());
    }
    Err("is not a region such as eu-west-1".to_owned())
}

/// An absolute path to something that has a name.
pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if !text.starts_with('/') {
        return Err("must be an absolute path".to_owned());
    }
    if text.chars().any(char::is_control) {
        return Err("has a control character in the path".to_owned());
    }
    let path = PathBuf::from(text);
    if path.file_name().is_none() {
        return Err("must be the path of something with a name".to_owned());
    }
    Ok(path)
}

/// The path of a file; a directory's is recognized by its end.
pub(super) fn file(text: &str) -> Result<PathBuf, String> {
    if text.ends_with('/') {
        return Err("must be the path of a file, not of a directory".to_owned());
    }
    path(text)
}

/// The collector passes over every other file.
pub(super) fn metrics_file(text: &str) -> Result<PathBuf, String> {
    let path = file(text)?;
    if path.extension().is_none_or(|extension| extension != "prom") {
        return Err("must have a name that ends in .prom".to_owned());
    }
    Ok(path)
}

/// Several of them, each one once; one with a space in it is quoted as an argument of a command is.
pub(super) fn files(text: &str) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    for word in words::split(text)? {
        // `/a.db,/b.db`, or `/a.db, /b.db`.
        if word.contains(",/") || word.ends_with(',') {
            return Err("must be separated by blanks, not by commas".to_owned());
        }
        let path = file(&word)?;
        if !files.contains(&path) {
            files.push(path);
        }
    }
    Ok(files)
}

/// Bytes, with K, M or G for the powers of 1024, as systemd writes them.
pub(super) fn wal_size(text: &str) -> Result<u64, String> {
    let unit = [("K", 10), ("M", 20), ("G", 30)]
        .into_iter()
        .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift)));
    let (number, shift) = unit.unwrap_or((text, 0));
    let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    match number.parse::<u64>().ok().and_then(|n| n.checked_mul(1 << shift)) {
        Some(bytes) if is_number && (1 << 20..=16 << 30).contains(&bytes) => Ok(bytes),
        _ => Err("must be a size such as 64M: 1M to 16G".to_owned()),
    }
}

pub(super) fn delivery(text: &str) -> Result<Delivery, String> {
    [Delivery::EnvironmentFile, Delivery::Endpoint]
        .into_iter()
        .find(|delivery| delivery.name() == text)
        .ok_or_else(|| "must be environment-file or endpoint".to_owned())
}

/// SDKs send credentials' token over plain HTTP to loopback alone, and this address is loopback for
/// all of them.
pub(super) fn listen(text: &str) -> Result<SocketAddrV4, String> {
    match text.parse::<SocketAddrV4>() {
        Ok(address) if *address.ip() == Ipv4Addr::LOCALHOST && address.port() > 0 => Ok(address),
        _ => Err("must be 127.0.0.1 and a port, such as 127.0.0.1:9170".to_owned()),
    }
}

pub(super) fn route(text: &str) -> Result<Route, String> {
    match text {
        "engine" => Ok(Route::Engine),
        "provider" => Ok(Route::Provider),
        _ => Err("must be engine or provider".to_owned()),
    }
}

/// Environment variables, by name or as NAME=VALUE, separated by spaces.
pub(super) fn variables(text: &str) -> Result<Vec<ModuleVariable>, String> {
    let variable = |word: &str| {
        let (name, value) =
            word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
        let is_name = !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let value = value.map(|value| Secret::new(value.to_owned()));
        is_name.then(|| ModuleVariable { name: name.to_owned(), value })
    };
    let words = text.split_ascii_whitespace();
    words
        .enumerate()
        .map(|(at, word)| {
            variable(word).ok_or_else(|| {
            let at = at + 1;
            format!(
                "must be names of environment variables, or NAME=VALUE, separated by spaces; word \
                 {at} is neither"
            )
        })
        })
        .collect()
}

/// What systemd takes for a boolean.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "yes" | "y" | "true" | "t" | "on" => Ok(true),
        "0" | "no" | "n" | "false" | "f" | "off" => Ok(false),
        _ => Err("must be yes or no".to_owned()),
    }
}

/// 0 for all, else at least as many rows as a person needs to see what happened.
pub(super) fn keep_rows(text: &str) -> Result<u64, String> {
    let is_number = text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(rows) if is_number && (rows == 0 || rows >= 100) => Ok(rows),
        _ => Err("must be a number of rows, 100 or more, or 0 to keep all".to_owned()),
    }
}

pub(super) fn unit(text: &str) -> Result<String, String> {
    let is_usual = |c: char| c.is_ascii_alphanumeric() || ":_.\\@-".contains(c);
    let has_name = text.strip_suffix(".service").is_some_and(|name| !name.is_empty());
    if has_name && text.len() <= 255 && text.chars().all(is_usual) {
        return Ok(text.to_owned());
    }
    Err("must be the name of a systemd unit that ends in .service".to_owned())
}

pub(super) fn log_level(text: &str) -> Result<LevelFilter, String> {
    match text {
        "error" => Ok(LevelFilter::Error),
        "warn" => Ok(LevelFilter::Warn),
        "info" => Ok(LevelFilter::Info),
        "debug" => Ok(LevelFilter::Debug),
        _ => Err("must be error, warn, info or debug".to_owned()),
    }
}
