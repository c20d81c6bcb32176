//! The contract of a bundle that is this one and a file more: what was taught, or what is normal.

use super::{Bundle, BundleError, hex, one_line};
use sha2::{Digest, Sha256};

impl Bundle {
    /// The text of its `bundle.toml` with `file` in the list, by the hash of its `bytes`, and under another name if one is given. Comments are lost.
    ///
    /// # Errors
    /// In practice none: the contract was read once.
    pub fn amended(&self, name: Option<&str>, file: &str, bytes: &[u8]) -> Result<String, BundleError> {
        let refuse = |e: String| self.refuse(format!("bundle.toml: {}", one_line(&e)));
        let mut table: toml::Table = toml::from_str(self.text()).map_err(|e| refuse(e.to_string()))?;
        if let Some(name) = name {
            table.insert("name".into(), name.into());
        }
        let files = table.get_mut("files").and_then(toml::Value::as_table_mut);
        let files = files.ok_or_else(|| refuse(format!("no [files] to list {file} under")))?;
        files.insert(file.into(), hex(&Sha256::digest(bytes)).into());
        toml::to_string(&table).map_err(|e| refuse(e.to_string()))
    }
}
