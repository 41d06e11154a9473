//! `swarm.task-history-limit`, a label of a node: how many finished tasks of all services are kept of it.

use swarm_proto::v1::Node;

use super::value::count;
use super::{Labels, OptionError};

/// The label.
const LIMIT: &str = "swarm.task-history-limit";

/// How many finished tasks a node may have; none where it doesn't say, or in a way that can't be followed.
pub(crate) fn limit(node: &Node) -> Option<usize> {
    let annotations = node.spec.as_ref()?.annotations.as_ref()?;
    read(&annotations.labels).ok().flatten()
}

pub(super) fn read(labels: &Labels) -> Result<Option<usize>, OptionError> {
    count(labels, LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_number_of_one_or_more() {
        let problem = "it is a number of 1 or more";
        for (value, expect) in
            [("1", Some(1)), ("200", Some(200)), ("0", None), ("-1", None), ("", None)]
        {
            let labels: Labels = [(LIMIT.to_owned(), value.to_owned())].into();
            let expect = match expect {
                Some(limit) => Ok(Some(limit)),
                None => Err(format!("label {LIMIT}={value:?}: {problem}")),
            };
            assert_eq!(read(&labels).map_err(|error| error.to_string()), expect);
        }
        assert_eq!(read(&Labels::new()), Ok(None));
    }
}
