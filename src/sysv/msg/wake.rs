//! Who of those that sleep at a queue is told something.
//!
//! A message wakes its receiver in [`send`](super::send). Everything here only says *try again*: what a sleeper then finds,
//! it finds itself, and others may be faster. The sleepers of a dead process are taken away.

use super::state::{Message, QueueState, ReceiverAnswer, SenderAnswer, fits};

/// Tells every sleeping sender whose message fits now to try again, each judged alone, as if the others were not there. Those
/// whose messages do not fit keep their order.
pub fn wake_senders(queue: &mut impl QueueState) {
    let facts = queue.facts();
    for index in 0..queue.senders() {
        let mut sender = queue.sender(index);
        if sender.answer == SenderAnswer::Waits && fits(&facts, sender.len) {
            sender.answer = SenderAnswer::Again;
            queue.set_sender(index, sender);
        }
    }
}

/// Tells every sleeping receiver to look again, at its rights as well.
pub fn wake_receivers(queue: &mut impl QueueState) {
    for index in 0..queue.receivers() {
        let mut receiver = queue.receiver(index);
        if receiver.answer == ReceiverAnswer::Waits {
            receiver.answer = ReceiverAnswer::Again;
            queue.set_receiver(index, receiver);
        }
    }
}

/// Takes away the sleepers of a process that is dead. A message that one of them was handed and had not taken yet is lost with
/// it, and returned. That is the end of this call, so that the caller has one text to remember; it calls again until there is
/// none. What a sender had in its hands never was in the queue.
///
/// Nobody has to be woken for them: a message that one of them was told about was handed to it alone, and room that one
/// of them was told about was told to every other that fits.
pub fn drop_sleepers(queue: &mut impl QueueState, owner: u32) -> Option<Message> {
    let mut index = 0;
    while index < queue.receivers() {
        let receiver = queue.receiver(index);
        if receiver.owner != owner {
            index += 1;
            continue;
        }
        queue.remove_receiver(index);
        if let ReceiverAnswer::Got(message) = receiver.answer {
            return Some(message);
        }
    }
    let mut index = 0;
    while index < queue.senders() {
        if queue.sender(index).owner == owner {
            queue.remove_sender(index);
        } else {
            index += 1;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::for_tests::{Queue, facts, message, receiver, sender};
    use super::*;
    use crate::sysv::Errno;
    use crate::sysv::msg::{QueueFacts, Receiver};

    #[test]
    fn a_dead_process_leaves_the_queue_and_its_messages_are_lost_one_a_call() {
        let mut queue = Queue::new(facts(0o600));
        let answered = |owner, answer| Receiver {
            answer,
            ..receiver(owner, 0, 100, 0)
        };
        queue.push_receiver(receiver(1, 0, 100, 0));
        queue.push_receiver(answered(2, ReceiverAnswer::Got(message(7, 3))));
        queue.push_receiver(answered(1, ReceiverAnswer::Got(message(8, 4))));
        queue.push_receiver(answered(1, ReceiverAnswer::Failed(Errno::E2big)));
        queue.push_receiver(answered(1, ReceiverAnswer::Got(message(6, 5))));
        queue.push_receiver(receiver(3, 0, 100, 0));
        for owner in [1, 2, 1] {
            queue.push_sender(sender(owner, 5));
        }
        queue.push_message(message(9, 1));
        assert_eq!(drop_sleepers(&mut queue, 1), Some(message(8, 4)));
        assert_eq!(drop_sleepers(&mut queue, 1), Some(message(6, 5)));
        assert_eq!(drop_sleepers(&mut queue, 1), None);
        let owners: Vec<_> = queue.receivers.iter().map(|it| it.owner).collect();
        assert_eq!(owners, [2, 3]);
        let owners: Vec<_> = queue.senders.iter().map(|it| it.owner).collect();
        assert_eq!(owners, [2]);
        assert_eq!(queue.messages, [message(9, 1)]);
        let before = queue.clone();
        assert_eq!(drop_sleepers(&mut queue, 1), None);
        assert_eq!(queue, before);
    }

    #[test]
    fn a_receiver_that_has_an_answer_keeps_it() {
        let mut queue = Queue::new(facts(0o600));
        let answers = [
            ReceiverAnswer::Waits,
            ReceiverAnswer::Got(message(7, 3)),
            ReceiverAnswer::Failed(Errno::E2big),
            ReceiverAnswer::Again,
        ];
        for answer in answers {
            queue.push_receiver(Receiver {
                answer,
                ..receiver(1, 0, 100, 0)
            });
        }
        wake_receivers(&mut queue);
        let [_, got, failed, again] = answers;
        assert_eq!(queue.answers(), [again, got, failed, again]);
    }

    #[test]
    fn a_sender_keeps_its_place_when_it_is_told() {
        let mut queue = Queue::new(QueueFacts {
            qbytes: 5,
            ..facts(0o600)
        });
        for (owner, len) in [(1, 6), (2, 5), (3, 0)] {
            queue.push_sender(sender(owner, len));
        }
        wake_senders(&mut queue);
        assert_eq!(queue.told(), [false, true, true]);
        let owners: Vec<_> = queue.senders.iter().map(|it| it.owner).collect();
        assert_eq!(owners, [1, 2, 3]);
    }
}
