//! Keys and tokens that look like AWS's.

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::rand::{SecureRandom, SystemRandom};

/// `ASIA` (temporary) or `AKIA` (permanent) and 16 characters of base32.
pub fn access_key_id(prefix: &str) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let tail = random::<16>().map(|byte| char::from(ALPHABET[usize::from(byte % 32)]));
    prefix.chars().chain(tail).collect()
}

/// 40 characters of `A-Za-z0-9+/`.
pub fn secret_access_key() -> String {
    STANDARD.encode(random::<30>())
}

/// 700 characters of base64, starting as AWS's do.
pub fn session_token() -> String {
    format!("IQoJb3JpZ2luX2Vj{}", STANDARD.encode(random::<513>()))
}

pub fn request_id() -> String {
    let hex: String = random::<16>().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// Noise for answers that are none.
pub fn noise() -> Vec<u8> {
    random::<1024>().to_vec()
}

/// Where to begin the search for a free port.
pub fn random_port_offset(range: u16) -> u16 {
    u16::from_be_bytes(random::<2>()) % range
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the kernel has random numbers");
    bytes
}
