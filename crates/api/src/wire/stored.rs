//! JSON of secrets and configs, which differ in one field.

use super::{Driver, Map, Version, keep, omit};

wire! {
    struct SecretSpec {
        "Name" "omit" name: String,
        "Labels" "keep" labels: Map,
        "Data" "omit" data: String,
        "Driver" "omit" driver: Option<Driver>,
        "Templating" "omit" templating: Option<Driver>,
    }
    struct Secret {
        "ID" "keep" id: String,
        "Version" "keep" version: Version,
        "CreatedAt" "keep" created_at: String,
        "UpdatedAt" "keep" updated_at: String,
        "Spec" "keep" spec: SecretSpec,
    }
    struct ConfigSpec {
        "Name" "omit" name: String,
        "Labels" "keep" labels: Map,
        "Data" "omit" data: String,
        "Templating" "omit" templating: Option<Driver>,
    }
    struct Config {
        "ID" "keep" id: String,
        "Version" "keep" version: Version,
        "CreatedAt" "keep" created_at: String,
        "UpdatedAt" "keep" updated_at: String,
        "Spec" "keep" spec: ConfigSpec,
    }
    struct Created { "ID" "keep" id: String, }
}
