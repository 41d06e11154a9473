//! `X-Registry-Auth`: the credentials that a client sends with a pull, and that a service carries for its nodes.
//!
//! Mirrors moby's `registry.AuthConfig`: base64url of JSON, empty for an anonymous pull.

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use oci_client::secrets::RegistryAuth;
use serde::Deserialize;

use crate::error::{Error, Result};

/// With or without padding, as clients differ.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[derive(Deserialize, Default)]
#[serde(default)]
struct AuthConfig {
    username: Option<String>,
    password: Option<String>,
    auth: Option<String>,
    registrytoken: Option<String>,
    identitytoken: Option<String>,
}

/// Reads the header's value. What cannot be read is refused without repeating it, as it may be a password.
pub fn parse_auth(header: &str) -> Result<RegistryAuth> {
    let malformed = || Error::invalid("invalid X-Registry-Auth header");
    if header.is_empty() {
        return Ok(RegistryAuth::Anonymous);
    }
    let json =
        LENIENT.decode(header).or_else(|_| STANDARD.decode(header)).map_err(|_| malformed())?;
    let config: AuthConfig = serde_json::from_slice(&json).map_err(|_| malformed())?;
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    if let Some(token) = given(config.registrytoken) {
        return Ok(RegistryAuth::Bearer(token));
    }
    if given(config.identitytoken).is_some() {
        return Err(Error::new(
            crate::ErrorClass::NotImplemented,
            "registry login with identity tokens is not supported",
        ));
    }
    if let Some(username) = given(config.username) {
        return Ok(RegistryAuth::Basic(username, config.password.unwrap_or_default()));
    }
    let Some(pair) = given(config.auth) else { return Ok(RegistryAuth::Anonymous) };
    let pair = STANDARD
        .decode(pair)
        .ok()
        .and_then(|pair| String::from_utf8(pair).ok())
        .ok_or_else(malformed)?;
    let (username, password) = pair.split_once(':').ok_or_else(malformed)?;
    Ok(RegistryAuth::Basic(username.to_owned(), password.trim_end_matches('\0').to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_clients_form_is_read() {
        let encode = |json: &str| LENIENT.encode(json);
        let user = RegistryAuth::Basic("u".into(), "p?>".into());
        for (header, expect) in [
            (String::new(), RegistryAuth::Anonymous),
            (encode("{}"), RegistryAuth::Anonymous),
            (encode(r#"{"username":"u","password":"p?>","serveraddress":"x"}"#), user.clone()),
            (STANDARD.encode(r#"{"username":"u","password":"p?>"}"#), user.clone()),
            (encode(&format!(r#"{{"auth":"{}"}}"#, STANDARD.encode("u:p?>"))), user),
            (encode(r#"{"registrytoken":"t"}"#), RegistryAuth::Bearer("t".into())),
        ] {
            assert_eq!(parse_auth(&header).expect("valid"), expect, "{header}");
        }
        for header in ["%%%", "bm8gSlNPTg==", &encode(r#"{"auth":"!"}"#)] {
            assert_eq!(
                parse_auth(header).expect_err("bad").to_string(),
                "invalid X-Registry-Auth header"
            );
        }
    }
}
