//! Frames alone: what is taken for one, for the end, for a torn write and for damage.

use super::super::frame::{Found, frame, judge};

const SALT: u64 = 0x0123_4567_89AB_CDEF;

/// Frames of these bodies one after another, the places where they begin, and their checksums.
fn segment(bodies: &[&[u8]]) -> (Vec<u8>, Vec<usize>, Vec<u32>) {
    let (mut bytes, mut places, mut checksums) = (Vec::new(), Vec::new(), vec![9]);
    for body in bodies {
        let (frame, checksum) = frame(SALT, *checksums.last().expect("has one"), body);
        places.push(bytes.len());
        checksums.push(checksum);
        bytes.extend(frame);
    }
    bytes.resize(bytes.len() + 4096, 0);
    (bytes, places, checksums)
}

#[test]
fn bodies_come_back_in_order() {
    let bodies: Vec<Vec<u8>> =
        [1, 14, 15, 16, 17, 500, 3000].iter().map(|length| vec![1; *length]).collect();
    let bodies: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
    let (bytes, ..) = segment(&bodies);
    let (mut at, mut previous) = (0, 9);
    for body in bodies {
        let Found::Frame(found) = judge(&bytes, at, SALT, previous) else { panic!("none at {at}") };
        assert_eq!(&bytes[found.body], body);
        (at, previous) = (found.end, found.checksum);
    }
    assert_eq!(judge(&bytes, at, SALT, previous), Found::End);
}

#[test]
fn a_write_that_stopped_anywhere_is_torn() {
    let (bytes, places, checksums) = segment(&[b"one", &[5; 2000]]);
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("a mark");
    for stop in places[1] + 1..=end {
        let mut stopped = bytes.clone();
        stopped[stop..].fill(0);
        let found = judge(&stopped, places[1], SALT, checksums[1]);
        // All but the mark, and the zeros before it, is all that counts.
        let is_whole = stop >= places[1] + 16 + 2000;
        assert_eq!(matches!(found, Found::Frame(_)), is_whole, "{found:?} at {stop}");
        assert!(is_whole || found == Found::Torn, "{found:?} at {stop}");
    }
}

#[test]
fn any_lost_sectors_of_the_last_write_are_torn() {
    let (bytes, places, checksums) = segment(&[b"one", &[5; 2000]]);
    for lost in 1..16 {
        let mut torn = bytes.clone();
        for sector in (0..4).filter(|sector| lost & (1 << sector) != 0) {
            // The first frame is on disk already, so its part of the first sector stands.
            torn[(sector * 512).max(places[1])..(sector + 1) * 512].fill(0);
        }
        assert_eq!(judge(&torn, places[1], SALT, checksums[1]), Found::Torn, "without {lost:b}");
    }
}

#[test]
fn a_changed_bit_is_damage_wherever_it_is() {
    let (bytes, places, checksums) = segment(&[&[3; 40], &[5; 700]]);
    for (n, place) in places.iter().enumerate() {
        let end = places.get(n + 1).copied().unwrap_or(places[1] + 720);
        for at in *place..end {
            let mut changed = bytes.clone();
            changed[at] ^= 4;
            if at + 1 == end {
                // A mark that is lost costs nothing either.
                changed[at] = 0;
            }
            let found = judge(&changed, *place, SALT, checksums[n]);
            // The zeros behind the body, and the mark, mean nothing where the checksums match.
            let body = [40, 700][n];
            let is_outside = at >= place + 16 + body;
            assert_eq!(matches!(found, Found::Frame(_)), is_outside, "{found:?} at {at}");
            assert!(is_outside || matches!(found, Found::Damaged(_)), "{found:?} at {at}");
        }
    }
}

#[test]
fn frames_of_another_segment_or_out_of_order_are_damage() {
    let (bytes, places, checksums) = segment(&[b"one", b"two", b"three"]);
    let cases = [(places[0], SALT + 1, checksums[0]), (places[2], SALT, checksums[1])];
    for (at, salt, previous) in cases {
        assert!(matches!(judge(&bytes, at, salt, previous), Found::Damaged(_)), "at {at}");
    }
}
