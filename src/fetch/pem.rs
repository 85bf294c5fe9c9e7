//! Certificates out of files as people make them: what can be taken is taken, and what can't be is
//! named.
//!
//! Nothing is read here but bytes. Taken are certificates in PEM wherever they stand in the text:
//! with text around, indented, on lines of any length and end, several glued together; with `\n` as
//! two characters, as a JSON string has them; in the JSON answer of `aws iot
//! create-certificate-from-csr`; after a byte order mark, in UTF-16; and one in DER.

use openssl::x509::X509;
use serde_json::Value;

use crate::fetch::basic_constraints;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// The labels of a certificate (RFC 7468, and what OpenSSL takes beside it).
const CERTIFICATE: &[&str] = &["CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"];

/// All certificates in a file, in its order; at least one.
///
/// # Errors
/// What is wrong with the file, in words that go in brackets behind its name.
pub fn certificates(bytes: &[u8]) -> Result<Vec<X509>, String> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err("it is empty".to_owned());
    }
    // DER begins with a SEQUENCE whose length takes two bytes.
    if bytes.starts_with(&[0x30, 0x82]) {
        return match X509::from_der(bytes) {
            Ok(certificate) => Ok(vec![certificate]),
            Err(_) => Err("it is in DER, and no certificate".to_owned()),
        };
    }
    let text = text(bytes)?;
    let blocks = blocks(&text)?;
    let mut found = Vec::new();
    for (number, block) in
        (1..).zip(blocks.iter().filter(|block| CERTIFICATE.contains(&block.label)))
    {
        let der = block.der().and_then(|der| X509::from_der(&der).ok());
        found.push(der.ok_or_else(|| format!("certificate {number} in it is damaged"))?);
    }
    if found.is_empty() {
        return Err(without_certificate(&blocks).to_owned());
    }
    Ok(found)
}

/// The device's certificate first, then its chain: the authority's may come before it, as some
/// tools put it.
pub fn in_order(mut certificates: Vec<X509>) -> Vec<X509> {
    let issued_another = |one: &X509| {
        certificates.iter().any(|other| {
            is_issuer(one, other)
                && other.subject_name().try_cmp(one.subject_name()).is_ok_and(|o| o.is_ne())
        })
    };
    let last = || (0..certificates.len()).filter(|at| !issued_another(&certificates[*at]));
    // An authority that has nothing to do with the device may be in the file as well.
    let device = last().find(|at| !is_authority(&certificates[*at])).or_else(|| last().next());
    let device = device.unwrap_or(0);
    let mut chain = vec![certificates.remove(device)];
    while let Some(next) =
        chain.last().and_then(|last| certificates.iter().position(|other| is_issuer(other, last)))
    {
        chain.push(certificates.remove(next));
    }
    // What belongs to no chain of the device's is sent as it is.
    chain.extend(certificates);
    chain
}

/// Whether it may sign others.
pub fn is_authority(certificate: &X509) -> bool {
    certificate.to_der().is_ok_and(|der| basic_constraints::say_authority(&der))
}

fn is_issuer(one: &X509, of: &X509) -> bool {
    one.subject_name().try_cmp(of.issuer_name()).is_ok_and(|order| order.is_eq())
}

/// The text in a file, whatever it is wrapped in.
fn text(bytes: &[u8]) -> Result<String, String> {
    let text = match bytes {
        [0xff, 0xfe, rest @ ..] => utf_16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf_16(rest, u16::from_be_bytes),
        // A byte order mark is text around the PEM.
        _ => String::from_utf8_lossy(bytes).into_owned(),
    };
    if text.contains('\0') {
        return Err("it is no text".to_owned());
    }
    let text = match serde_json::from_str(text.trim_start_matches('\u{feff}')) {
        Ok(Value::String(pem)) => pem,
        Ok(json) => match json.get("certificatePem").and_then(Value::as_str) {
            Some(pem) => pem.to_owned(),
            None => return Err("it is JSON without a certificatePem".to_owned()),
        },
        Err(_) => text,
    };
    Ok(text.replace("\\r", "").replace("\\n", "\n"))
}

fn utf_16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> String {
    let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// Something between BEGIN and END.
struct Block<'a> {
    label: &'a str,
    body: &'a str,
}

impl Block<'_> {
    fn der(&self) -> Option<Vec<u8>> {
        let body: String = self.body.chars().filter(|c| !c.is_whitespace()).collect();
        openssl::base64::decode_block(&body).ok()
    }
}

fn blocks(text: &str) -> Result<Vec<Block<'_>>, String> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(BEGIN) {
        let unfinished = || "a -----BEGIN line in it has no -----END line".to_owned();
        let (label, after) = after.split_once(DASHES).ok_or_else(unfinished)?;
        let (body, after) = after.split_once(END).ok_or_else(unfinished)?;
        blocks.push(Block { label, body });
        rest = after;
    }
    Ok(blocks)
}

/// What a file holds in an unencrypted private key's place, in words that go in brackets behind its
/// name.
pub fn without_key(bytes: &[u8]) -> &'static str {
    let text = String::from_utf8_lossy(bytes);
    let blocks = blocks(&text).unwrap_or_default();
    let holds = |word: &str| blocks.iter().any(|block| block.label.contains(word));
    if holds("TSS2") {
        "it is a TPM's key in TSS2's form; edgerotate uses a TPM by PKCS#11"
    } else if holds("PKCS#11 PROVIDER URI") {
        "it is a pkcs11: URI in PEM; write the URI itself into EDGEROTATE_PRIVATE_KEY"
    } else if holds("ENCRYPTED") || text.contains("Proc-Type: 4,ENCRYPTED") {
        "the key in it has a passphrase"
    } else if holds("PRIVATE KEY") {
        "the key in it is damaged, or of a kind that this OpenSSL does not know"
    } else if holds("CERTIFICATE") {
        "it holds a certificate and no key"
    } else if holds("PUBLIC KEY") {
        "it holds a public key alone"
    } else if bytes.iter().all(u8::is_ascii_whitespace) {
        "it is empty"
    } else {
        "it has no -----BEGIN … PRIVATE KEY-----"
    }
}

/// What the file holds in a certificate's place.
fn without_certificate(blocks: &[Block<'_>]) -> &'static str {
    let holds = |word: &str| blocks.iter().any(|block| block.label.contains(word));
    if holds("PRIVATE KEY") {
        "it holds a private key and no certificate"
    } else if holds("CERTIFICATE REQUEST") {
        "it holds a certificate request, not the certificate that was issued for it"
    } else if holds("PUBLIC KEY") {
        "it holds a public key and no certificate"
    } else if holds("PKCS7") {
        "it holds a PKCS#7 bundle; openssl pkcs7 -print_certs makes PEM of it"
    } else {
        "it has no -----BEGIN CERTIFICATE-----"
    }
}

#[cfg(test)]
mod tests {
    use openssl::{
        asn1::Asn1Time,
        ec::{EcGroup, EcKey},
        hash::MessageDigest,
        nid::Nid,
        pkey::{PKey, Private},
        x509::{X509Builder, X509NameBuilder, extension::BasicConstraints},
    };

    use super::*;

    fn key() -> PKey<Private> {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
    }

    fn certificate(name: &str, issuer: &str, is_authority: bool) -> X509 {
        let key = key();
        let named = |name: &str| {
            let mut builder = X509NameBuilder::new().unwrap();
            builder.append_entry_by_nid(Nid::COMMONNAME, name).unwrap();
            builder.build()
        };
        let mut builder = X509Builder::new().unwrap();
        builder.set_version(2).unwrap();
        builder.set_subject_name(&named(name)).unwrap();
        builder.set_issuer_name(&named(issuer)).unwrap();
        builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::days_from_now(9).unwrap()).unwrap();
        builder.set_pubkey(&key).unwrap();
        if is_authority {
            builder.append_extension(BasicConstraints::new().ca().build().unwrap()).unwrap();
        }
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        builder.build()
    }

    fn pem(certificate: &X509) -> String {
        String::from_utf8(certificate.to_pem().unwrap()).unwrap()
    }

    fn names(certificates: &[X509]) -> Vec<String> {
        let name = |one: &X509| {
            let entry = one.subject_name().entries().next().unwrap();
            entry.data().to_string().unwrap()
        };
        certificates.iter().map(name).collect()
    }

    #[test]
    fn what_can_be_taken_is_taken() {
        let device = certificate("device", "authority", false);
        let authority = certificate("authority", "authority", true);
        let (d, a) = (pem(&device), pem(&authority));
        let utf_16: Vec<u8> =
            [0xff, 0xfe].into_iter().chain(d.encode_utf16().flat_map(u16::to_le_bytes)).collect();
        let one_line = d.replacen('\n', "|", 1).replace("\n-----END", "|-----END");
        let one_line = one_line.replace('\n', "").replace('|', "\n");
        let json = serde_json::json!({"certificateId": "0a1b", "certificatePem": d});
        let shapes: Vec<(&str, Vec<u8>)> = vec![
            ("as it is", d.clone().into()),
            ("CRLF", d.replace('\n', "\r\n").into()),
            ("no newline at the end", d.trim_end().into()),
            ("one long line", one_line.into()),
            ("all on one line", d.replace('\n', "").into()),
            ("indented", format!("    {}", d.replace('\n', "\n    ")).into()),
            ("text around", format!("Bag Attributes\n{d}some words\n").into()),
            ("a JSON string's \\n", d.replace('\n', "\\n").into()),
            ("\\r\\n as letters", d.replace('\n', "\\r\\n").into()),
            ("a JSON string", serde_json::to_vec(&d).unwrap()),
            ("the CLI's JSON", serde_json::to_vec_pretty(&json).unwrap()),
            ("a byte order mark", format!("\u{feff}{d}").into()),
            ("a byte order mark and JSON", format!("\u{feff}{json}").into()),
            ("UTF-16", utf_16),
            ("DER", device.to_der().unwrap()),
            (
                "beside its key",
                format!("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n{d}").into(),
            ),
        ];
        for (shape, bytes) in shapes {
            let found = certificates(&bytes).unwrap_or_else(|e| panic!("{shape}: {e}"));
            assert_eq!(names(&found), ["device"], "{shape}");
        }
        for (shape, text) in [
            ("in order", format!("{d}{a}")),
            ("glued", format!("{}{a}", d.trim_end())),
            ("authority first", format!("{a}{d}")),
        ] {
            let found = in_order(certificates(text.as_bytes()).unwrap());
            assert_eq!(names(&found), ["device", "authority"], "{shape}");
        }
        assert!(is_authority(&authority) && !is_authority(&device));
        assert!(!is_authority(&certificate("CA:TRUE", "authority", false)));
    }

    #[test]
    fn a_chain_is_put_in_order_and_what_is_beside_it_stays() {
        let all =
            [("root", "root"), ("other", "elsewhere"), ("middle", "root"), ("device", "middle")];
        let all = all.map(|(name, issuer)| certificate(name, issuer, name != "device")).into();
        // The other one issued nobody either, and comes first: it is an authority.
        assert_eq!(names(&in_order(all)), ["device", "middle", "root", "other"]);
        let all =
            [("root", "root"), ("middle", "root"), ("device", "middle"), ("other", "elsewhere")];
        let all = all.map(|(name, issuer)| certificate(name, issuer, name != "device")).into();
        assert_eq!(names(&in_order(all)), ["device", "middle", "root", "other"]);
        // Nothing tells which of two authorities is the device's but the order.
        let both = vec![certificate("a", "x", true), certificate("b", "y", true)];
        assert_eq!(names(&in_order(both)), ["a", "b"]);
        let own = vec![certificate("self", "self", true)];
        assert_eq!(names(&in_order(own)), ["self"]);
    }

    #[test]
    fn what_cannot_be_is_named() {
        let device = pem(&certificate("device", "authority", false));
        let second_damaged = device.clone() + &device.replacen("MI", "MIMI", 1);
        let block = |label| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
        for (text, words) in [
            (String::new(), "empty"),
            (" \n".to_owned(), "empty"),
            ("hello".to_owned(), "has no -----BEGIN CERTIFICATE-----"),
            (block("EC PRIVATE KEY"), "a private key and no certificate"),
            (block("CERTIFICATE REQUEST"), "a certificate request"),
            (block("PUBLIC KEY"), "a public key"),
            (block("PKCS7"), "PKCS#7"),
            (second_damaged, "certificate 2 in it is damaged"),
            (device.replace("-----END", "-----STOP"), "no -----END line"),
            ("{\"certificateArn\": \"arn\"}".to_owned(), "JSON without a certificatePem"),
            ("\0\u{1}".to_owned(), "no text"),
        ] {
            let error = certificates(text.as_bytes()).unwrap_err();
            assert!(error.contains(words), "{text:?}: {error}");
        }
        assert!(certificates(&[0x30, 0x82, 1]).unwrap_err().contains("DER"));
        for (label, words) in [
            ("TSS2 PRIVATE KEY", "TSS2"),
            ("PKCS#11 PROVIDER URI", "URI itself"),
            ("ENCRYPTED PRIVATE KEY", "passphrase"),
            ("EC PRIVATE KEY", "damaged"),
            ("CERTIFICATE", "a certificate and no key"),
            ("PUBLIC KEY", "public key alone"),
        ] {
            assert!(without_key(block(label).as_bytes()).contains(words), "{label}");
        }
        assert!(without_key(b"").contains("empty") && without_key(b"x").contains("has no"));
    }
}
