//! Some texts in one piece of memory.

use crate::image::{Glass, Pen, Seen};

/// Texts, each behind its length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Texts(Vec<u8>);

/// Which of the texts in an image are read, in which order.
#[derive(Clone, Debug)]
pub(super) struct TextOrder {
    /// Whether an older program wrote the image, without the names of the texts.
    pub(super) is_former: bool,
    /// How many there are.
    pub(super) written: usize,
    /// For each text that is wanted, its place among the written ones, if it is there.
    pub(super) places: Vec<Option<usize>>,
}

const LENGTH_BYTES: usize = 4;

impl Texts {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Adds a text that is written to the end of a vector. An event, and so each of its fields, is
    /// far shorter than 4 GiB.
    pub(super) fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let at = self.0.len();
        self.0.extend_from_slice(&[0; LENGTH_BYTES]);
        write(&mut self.0);
        let length = (self.0.len() - at - LENGTH_BYTES) as u32;
        self.0[at..at + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || {
            let (length, behind) = rest.split_first_chunk::<LENGTH_BYTES>()?;
            let (text, behind) = behind.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            rest = behind;
            Some(text)
        })
    }

    /// Takes the texts of another one, without room for more.
    pub(super) fn copy_from(&mut self, other: &Texts) {
        self.0.clear();
        self.0.reserve_exact(other.0.len());
        self.0.extend_from_slice(&other.0);
    }

    pub(super) fn write_to(&self, pen: &mut Pen) {
        self.iter().for_each(|text| pen.text(text));
    }

    /// Reads as many texts as were written, and takes them in another order: `order` names the place
    /// among the written ones of each text, which is empty where there is none.
    pub(super) fn read_in(order: &TextOrder, glass: &mut Glass<'_>) -> Seen<Texts> {
        let written = (0..order.written).map(|_| glass.text()).collect::<Seen<Vec<&[u8]>>>()?;
        let mut texts = Texts::default();
        for place in &order.places {
            let text = place.map_or(&[][..], |place| written[place]);
            texts.push(|out| out.extend_from_slice(text));
        }
        texts.0.shrink_to_fit();
        Ok(texts)
    }

    pub(super) fn read(count: usize, glass: &mut Glass<'_>) -> Seen<Texts> {
        let mut texts = Texts::default();
        for _ in 0..count {
            let text = glass.text()?;
            texts.push(|out| out.extend_from_slice(text));
        }
        texts.0.shrink_to_fit();
        Ok(texts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_as_they_were_written() {
        let mut texts = Texts::default();
        let given: [&[u8]; 4] = [b"a", b"", b"null", b"{\"x\":1}"];
        given.iter().for_each(|text| texts.push(|out| out.extend_from_slice(text)));
        assert_eq!(texts.iter().collect::<Vec<_>>(), given);
        let mut pen = Pen::default();
        texts.write_to(&mut pen);
        assert_eq!(Texts::read(4, &mut Glass::new(&pen.bytes)).unwrap(), texts);
        let mut copy = Texts::default();
        copy.push(|out| out.push(b'?'));
        copy.copy_from(&texts);
        assert_eq!(copy, texts);
        copy.clear();
        assert_eq!(copy.iter().count(), 0);
    }
}
