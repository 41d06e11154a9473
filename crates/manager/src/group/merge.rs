//! Fewer messages for the same news: what waits for a member while another message is on its way travels together.
//!
//! A lane delivers one message at a time, so under load the next delivery carries all that came meanwhile, as a log
//! writes all that came during a flush. Raft takes the merged messages for what they are: an append of more entries,
//! an answer that confirms more. Stock members take them too.

use swarm_proto::raftpb::{Message, MessageType};

use super::pieces::PIECE_BYTES_MAX;

/// Merges neighbours as far as they say the same together.
pub(super) fn merged(waiting: Vec<Message>) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::with_capacity(waiting.len());
    let mut bytes = 0;
    for message in waiting {
        let more = body(&message);
        if let Some(last) = messages.last_mut()
            && bytes + more <= PIECE_BYTES_MAX
            && fits(last, &message)
        {
            bytes += more;
            join(last, message);
        } else {
            bytes = more;
            messages.push(message);
        }
    }
    messages
}

/// Whether one message can stand for these two.
fn fits(first: &Message, next: &Message) -> bool {
    let is_same_kind = first.r#type == next.r#type
        && (first.term, first.to, first.from) == (next.term, next.to, next.from)
        && !first.reject()
        && !next.reject()
        && context(first).is_empty()
        && context(next).is_empty();
    is_same_kind
        && match next.r#type() {
            MessageType::MsgApp => end(first) == (next.index(), next.log_term()),
            MessageType::MsgAppResp => first.index() <= next.index(),
            MessageType::MsgHeartbeat => first.commit() <= next.commit(),
            MessageType::MsgHeartbeatResp => true,
            _ => false,
        }
}

fn join(first: &mut Message, next: Message) {
    if next.r#type() == MessageType::MsgApp {
        first.commit = first.commit.max(next.commit);
        first.entries.extend(next.entries);
    } else {
        *first = next;
    }
}

/// The index and term of the last entry that the receiver has after an append.
fn end(append: &Message) -> (u64, u64) {
    let last = append.entries.last().map(|entry| (entry.index(), entry.term()));
    last.unwrap_or((append.index(), append.log_term()))
}

fn context(message: &Message) -> &[u8] {
    message.context.as_deref().unwrap_or_default()
}

fn body(message: &Message) -> usize {
    message.entries.iter().map(|entry| entry.data.as_ref().map_or(0, Vec::len)).sum()
}

#[cfg(test)]
mod tests {
    use swarm_proto::raftpb::Entry;

    use super::*;

    fn of(kind: MessageType, index: u64) -> Message {
        let (kind, index, log_term) = (Some(kind as i32), Some(index), Some(2));
        Message { r#type: kind, index, log_term, term: Some(3), ..Message::default() }
    }

    fn append(index: u64, sizes: &[usize], commit: u64) -> Message {
        let entry = |(at, size): (u64, &usize)| Entry {
            index: Some(at),
            term: Some(2),
            data: Some(vec![1; *size]),
            ..Entry::default()
        };
        let entries = (index + 1..).zip(sizes).map(entry).collect();
        Message { entries, commit: Some(commit), ..of(MessageType::MsgApp, index) }
    }

    #[test]
    fn messages_that_say_one_thing_together_become_one() {
        let answer = |index| of(MessageType::MsgAppResp, index);
        let refusal = |index| Message { reject: Some(true), ..answer(index) };
        let beat = |commit| Message { commit: Some(commit), ..of(MessageType::MsgHeartbeat, 0) };
        let asking = |commit| Message { context: Some(vec![1]), ..beat(commit) };
        let later = |message| Message { term: Some(4), ..message };
        let (a, large) = (append(4, &[10, 10], 3), append(6, &[700 << 10], 4));
        let cases = [
            (vec![], vec![]),
            (vec![a.clone(), append(6, &[5], 4)], vec![append(4, &[10, 10, 5], 4)]),
            (vec![a.clone(), append(6, &[], 6)], vec![append(4, &[10, 10], 6)]),
            (vec![append(4, &[], 4), append(4, &[5], 4)], vec![append(4, &[5], 4)]),
            // A gap, the same again, another term, too large.
            (vec![a.clone(), append(7, &[5], 4)], vec![a.clone(), append(7, &[5], 4)]),
            (vec![a.clone(), a.clone()], vec![a.clone(), a.clone()]),
            (vec![a.clone(), later(append(6, &[], 4))], vec![a.clone(), later(append(6, &[], 4))]),
            (
                vec![large.clone(), append(7, &[99 << 10], 4)],
                vec![large, append(7, &[99 << 10], 4)],
            ),
            (vec![answer(4), answer(5), answer(7)], vec![answer(7)]),
            (vec![answer(4), refusal(5), answer(7)], vec![answer(4), refusal(5), answer(7)]),
            (vec![answer(5), answer(4)], vec![answer(5), answer(4)]),
            (vec![beat(1), beat(2), answer(4)], vec![beat(2), answer(4)]),
            (vec![beat(1), asking(2), beat(3)], vec![beat(1), asking(2), beat(3)]),
        ];
        for (waiting, expect) in cases {
            let got = merged(waiting.clone());
            assert!(got == expect, "{} became {}", waiting.len(), got.len());
        }
    }
}
