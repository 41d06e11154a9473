//! Secrets and configs. A secret's data goes in and never comes out.

use base64::Engine;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD, URL_SAFE};
use swarm_proto::v1;

use super::common::{driver, driver_json, meta};
use crate::error::ApiError;
use crate::wire;

const ALPHABETS: [&GeneralPurpose; 2] = [&STANDARD, &URL_SAFE];

fn data(text: &str) -> Result<Vec<u8>, ApiError> {
    let decoded = ALPHABETS.iter().find_map(|alphabet| alphabet.decode(text).ok());
    decoded.ok_or_else(|| ApiError::invalid("invalid JSON: illegal base64 data in field Data"))
}

fn annotations(name: &str, labels: &wire::Map) -> Option<v1::Annotations> {
    Some(v1::Annotations { name: name.to_owned(), labels: labels.clone(), indices: Vec::new() })
}

pub(crate) fn secret_spec(json: &wire::SecretSpec) -> Result<v1::SecretSpec, ApiError> {
    Ok(v1::SecretSpec {
        annotations: annotations(&json.name, &json.labels),
        data: data(&json.data)?,
        templating: json.templating.as_ref().map(driver),
        driver: json.driver.as_ref().map(driver),
    })
}

pub(crate) fn secret_json(secret: &v1::Secret) -> wire::Secret {
    let meta = meta(secret.meta.as_ref());
    let spec = secret.spec.clone().unwrap_or_default();
    let annotations = spec.annotations.unwrap_or_default();
    wire::Secret {
        id: secret.id.clone(),
        version: meta.version,
        created_at: meta.created_at,
        updated_at: meta.updated_at,
        spec: wire::SecretSpec {
            name: annotations.name,
            labels: annotations.labels,
            data: String::new(),
            driver: spec.driver.as_ref().map(driver_json),
            templating: spec.templating.as_ref().map(driver_json),
        },
    }
}

pub(crate) fn config_spec(json: &wire::ConfigSpec) -> Result<v1::ConfigSpec, ApiError> {
    Ok(v1::ConfigSpec {
        annotations: annotations(&json.name, &json.labels),
        data: data(&json.data)?,
        templating: json.templating.as_ref().map(driver),
    })
}

pub(crate) fn config_json(config: &v1::Config) -> wire::Config {
    let meta = meta(config.meta.as_ref());
    let spec = config.spec.clone().unwrap_or_default();
    let annotations = spec.annotations.unwrap_or_default();
    wire::Config {
        id: config.id.clone(),
        version: meta.version,
        created_at: meta.created_at,
        updated_at: meta.updated_at,
        spec: wire::ConfigSpec {
            name: annotations.name,
            labels: annotations.labels,
            data: STANDARD.encode(&spec.data),
            templating: spec.templating.as_ref().map(driver_json),
        },
    }
}
