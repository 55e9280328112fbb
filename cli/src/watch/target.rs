//! The segment that is watched: found at each refresh, and said to be gone when it is.

use crate::bytes::Bytes;
use crate::error::{Error, Outcome};
use crate::output::size;
use crate::segment::Which;
use crate::source::{Look, Segment, Source};
use crate::uses::Use;

/// Where the segments are. Looked for each time: it may be not there yet, or no more, or another one of the same name.
pub struct Access(Look);

impl Access {
    /// What the options say.
    pub fn new(look: Look) -> Access {
        Access(look)
    }

    /// Another one to the same place.
    pub fn again(&self) -> Access {
        Access(self.0.clone())
    }

    /// Asks. `None`: there is no namespace.
    pub fn ask<T>(&self, question: impl FnOnce(&Source) -> Outcome<T>) -> Outcome<Option<T>> {
        self.0.source()?.as_ref().map(question).transpose()
    }
}

/// One segment.
pub struct Target {
    access: Access,
    which: Which,
    segment: Segment,
    /// Held while the segment exists: to open one of the kernel's is an attach.
    bytes: Option<Bytes>,
    is_gone: bool,
}

impl Target {
    /// The segment, which must be there.
    pub fn new(access: Access, which: &Which) -> Outcome<Target> {
        let segment = access
            .ask(|source| source.segment(which))?
            .ok_or_else(|| Error::absent(crate::source::NO_NAMESPACE))?;
        Ok(Target {
            access,
            which: Which::named(&segment.id.to_string()),
            segment,
            bytes: None,
            is_gone: false,
        })
    }

    /// What is known of it, when it was seen last.
    pub fn segment(&self) -> &Segment {
        &self.segment
    }

    /// Who has it attached.
    pub fn users(&mut self) -> Outcome<Vec<Use>> {
        let id = self.segment.id;
        let uses = self.access.ask(|source| source.uses(Some(id)))?;
        Ok(uses.unwrap_or_default())
    }

    /// Looks again. `false`: it is gone.
    pub fn refresh(&mut self) -> Outcome<bool> {
        let which = &self.which;
        match self.access.ask(|source| source.segment(which)) {
            Ok(Some(segment)) => {
                self.segment = segment;
                self.is_gone = false;
                Ok(true)
            }
            Ok(None) => Ok(self.lose()),
            Err(error) if error.status == crate::error::ABSENT => Ok(self.lose()),
            Err(error) => Err(error),
        }
    }

    fn lose(&mut self) -> bool {
        self.is_gone = true;
        self.bytes = None;
        false
    }

    /// Reads up to this many bytes from a place on.
    pub fn read(&mut self, offset: u64, len: u64) -> Outcome<Vec<u8>> {
        let len = self.segment.size.saturating_sub(offset).min(len);
        let mut read = vec![0; usize::try_from(len).unwrap_or(0)];
        let bytes = match self.bytes.take() {
            Some(bytes) => bytes,
            None => {
                let segment = &self.segment;
                let bytes = self.access.ask(|source| source.bytes(segment))?;
                bytes.ok_or_else(|| Error::absent(crate::source::NO_NAMESPACE))?
            }
        };
        bytes.read(offset, &mut read)?;
        self.bytes = Some(bytes);
        Ok(read)
    }

    /// What the first line says of it.
    pub fn title(&self) -> String {
        let segment = &self.segment;
        let gone = if self.is_gone { "GONE: " } else { "" };
        let plural = if segment.attaches == 1 { "" } else { "es" };
        format!(
            "{gone}segment {} ({}), {}, {} resident, {} attach{plural}",
            segment.id,
            segment.key,
            size(segment.size),
            size(segment.resident),
            segment.attaches,
        )
    }
}
