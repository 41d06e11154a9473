//! What every resource needs of HTTP: bodies, query parameters, filters, versions, streams of logs.
//!
//! No resource is known here.

pub(crate) mod body;
pub(crate) mod filters;
pub(crate) mod logs;
pub(crate) mod params;
pub(crate) mod registry_auth;
pub(crate) mod stream;
pub(crate) mod upload;
pub(crate) mod version;
