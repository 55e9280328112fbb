//! Which kinds of objects are meant: `-m`, `-s` and `-q`, as those of ipcs(1).

use shmshim_core::sysv::Kind;

/// The options of a command that takes an object of one kind.
#[derive(clap::Args, Debug, Clone, Copy)]
#[group(multiple = false)]
pub struct OneKind {
    /// A semaphore set is meant, not a segment
    #[arg(short, long)]
    semaphores: bool,
    /// A message queue is meant, not a segment
    #[arg(short, long)]
    queues: bool,
}

impl OneKind {
    /// The kind.
    pub fn kind(self) -> Kind {
        match (self.semaphores, self.queues) {
            (true, _) => Kind::Set,
            (_, true) => Kind::Queue,
            _ => Kind::Segment,
        }
    }

    /// Whether it was said which kind is meant.
    pub fn is_given(self) -> bool {
        self.semaphores || self.queues
    }
}

/// The options of a command that shows all kinds, or some.
#[derive(clap::Args, Debug, Clone, Copy)]
pub struct Kinds {
    /// Segments of shared memory; without this and the two others all kinds
    #[arg(short = 'm', long = "segments")]
    segments: bool,
    /// Semaphore sets
    #[arg(short, long)]
    semaphores: bool,
    /// Message queues
    #[arg(short, long)]
    queues: bool,
}

impl Kinds {
    /// Whether this kind is asked for.
    pub fn has(self, kind: Kind) -> bool {
        let all = !(self.segments || self.semaphores || self.queues);
        all || match kind {
            Kind::Segment => self.segments,
            Kind::Set => self.semaphores,
            Kind::Queue => self.queues,
        }
    }

    /// Whether it was said which kinds are meant.
    pub fn is_given(self) -> bool {
        self.segments || self.semaphores || self.queues
    }
}

/// What `--json` calls a kind.
pub fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Segment => "segment",
        Kind::Set => "semaphores",
        Kind::Queue => "queue",
    }
}
