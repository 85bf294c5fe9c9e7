//! The secret between the endpoint and the programs that may ask it: new at each boot, kept over
//! the daemon's restarts.

use std::{
    fmt::Write as _,
    fs::{self, File},
    hint::black_box,
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    core::{own_files, secret::Secret},
    system::atomic_file,
};

/// Only its owner.
const MODE: u32 = 0o600;

const BYTES: usize = 32;

/// 256 random bits, as 64 letters and digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EndpointToken(Secret);

impl EndpointToken {
    #[cfg(test)]
    pub const OF_TESTS: &'static str =
        "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    #[cfg(test)]
    pub fn of_tests() -> Self {
        Self(Secret::new(Self::OF_TESTS.to_owned()))
    }

    /// A new one, from the kernel.
    ///
    /// # Errors
    /// As reading `/dev/random` gives them. Unlike `/dev/urandom`, it waits at boot until there is
    /// entropy.
    pub fn random() -> io::Result<Self> {
        let mut bytes = Zeroizing::new([0; BYTES]);
        File::open("/dev/random")?.read_exact(&mut *bytes)?;
        let mut text = String::with_capacity(2 * BYTES);
        for byte in *bytes {
            // Writing to a String does not fail.
            let _ = write!(text, "{byte:02x}");
        }
        Ok(Self(Secret::new(text)))
    }

    /// As a secret, to be written into the file of a program that may ask.
    pub fn secret(&self) -> &Secret {
        &self.0
    }

    fn expose(&self) -> &str {
        self.0.expose()
    }

    /// Whether this is it, in a time that does not depend on where the two differ.
    pub fn is(&self, sent: &[u8]) -> bool {
        let own = self.expose().as_bytes();
        // Its length is no secret.
        sent.len() == own.len()
            && own.iter().zip(sent).fold(0, |differ, (a, b)| black_box(differ | (a ^ b))) == 0
    }
}

/// What is kept for the endpoint of the next daemon of this boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    boot_id: String,
    pub token: EndpointToken,
    /// Litestream was seen to start with it.
    pub handed_over: bool,
}

/// The file that it is kept in.
#[derive(Clone, Debug)]
pub struct TokenFile(PathBuf);

impl TokenFile {
    pub fn in_directory(directory: &Path) -> Self {
        Self(directory.join(own_files::ENDPOINT_TOKEN))
    }

    /// The token of the boot `boot_id`, made if there is none yet.
    ///
    /// # Errors
    /// None could be made, or not kept: after the daemon's next restart the programs' would be
    /// wrong.
    pub fn load_or_make(&self, boot_id: &str) -> io::Result<TokenRecord> {
        let kept = fs::read(&self.0).map(Zeroizing::new).ok();
        let kept = kept.and_then(|text| serde_json::from_slice::<TokenRecord>(&text).ok());
        let is_whole = |kept: &TokenRecord| kept.token.expose().len() == 2 * BYTES;
        if let Some(kept) = kept.filter(|kept| kept.boot_id == boot_id && is_whole(kept)) {
            return Ok(kept);
        }
        let token = EndpointToken::random()?;
        let kept = TokenRecord { boot_id: boot_id.to_owned(), token, handed_over: false };
        self.save(&kept)?;
        Ok(kept)
    }

    /// Keeps it; whole at every moment.
    ///
    /// # Errors
    /// As the file system gives them.
    pub fn save(&self, kept: &TokenRecord) -> io::Result<()> {
        let mut text = Zeroizing::new(Vec::with_capacity(512));
        serde_json::to_writer(&mut *text, kept)?;
        atomic_file::replace(&self.0, &text, MODE)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn only_the_token_itself_is_it() {
        let token = EndpointToken::of_tests();
        let own = EndpointToken::OF_TESTS;
        assert!(token.is(own.as_bytes()));
        let mut wrong =
            vec![String::new(), own[1..].to_owned(), format!("{own}0"), own.to_uppercase()];
        wrong.extend((0..own.len()).map(|at| {
            let mut other = own.to_owned();
            other.replace_range(at..=at, "x");
            other
        }));
        for wrong in wrong {
            assert!(!token.is(wrong.as_bytes()), "{wrong}");
        }
    }

    #[test]
    fn is_another_at_each_boot_and_the_same_until_then() {
        let directory =
            std::env::temp_dir().join(format!("edgerotate-token-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let file = TokenFile::in_directory(&directory);
        let mut first = file.load_or_make("a").unwrap();
        assert_eq!(first.token.expose().len(), 64);
        assert!(first.token.expose().bytes().all(|b| b.is_ascii_hexdigit()));
        assert!(!first.handed_over);
        assert_eq!(
            fs::metadata(directory.join(own_files::ENDPOINT_TOKEN)).unwrap().mode() & 0o7777,
            0o600
        );
        first.handed_over = true;
        file.save(&first).unwrap();
        assert_eq!(file.load_or_make("a").unwrap(), first);

        let second = file.load_or_make("b").unwrap();
        assert_ne!(second.token, first.token);
        assert!(!second.handed_over, "Litestream ended as well");
        fs::write(directory.join(own_files::ENDPOINT_TOKEN), "{").unwrap();
        assert_ne!(file.load_or_make("b").unwrap().token, second.token);
        fs::remove_dir_all(directory).unwrap();
    }
}
