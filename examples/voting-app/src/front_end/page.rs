//! The voting page in its states, as HTML without anything from elsewhere.

use crate::ballot::Choice;

const TEMPLATE: &str = include_str!("page.html");

/// Which container a page comes from.
#[derive(Debug, Clone)]
pub(super) struct Served {
    pub(super) by: String,
    pub(super) host: String,
}

/// What a page says.
#[derive(Debug, Clone, Copy)]
pub(super) enum Page {
    /// One may vote, or change the vote.
    Ballot { choice: Option<Choice> },
    /// The vote could not be queued; what counted before still does.
    NotTaken { choice: Option<Choice> },
    /// The form said something else.
    NoChoice,
}

impl Page {
    pub(super) fn html(self, served: &Served) -> String {
        let (class, notice, choice) = match self {
            Self::Ballot { choice: None } => ("", "Each voter has one vote.".into(), None),
            Self::Ballot { choice: Some(choice) } => (
                "",
                format!("You voted {}. You may change your vote.", choice.title()),
                Some(choice),
            ),
            Self::NotTaken { choice } => (
                "alert",
                "Your vote could not be recorded just now. Please vote again in a moment.".into(),
                choice,
            ),
            Self::NoChoice => ("alert", "Please choose Cats or Dogs.".into(), None),
        };
        let pressed = |of| if choice == Some(of) { "true" } else { "false" };
        [
            ("{class}", class),
            ("{notice}", &notice),
            ("{cats}", pressed(Choice::Cats)),
            ("{dogs}", pressed(Choice::Dogs)),
            ("{by}", &escape(&served.by)),
            ("{host}", &escape(&served.host)),
        ]
        .iter()
        .fold(TEMPLATE.to_owned(), |page, (name, text)| page.replace(name, text))
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_say_who_served_them_and_what_was_voted() {
        let served = Served { by: "frontend<02>".into(), host: "votingapp.local".into() };
        for (page, expect) in [
            (Page::Ballot { choice: None }, "Each voter has one vote."),
            (Page::Ballot { choice: Some(Choice::Dogs) }, "value=\"dogs\" aria-pressed=\"true\""),
            (Page::NotTaken { choice: None }, "could not be recorded"),
            (Page::NotTaken { choice: Some(Choice::Cats) }, "value=\"cats\" aria-pressed=\"true\""),
            (Page::NoChoice, "Please choose"),
        ] {
            let html = page.html(&served);
            for expect in [expect, "frontend&lt;02&gt;", "votingapp.local"] {
                assert!(html.contains(expect), "{expect} is missing: {html}");
            }
            assert!(!html.contains("{class}"), "{html}");
        }
    }
}
