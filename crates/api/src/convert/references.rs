//! References to secrets and configs that a container mounts.

use swarm_proto::v1;
use swarm_proto::v1::{config_reference, secret_reference};

use crate::error::ApiError;
use crate::wire;

fn file(json: &wire::FileTarget) -> v1::FileTarget {
    v1::FileTarget {
        name: json.name.clone(),
        uid: json.uid.clone(),
        gid: json.gid.clone(),
        mode: json.mode,
    }
}

fn file_json(file: &v1::FileTarget) -> wire::FileTarget {
    wire::FileTarget {
        name: file.name.clone(),
        uid: file.uid.clone(),
        gid: file.gid.clone(),
        mode: file.mode,
    }
}

pub(crate) fn secret(json: &wire::SecretReference) -> v1::SecretReference {
    v1::SecretReference {
        secret_id: json.secret_id.clone(),
        secret_name: json.secret_name.clone(),
        target: json.file.as_ref().map(|f| secret_reference::Target::File(file(f))),
    }
}

/// A reference without a file target is left out, as Docker leaves it out.
pub(crate) fn secret_json(reference: &v1::SecretReference) -> Option<wire::SecretReference> {
    let secret_reference::Target::File(file) = reference.target.as_ref()?;
    Some(wire::SecretReference {
        file: Some(file_json(file)),
        secret_id: reference.secret_id.clone(),
        secret_name: reference.secret_name.clone(),
    })
}

pub(crate) fn config(json: &wire::ConfigReference) -> Result<v1::ConfigReference, ApiError> {
    let target = match (&json.file, &json.runtime) {
        (None, None) => {
            return Err(ApiError::invalid("invalid Config: either File or Runtime should be set"));
        }
        (Some(_), Some(_)) => {
            return Err(ApiError::invalid("invalid Config: cannot specify both File and Runtime"));
        }
        (Some(f), None) => config_reference::Target::File(file(f)),
        (None, Some(_)) => config_reference::Target::Runtime(v1::RuntimeTarget {}),
    };
    Ok(v1::ConfigReference {
        config_id: json.config_id.clone(),
        config_name: json.config_name.clone(),
        target: Some(target),
    })
}

pub(crate) fn config_json(reference: &v1::ConfigReference) -> Option<wire::ConfigReference> {
    let (file, runtime) = match reference.target.as_ref()? {
        config_reference::Target::File(file) => (Some(file_json(file)), None),
        config_reference::Target::Runtime(_) => (None, Some(wire::Empty {})),
    };
    Some(wire::ConfigReference {
        file,
        runtime,
        config_id: reference.config_id.clone(),
        config_name: reference.config_name.clone(),
    })
}
