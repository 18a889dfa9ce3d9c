//! As much of the protocol buffers' wire format as a profile needs: numbers and parts that
//! start with their length.

/// A message under construction.
#[derive(Debug, Clone, Default)]
pub(crate) struct Message(Vec<u8>);

impl Message {
    /// A message of numbers.
    pub(crate) fn of<const N: usize>(fields: [(u64, u64); N]) -> Self {
        let mut message = Self::default();
        for (field, value) in fields {
            message.number(field, value);
        }
        message
    }

    /// Adds a number; zero is what an absent one stands for.
    pub(crate) fn number(&mut self, field: u64, value: u64) {
        if value != 0 {
            // Wire type 0: a number in groups of 7 bits.
            self.varint(field << 3);
            self.varint(value);
        }
    }

    /// Adds a message as a part of this one.
    pub(crate) fn message(&mut self, field: u64, part: &Self) {
        self.bytes(field, &part.0);
    }

    /// Adds text, or whatever else has a length.
    pub(crate) fn bytes(&mut self, field: u64, bytes: &[u8]) {
        // Wire type 2: length, then content.
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// The message as bytes.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }

    fn varint(&mut self, mut value: u64) {
        loop {
            let [low, ..] = value.to_le_bytes();
            value >>= 7;
            if value == 0 {
                return self.0.push(low & 0x7f);
            }
            self.0.push(low | 0x80);
        }
    }
}
