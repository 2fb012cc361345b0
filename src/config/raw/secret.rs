//! A secret as it stands in the configuration. It is read, never written: serialising gives an
//! empty text, so that neither the known-keys template nor a dump of the defaults can hold one.

use serde::{Deserialize, Serialize, Serializer};

use crate::types::secret::SecretText;

/// A secret that may be absent; absent and empty are the same.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(pub(crate) SecretText);

impl Default for Secret {
    fn default() -> Self {
        Self(SecretText::new(""))
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("")
    }
}
