//! The contract of a bundle that is this one and some files more, or fewer: what was taught, or what is normal.

use super::{Bundle, BundleError, hex, one_line};
use sha2::{Digest, Sha256};

impl Bundle {
    /// The text of its `bundle.toml` with these files in the list, by the hash of their bytes, or without them where they have none, and under
    /// another name if one is given. Comments are lost.
    ///
    /// # Errors
    /// In practice none: the contract was read once.
    pub fn amended(&self, name: Option<&str>, files: &[(&str, Option<&[u8]>)]) -> Result<String, BundleError> {
        let refuse = |e: String| self.refuse(format!("bundle.toml: {}", one_line(&e)));
        let mut table: toml::Table = toml::from_str(self.text()).map_err(|e| refuse(e.to_string()))?;
        if let Some(name) = name {
            table.insert("name".into(), name.into());
        }
        let listed = table.get_mut("files").and_then(toml::Value::as_table_mut);
        let listed = listed.ok_or_else(|| refuse("no [files] to list more under".into()))?;
        for (file, bytes) in files {
            listed.remove(*file);
            listed.extend(bytes.map(|bytes| ((*file).to_string(), hex(&Sha256::digest(bytes)).into())));
        }
        toml::to_string(&table).map_err(|e| refuse(e.to_string()))
    }
}
