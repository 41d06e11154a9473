//! The results page with the count in it, so that it shows something without a script too.

use super::count::Count;

const TEMPLATE: &str = include_str!("page.html");
/// The chart's width.
const WIDTH: i64 = 600;

/// The page.
pub(super) fn html(count: &Count) -> String {
    let (cats, dogs) = (count.tally.cats, count.tally.dogs);
    let total = count.tally.total();
    let (cats_share, dogs_share) = (share(cats, total, 1000), share(dogs, total, 1000));
    [
        ("{cats}", cats.to_string()),
        ("{dogs}", dogs.to_string()),
        ("{total}", total.to_string()),
        ("{cats-share}", percent(cats_share)),
        ("{dogs-share}", percent(dogs_share)),
        ("{cats-width}", share(cats, total, WIDTH).to_string()),
        ("{dogs-width}", share(dogs, total, WIDTH).to_string()),
        ("{old}", if count.fresh { "hidden" } else { "" }.to_owned()),
    ]
    .iter()
    .fold(TEMPLATE.to_owned(), |page, (name, text)| page.replace(name, text))
}

/// How much of `whole` a part of the total is, rounded; 0 of nothing.
fn share(part: i64, total: i64, whole: i64) -> i64 {
    match total {
        0 => 0,
        total => (part * whole + total / 2) / total,
    }
}

fn percent(thousandths: i64) -> String {
    format!("{}.{}%", thousandths / 10, thousandths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Tally;

    #[test]
    fn the_page_shows_shares() {
        for (cats, dogs, expect) in [
            (0, 0, ["0.0%", "0.0%", "width=\"0\""]),
            (1, 2, ["33.3%", "66.7%", "width=\"200\""]),
            (0, 5, ["0.0%", "100.0%", "width=\"600\""]),
        ] {
            let html = html(&Count { tally: Tally { cats, dogs }, fresh: true });
            for expect in expect {
                assert!(html.contains(expect), "{expect} is missing: {html}");
            }
            assert!(html.contains("id=\"old\" hidden"));
        }
        assert!(html(&Count::default()).contains("id=\"old\" >"));
    }
}
