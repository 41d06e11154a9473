//! A file with an engine on each line.

use std::path::Path;

use thiserror::Error;

use super::entry::{Entry, EntryError};
use super::pattern::expand;

/// A file that tells no engines.
#[derive(Debug, Error)]
pub(crate) enum FileError {
    #[error("failed to read '{path}': {error}")]
    Read {
        /// The file.
        path: String,
        /// What the system says.
        error: std::io::Error,
    },
    #[error(transparent)]
    Entry(#[from] EntryError),
}

/// The engines that a file names.
///
/// # Errors
/// [`FileError`], where it can't be read or a line is no address.
pub(crate) fn read_file(path: &Path) -> Result<Vec<Entry>, FileError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| FileError::Read { path: path.display().to_string(), error })?;
    Ok(read(&text)?)
}

/// The engines that the text of a file names: a line for each, or for a pattern; `#` begins a comment.
///
/// # Errors
/// That of the first line that is no address.
fn read(text: &str) -> Result<Vec<Entry>, EntryError> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let named = lines.filter(|line| !line.is_empty()).flat_map(expand);
    named.map(|address| Entry::parse(&address)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_engines() {
        for (text, expect) in [
            ("", Ok("")),
            ("\n# all\n a:1 \n\nb[1:2]:1 # two\n#c:1", Ok("a:1 b1:1 b2:1")),
            ("a:1\nb", Err("address b: missing port in address")),
        ] {
            let said = read(text)
                .map(|all| all.iter().map(Entry::to_string).collect::<Vec<_>>().join(" "))
                .map_err(|error| error.to_string());
            assert_eq!(said, expect.map(str::to_owned).map_err(str::to_owned), "{text}");
        }
    }
}
