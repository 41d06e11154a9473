//! How much a secret or config may hold.

use tonic::Status;

/// Refuses data that is empty or reaches `bytes_max`.
pub(super) fn check_payload(kind: &str, data: &[u8], bytes_max: usize) -> Result<(), Status> {
    if data.is_empty() || data.len() >= bytes_max {
        return Err(Status::invalid_argument(format!(
            "{kind} data must be larger than 0 and less than {bytes_max} bytes"
        )));
    }
    Ok(())
}
