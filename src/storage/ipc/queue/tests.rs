use super::super::for_tests::{with_file, words};
use super::*;
use crate::sysv::Errno;

const MORE: MoreQueueRoom = MoreQueueRoom {
    messages: 3,
    receivers: 3,
    senders: 3,
};

fn message(mtype: i64, len: u32) -> Message {
    let text = 0;
    Message { mtype, len, text }
}

fn receiver(place: u32) -> Receiver {
    Receiver {
        owner: place + 100,
        tid: 12,
        place,
        mtype: -3,
        room: u64::MAX,
        flags: -1,
        answer: ReceiverAnswer::Waits,
    }
}

fn sender(place: u32) -> Sender {
    Sender {
        owner: place + 200,
        place,
        len: 6,
        text: 77,
        answer: SenderAnswer::Waits,
    }
}

/// A copy of a queue with three of each.
fn full(file: &IpcFile<'_>, owner: u32) -> QueueBlock {
    let new = file.new_queue(words(32768), 5, 16384, 77, owner).unwrap();
    let mut queue = file.copy_queue(&new, MORE, owner).unwrap();
    for at in 0..3 {
        queue.push_message(message(i64::from(at) + 1, 10 * (at + 1)));
        queue.push_receiver(receiver(at));
        queue.push_sender(sender(at));
    }
    queue
}

fn types(queue: &QueueBlock) -> Vec<i64> {
    let messages = (0..queue.messages()).map(|at| queue.message(at).mtype);
    messages.collect()
}

fn receivers(queue: &QueueBlock) -> Vec<Receiver> {
    (0..queue.receivers())
        .map(|at| queue.receiver(at))
        .collect()
}

fn senders(queue: &QueueBlock) -> Vec<Sender> {
    (0..queue.senders()).map(|at| queue.sender(at)).collect()
}

#[test]
fn a_copy_has_what_was_there_and_more_room() {
    with_file(|file, owner| {
        let old = full(file, owner);
        let mut copy = file.copy_queue(&old, MORE, owner).unwrap();
        assert_ne!(copy.block().unit, old.block().unit);
        assert_eq!(copy.facts(), old.facts());
        assert_eq!(receivers(&copy), receivers(&old));
        assert_eq!(senders(&copy), senders(&old));
        copy.push_message(message(9, 1));
        copy.push_receiver(receiver(9));
        copy.push_sender(sender(9));
        assert_eq!(types(&copy), [1, 2, 3, 9]);
        assert_eq!(receivers(&copy)[..3], receivers(&old));
        assert_eq!(receivers(&copy)[3], receiver(9));
        assert_eq!(senders(&copy)[..3], senders(&old));
        assert_eq!(senders(&copy)[3], sender(9));
        assert_eq!(copy.facts().cbytes, 61);
    });
}

#[test]
fn a_message_that_goes_leaves_the_others_in_their_order_and_the_right_sum() {
    with_file(|file, owner| {
        let mut queue = full(file, owner);
        assert!(queue.has_right_sum());
        queue.remove_message(3);
        assert_eq!(types(&queue), [1, 2, 3], "there is no fourth");
        queue.remove_message(1);
        assert_eq!((types(&queue), queue.facts().cbytes), (vec![1, 3], 40));
        queue.remove_message(0);
        queue.remove_message(0);
        assert_eq!((types(&queue), queue.facts().cbytes), (vec![], 0));
        assert!(queue.has_right_sum());
        assert_eq!((queue.receivers(), queue.senders()), (3, 3));
    });
}

#[test]
fn a_sleeper_that_goes_leaves_the_others_in_their_order() {
    with_file(|file, owner| {
        let mut queue = full(file, owner);
        queue.remove_receiver(0);
        queue.remove_sender(1);
        queue.remove_receiver(2);
        queue.remove_sender(u32::MAX);
        assert_eq!(receivers(&queue), [receiver(1), receiver(2)]);
        assert_eq!(senders(&queue), [sender(0), sender(2)]);
        assert_eq!(types(&queue), [1, 2, 3]);
    });
}

#[test]
fn an_answer_is_read_as_it_was_given() {
    with_file(|file, owner| {
        let mut queue = full(file, owner);
        for answer in [
            ReceiverAnswer::Got(message(i64::MIN, u32::MAX)),
            ReceiverAnswer::Again,
            ReceiverAnswer::Failed(Errno::E2big),
            ReceiverAnswer::Failed(Errno::Eidrm),
            ReceiverAnswer::Failed(Errno::Eacces),
            ReceiverAnswer::Waits,
        ] {
            let told = Receiver {
                answer,
                ..receiver(1)
            };
            queue.set_receiver(1, told);
            assert_eq!(receivers(&queue), [receiver(0), told, receiver(2)]);
        }
        let told = Sender {
            answer: SenderAnswer::Again,
            ..sender(2)
        };
        queue.set_sender(2, told);
        queue.set_sender(3, told);
        assert_eq!(senders(&queue), [sender(0), sender(1), told]);
    });
}

#[test]
fn a_removed_queue_has_no_messages_and_keeps_its_sleepers() {
    with_file(|file, owner| {
        let mut queue = full(file, owner);
        queue.set_removed();
        assert!(queue.is_removed() && queue.has_right_sum());
        assert_eq!((queue.messages(), queue.facts().cbytes), (0, 0));
        assert_eq!((queue.receivers(), queue.senders()), (3, 3));
        assert_eq!(queue.facts().perm.mode, 0o640, "no bit of the mode");
    });
}

#[test]
fn a_block_whose_counts_are_too_large_is_no_queue() {
    with_file(|file, owner| {
        let queue = full(file, owner);
        for (at, word) in [
            (9, pair(0, u32::MAX)),
            (10, pair(0, 1 << 31)),
            (11, pair(0, 1000)),
            (9, pair(4, 3)),
            (10, pair(u32::MAX, 3)),
            (11, pair(4, 3)),
        ] {
            let before = queue.block.get(at);
            queue.block.put(at, word);
            assert!(file.queue_of(queue.block).is_none(), "{at}: {word:#x}");
            queue.block.put(at, before);
        }
        assert!(file.queue_of(queue.block).is_some());
    });
}

#[test]
fn counts_that_grow_behind_the_look_at_them_lead_nowhere_else() {
    with_file(|file, owner| {
        let queue = full(file, owner);
        for at in [9, 10, 11] {
            queue.block.put(at, u64::MAX);
        }
        assert_eq!((queue.messages(), queue.receivers()), (3, 3));
        // Behind the senders is what the block has more than they need.
        let most = (queue.block.len_words() - queue.senders_at) / SENDER;
        assert_eq!(queue.senders() as usize, most);
        let copy = file.copy_queue(&queue, MORE, owner).unwrap();
        assert!(copy.is_sound());
        assert_eq!(types(&copy), [1, 2, 3]);
    });
}

#[test]
fn a_text_is_one_if_its_block_can_hold_it() {
    with_file(|file, owner| {
        let block = file.new_text(100, owner).unwrap();
        let of = |len, text| {
            let mtype = 1;
            file.text(&Message { mtype, len, text }).map(|it| it.unit)
        };
        assert_eq!(of(100, block.unit), Some(block.unit));
        assert_eq!(of(113, block.unit), None, "the block has 112");
        for text in [0, 1, u32::MAX, block.unit | 1 << 31] {
            assert_eq!(of(1, text), None, "{text:#x}");
        }
        let mut queue = full(file, owner);
        queue.remove_message(2);
        assert_eq!(queue.without_text(file), Some(0));
        queue.count_bytes();
        assert!(queue.has_right_sum());
    });
}
