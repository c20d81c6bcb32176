//! Who may make a bundle for this box: minisign signatures, and versions that never go back.
//!
//! `bundle.toml` holds the sha256 of every file, so that a signature of it (`bundle.toml.minisig`, made by
//! `minisign -Sm bundle.toml`) is one of the whole bundle, its name and its version. It is checked before anything else is
//! read. A signed bundle stays signed for ever, also the one with a fault that was found later: so a bundle with a version
//! below the highest one that was installed under its name is refused. One step back to what already ran here
//! (`lookout install --undo`) stays possible; it needs the rights to write the state folder.
//!
//! Follows <https://jedisct1.github.io/minisign/>, prehashed signatures only (minisign's default since 0.10).

use minisign_verify::{PublicKey, Signature};
use std::cmp::Ordering;

/// File name of the signature.
pub const SIGNATURE: &str = "bundle.toml.minisig";
/// Longest signature file that is read; a minisign signature has four short lines.
pub const MAX_SIGNATURE_BYTES: u64 = 4096;

/// Is this text a minisign public key (the second line of a `.pub` file)?
///
/// # Errors
/// One sentence.
pub fn check_key(key: &str) -> Result<(), String> {
    PublicKey::from_base64(key)
        .map(drop)
        .map_err(|_| format!("{key:?} is not a minisign public key, expected RW and 54 more characters"))
}

/// Is `signature` one of `contract` by one of `keys`?
///
/// # Errors
/// One sentence that names both sides.
pub fn verify(contract: &[u8], signature: &str, keys: &[String]) -> Result<(), String> {
    let signature = Signature::decode(signature).map_err(|_| format!("{SIGNATURE}: not a minisign signature"))?;
    let mut known = false;
    for key in keys.iter().filter_map(|k| PublicKey::from_base64(k).ok()) {
        match key.verify(contract, &signature, false) {
            Ok(()) => return Ok(()),
            Err(minisign_verify::Error::UnexpectedKeyId) => {}
            Err(_) => known = true,
        }
    }
    Err(if known {
        format!("{SIGNATURE}: it does not belong to this bundle.toml, which was changed after it was signed")
    } else {
        format!("{SIGNATURE}: signed by a key that install.keys ({} of them) does not have", keys.len())
    })
}

/// Compares versions: numbers between dots, missing ones are 0.
///
/// # Errors
/// One that is no version.
pub fn compare(a: &str, b: &str) -> Result<Ordering, String> {
    let (a, b) = (numbers(a)?, numbers(b)?);
    let at = |v: &[u64], n: usize| v.get(n).copied().unwrap_or(0);
    Ok((0..a.len().max(b.len())).map(|n| at(&a, n).cmp(&at(&b, n))).find(|o| o.is_ne()).unwrap_or(Ordering::Equal))
}

fn numbers(version: &str) -> Result<Vec<u64>, String> {
    let number = |part: &str| if part.bytes().all(|b| b.is_ascii_digit()) { part.parse().ok() } else { None };
    let all: Option<Vec<u64>> = version.split('.').map(number).collect();
    all.ok_or_else(|| format!("version {version:?} cannot be compared, expected numbers between dots as in 1.2.0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers_not_letters() {
        for (a, b, expected) in [
            ("1.2.0", "1.10.0", Ordering::Less),
            ("2", "1.99.99", Ordering::Greater),
            ("1.2", "1.2.0", Ordering::Equal),
            ("0.0.1", "0", Ordering::Greater),
            ("18446744073709551615", "18446744073709551614", Ordering::Greater),
        ] {
            assert_eq!(compare(a, b), Ok(expected), "{a} {b}");
        }
        for wrong in ["", "1.", "v1", "1.2-rc1", "+1", "18446744073709551616", "1 "] {
            assert!(compare(wrong, "1").is_err_and(|e| e.contains("cannot be compared")), "{wrong:?}");
        }
    }
}
